//! Datadog: own queries, each to one number over the window.

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::plan::inquiry::{Asked, Measure};

use super::{
    Error,
    http::{self, Access, Http, Request},
    provider::Provider,
    query::{Escape, fill, words},
};

const NAME: &str = "Datadog";
const PATH: &str = "/api/v2/query/scalar";

/// The headers of the two keys.
pub const API_KEY: &str = "DD-API-KEY";
pub const APPLICATION_KEY: &str = "DD-APPLICATION-KEY";

/// Datadog's API.
pub struct Datadog<'a> {
    pub http: &'a Http,
    pub url: String,
    pub access: Access,
}

impl Provider for Datadog<'_> {
    type Phrase = String;

    fn phrase(&self, measure: &Measure, version: &str) -> Result<String, Error> {
        match &measure.metric {
            Asked::Ready(_) => Err(Error::NotReady { provider: NAME, hint: ": give the metric a query" }),
            Asked::Query(query) => fill(query, &words(measure, version, seconds(measure).to_string()), Escape::Datadog),
        }
    }

    fn count(&self, _: &Measure) -> Result<String, Error> {
        Err(Error::NoCount(NAME))
    }

    async fn number(&self, phrase: &String, measure: &Measure, at: Timestamp) -> Result<Option<f64>, Error> {
        let base = self.url.trim_end_matches('/');
        let url = Url::parse(&format!("{base}{PATH}")).map_err(|_| Error::Address)?;
        let from = at.saturating_sub(SignedDuration::from_secs(seconds(measure)));
        let from = from.unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond();
        let query = json!({"data_source": "metrics", "name": "a", "query": phrase, "aggregator": "avg"});
        let attributes =
            json!({"from": from, "to": at.as_millisecond(), "queries": [query], "formulas": [{"formula": "a"}]});
        let request = Request {
            method: Method::POST,
            url: url.clone(),
            access: self.access.clone(),
            content_type: Some("application/json"),
            body: json!({"data": {"type": "scalar_request", "attributes": attributes}}).to_string(),
        };
        let answer = self.http.send(request).await?;
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let errors = body.as_ref().and_then(|body| body.get("errors")).map(said).unwrap_or_default();
        if !(200..300).contains(&answer.status) || !errors.is_empty() {
            return Err(http::refused(&url, answer.status, &errors, &self.access));
        }
        let strange = || Error::Strange { address: http::shown(&url), expected: "answer of Datadog" };
        let columns = body.as_ref().and_then(|body| body.pointer("/data/attributes/columns")?.as_array());
        let columns = columns.ok_or_else(strange)?;
        let Some(column) = columns.iter().find(|column| column.get("type").and_then(Value::as_str) == Some("number"))
        else {
            return Ok(None);
        };
        match column.get("values").and_then(Value::as_array).map(Vec::as_slice) {
            Some([] | [Value::Null]) => Ok(None),
            Some([one]) => one.as_f64().map(Some).ok_or_else(strange),
            Some(many) => Err(Error::Many { count: many.len(), with: "sum:…{…} without by {…}" }),
            None => Err(strange()),
        }
    }
}

/// A list of errors, or one, as text.
fn said(errors: &Value) -> String {
    match errors {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(said).collect::<Vec<_>>().join("; "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn seconds(measure: &Measure) -> i64 {
    i64::try_from(measure.window.as_std().as_secs()).unwrap_or(i64::MAX).max(1)
}
