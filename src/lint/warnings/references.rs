//! What a rollout names of an administrator's, where some of the kind are given as well.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    lint::Subject,
    offline::{name_of, nearest},
    validate::{Problem, Step},
};

/// Names of the AnalysisProviders and RolloutWebhooks that are given. Where there are none, they are elsewhere.
#[derive(Debug, Default)]
pub(in crate::lint) struct Given {
    providers: BTreeSet<String>,
    webhooks: BTreeSet<String>,
}

impl Given {
    /// Notes a manifest, if it is of one of these kinds.
    pub(in crate::lint) fn note(&mut self, manifest: &Value) {
        let names = match manifest["kind"].as_str() {
            Some("AnalysisProvider") => &mut self.providers,
            Some("RolloutWebhook") => &mut self.webhooks,
            _ => return,
        };
        names.insert(name_of(manifest));
    }
}

/// An analysis asks a provider that is not among those given: it holds the weights, and pauses at last.
pub(super) fn unknown_provider(subject: &Subject, given: &Given) -> Vec<Problem> {
    let Some(policy) = &subject.resolved.rollout else { return Vec::new() };
    let of_steps = policy.steps.iter().enumerate().filter_map(|(index, step)| match step {
        Step::Analysis(analysis) => Some((format!("spec.rollout.steps[{index}].analysis.provider"), analysis)),
        _ => None,
    });
    let all = policy.analysis.iter().map(|analysis| ("spec.rollout.analysis.provider".to_owned(), analysis));
    all.chain(of_steps)
        .filter_map(|(path, analysis)| unknown(path, "AnalysisProvider", &analysis.provider, &given.providers))
        .collect()
}

/// A rollout calls a webhook that is not among those given: if it is asked, nothing is promoted.
pub(super) fn unknown_webhook(subject: &Subject, given: &Given) -> Vec<Problem> {
    let hooks = subject.resolved.rollout.iter().flat_map(|policy| &policy.webhooks).enumerate();
    hooks
        .filter_map(|(index, hook)| {
            let path = format!("spec.rollout.webhooks[{index}].webhook");
            unknown(path, "RolloutWebhook", &hook.webhook, &given.webhooks)
        })
        .collect()
}

fn unknown(path: String, kind: &str, name: &str, given: &BTreeSet<String>) -> Option<Problem> {
    if given.is_empty() || given.contains(name) {
        return None;
    }
    let names: Vec<&str> = given.iter().map(String::as_str).collect();
    let advice = match nearest(name, &names) {
        Some(meant) => format!(": did you mean {meant}?"),
        None => format!(": there is {}", names.join(", ")),
    };
    Some(Problem::new(path, format!("no {kind} named {name} is in the given files{advice}")))
}
