//! Credentials of providers: read when they are needed, kept no longer than that.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::api::provider::{AnalysisProviderSpec, SecretKey};

use super::{Error, datadog, http::Access};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the API server may take over a Secret.
const PATIENCE: Duration = Duration::from_secs(10);

/// The entries of a Secret.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// Where Secrets are.
pub trait Secrets: Send + Sync {
    /// The entries of the Secret of that name.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Entries, Error>>;
}

/// Secrets of the operator's own namespace.
pub struct ClusterSecrets {
    api: Api<Secret>,
}

impl ClusterSecrets {
    /// Those of the namespace that the operator runs in.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }

    async fn get(&self, name: &str) -> Result<Entries, Error> {
        let failed = |why: String| Error::Secret { name: name.to_owned(), why };
        let answer = tokio::time::timeout(PATIENCE, self.api.get(name)).await;
        let answer = answer.map_err(|_| failed("the API server gave no answer".to_owned()))?;
        let secret = answer.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 403 => {
                failed("the operator may not: give it `get` on it (the chart's analysisProviders.secrets)".to_owned())
            }
            kube::Error::Api(status) if status.code == 404 => {
                let namespace = self.api.namespace().unwrap_or_default();
                failed(format!("there is none in {namespace}; create it there"))
            }
            other => failed(other.to_string()),
        })?;
        Ok(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
    }
}

impl Secrets for ClusterSecrets {
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Entries, Error>> {
        Box::pin(self.get(name))
    }
}

/// How the requests to a provider are made.
pub async fn access(spec: &AnalysisProviderSpec, secrets: &dyn Secrets) -> Result<Access, Error> {
    let timeout = spec.timeout.map_or(TIMEOUT, |timeout| timeout.as_std());
    let mut access = Access { timeout, ..Access::default() };
    for header in &spec.headers {
        let field = format!("the header {:?}", header.name);
        match (&header.value, &header.secret) {
            (_, Some(key)) => {
                let value = text(secrets, key).await?;
                add(&mut access, &header.name, &value, &field)?;
                access.secrets.push(value);
            }
            (Some(value), None) => add(&mut access, &header.name, value, &field)?,
            (None, None) => {}
        }
    }
    if let Some(key) = &spec.bearer_token_secret {
        let token = text(secrets, key).await?;
        add(&mut access, AUTHORIZATION.as_str(), &format!("Bearer {token}"), "spec.bearerTokenSecret")?;
        access.secrets.push(token);
    }
    if let Some(basic) = &spec.basic_auth {
        let password = text(secrets, &basic.password_secret).await?;
        let encoded = BASE64_STANDARD.encode(format!("{}:{password}", basic.username));
        add(&mut access, AUTHORIZATION.as_str(), &format!("Basic {encoded}"), "spec.basicAuth")?;
        access.secrets.extend([password, encoded]);
    }
    if let Some(datadog) = &spec.datadog {
        let keys = [
            (datadog::API_KEY, &datadog.api_key_secret, "spec.datadog.apiKeySecret"),
            (datadog::APPLICATION_KEY, &datadog.application_key_secret, "spec.datadog.applicationKeySecret"),
        ];
        for (header, key, field) in keys {
            let value = text(secrets, key).await?;
            add(&mut access, header, &value, field)?;
            access.secrets.push(value);
        }
    }
    if let Some(key) = &spec.ca_secret {
        access.trusted = Some(entry(secrets, key).await?);
    }
    Ok(access)
}

fn add(access: &mut Access, name: &str, value: &str, field: &str) -> Result<(), Error> {
    let invalid = || Error::Header { field: field.to_owned() };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?;
    value.set_sensitive(true);
    access.headers.append(name, value);
    Ok(())
}

pub(super) async fn entry(secrets: &dyn Secrets, key: &SecretKey) -> Result<Vec<u8>, Error> {
    let why = |why| Error::SecretKey { name: key.name.clone(), key: key.key.clone(), why };
    let mut entries = secrets.read(&key.name).await?;
    let value = entries.remove(&key.key).ok_or_else(|| why("is not there: add it"))?;
    let is_empty = value.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
    if is_empty { Err(why("is empty: fill it")) } else { Ok(value) }
}

/// An entry as text, without the line break that editors leave at the end.
pub(super) async fn text(secrets: &dyn Secrets, key: &SecretKey) -> Result<String, Error> {
    let value = entry(secrets, key).await?;
    let text = String::from_utf8(value).map_err(|_| Error::SecretKey {
        name: key.name.clone(),
        key: key.key.clone(),
        why: "is no text in UTF-8: mend it",
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
