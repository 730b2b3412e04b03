//! Anything that answers an HTTP request with JSON: an administrator says where the number stands in it.

use std::fmt;

use jiff::Timestamp;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::{
    api::provider::{self, HttpProvider},
    plan::inquiry::{Asked, Measure},
};

use super::{
    Error,
    http::{self, Access, Http, Request},
    provider::Provider,
    query::{Escape, Words, fill, words},
};

const NAME: &str = "a provider of http";
const KIND: &str = "${kind}";
const QUERY: &str = "${query}";
/// The kind by which the requests of the window are asked for.
const REQUESTS: &str = "Requests";

/// An HTTP endpoint.
pub struct Json<'a> {
    pub http: &'a Http,
    pub settings: &'a HttpProvider,
    pub access: Access,
}

/// A request that comes to one number.
#[derive(Clone, Debug, PartialEq)]
pub struct Phrase {
    method: Method,
    url: Url,
    body: Option<String>,
    query: Option<String>,
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.query {
            Some(query) => f.write_str(query),
            None => write!(f, "{} {}", self.method, http::shown(&self.url)),
        }
    }
}

impl Json<'_> {
    fn has(&self, placeholder: &str) -> bool {
        let HttpProvider { url, body, .. } = self.settings;
        url.contains(placeholder) || body.as_ref().is_some_and(|body| body.contains(placeholder))
    }

    fn request(&self, words: &Words<'_>, query: Option<String>) -> Result<Phrase, Error> {
        let HttpProvider { url, method, body, value: _ } = self.settings;
        let url = fill(url, words, Escape::Url)?;
        Ok(Phrase {
            method: match method {
                provider::Method::Get => Method::GET,
                provider::Method::Post => Method::POST,
            },
            url: Url::parse(&url).map_err(|_| Error::Address)?,
            body: body.as_ref().map(|body| fill(body, words, Escape::Json)).transpose()?,
            query,
        })
    }
}

fn seconds(measure: &Measure) -> String {
    measure.window.as_std().as_secs().max(1).to_string()
}

impl Provider for Json<'_> {
    type Phrase = Phrase;

    fn phrase(&self, measure: &Measure, version: &str) -> Result<Phrase, Error> {
        let mut words = words(measure, version, seconds(measure));
        let mut query = None;
        match &measure.metric {
            Asked::Ready(_) if !self.has(KIND) => {
                return Err(Error::NotReady { provider: NAME, hint: " unless its url or body has ${kind}" });
            }
            Asked::Ready(kind) => words.push(("kind", format!("{kind:?}"))),
            Asked::Query(_) if !self.has(QUERY) => {
                return Err(Error::NoQuery { provider: NAME, hint: "its url or body has no ${query}" });
            }
            Asked::Query(text) => {
                let text = fill(text, &words, Escape::Plain)?;
                query = Some(text.clone());
                words.push(("query", text));
            }
        }
        // What a metric does not have is empty where a provider takes both.
        words.extend(["kind", "query"].map(|word| (word, String::new())));
        self.request(&words, query)
    }

    fn count(&self, measure: &Measure) -> Result<Phrase, Error> {
        if !self.has(KIND) {
            return Err(Error::NoCount(NAME));
        }
        let mut words = words(measure, &measure.version, seconds(measure));
        words.extend([("kind", REQUESTS.to_owned()), ("query", String::new())]);
        self.request(&words, None)
    }

    async fn number(&self, phrase: &Phrase, _: &Measure, _: Timestamp) -> Result<Option<f64>, Error> {
        let request = Request {
            method: phrase.method.clone(),
            url: phrase.url.clone(),
            access: self.access.clone(),
            content_type: phrase.body.is_some().then_some("application/json"),
            body: phrase.body.clone().unwrap_or_default(),
        };
        let answer = self.http.send(request).await?;
        if !(200..300).contains(&answer.status) {
            let said = String::from_utf8_lossy(&answer.body);
            return Err(http::refused(&phrase.url, answer.status, &said, &self.access));
        }
        let strange = || Error::Strange { address: http::shown(&phrase.url), expected: "JSON" };
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| strange())?;
        match body.pointer(&self.settings.value) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            // Some write numbers as text, for NaN and the infinite ones.
            Some(Value::String(text)) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Error::Kind { found: "a text".to_owned() }),
            },
            Some(Value::Array(_)) => Err(Error::Kind { found: "a list".to_owned() }),
            Some(Value::Object(_)) => Err(Error::Kind { found: "an object".to_owned() }),
            Some(Value::Bool(_)) => Err(Error::Kind { found: "true or false".to_owned() }),
        }
    }
}
