//! The HTTP requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::app::{App, Body, VERSION};
use super::behaviour::Change;
use super::connection::Peer;
use super::query::Overrides;

/// The longest body of `/control`, in bytes.
const LONGEST_CHANGE: usize = 64 * 1024;

/// What an ordinary request is answered with.
#[derive(Serialize)]
struct Answer<'a> {
    service: &'a str,
    version: &'a str,
    pod: &'a str,
    protocol: String,
    method: &'a str,
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
}

pub(super) async fn handle(app: Arc<App>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
    let mut response = match request.uri().path() {
        "/health" => probe(request.method(), !app.faults().behaviour().unhealthy),
        "/ready" => probe(request.method(), !app.faults().behaviour().unready),
        "/control" => control(&app, &peer, request).await,
        _ => ordinary(&app, request).await,
    };
    response.headers_mut().insert(VERSION, app.version_header.clone());
    response
}

fn probe(method: &Method, good: bool) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return not_allowed("GET");
    }
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond(status, &json!({"ok": good}))
}

async fn control(app: &App, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let body = match Limited::new(request.into_body(), LONGEST_CHANGE).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return bad_request(&error.to_string()),
    };
    let change: Change = match serde_json::from_slice(&body) {
        Ok(change) => change,
        Err(error) => return bad_request(&error.to_string()),
    };
    match app.faults().change(&change) {
        Ok(behaviour) => {
            if behaviour.crash {
                peer.crash_when_answered();
            }
            respond(StatusCode::OK, behaviour)
        }
        Err(error) => bad_request(&error.to_string()),
    }
}

async fn ordinary(app: &App, request: Request<Incoming>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    app.log(&head.method, head.uri.path());
    // An answer before the end of an HTTP/1 request costs its connection.
    while let Some(Ok(_)) = body.frame().await {}
    let overrides = match Overrides::parse(head.uri.query().unwrap_or_default()) {
        Ok(overrides) => overrides,
        Err(error) => return bad_request(&error.to_string()),
    };
    let status = app.ordinary(&overrides).await;
    let mut headers = headers(&head.headers);
    if let Some(authority) = head.uri.authority() {
        headers.entry(HOST.as_str()).or_insert_with(|| authority.to_string());
    }
    let answer = Answer {
        service: &app.service,
        version: &app.version,
        pod: &app.pod,
        protocol: name(head.version),
        method: head.method.as_str(),
        path: head.uri.path(),
        headers,
    };
    respond(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &answer)
}

fn name(version: Version) -> String {
    if version == Version::HTTP_2 { "HTTP/2".into() } else { format!("{version:?}") }
}

/// Headers by name; those that came several times are joined by a comma.
fn headers(map: &HeaderMap) -> BTreeMap<&str, String> {
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in map {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    headers
}

fn not_allowed(method: &'static str) -> Response<Body> {
    let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": format!("the method is {method}")}));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    response
}

fn bad_request(error: &str) -> Response<Body> {
    respond(StatusCode::BAD_REQUEST, &json!({"error": error}))
}

fn respond(status: StatusCode, content: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_vec(content).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
