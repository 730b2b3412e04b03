//! What every kind of provider does, and how a measurement is taken with any of them.

use std::{fmt, future::Future};

use futures::future::{OptionFuture, try_join3};
use jiff::Timestamp;

use crate::{
    api::MetricKind,
    plan::inquiry::{Asked, Measure, Reading},
};

use super::Error;

/// A kind of provider.
pub trait Provider: Sync {
    /// What is sent to come to one number; as text it is what people are told.
    type Phrase: fmt::Display + PartialEq + Send + Sync;

    /// What a metric of a version comes from. Pure.
    fn phrase(&self, measure: &Measure, version: &str) -> Result<Self::Phrase, Error>;

    /// What the requests that a version got come from. Pure.
    fn count(&self, measure: &Measure) -> Result<Self::Phrase, Error>;

    /// The number that a phrase comes to at a time; none where there is no data.
    fn number(
        &self,
        phrase: &Self::Phrase,
        measure: &Measure,
        at: Timestamp,
    ) -> impl Future<Output = Result<Option<f64>, Error>> + Send;
}

/// What came of a measurement, and what was asked, as far as it was known.
pub struct Measured {
    pub query: Option<String>,
    pub reading: Result<Reading, Error>,
}

/// Takes a measurement; all its numbers are of the same time.
pub async fn measure<P: Provider>(provider: &P, measure: &Measure, at: Timestamp) -> Measured {
    let phrase = match provider.phrase(measure, &measure.version) {
        Ok(phrase) => phrase,
        Err(error) => return Measured { query: None, reading: Err(error) },
    };
    let query = Some(phrase.to_string());
    Measured { reading: read(provider, &phrase, measure, at).await, query }
}

async fn read<P: Provider>(
    provider: &P,
    phrase: &P::Phrase,
    measure: &Measure,
    at: Timestamp,
) -> Result<Reading, Error> {
    let baseline = measure.baseline.as_deref().map(|version| provider.phrase(measure, version)).transpose()?;
    if matches!(measure.metric, Asked::Query(_)) && baseline.as_ref() == Some(phrase) {
        return Err(Error::SameForAll);
    }
    let count = measure.count.then(|| provider.count(measure)).transpose()?;
    let ask = |phrase: Option<P::Phrase>| async move {
        let number = phrase.as_ref().map(|phrase| provider.number(phrase, measure, at));
        OptionFuture::from(number).await.transpose().map(Option::flatten)
    };
    let counting = measure.count;
    let (value, baseline, requests) =
        try_join3(provider.number(phrase, measure, at), ask(baseline), ask(count)).await?;
    let bounded = |value: Option<f64>| finite(value).map(|value| within(&measure.metric, value));
    Ok(Reading {
        value: bounded(value)?,
        baseline: bounded(baseline)?,
        requests: counting.then(|| finite(requests)).transpose()?.map(|requests| requests.unwrap_or_default().round()),
    })
}

fn finite(value: Option<f64>) -> Result<Option<f64>, Error> {
    match value {
        Some(value) if value.is_infinite() => Err(Error::Infinite),
        Some(value) if value.is_nan() => Ok(None),
        other => Ok(other),
    }
}

/// A share is one, however the counters that it is made from were read.
fn within(metric: &Asked, value: Option<f64>) -> Option<f64> {
    match metric {
        Asked::Ready(MetricKind::SuccessRate) => value.map(|value| value.clamp(0.0, 100.0)),
        _ => value,
    }
}
