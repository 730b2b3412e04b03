//! What a rollout names of an administrator's, where some of the kind are given as well.

use std::collections::BTreeSet;

use crate::{
    api::provider::OwnQueries,
    lint::Subject,
    offline::nearest,
    outside::admits,
    validate::{Analysis, Problem, Step},
};

use super::given::{Given, Made};

/// An analysis asks a provider that is not among those given: it holds the weights, and pauses at last.
pub(super) fn unknown_provider(subject: &Subject, given: &Given) -> Vec<Problem> {
    analyses(subject)
        .filter_map(|(path, analysis)| {
            unknown(format!("{path}.provider"), "AnalysisProvider", &analysis.provider, &given.providers)
        })
        .collect()
}

/// A rollout calls a webhook that is not among those given: if it is asked, nothing is promoted.
pub(super) fn unknown_webhook(subject: &Subject, given: &Given) -> Vec<Problem> {
    webhooks(subject).filter_map(|(path, webhook)| unknown(path, "RolloutWebhook", webhook, &given.webhooks)).collect()
}

/// An analysis asks a provider that is for other namespaces.
pub(super) fn closed_provider(subject: &Subject, given: &Given) -> Vec<Problem> {
    let (namespace, _) = subject.key();
    analyses(subject)
        .filter(|(_, analysis)| {
            all_refuse(&analysis.provider, &given.providers, |spec| !admits(&spec.namespaces, namespace))
        })
        .map(|(path, analysis)| closed(format!("{path}.provider"), "AnalysisProvider", &analysis.provider, namespace))
        .collect()
}

/// A rollout calls a webhook that is for other namespaces.
pub(super) fn closed_webhook(subject: &Subject, given: &Given) -> Vec<Problem> {
    let (namespace, _) = subject.key();
    webhooks(subject)
        .filter(|(_, webhook)| all_refuse(webhook, &given.webhooks, |spec| !admits(&spec.namespaces, namespace)))
        .map(|(path, webhook)| closed(path, "RolloutWebhook", webhook, namespace))
        .collect()
}

/// A metric has a query of its own, and its provider answers none.
pub(super) fn denied_query(subject: &Subject, given: &Given) -> Vec<Problem> {
    let denies = |analysis: &Analysis| {
        all_refuse(&analysis.provider, &given.providers, |spec| spec.own_queries == OwnQueries::Deny)
    };
    analyses(subject)
        .filter(|(_, analysis)| denies(analysis))
        .flat_map(|(path, analysis)| {
            let own = analysis.metrics.iter().filter(|metric| metric.query.is_some());
            own.map(move |metric| {
                let message = format!(
                    "the AnalysisProvider {} answers no own queries: use a ready-made kind, or have an administrator set \
                     its spec.ownQueries to Allow",
                    analysis.provider
                );
                Problem::new(format!("{path}.metrics[{}].query", metric.name), message)
            })
        })
        .collect()
}

/// The analyses of a rollout, with their places.
fn analyses(subject: &Subject) -> impl Iterator<Item = (String, &Analysis)> {
    let policy = subject.resolved.rollout.as_ref();
    let along = policy.and_then(|policy| policy.analysis.as_ref());
    let along = along.map(|analysis| ("spec.rollout.analysis".to_owned(), analysis));
    let steps = policy.into_iter().flat_map(|policy| &policy.steps).enumerate();
    let of_steps = steps.filter_map(|(index, step)| match step {
        Step::Analysis(analysis) => Some((format!("spec.rollout.steps[{index}].analysis"), analysis)),
        _ => None,
    });
    along.into_iter().chain(of_steps)
}

/// The names of the webhooks of a rollout, with their places.
fn webhooks(subject: &Subject) -> impl Iterator<Item = (String, &str)> {
    let hooks = subject.resolved.rollout.iter().flat_map(|policy| &policy.webhooks).enumerate();
    hooks.map(|(index, hook)| (format!("spec.rollout.webhooks[{index}].webhook"), hook.webhook.as_str()))
}

fn unknown<S>(path: String, kind: &str, name: &str, given: &[Made<S>]) -> Option<Problem> {
    if given.is_empty() || given.iter().any(|made| made.name == name) {
        return None;
    }
    let names: BTreeSet<&str> = given.iter().map(|made| made.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let advice = match nearest(name, &names) {
        Some(meant) => format!(": did you mean {meant}?"),
        None => format!(": there is {}", names.join(", ")),
    };
    Some(Problem::new(path, format!("no {kind} named {name} is in the given files{advice}")))
}

/// Whether one of a name is given, and whichever of that name is applied refuses.
fn all_refuse<S>(name: &str, given: &[Made<S>], refuses: impl Fn(&S) -> bool) -> bool {
    let mut named = given.iter().filter(|made| made.name == name).peekable();
    named.peek().is_some() && named.all(|made| made.spec.as_ref().is_some_and(&refuses))
}

fn closed(path: String, kind: &str, name: &str, namespace: &str) -> Problem {
    let message = format!(
        "the {kind} {name} is not for the namespace {namespace}: name another one, or have an administrator add \
         {namespace} to its spec.namespaces"
    );
    Problem::new(path, message)
}
