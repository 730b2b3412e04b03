//! Providers and the desk against a small real HTTP server.

mod desk;
mod herald;
mod http;
mod json;
mod prometheus;
mod server;
mod webhook;

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{core::DeserializeGuard, runtime::watcher};
use serde_json::{Value, json};

use crate::{
    api::{AnalysisProvider, Duration, MetricKind},
    observe::Providers,
    plan::inquiry::{Asked, Calls, Finding, Inquiry, Measure, Question, Reading, Reply},
    telemetry::Metrics,
};

use super::{
    Error, Office,
    credentials::{Entries, Secrets},
};

const TOKEN: &str = "s3cr3t-t0ken";
const CA: &str = "-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n";

/// One Secret, named `keys`.
struct Given;

impl Secrets for Given {
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Entries, Error>> {
        let entries =
            BTreeMap::from([("token", format!("{TOKEN}\n")), ("ca", CA.to_owned()), ("line", "\r\n".to_owned())]);
        let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value.into_bytes())).collect();
        let known = name == "keys";
        let missing = || Error::Secret { name: name.to_owned(), why: "it does not exist; create it".to_owned() };
        Box::pin(async move { if known { Ok(entries) } else { Err(missing()) } })
    }
}

/// An office that knows these providers.
async fn office(providers: &[(&str, Value)]) -> (Arc<Office>, Arc<Metrics>) {
    let known = Arc::new(Providers::default());
    let object = |(name, spec): &(&str, Value)| {
        let metadata = ObjectMeta { name: Some((*name).to_owned()), ..ObjectMeta::default() };
        let spec = serde_json::from_value(spec.clone()).unwrap();
        watcher::Event::InitApply(DeserializeGuard(Ok(AnalysisProvider { metadata, spec })))
    };
    let events =
        [watcher::Event::Init].into_iter().chain(providers.iter().map(object)).chain([watcher::Event::InitDone]);
    known.feed(futures::stream::iter(events.map(Ok))).await;
    let metrics = Arc::new(Metrics::default());
    (Arc::new(Office::new(known, Arc::new(Given), metrics.clone())), metrics)
}

fn measure(metric: Asked) -> Measure {
    Measure {
        provider: "default".to_owned(),
        metric,
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        ports: vec![80],
        calls: Calls::None,
        version: "v2".to_owned(),
        baseline: None,
        window: Duration::from_secs(60),
        count: false,
    }
}

fn ready(kind: MetricKind) -> Measure {
    measure(Asked::Ready(kind))
}

fn own(query: &str) -> Measure {
    measure(Asked::Query(query.to_owned()))
}

fn inquiry(id: &str, measure: Measure) -> Inquiry {
    Inquiry { id: id.to_owned(), question: Question::Measure(measure) }
}

/// What one provider, named `default`, is told of a measurement.
async fn reply(provider: Value, measure: Measure) -> Reply {
    office(&[("default", provider)]).await.0.answer(&inquiry("1", measure)).await
}

async fn reading(provider: Value, measure: Measure) -> Result<Reading, String> {
    reply(provider, measure).await.finding.map(|finding| {
        let Finding::Measured(reading) = finding else { panic!("{finding:?} is no measurement") };
        reading
    })
}

async fn fault(provider: Value, measure: Measure) -> String {
    reading(provider, measure).await.expect_err("an error")
}

fn prometheus(url: &str) -> Value {
    json!({"prometheus": {"url": url, "stats": "Envoy"}, "ownQueries": "Allow"})
}

/// What Prometheus answers to a query of these values.
fn vector(values: &[&str]) -> String {
    let result: Vec<Value> = values.iter().map(|value| json!({"metric": {}, "value": [1.5, value]})).collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
}
