//! The latest measurements of a rollout's analyses. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::{AnalysisRun, MeasurementResult, MetricRun, RolloutStatus};

use super::output::{Paint, Tone, age, tame};

/// The latest measurement of one metric of one version.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    pub version: String,
    pub metric: String,
    pub result: MeasurementResult,
    /// With the measured value and what it should be.
    pub message: String,
    pub passed: i32,
    pub taken: i32,
    pub at: Timestamp,
}

/// Those all along the way, then those of the latest step that is an analysis.
pub fn of(rollout: &RolloutStatus) -> Vec<Measurement> {
    let runs: [&Option<AnalysisRun>; 2] = [&rollout.analysis, &rollout.step_analysis];
    let metrics = runs.into_iter().flatten().flat_map(|run| &run.metrics);
    let measurement = |metric: &MetricRun| Measurement {
        version: metric.version.clone(),
        metric: metric.name.clone(),
        result: metric.result,
        message: tame(&metric.message),
        passed: metric.passed,
        taken: metric.taken,
        at: metric.at.0,
    };
    metrics.map(measurement).collect()
}

/// Such as `✔ p99 of v2: 210 ms ≤ 500 ms  3 of 3 passed, the latest 20s ago`.
pub fn told(measurement: &Measurement, now: Timestamp, paint: Paint) -> String {
    let Measurement { version, metric, result, message, passed, taken, at } = measurement;
    let (tone, mark) = match result {
        MeasurementResult::Passed => (Tone::Good, "✔"),
        MeasurementResult::Failed => (Tone::Bad, "✖"),
        MeasurementResult::Error => (Tone::Bad, "!"),
        MeasurementResult::Inconclusive => (Tone::Moving, "?"),
    };
    let count = format!("  {passed} of {taken} passed, the latest {} ago", age(*at, now));
    format!("{} {metric} of {version}: {message}{}", paint.paint(tone, mark), paint.paint(Tone::Quiet, &count))
}
