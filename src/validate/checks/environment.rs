//! Environment variables, and the dependencies that become some.

use k8s_openapi::api::core::v1::ResourceFieldSelector;

use crate::{
    api::{APP_CONTAINER, MicroserviceSpec},
    validate::{Dependency, Problem, Validated, quantity::Quantity},
};

use super::scope::{Scope, each_version};

/// What the API server lets amounts be divided by.
const CPU_UNITS: &[&str] = &["1m", "1"];
const SIZE_UNITS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Variables that the operator sets itself.
const OWN: [&str; 2] = ["SERVICE_NAME", "SERVICE_VERSION"];

fn path(dependency: &Dependency) -> String {
    format!("spec.dependencies[{}]", dependency.name)
}

/// A service cannot depend on itself by naming its own namespace, which CEL does not know.
pub(super) fn dependency_is_another_service(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    let own = &resolved.identity;
    let named = spec.dependencies.iter().zip(&resolved.dependencies).filter(|(given, _)| given.namespace.is_some());
    named
        .map(|(_, dependency)| dependency)
        .filter(|dependency| dependency.name == own.name && dependency.namespace == own.namespace)
        .map(|dependency| {
            let message = format!("{}/{} cannot be a dependency of itself: remove it", own.namespace, own.name);
            Problem::new(path(dependency), message)
        })
        .collect()
}

/// Two dependencies cannot have the same variable.
pub(super) fn dependency_variables_differ(_: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    let dependencies = &resolved.dependencies;
    let clash = |(index, dependency): (usize, &Dependency)| {
        let earlier = dependencies[..index].iter().find(|earlier| earlier.env == dependency.env)?;
        let message = format!(
            "{} is already the variable of {}: give one of the two an env of its own",
            dependency.env, earlier.url
        );
        Some(Problem::new(format!("{}.env", path(dependency)), message))
    };
    dependencies.iter().enumerate().filter_map(clash).collect()
}

/// A dependency's variable is set nowhere else: which of the two is meant would be a guess.
pub(super) fn dependency_variables_are_free(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    let mut problems: Vec<_> = resolved
        .dependencies
        .iter()
        .filter(|dependency| OWN.contains(&dependency.env.as_str()))
        .map(|dependency| {
            let message = format!("{} is set by the operator: choose another env", dependency.env);
            Problem::new(format!("{}.env", path(dependency)), message)
        })
        .collect();
    problems.extend(each_version(spec, resolved, |scope| {
        let variables = scope.entries("env", |pod| &pod.env, |env| &env.name);
        let taken = variables.into_iter().filter_map(|variable| {
            let dependency = resolved.dependencies.iter().find(|dependency| dependency.env == variable.value.name)?;
            let message = format!(
                "{} is the variable of the dependency {}: remove it here, or give the dependency another env",
                dependency.env, dependency.name
            );
            Some(Problem::new(variable.path, message))
        });
        taken.collect()
    }));
    problems
}

/// A field of a container's resources belongs to a container of the pod.
pub(super) fn fields_name_containers(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let known = container_names(scope);
        let fields = resource_fields(scope).into_iter();
        fields.filter_map(|field| unknown(field.selector, &known, &field.path, field.of_volume)).collect()
    })
}

/// What a container's resources are counted in is a unit that Kubernetes counts them in.
pub(super) fn divisors_fit(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let told = |field: ResourceField<'_>| {
            let units = if field.selector.resource.ends_with(".cpu") { CPU_UNITS } else { SIZE_UNITS };
            let divisor = &field.selector.divisor.as_ref()?.0;
            let fits = ["0"].iter().chain(units).any(|unit| is_unit(divisor, unit));
            let message =
                format!("{divisor:?} cannot be the divisor of {}: write {}", field.selector.resource, units.join(", "));
            (!fits).then(|| Problem::new(field.path, message))
        };
        resource_fields(scope).into_iter().filter_map(told).collect()
    })
}

/// Whether an amount is the unit for the API server too, which reads `1024` and `1e3` as neither `1Ki` nor `1k`.
fn is_unit(amount: &str, unit: &str) -> bool {
    let Ok(parsed) = amount.parse::<Quantity>() else { return false };
    let exponent = amount.contains(['e', 'E']) && !amount.ends_with('E');
    let alike = ["0", "1"].contains(&unit) || (!exponent && amount.ends_with('i') == unit.ends_with('i'));
    alike && unit.parse() == Ok(parsed)
}

/// A reference to an amount of a container's resources.
struct ResourceField<'a> {
    path: String,
    selector: &'a ResourceFieldSelector,
    of_volume: bool,
}

fn resource_fields<'a>(scope: &Scope<'a>) -> Vec<ResourceField<'a>> {
    let mut fields = Vec::new();
    for container in scope.containers() {
        fields.extend(container.env.into_iter().filter_map(|variable| {
            let selector = variable.value.value_from.as_ref()?.resource_field_ref.as_ref()?;
            Some(ResourceField { path: variable.path, selector, of_volume: false })
        }));
    }
    for volume in scope.entries("volumes", |pod| &pod.volumes, |volume| &volume.name) {
        let own = volume.value.downward_api.iter().filter_map(|source| source.items.as_ref());
        let sources = volume.value.projected.iter().filter_map(|projected| projected.sources.as_ref()).flatten();
        let projected = sources.filter_map(|source| source.downward_api.as_ref()?.items.as_ref());
        let selectors = own.chain(projected).flatten().filter_map(|item| item.resource_field_ref.as_ref());
        fields.extend(selectors.map(|selector| ResourceField { path: volume.path.clone(), selector, of_volume: true }));
    }
    fields
}

fn container_names<'a>(scope: &Scope<'a>) -> Vec<&'a str> {
    scope.containers().iter().map(|container| container.name.unwrap_or(APP_CONTAINER)).collect()
}

fn unknown(field: &ResourceFieldSelector, known: &[&str], path: &str, required: bool) -> Option<Problem> {
    let message = match field.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) if known.contains(&name) => return None,
        Some(name) => format!("resourceFieldRef names the container {name}, but the pod has {}", known.join(", ")),
        None if required => format!("resourceFieldRef needs a containerName: one of {}", known.join(", ")),
        None => return None,
    };
    Some(Problem::new(path, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_units_in_their_own_notation() {
        for (amount, unit) in
            [("1024Ki", "1Mi"), ("1000M", "1G"), ("1000m", "1"), ("0.001", "1m"), ("1e0", "1"), ("1E", "1E")]
        {
            assert!(is_unit(amount, unit), "{amount} is {unit}");
        }
        for (amount, unit) in
            [("1048576", "1Mi"), ("1024", "1Ki"), ("1.024k", "1Ki"), ("1e3", "1k"), ("1e-3", "1m"), ("x", "1")]
        {
            assert!(!is_unit(amount, unit), "{amount} is not {unit}");
        }
    }
}
