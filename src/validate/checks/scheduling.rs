//! Labels of pods, and what selects nodes and other pods by labels.

use k8s_openapi::{
    api::core::v1::{Affinity, NodeSelectorTerm, PodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::{
    api::{GROUP, MicroserviceSpec, PodSettings},
    validate::{Problem, Validated, syntax},
};

use super::scope::{Scope, each_version};

/// Owners of keys that decide how the cluster, the mesh or the operator treats a pod.
const RESERVED: [&str; 4] = [GROUP, "kubernetes.io", "k8s.io", "istio.io"];

type Strings = std::collections::BTreeMap<String, String>;

/// The entries of a map with their paths.
fn map<'a>(
    scope: &Scope<'a>,
    setting: &str,
    get: impl Fn(&PodSettings) -> &Strings,
) -> Vec<(String, &'a String, &'a String)> {
    let is_own = |key: &String| scope.own_has(|own| get(own).contains_key(key));
    get(scope.pod())
        .iter()
        .map(|(key, value)| (scope.path(is_own(key), format_args!("{setting}[{key}]")), key, value))
        .collect()
}

/// Labels and annotations of pods are ones that Kubernetes takes.
pub(super) fn labels_are_labels(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let labels = map(scope, "podLabels", |pod| &pod.pod_labels).into_iter().filter_map(|(path, key, value)| {
            let reason = label(key, value).err()?;
            Some(Problem::new(path, format!("\"{key}: {value}\" is not a label: {reason}")))
        });
        let annotations = map(scope, "podAnnotations", |pod| &pod.pod_annotations);
        let annotations = annotations.into_iter().filter_map(|(path, key, _)| {
            let reason = syntax::annotation_key(key).err()?;
            Some(Problem::new(path, format!("{key:?} is not the key of an annotation: {reason}")))
        });
        labels.chain(annotations).collect()
    })
}

fn label(key: &str, value: &str) -> Result<(), &'static str> {
    syntax::label_key(key).and_then(|()| syntax::label_value(value))
}

/// Keys of the cluster, the mesh and the operator are theirs, below any subdomain.
pub(super) fn labels_are_not_reserved(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let labels = map(scope, "podLabels", |pod| &pod.pod_labels);
        let annotations = map(scope, "podAnnotations", |pod| &pod.pod_annotations);
        labels
            .into_iter()
            .chain(annotations)
            .filter_map(|(path, key, _)| {
                let owner = reserved_by(key)?;
                let message = format!("{key} is reserved, as all keys of {owner} are: choose a key of your own domain");
                Some(Problem::new(path, message))
            })
            .collect()
    })
}

fn reserved_by(key: &str) -> Option<&'static str> {
    let prefix = key.split_once('/')?.0.to_ascii_lowercase();
    RESERVED.into_iter().find(|owner| {
        prefix.strip_suffix(owner).is_some_and(|subdomain| subdomain.is_empty() || subdomain.ends_with('.'))
    })
}

/// A node selector is made of labels.
pub(super) fn node_selector_is_labels(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        map(scope, "nodeSelector", |pod| &pod.node_selector)
            .into_iter()
            .filter_map(|(path, key, value)| {
                let reason = label(key, value).err()?;
                Some(Problem::new(path, format!("\"{key}: {value}\" is not a label: {reason}")))
            })
            .collect()
    })
}

/// The value of a taint is one of a label.
pub(super) fn tolerations_have_labels(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let is_own = scope.own_has(|own| !own.tolerations.is_empty());
        let all = scope.pod().tolerations.iter().enumerate();
        all.filter_map(|(index, toleration)| {
            let (key, value) = (toleration.key.as_deref(), toleration.value.as_deref().unwrap_or_default());
            let key = key.filter(|key| !key.is_empty()).map_or(Ok(()), syntax::label_key);
            let reason = key.and_then(|()| syntax::label_value(value)).err()?;
            let path = scope.path(is_own, format_args!("tolerations[{index}]"));
            let taint = format!("{}={value}", toleration.key.as_deref().unwrap_or_default());
            Some(Problem::new(path, format!("{taint:?} is no taint of a node: {reason}")))
        })
        .collect()
    })
}

/// Selectors of affinities and spread constraints are ones that Kubernetes takes.
pub(super) fn selectors_are_selectors(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let mut problems = Vec::new();
        if let Some(affinity) = scope.placed("affinity", |pod| pod.affinity.as_ref()) {
            problems.extend(reasons(affinity.value).map(|reason| Problem::new(&affinity.path, reason)));
        }
        let is_own = scope.own_has(|own| !own.topology_spread_constraints.is_empty());
        for (index, constraint) in scope.pod().topology_spread_constraints.iter().enumerate() {
            let path = scope.path(is_own, format_args!("topologySpreadConstraints[{index}]"));
            let mut reasons = constraint.label_selector.as_ref().map(selector).unwrap_or_default();
            reasons.extend(topology(&constraint.topology_key));
            reasons.extend(label_keys("matchLabelKeys", constraint.match_label_keys.as_deref()));
            let keys = constraint.match_label_keys.iter().flatten();
            let selected = constraint.label_selector.as_ref();
            let twice = keys.filter(|key| selected.is_some_and(|it| selects_by(it, key)));
            reasons.extend(
                twice.map(|key| format!("{key} is in matchLabelKeys and in labelSelector: take one of them out")),
            );
            problems.extend(reasons.into_iter().map(|reason| Problem::new(&path, reason)));
        }
        problems
    })
}

fn selects_by(selector: &LabelSelector, key: &str) -> bool {
    let labels = selector.match_labels.iter().flatten().map(|(key, _)| key.as_str());
    let expressions = selector.match_expressions.iter().flatten().map(|expression| expression.key.as_str());
    labels.chain(expressions).any(|selected| selected == key)
}

/// What is wrong with an affinity. What nodes are preferred by may be a value that no node can have, as for Kubernetes.
fn reasons(affinity: &Affinity) -> impl Iterator<Item = String> {
    let node = affinity.node_affinity.iter();
    let required = node.clone().filter_map(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    let preferred = node.filter_map(|node| node.preferred_during_scheduling_ignored_during_execution.as_ref());
    let required: Vec<_> = required.flat_map(|selector| &selector.node_selector_terms).collect();
    let expressions = required.iter().flat_map(|term| term.match_expressions.iter().flatten());
    let values = expressions.filter_map(|given| value(&given.key, given.values.as_deref()));
    let terms = required.iter().copied().chain(preferred.flatten().map(|preferred| &preferred.preference));
    let pods = pod_terms(affinity).flat_map(pod_term);
    terms.flat_map(node_term).chain(values).chain(pods).collect::<Vec<_>>().into_iter()
}

fn pod_terms(affinity: &Affinity) -> impl Iterator<Item = &PodAffinityTerm> {
    let towards = affinity.pod_affinity.iter().flat_map(|pods| {
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        let required = pods.required_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|preferred| &preferred.pod_affinity_term))
    });
    let apart = affinity.pod_anti_affinity.iter().flat_map(|pods| {
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        let required = pods.required_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|preferred| &preferred.pod_affinity_term))
    });
    towards.chain(apart)
}

fn pod_term(term: &PodAffinityTerm) -> Vec<String> {
    let selectors = [&term.label_selector, &term.namespace_selector];
    let keys = [("matchLabelKeys", &term.match_label_keys), ("mismatchLabelKeys", &term.mismatch_label_keys)];
    let wrong = keys.into_iter().flat_map(|(field, keys)| label_keys(field, keys.as_deref()));
    let unwanted = |key: &&String| term.mismatch_label_keys.iter().flatten().any(|other| other == *key);
    let both = term.match_label_keys.iter().flatten().filter(unwanted);
    let both = both.map(|key| format!("{key} is in matchLabelKeys and in mismatchLabelKeys: take one of them out"));
    let given = keys.into_iter().filter(|(_, keys)| keys.as_ref().is_some_and(|keys| !keys.is_empty()));
    let alone = given
        .filter(|_| term.label_selector.is_none())
        .map(|(field, _)| format!("{field} narrows a labelSelector, which is not given: add it, or remove {field}"));
    let namespaces = term.namespaces.iter().flatten().filter_map(|name| {
        let reason = syntax::dns_label(name).err()?;
        Some(format!("{name:?} is no namespace: its name {reason}"))
    });
    let places = topology(&term.topology_key).into_iter().chain(namespaces);
    selectors.into_iter().flatten().flat_map(selector).chain(alone).chain(both).chain(wrong).chain(places).collect()
}

fn label_keys<'a>(field: &'a str, keys: Option<&'a [String]>) -> impl Iterator<Item = String> + use<'a> {
    keys.into_iter().flatten().filter_map(move |key| {
        let reason = syntax::label_key(key).err()?;
        Some(format!("{key:?} in {field} is not the key of a label: {reason}"))
    })
}

fn topology(key: &str) -> Option<String> {
    let reason = syntax::label_key(key).err()?;
    Some(format!("topologyKey {key:?} is not the key of a label: {reason}"))
}

fn node_term(term: &NodeSelectorTerm) -> Vec<String> {
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    expressions
        .filter_map(|given| expression(&given.key, &given.operator, given.values.as_deref()))
        .chain(fields.filter_map(|given| field(&given.key, &given.operator, given.values.as_deref())))
        .collect()
}

/// What is wrong with one requirement of a node's field: names are the only ones, one at a time.
fn field(key: &str, operator: &str, values: Option<&[String]>) -> Option<String> {
    if key != "metadata.name" {
        return Some(format!("matchFields knows no {key:?}: metadata.name is the only field"));
    }
    let one = values.is_some_and(|values| values.len() == 1);
    let right = ["In", "NotIn"].contains(&operator) && one;
    (!right).then(|| format!("{key} {operator} in matchFields needs In or NotIn, and exactly one value"))
}

fn selector(selector: &LabelSelector) -> Vec<String> {
    let labels = selector.match_labels.iter().flatten().filter_map(|(key, value)| {
        let reason = label(key, value).err()?;
        Some(format!("\"{key}: {value}\" is not a label: {reason}"))
    });
    let expressions = selector.match_expressions.iter().flatten();
    let wrong = expressions.filter_map(|given| {
        let values = given.values.as_deref();
        expression(&given.key, &given.operator, values).or_else(|| value(&given.key, values))
    });
    labels.chain(wrong).collect()
}

/// What is wrong with the values of a requirement.
fn value(key: &str, values: Option<&[String]>) -> Option<String> {
    values.unwrap_or_default().iter().find_map(|value| {
        let reason = syntax::label_value(value).err()?;
        Some(format!("\"{key}: {value}\" is not a label: {reason}"))
    })
}

/// What is wrong with one requirement.
fn expression(key: &str, operator: &str, values: Option<&[String]>) -> Option<String> {
    let values = values.unwrap_or_default();
    if let Err(reason) = syntax::label_key(key) {
        return Some(format!("{key:?} is not the key of a label: {reason}"));
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => Some(format!("{key} {operator} needs values: list at least one")),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            Some(format!("{key} {operator} takes no values: remove them"))
        }
        "Gt" | "Lt" if values.len() != 1 || values.iter().any(|value| value.parse::<i64>().is_err()) => {
            Some(format!("{key} {operator} needs exactly one value, a whole number"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_owners_below_any_subdomain() {
        for key in ["istio.io/rev", "any.sub.istio.io/x", "Sidecar.Istio.io/x", "a.kubernetes.io/b", "a.k8s.io/b"] {
            assert!(reserved_by(key).is_some(), "{key}");
        }
        for key in ["team", "notistio.io/x", "istio.io.example.com/x", "example.com/istio.io"] {
            assert!(reserved_by(key).is_none(), "{key}");
        }
    }
}
