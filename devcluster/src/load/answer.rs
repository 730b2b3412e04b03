//! Reads an answer to its end.

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::ledger::{Answer, Loss, LossKind, Status, Ticket};
use super::target::reset;
use crate::grpc::{self, Deframer};

/// Tells which version answered.
const VERSION: &str = "x-version";
/// How much of a failure's body is kept, in characters.
const KEPT: usize = 120;
/// How much of it is read for that, in bytes; the rest is let go.
const READ: usize = 4 * KEPT;

/// The version that the headers tell; empty if none.
pub(super) fn version(headers: &HeaderMap) -> String {
    text(headers, VERSION).unwrap_or_default()
}

pub(super) async fn http(response: Response<Incoming>, ticket: &mut Ticket) -> Result<Answer, Loss> {
    let (head, mut body) = response.into_parts();
    let version = version(&head.headers);
    ticket.answered_by(&version);
    let mut begin = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| reset(&error))?;
        if let Some(data) = frame.data_ref()
            && begin.len() < READ
        {
            begin.extend_from_slice(data);
        }
    }
    let status = Status::Http(head.status.as_u16());
    let detail = if status.is_success() { String::new() } else { describe(&head.headers, &begin) };
    Ok(Answer { version, status, detail })
}

/// Reads the answer of a unary call: one message and a status, or a status alone.
pub(super) async fn unary(response: Response<Incoming>, ticket: &mut Ticket) -> Result<Answer, Loss> {
    if response.status() != StatusCode::OK {
        return http(response, ticket).await;
    }
    let (head, mut body) = response.into_parts();
    let version = version(&head.headers);
    ticket.answered_by(&version);
    let mut outcome = grpc_status(&head.headers);
    let mut deframer = Deframer::default();
    let mut messages = 0;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| reset(&error))?.into_data() {
            Ok(data) => deframer.push(&data),
            Err(frame) => outcome = frame.trailers_ref().and_then(grpc_status).or(outcome),
        }
        while deframer.next().map_err(|error| reset(&error))?.is_some() {
            messages += 1;
        }
    }
    match outcome {
        None => Err(Loss::new(LossKind::Reset, "the call ended without a grpc-status")),
        Some((grpc::OK, _)) if messages != 1 => {
            Err(Loss::new(LossKind::Reset, format!("the call was answered by {messages} messages instead of one")))
        }
        Some((status, detail)) => Ok(Answer { version, status: Status::Grpc(status), detail }),
    }
}

/// The status and message of a call that ends with these headers or trailers.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<(u32, String)> {
    let status = text(headers, grpc::STATUS)?.parse().unwrap_or(grpc::UNKNOWN);
    Some((status, text(headers, grpc::MESSAGE).unwrap_or_default()))
}

/// What a failure's headers and the beginning of its body tell of its cause.
pub(super) fn describe(headers: &HeaderMap, body: &[u8]) -> String {
    let mut parts: Vec<String> = headers
        .iter()
        .filter(|(name, _)| *name == http::header::SERVER || name.as_str().starts_with("x-envoy-"))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let body: String = String::from_utf8_lossy(body).trim().chars().take(KEPT).collect();
    if !body.is_empty() {
        parts.push(body);
    }
    parts.join("; ")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_who_made_it() {
        let mut headers = HeaderMap::new();
        headers.insert("server", "envoy".parse().unwrap());
        headers.insert("date", "today".parse().unwrap());
        headers.insert("x-envoy-overloaded", "true".parse().unwrap());
        let body = format!(" no healthy upstream {}", "é".repeat(200));
        let text = describe(&headers, body.as_bytes());
        assert!(text.starts_with("server: envoy; x-envoy-overloaded: true; no healthy upstream é"), "{text}");
        assert_eq!(text.split("; ").last().unwrap().chars().count(), 120);
    }

    #[test]
    fn a_status_that_is_no_number_is_unknown() {
        let mut headers = HeaderMap::new();
        assert_eq!(grpc_status(&headers), None);
        headers.insert("grpc-status", "14".parse().unwrap());
        headers.insert("grpc-message", "gone".parse().unwrap());
        assert_eq!(grpc_status(&headers), Some((14, "gone".into())));
        headers.insert("grpc-status", "no".parse().unwrap());
        assert_eq!(grpc_status(&headers).unwrap().0, 2);
    }
}
