//! What the rollout policy measures.

use crate::{
    api::{MicroserviceSpec, Protocol},
    validate::{Analysis, Problem, Step, Validated, syntax::placeholders},
};

/// What a query may have replaced in it.
pub const PLACEHOLDERS: [&str; 4] = ["version", "service", "namespace", "window"];

/// The analyses of the policy, with where they stand.
fn analyses(resolved: &Validated) -> Vec<(String, &Analysis)> {
    let Some(policy) = &resolved.rollout else { return Vec::new() };
    let of_steps = policy.steps.iter().enumerate().filter_map(|(index, step)| match step {
        Step::Analysis(analysis) => Some((format!("spec.rollout.steps[{index}].analysis"), analysis)),
        _ => None,
    });
    let background = policy.analysis.iter().map(|analysis| ("spec.rollout.analysis".to_owned(), analysis));
    background.chain(of_steps).collect()
}

/// A placeholder that nothing replaces would be asked of the provider as it stands.
pub(super) fn queries_have_known_placeholders(_: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    let unknown = analyses(resolved).into_iter().flat_map(|(path, analysis)| {
        analysis.metrics.iter().filter_map(move |metric| {
            let unknown = placeholders(metric.query.as_ref()?).find(|name| !PLACEHOLDERS.contains(name))?;
            let message = format!(
                "${{{unknown}}} is replaced by nothing: a query may have {}",
                PLACEHOLDERS.map(|name| format!("${{{name}}}")).join(", ")
            );
            Some(Problem::new(format!("{path}.metrics[{}].query", metric.name), message))
        })
    });
    unknown.collect()
}

/// A connection has no answers to count and to time.
pub(super) fn ready_made_metrics_have_requests(_: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    if resolved.ports.iter().any(|port| port.protocol != Protocol::Tcp) {
        return Vec::new();
    }
    let kinds = analyses(resolved).into_iter().flat_map(|(path, analysis)| {
        analysis.metrics.iter().filter_map(move |metric| {
            let message = format!(
                "{:?} is of requests, and all ports of the service speak TCP: give a query of your own",
                metric.kind?
            );
            Some(Problem::new(format!("{path}.metrics[{}].kind", metric.name), message))
        })
    });
    kinds.collect()
}
