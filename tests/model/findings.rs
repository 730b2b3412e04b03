//! What measurements must do to a rollout, by the model's own notes of what was answered.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use microservice_operator::{
    api::{OnFailure, RolloutState, RolloutStatus, Verb},
    observe::Weights,
    plan::inquiry::Question,
    validate::{Analysis, Policy, Step},
};

use crate::{
    desk::{Entry, Says},
    lab::Spec,
    state::State,
};

/// What one try of a rollout gave and what it was answered, as far as the operator wrote down that it knows of it. The
/// query of a metric is its name.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The most that it gave to each version.
    pub height: Weights,
    /// When it last gave more than ever before.
    pub risen: Option<Timestamp>,
    /// When the latest measurement that passed was asked for.
    pub passed: BTreeMap<String, Timestamp>,
    pub failed: BTreeMap<String, i32>,
    /// Errors in a row.
    pub errors: BTreeMap<String, i32>,
    /// Measurements that were noted and are still on the desk.
    pub noted: BTreeSet<String>,
}

impl Findings {
    fn note(&mut self, entry: &Entry, says: Says) {
        let about = entry.about();
        if says == Says::Yes {
            self.passed.insert(about.clone(), entry.at);
        }
        *self.failed.entry(about.clone()).or_default() += i32::from(says == Says::No);
        let errors = self.errors.entry(about).or_default();
        *errors = (*errors + 1) * i32::from(says == Says::Error);
        self.noted.insert(entry.inquiry.id.clone());
    }
}

impl State {
    /// Notes what the route gives more than ever before in this try.
    pub fn note_rise(&mut self, spec: &Spec, before: &Weights, rollout: &RolloutStatus) {
        let same = self.status.rollout.as_ref().is_some_and(|old| old.target == rollout.target);
        if !same || !rollout.state.is_under_way() {
            return;
        }
        for version in &spec.service.versions {
            let (was, is) = (of(before, &version.name), self.weight(&version.name));
            let raised = version.weight > of(&rollout.stable, &version.name);
            if raised && is > was && is > of(&self.findings.height, &version.name) {
                self.findings.height.insert(version.name.clone(), is);
                self.findings.risen = Some(self.now);
            }
        }
    }

    /// Notes the measurements that the operator has just written down. `before` is the rollout as it was written before.
    pub fn note_measurements(&mut self, before: Option<&RolloutStatus>) {
        let Some(rollout) = &self.status.rollout else { return };
        let same = before.is_some_and(|before| before.target == rollout.target);
        if !same || !rollout.state.is_under_way() {
            self.findings = Findings::default();
            return;
        }
        for (entry, says) in self.desk.answered().filter(|(entry, _)| is_of(entry, &rollout.target)) {
            if !self.findings.noted.contains(&entry.inquiry.id) {
                self.findings.note(entry, says);
            }
        }
        self.findings.noted.retain(|id| self.desk.has(id));
    }
}

fn of(weights: &Weights, version: &str) -> i32 {
    weights.get(version).copied().unwrap_or_default()
}

/// It is a measurement of this rollout.
fn is_of(entry: &Entry, target: &str) -> bool {
    matches!(entry.inquiry.question, Question::Measure(_)) && entry.inquiry.id.starts_with(target)
}

/// A plan for the rollout that is written down already, and what it gives more to, though nothing failed elsewhere.
pub struct Measured<'a> {
    pub policy: &'a Policy,
    pub before: &'a State,
    pub after: &'a State,
    pub old: &'a RolloutStatus,
    pub new: &'a RolloutStatus,
    pub risen: Vec<&'a String>,
}

impl Measured<'_> {
    /// `goes_on` is whether nobody has asked for anything.
    pub fn check(&self, goes_on: bool) -> Result<(), String> {
        let mut known = self.before.seen_findings();
        let new = |entry: &Entry| is_of(entry, &self.new.target) && !known.noted.contains(&entry.inquiry.id);
        let replies: Vec<_> = self.before.desk.answered().filter(|(entry, _)| new(entry)).collect();
        replies.iter().for_each(|(entry, says)| known.note(entry, *says));
        self.all_has_passed(&known)?;
        if !goes_on || !self.old.state.is_under_way() {
            return Ok(());
        }
        let beyond = |wanted: Says, counts: &BTreeMap<String, i32>, limit: fn(&Analysis) -> i32| {
            let latest = replies.iter().filter(|(_, says)| *says == wanted).map(|(entry, _)| entry.about());
            latest.into_iter().find(|about| counts[about] > limit(self.analysis_of(about)))
        };
        let failed = beyond(Says::No, &known.failed, |analysis| analysis.failure_limit);
        let blind = beyond(Says::Error, &known.errors, |analysis| analysis.consecutive_error_limit);
        // What a process before this one had measured, and did not come to act upon.
        self.limits_end_it(failed.or_else(|| self.old.verdict.clone()), blind)
    }

    /// No weight goes further up before each metric has passed, looking back on nothing but the present weights.
    fn all_has_passed(&self, known: &Findings) -> Result<(), String> {
        let (Some(analysis), Some(since)) = (&self.policy.analysis, known.risen) else { return Ok(()) };
        let asked = self.before.orders.iter().any(|order| order.verb == Verb::PromoteFull);
        let mut risen = self.risen.iter().filter(|name| self.after.weight(name) > of(&known.height, name));
        let Some(higher) = risen.next().filter(|_| !asked && !self.old.promoted_fully) else { return Ok(()) };
        let whole = since + analysis.interval.signed();
        for metric in &analysis.metrics {
            let about = format!("{} of {higher}", metric.name);
            if known.passed.get(&about).is_none_or(|at| *at < whole) {
                return Err(format!("{higher} was raised before {about} had passed at the present weights"));
            }
        }
        Ok(())
    }

    /// What measurements end a rollout, they end: not before the limit, and not after it.
    fn limits_end_it(&self, failed: Option<String>, blind: Option<String>) -> Result<(), String> {
        let Self { new, old, .. } = self;
        let pauses = self.policy.on_failure == OnFailure::Pause || failed.is_none();
        let ended = new.state == RolloutState::Aborted || (pauses && new.state == RolloutState::Paused);
        if let Some(about) = failed.as_ref().or(blind.as_ref()) {
            let state = new.state;
            return match self.risen.first() {
                _ if !ended => Err(format!("{about} is beyond its limit, and the rollout is {state:?}")),
                Some(name) => Err(format!("{about} is beyond its limit, and somebody raised {name}")),
                None => Ok(()),
            };
        }
        let says = |rollout: &RolloutStatus, words: &str| rollout.message.as_ref().is_some_and(|it| it.contains(words));
        for words in ["fails its analysis", "cannot be measured"] {
            if says(new, words) && !says(old, words) {
                return Err(format!("the rollout is {:?} within the limits of what {words}", new.state));
            }
        }
        Ok(())
    }

    /// The analysis to which a measurement belongs: metrics have names of their own.
    fn analysis_of(&self, about: &str) -> &Analysis {
        let steps = self.policy.steps.iter();
        let of_steps = steps.filter_map(|step| if let Step::Analysis(of) = step { Some(of) } else { None });
        let mut all = of_steps.chain(&self.policy.analysis);
        all.find(|it| it.metrics.iter().any(|metric| about.starts_with(&metric.name))).unwrap()
    }
}
