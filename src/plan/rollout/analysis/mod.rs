//! Analyses: which measurements are due, what they came to, and what has not passed yet. Pure.

mod verdict;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;

use crate::{
    api::{AnalysisRun, MeasurementResult, Metric, MetricRun, Protocol},
    plan::inquiry::{Asked, Calls, Inquiry, Measure, Question, Reply},
    validate::{Analysis, Validated, digest::digest},
};

use super::version::time;

use verdict::Verdict;

/// Digits of the digest of what is asked.
const ASKED_LENGTH: usize = 8;
/// Characters of a query that the status keeps.
const MAX_QUERY: usize = 2_048;
/// Characters of a query that a message has.
const MAX_TOLD: usize = 120;

/// One analysis on its way.
pub struct Course<'a> {
    pub service: &'a Validated,
    pub policy: &'a Analysis,
    /// Sets the ids of its inquiries apart from those of other analyses of the rollout.
    pub scope: &'a str,
    /// The rollout that it belongs to.
    pub target: &'a str,
    /// The versions that are measured.
    pub versions: Vec<&'a str>,
    /// The version that they are compared with.
    pub baseline: Option<&'a str>,
    /// From this time on the versions carry what they carry now: no measurement looks back beyond it.
    pub since: &'a MicroTime,
}

/// What a measurement means for the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// A version has failed, for this reason.
    Failed(String),
    /// There were too many errors in a row.
    Blind(String),
}

/// A measurement that is next for its metric and version.
struct Due {
    metric: Metric,
    version: String,
    /// Digest of what is asked, and of what is good enough.
    question: String,
    /// What it is asked under.
    id: String,
    at: Timestamp,
}

impl Due {
    fn entry<'a>(&self, run: &'a AnalysisRun) -> Option<&'a MetricRun> {
        entry(run, &self.metric, &self.version, &self.question)
    }
}

impl Course<'_> {
    /// Notes the replies that were waited for. Answers the gravest consequence.
    pub fn note(&self, run: &mut AnalysisRun, replies: &[Reply]) -> Option<Consequence> {
        let (mut failed, mut blind) = (None, None);
        run.metrics.retain(|entry| self.policy.metrics.iter().any(|metric| metric.name == entry.name));
        let Analysis { failure_limit, consecutive_error_limit, .. } = self.policy;
        for due in self.dues(run) {
            let Some(reply) = replies.iter().find(|reply| reply.id == due.id) else { continue };
            let entry = record(run, &due, reply, verdict::of(&due, self.policy, self.baseline, reply));
            let MetricRun { name, version, message, taken, failed: failures, consecutive_errors: errors, .. } = &entry;
            let query = entry.query.as_deref().map(told).unwrap_or_default();
            if entry.result == MeasurementResult::Failed && failures > failure_limit {
                failed.get_or_insert(format!(
                    "{version} fails its analysis: {name} {message} ({failures} of {taken} measurements{query})"
                ));
            }
            if entry.result == MeasurementResult::Error && errors > consecutive_error_limit {
                blind.get_or_insert(format!(
                    "{name} of {version} cannot be measured: {message} ({errors} times in a row{query})"
                ));
            }
        }
        failed.map(Consequence::Failed).or_else(|| blind.map(Consequence::Blind))
    }

    /// What is to be asked now.
    pub fn inquiries(&self, run: &AnalysisRun, now: Timestamp) -> Vec<Inquiry> {
        let due = self.dues(run).into_iter().filter(|due| due.at <= now);
        due.map(|due| Inquiry { question: Question::Measure(self.measure(&due)), id: due.id }).collect()
    }

    /// When the next measurement is due by time alone.
    pub fn next(&self, run: &AnalysisRun, now: Timestamp) -> Option<Timestamp> {
        self.dues(run).into_iter().map(|due| due.at).filter(|at| *at > now).min()
    }

    /// What has not passed at the present weights.
    pub fn not_passed(&self, run: &AnalysisRun) -> Option<String> {
        let first = self.first();
        self.lacking(run, |entry| {
            entry.result == MeasurementResult::Passed && first.is_some_and(|first| entry.at.0 >= first)
        })
    }

    /// When the provider has numbers of a whole interval at the present weights.
    fn first(&self) -> Option<Timestamp> {
        let known = self.since.0.checked_add(self.policy.delay.signed()).ok()?;
        known.checked_add(self.policy.interval.signed()).ok()
    }

    /// What has not passed often enough.
    pub fn not_counted(&self, run: &AnalysisRun) -> Option<String> {
        self.lacking(run, |entry| entry.passed >= self.policy.count)
    }

    fn lacking(&self, run: &AnalysisRun, passed: impl Fn(&MetricRun) -> bool) -> Option<String> {
        let lacking = self.dues(run).into_iter().find_map(|due| match due.entry(run) {
            Some(entry) if passed(entry) => None,
            Some(entry) if entry.at.0 > self.since.0 => {
                Some(format!("{} of {}: {}", entry.name, entry.version, entry.message))
            }
            _ => Some(format!("{} of {} is yet to be measured", due.metric.name, due.version)),
        });
        lacking.map(|what| format!("its analysis: {what}"))
    }

    fn dues(&self, run: &AnalysisRun) -> Vec<Due> {
        let pairs =
            self.versions.iter().flat_map(|version| self.policy.metrics.iter().map(|metric| (metric, *version)));
        pairs
            .filter_map(|(metric, version)| {
                let question = self.question(metric);
                let entry = entry(run, metric, version, &question);
                let next = entry.and_then(|entry| entry.at.0.checked_add(self.policy.interval.signed()).ok());
                let (Self { target, scope, .. }, began) = (self, run.since.0.as_microsecond());
                let number = entry.map_or(0, |entry| entry.taken);
                let baseline = metric.baseline.as_ref().and(self.baseline).unwrap_or_default();
                Some(Due {
                    // What is asked is a part of it, as an edit or a baseline that comes and goes make another question.
                    id: format!("{target}/{scope}/{began}/{version}/{}/{number}/{question}/{baseline}", metric.name),
                    metric: metric.clone(),
                    version: version.to_owned(),
                    question,
                    at: self.first()?.max(next.unwrap_or(Timestamp::MIN)),
                })
            })
            .collect()
    }

    /// What is asked of a metric, and what is good enough, as a digest.
    fn question(&self, metric: &Metric) -> String {
        let Analysis { provider, interval, min_requests, on_no_data, .. } = self.policy;
        digest(&json!([metric, provider, interval, min_requests, on_no_data]), ASKED_LENGTH)
    }

    fn measure(&self, due: &Due) -> Measure {
        let asked = match (&due.metric.query, due.metric.kind) {
            (None, Some(kind)) => Asked::Ready(kind),
            (query, _) => Asked::Query(query.clone().unwrap_or_default()),
        };
        Measure {
            provider: self.policy.provider.clone(),
            count: self.policy.min_requests.is_some() || matches!(asked, Asked::Ready(_)),
            metric: asked,
            namespace: self.service.identity.namespace.clone(),
            service: self.service.identity.name.clone(),
            ports: self.service.ports.iter().map(|port| port.port).collect(),
            calls: self.calls(),
            version: due.version.clone(),
            baseline: due.metric.baseline.as_ref().and(self.baseline).map(str::to_owned),
            window: self.policy.interval,
        }
    }

    fn calls(&self) -> Calls {
        let protocols = || self.service.ports.iter().map(|port| port.protocol).filter(|it| *it != Protocol::Tcp);
        match protocols().filter(|protocol| *protocol == Protocol::Grpc).count() {
            0 => Calls::None,
            count if count == protocols().count() => Calls::All,
            _ => Calls::Some,
        }
    }
}

/// What is known of a metric; nothing when something else was asked under its name.
fn entry<'a>(run: &'a AnalysisRun, metric: &Metric, version: &str, question: &str) -> Option<&'a MetricRun> {
    let asked = |entry: &&MetricRun| entry.question.as_deref().is_none_or(|asked| asked == question);
    run.metrics.iter().find(|entry| entry.name == metric.name && entry.version == version).filter(asked)
}

/// A query as messages tell it; the status has more of it.
fn told(query: &str) -> String {
    let head: String = query.chars().take(MAX_TOLD).collect();
    format!("; query: {head}{}", if head.len() < query.len() { "…" } else { "" })
}

/// Notes what a measurement came to. Answers the whole of what is known of the metric.
fn record(run: &mut AnalysisRun, due: &Due, reply: &Reply, verdict: Verdict) -> MetricRun {
    let known = due.entry(run);
    let (taken, passed, failed, errors) =
        known.map_or((0, 0, 0, 0), |it| (it.taken, it.passed, it.failed, it.consecutive_errors));
    let is = |result| i32::from(verdict.result == result);
    let entry = MetricRun {
        name: due.metric.name.clone(),
        version: due.version.clone(),
        at: time(reply.at),
        taken: taken + 1,
        passed: passed + is(MeasurementResult::Passed),
        failed: failed + is(MeasurementResult::Failed),
        consecutive_errors: (errors + 1) * is(MeasurementResult::Error),
        query: reply.query.as_ref().map(|query| query.chars().take(MAX_QUERY).collect()),
        question: Some(due.question.clone()),
        result: verdict.result,
        message: verdict.message,
    };
    run.metrics.retain(|entry| entry.name != due.metric.name || entry.version != due.version);
    run.metrics.push(entry.clone());
    run.metrics.sort_by(|a, b| (&a.version, &a.name).cmp(&(&b.version, &b.name)));
    entry
}
