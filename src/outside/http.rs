//! The one HTTP client: no redirects, no proxies, an end to every answer in time and length, and faults in words.

use std::{
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, Client, ClientBuilder, Method, Response, Url, header::HeaderMap, redirect::Policy};

use crate::{api, validate::syntax::printable};

use super::Error;

/// Longest answer that is read.
pub const MAX_ANSWER: usize = 1 << 20;
/// How much is read of an answer whose status says it all: more than is told.
const MAX_GLANCE: usize = 4 << 10;
/// Longest part of an answer that is told.
const MAX_TOLD: usize = 200;
/// Shorter texts are not looked for in what is told: they would be found everywhere.
const SHORTEST_SECRET: usize = 4;
/// Shorter parts of an address are words rather than secrets.
const SHORTEST_PART: usize = 8;

const AGENT: &str = concat!("microservice-operator/", env!("CARGO_PKG_VERSION"));

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    /// What is sent with every request of a provider.
    pub access: Access,
    pub content_type: Option<&'static str>,
    pub body: String,
}

/// How a provider is reached: who is asking, who is trusted, and how long that may take.
#[derive(Clone, Default)]
pub struct Access {
    pub headers: HeaderMap,
    /// PEM certificates that are trusted instead of the system's.
    pub trusted: Option<Vec<u8>>,
    pub timeout: Duration,
    /// Texts that are told to nobody.
    pub secrets: Vec<String>,
}

impl Access {
    /// The same, with what follows the host of an address among the texts that are told to nobody, and its longer parts:
    /// answers repeat it.
    pub fn hiding(mut self, url: &Url) -> Self {
        let whole = [Some(url.path()), url.query()].into_iter().flatten().map(str::to_owned);
        let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        let parts = segments.chain(values).filter(|part| part.len() >= SHORTEST_PART);
        self.secrets.extend(whole.chain(parts));
        // What has others in it is looked for first.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// An answer with a status of success, or one that its provider explains itself.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Clients by whom they trust; they keep connections.
#[derive(Default)]
pub struct Http {
    /// For plain HTTP, which trusts nobody.
    plain: Mutex<Option<Client>>,
    /// Trusts whom the system trusts.
    system: Mutex<Option<Client>>,
}

impl Http {
    /// Sends a request.
    ///
    /// # Errors
    /// When there is no whole answer in time, or a redirect. Any other status is an answer.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let (address, timeout) = (shown(&request.url), request.access.timeout);
        let mut answer = self.begin(request).await?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| told(error, &address, timeout))? {
            if body.len() + part.len() > MAX_ANSWER {
                return Err(Error::TooLong { address, limit: MAX_ANSWER });
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status: answer.status().as_u16(), body })
    }

    /// Sends a request whose answer is its status. Of the body there is the beginning, as far as it comes, where that is no
    /// success.
    ///
    /// # Errors
    /// When there is no status in time, or a redirect.
    pub async fn call(&self, request: Request) -> Result<Answer, Error> {
        let mut answer = self.begin(request).await?;
        let (status, mut body) = (answer.status(), Vec::new());
        if !status.is_success() {
            while body.len() < MAX_GLANCE
                && let Ok(Some(part)) = answer.chunk().await
            {
                body.extend_from_slice(&part);
            }
            body.truncate(MAX_GLANCE);
        }
        Ok(Answer { status: status.as_u16(), body })
    }

    /// Sends a request and waits for the head of its answer.
    async fn begin(&self, request: Request) -> Result<Response, Error> {
        let address = shown(&request.url);
        let Access { headers, trusted, timeout, secrets: _ } = &request.access;
        let client = self.client(&request.url, trusted.as_deref())?;
        let mut asked = client.request(request.method, request.url).headers(headers.clone()).timeout(*timeout);
        if let Some(content_type) = request.content_type {
            asked = asked.header(reqwest::header::CONTENT_TYPE, content_type).body(request.body);
        }
        let answer = asked.send().await.map_err(|error| told(error, &address, *timeout))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(Error::Redirect { address, status: status.as_u16() });
        }
        Ok(answer)
    }

    fn client(&self, url: &Url, trusted: Option<&[u8]>) -> Result<Client, Error> {
        if url.scheme() == "http" {
            return kept(&self.plain, || build(base().tls_certs_only([])));
        }
        let Some(pem) = trusted else { return kept(&self.system, || build(base())) };
        let unreadable = || Error::Certificates { field: "spec.caSecret" };
        let certificates = Certificate::from_pem_bundle(pem).map_err(|_| unreadable())?;
        if certificates.is_empty() {
            return Err(unreadable());
        }
        build(base().tls_certs_only(certificates)).map_err(|_| unreadable())
    }
}

fn base() -> ClientBuilder {
    Client::builder().user_agent(AGENT).redirect(Policy::none()).no_proxy()
}

fn build(builder: ClientBuilder) -> Result<Client, Error> {
    builder.build().map_err(|error| Error::Client(deepest(&error)))
}

fn kept(slot: &Mutex<Option<Client>>, make: impl FnOnce() -> Result<Client, Error>) -> Result<Client, Error> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = slot.as_ref() {
        return Ok(client.clone());
    }
    let client = make()?;
    *slot = Some(client.clone());
    Ok(client)
}

fn told(error: reqwest::Error, address: &str, timeout: Duration) -> Error {
    let address = address.to_owned();
    let error = error.without_url();
    if error.is_timeout() {
        let after = api::Duration::from_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)).to_string();
        return Error::Late { address, after };
    }
    let why = deepest(&error);
    if error.is_body() || error.is_decode() {
        Error::Broken { address, why }
    } else {
        Error::Unreachable { address, why }
    }
}

/// The innermost cause, which is the one that people can do something about.
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match error.source() {
        Some(_) => cause.to_string(),
        None => error.to_string(),
    }
}

/// An address as it may be told: without what follows its host, as some addresses let in whoever knows them.
pub fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The beginning of an answer's text on one line, without what is secret, and with what a terminal would obey escaped.
pub fn excerpt(text: &str, access: &Access) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in access.secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
        text = text.replace(secret.as_str(), "***");
    }
    let text = printable(&text);
    match text.char_indices().nth(MAX_TOLD) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

/// What a status means that is none of success; `said` is what the provider says of it.
pub fn refused(url: &Url, status: u16, said: &str, access: &Access) -> Error {
    let address = shown(url);
    match status {
        401 | 403 => Error::Forbidden { address, status },
        _ => Error::Status { address, status, said: added(said, &access.clone().hiding(url)) },
    }
}

/// What somebody says, as the end of a sentence about them; nothing if they say nothing.
pub fn added(said: &str, access: &Access) -> String {
    let said = excerpt(said, access);
    if said.is_empty() { said } else { format!(": {said}") }
}
