//! Calling webhooks: who may, what is sent, how it is signed, and what an answer means.

use std::time::Duration;

use futures::future::BoxFuture;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{Api, Client};
use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::json;
use sha2::Sha256;
use thiserror::Error as ThisError;

use crate::{
    api::{RolloutWebhook, RolloutWebhookSpec},
    observe::Clock,
    plan::inquiry::{Call, Occurrence, Verdict},
};

use super::{
    Error, admits,
    credentials::{Secrets, entry, text},
    http::{Access, Http, Request, added, excerpt, shown},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES: i32 = 3;
/// How long the API server may take over a RolloutWebhook.
const PATIENCE: Duration = Duration::from_secs(10);
const SIGNATURE: HeaderName = HeaderName::from_static("x-microservice-signature");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why a webhook did not decide.
#[derive(Debug, ThisError)]
pub enum Fault {
    #[error("no RolloutWebhook {0:?} exists: name another one, or have an administrator create it")]
    Unknown(String),
    #[error("the RolloutWebhook {name:?} cannot be read: {why}")]
    Unseen { name: String, why: String },
    #[error(
        "the RolloutWebhook {name:?} is not for the namespace {namespace:?}: name another one, or have an \
         administrator add it to spec.namespaces"
    )]
    OtherNamespaces { name: String, namespace: String },
    #[error("the url of the RolloutWebhook {0:?} cannot be used: mend it")]
    Address(String),
    #[error("the signing secret of the RolloutWebhook {0:?} cannot be used")]
    Key(String),
    #[error("{address} answered {status}{said}")]
    Status { address: String, status: u16, said: String },
    #[error("{address} cannot be reached: {why}; see that it runs and that the url of the RolloutWebhook is right")]
    Unreachable { address: String, why: String },
    #[error("{address} gave no answer within {after}; see how it does, or raise spec.timeout of the RolloutWebhook")]
    Late { address: String, after: String },
    #[error(
        "{address} answered {status} and points elsewhere, which is not followed: give that url in the RolloutWebhook"
    )]
    Redirect { address: String, status: u16 },
    #[error(transparent)]
    Other(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable { address, why } => Self::Unreachable { address, why },
            Error::Late { address, after } => Self::Late { address, after },
            Error::Redirect { address, status } => Self::Redirect { address, status },
            other => Self::Other(other),
        }
    }
}

impl Fault {
    /// Whether the same call may fare better in a moment.
    fn passes(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Unreachable { .. } | Self::Late { .. })
    }
}

/// Where RolloutWebhooks are.
pub trait Webhooks: Send + Sync {
    /// The one of that name.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RolloutWebhookSpec, Fault>>;
}

/// Those of the cluster. They are read when they are called, which is a few times a rollout.
pub struct ClusterWebhooks {
    api: Api<RolloutWebhook>,
}

impl ClusterWebhooks {
    pub fn new(client: Client) -> Self {
        Self { api: Api::all(client) }
    }

    async fn read(&self, name: &str) -> Result<RolloutWebhookSpec, Fault> {
        let unseen = |why: String| Fault::Unseen { name: name.to_owned(), why };
        let answer = tokio::time::timeout(PATIENCE, self.api.get(name)).await;
        let answer = answer.map_err(|_| unseen("the API server gave no answer".to_owned()))?;
        answer.map(|webhook| webhook.spec).map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => Fault::Unknown(name.to_owned()),
            kube::Error::Api(status) if status.code == 403 => unseen(
                "the operator may not; have it installed with the right to RolloutWebhooks (analysisProviders.read)"
                    .to_owned(),
            ),
            other => unseen(other.to_string()),
        })
    }
}

impl Webhooks for ClusterWebhooks {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RolloutWebhookSpec, Fault>> {
        Box::pin(self.read(name))
    }
}

/// One webhook, with everything that a call of it needs.
pub struct Webhook<'a> {
    http: &'a Http,
    url: Url,
    access: Access,
    key: Option<Vec<u8>>,
    retries: i32,
    /// Time before the first further attempt; it doubles.
    pause: Duration,
}

impl<'a> Webhook<'a> {
    /// The webhook that a call names, if it may.
    ///
    /// # Errors
    /// There is none, it is not for the namespace, or its secrets cannot be read.
    pub async fn of(
        call: &Call,
        spec: &RolloutWebhookSpec,
        secrets: &dyn Secrets,
        http: &'a Http,
        pause: Duration,
    ) -> Result<Self, Fault> {
        let name = || call.webhook.clone();
        if !admits(&spec.namespaces, &call.namespace) {
            return Err(Fault::OtherNamespaces { name: name(), namespace: call.namespace.clone() });
        }
        let url = Url::parse(&spec.url).map_err(|_| Fault::Address(name()))?;
        // The API server refuses such an address; this holds for one that was let in before.
        if url.scheme() != "https" && !(url.scheme() == "http" && spec.allow_http) {
            return Err(Fault::Address(name()));
        }
        let timeout = spec.timeout.map_or(TIMEOUT, |timeout| timeout.as_std());
        let mut access = Access { timeout, ..Access::default() }.hiding(&url);
        let mut key = None;
        if let Some(secret) = &spec.signing_secret {
            let value = text(secrets, secret).await?;
            key = Some(value.clone().into_bytes());
            access.secrets.push(value);
        }
        if let Some(secret) = &spec.ca_secret {
            access.trusted = Some(entry(secrets, secret).await?);
        }
        Ok(Self { http, url, access, key, retries: spec.retries.unwrap_or(RETRIES), pause })
    }

    /// Calls it, several times if need be, each of them signed with the time of the clock.
    ///
    /// # Errors
    /// Nothing that it answered decides.
    pub async fn call(&self, call: &Call, clock: &Clock) -> Result<Verdict, Fault> {
        let body = body(call);
        let mut pause = self.pause;
        let mut left = self.retries;
        loop {
            match self.attempt(call, &body, clock.now()).await {
                Err(fault) if fault.passes() && left > 0 => {}
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            left -= 1;
        }
    }

    async fn attempt(&self, call: &Call, body: &str, now: Timestamp) -> Result<Verdict, Fault> {
        let headers = self.headers(call, body, now)?;
        let access = Access { headers, ..self.access.clone() };
        let request = Request {
            method: Method::POST,
            url: self.url.clone(),
            access,
            content_type: Some("application/json"),
            body: body.to_owned(),
        };
        let answer = self.http.call(request).await?;
        let said = String::from_utf8_lossy(&answer.body);
        match answer.status {
            200..=299 => Ok(Verdict::Passed),
            408 | 425 | 429 => Err(self.fault(answer.status, &said)),
            400..=499 => Ok(Verdict::Refused(excerpt(&said, &self.access))),
            status => Err(self.fault(status, &said)),
        }
    }

    fn fault(&self, status: u16, said: &str) -> Fault {
        Fault::Status { address: shown(&self.url), status, said: added(said, &self.access) }
    }

    fn headers(&self, call: &Call, body: &str, now: Timestamp) -> Result<HeaderMap, Fault> {
        let invalid = |_| Fault::Key(call.webhook.clone());
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_str(&call.key).map_err(invalid)?);
        if let Some(key) = &self.key {
            let signature = signature(key, now, body).ok_or_else(|| Fault::Key(call.webhook.clone()))?;
            headers.insert(SIGNATURE, HeaderValue::from_str(&signature).map_err(invalid)?);
        }
        Ok(headers)
    }
}

/// `t=<seconds>,v1=<hex of the HMAC-SHA256 of seconds, a dot and the body>`.
pub fn signature(key: &[u8], now: Timestamp, body: &str) -> Option<String> {
    let seconds = now.as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{seconds}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("t={seconds},v1={hex}"))
}

/// What is sent.
fn body(call: &Call) -> String {
    let Call {
        webhook: _,
        key,
        moment,
        namespace,
        service,
        uid,
        target,
        step,
        weights,
        requested,
        stable,
        message,
        parameters,
        event,
    } = call;
    let mut body = json!({
        "id": key,
        "moment": moment,
        "microservice": service,
        "namespace": namespace,
        "uid": uid,
        "target": target,
        "step": step,
        "weights": weights,
        "requestedWeights": requested,
        "stableWeights": stable,
        "message": message,
        "parameters": parameters,
    });
    if let Some(Occurrence { warning, reason, message, at }) = event {
        let type_ = if *warning { "Warning" } else { "Normal" };
        body["event"] = json!({"type": type_, "reason": reason, "message": message, "time": MicroTime(*at)});
    }
    body.to_string()
}
