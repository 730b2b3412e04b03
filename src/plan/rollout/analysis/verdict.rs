//! What one measurement came to, in a word and in words. Pure.

use crate::{
    api::{MeasurementResult, Metric, MetricKind, OnNoData},
    plan::inquiry::{Finding, Reading, Reply},
    validate::Analysis,
};

use super::Due;

/// Decimals beyond which two numbers are told as the same.
const MAX_DECIMALS: usize = 9;

/// What a measurement came to.
pub(super) struct Verdict {
    pub result: MeasurementResult,
    /// With the measured value and what it should be.
    pub message: String,
}

/// Judges a measurement.
pub(super) fn of(due: &Due, policy: &Analysis, baseline: Option<&str>, reply: &Reply) -> Verdict {
    let verdict = |result, message| Verdict { result, message };
    let reading = match &reply.finding {
        Err(error) => return verdict(MeasurementResult::Error, error.clone()),
        Ok(Finding::Measured(reading)) => reading,
        Ok(Finding::Called(_)) => return verdict(MeasurementResult::Error, "the answer is no number".to_owned()),
    };
    let value = match enough(due, policy, reading) {
        Ok(value) => value,
        Err(why) => {
            let (result, message) = without_data(policy, &format!("no data: {why}"));
            return verdict(result, message);
        }
    };
    let unit = Unit(due.metric.kind);
    let judged = match limits(&due.metric, value, &unit) {
        failed @ Some((MeasurementResult::Failed, _)) => failed,
        limited => against((&due.metric, policy), baseline, value, reading, &unit).or(limited),
    };
    let (result, message) = judged.unwrap_or_else(|| (MeasurementResult::Passed, unit.of(value)));
    verdict(result, message)
}

/// What a measurement without data comes to, and how it is told.
fn without_data(policy: &Analysis, why: &str) -> (MeasurementResult, String) {
    let (result, then) = match policy.on_no_data {
        OnNoData::Wait => (MeasurementResult::Inconclusive, ""),
        OnNoData::Fail => (MeasurementResult::Failed, ", which fails by onNoData"),
        OnNoData::Pass => (MeasurementResult::Passed, ", which passes by onNoData"),
    };
    (result, format!("{why}{then}"))
}

/// The value, if there is one and it stands on enough requests.
fn enough(due: &Due, policy: &Analysis, reading: &Reading) -> Result<f64, String> {
    let least = policy.min_requests.or_else(|| due.metric.kind.map(|_| 1));
    if let (Some(least), Some(requests)) = (least, reading.requests)
        && requests < f64::from(least)
    {
        let asked = if least > 1 { format!(", and {least} are asked for") } else { String::new() };
        return Err(format!("{} got {requests:.0} requests in {}{asked}", due.version, policy.interval));
    }
    reading.value.ok_or_else(|| match due.metric.kind {
        Some(_) => format!("the provider has none of {} in {}", due.version, policy.interval),
        None => "the query comes to nothing".to_owned(),
    })
}

fn limits(metric: &Metric, value: f64, unit: &Unit) -> Option<(MeasurementResult, String)> {
    let told = |sign: &str, limit: f64| {
        let (value, limit) = unit.both(value, limit);
        format!("{value} {sign} {limit}")
    };
    match (metric.min, metric.max) {
        (Some(min), _) if value < min => Some((MeasurementResult::Failed, told("<", min))),
        (_, Some(max)) if value > max => Some((MeasurementResult::Failed, told(">", max))),
        (Some(min), _) => Some((MeasurementResult::Passed, told("≥", min))),
        (None, Some(max)) => Some((MeasurementResult::Passed, told("≤", max))),
        (None, None) => None,
    }
}

/// How the value stands to that of the version that served before; nothing when no such version gets requests any more.
fn against(
    (metric, policy): (&Metric, &Analysis),
    baseline: Option<&str>,
    value: f64,
    reading: &Reading,
    unit: &Unit,
) -> Option<(MeasurementResult, String)> {
    let asked = metric.baseline.as_ref()?;
    let name = baseline?;
    let Some(before) = reading.baseline else {
        return Some(without_data(policy, &format!("no data of {name} to compare with")));
    };
    let (told, reference) = unit.both(value, before);
    let beyond = |limit: f64, than: &str| {
        (MeasurementResult::Failed, format!("{told} is over {} {than} the {reference} of {name}", unit.of(limit)))
    };
    if let Some(limit) = asked.max_decrease.filter(|limit| before - value > *limit) {
        return Some(beyond(limit, "less than"));
    }
    if let Some(limit) = asked.max_increase.filter(|limit| value - before > *limit) {
        return Some(beyond(limit, "more than"));
    }
    Some((MeasurementResult::Passed, format!("{told} beside the {reference} of {name}")))
}

/// Unit of a metric in words.
struct Unit(Option<MetricKind>);

impl Unit {
    fn of(&self, value: f64) -> String {
        self.with(value, 1)
    }

    /// Two numbers, with as many decimals as tell them apart.
    fn both(&self, a: f64, b: f64) -> (String, String) {
        let same = a == b;
        let decimals = (1..MAX_DECIMALS).find(|decimals| same || self.with(a, *decimals) != self.with(b, *decimals));
        let decimals = decimals.unwrap_or(MAX_DECIMALS);
        (self.with(a, decimals), self.with(b, decimals))
    }

    fn with(&self, value: f64, decimals: usize) -> String {
        let number = format!("{value:.decimals$}");
        let number = number.trim_end_matches('0').trim_end_matches('.');
        let number = if number == "-0" { "0" } else { number };
        match self.0 {
            Some(MetricKind::SuccessRate) => format!("{number} %"),
            Some(MetricKind::LatencyP50 | MetricKind::LatencyP95 | MetricKind::LatencyP99) => format!("{number} ms"),
            Some(MetricKind::Throughput) => format!("{number} requests/s"),
            None => number.to_owned(),
        }
    }
}
