//! The proxy's server: takes requests, forwards them, and lets them go wrong.

use std::convert::Infallible;
use std::future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::fmt::rfc2822;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::asked::{Asked, Verb, namespace_of};
use super::gate::{Gate, Passage, Release};
use super::journal::Entry;
use super::plan::{Fault, WatchFault};
use super::watch::{Pieces, pieces};
use super::{Hold, Listed, Moment, Shared, Stop};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = Response<Body>;

/// How many earlier answers to a list are kept.
const REMEMBERED: usize = 8;

/// Serves until it is aborted; its connections end with it.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => {
                // A connection that ended before it was taken, or too many open files: the next may fare better.
                let Ok((stream, _)) = taken else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                connections.spawn(connection(stream, shared.clone()));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { shared.answer(request).await }
    });
    // An error ends the connection: that is how the client hears of it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// How a request is dealt with.
struct Course {
    asked: Asked,
    namespace: String,
    fault: Option<Fault>,
    watch_fault: Option<(WatchFault, Duration)>,
    stops: Option<Moment>,
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let mut course = self.course(request.method(), request.uri());
        if *self.halted.borrow() || course.stops == Some(Moment::Before) {
            self.halted.send_replace(true);
            return future::pending().await;
        }
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.collect().await.map_err(io::Error::other)?.to_bytes());
        self.late.passes(&course.asked).await;
        match course.fault {
            Some(Fault::Silence) => {
                self.note(&course, None);
                future::pending().await
            }
            Some(Fault::Reset) => {
                self.note(&course, None);
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(Fault::Stale) => match self.stale(&course, &request) {
                Some(answer) => Ok(answer),
                None => {
                    course.fault = None;
                    self.forward(&course, request).await
                }
            },
            Some(Fault::AnswerLost) | None => self.forward(&course, request).await,
            Some(refused) => {
                self.note(&course, None);
                Ok(refusal(refused))
            }
        }
    }

    /// Decides about a request, which is counted by that.
    fn course(&self, method: &Method, address: &Uri) -> Course {
        let asked = Asked::of(method, address);
        let mut state = self.lock();
        let count = state.counts.entry(asked.clone()).or_default();
        let nth = *count;
        *count += 1;
        let (fault, watch_fault) = match asked.verb {
            Verb::Watch => (None, state.faults.watch(&asked, nth)),
            _ => (state.faults.answer(&asked, nth), None),
        };
        match state.hold.as_mut().filter(|_| asked.writes()) {
            Some(Hold { left: left @ 1.., .. }) => *left -= 1,
            Some(hold) => {
                let resources = std::mem::take(&mut hold.resources);
                state.hold = None;
                self.gate.send_replace(Gate { resources, release: Release::default() });
            }
            None => {}
        }
        let stops = match state.stop.as_mut().filter(|_| asked.writes()) {
            Some(Stop { left: 0, moment }) => Some(*moment),
            Some(Stop { left, .. }) => {
                *left -= 1;
                None
            }
            None => None,
        };
        Course { asked, namespace: namespace_of(address), fault, watch_fault, stops }
    }

    async fn forward(&self, course: &Course, request: Request<Bytes>) -> io::Result<Answer> {
        let address = request.uri().to_string();
        let (mut head, body) = request.into_parts();
        for name in [HOST, ACCEPT_ENCODING, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
            head.headers.remove(name);
        }
        let accepted = head.headers.get(ACCEPT).cloned();
        let onward = Request::from_parts(head, body.to_vec().into());
        let answer = self.client.send(onward).await.map_err(io::Error::other)?;
        let (mut head, body) = answer.into_parts();
        for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
            head.headers.remove(name);
        }
        self.date(&mut head.headers);
        if course.asked.verb == Verb::Watch {
            self.note(course, Some(head.status));
            let (resource, gate, held) = (course.asked.resource.clone(), self.gate.subscribe(), self.held.clone());
            let passage = Passage { resource, gate, held };
            return Ok(Response::from_parts(head, streamed(pieces(body, course.watch_fault, passage))));
        }
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        self.note(course, Some(head.status));
        if course.asked.verb == Verb::List && head.status.is_success() {
            self.remember(address, accepted, body.clone());
        }
        if course.stops == Some(Moment::After) {
            self.halted.send_replace(true);
            return future::pending().await;
        }
        if course.fault == Some(Fault::AnswerLost) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(Response::from_parts(head, whole(body)))
    }

    /// Dates an answer anew, if its clock is to be another one.
    fn date(&self, headers: &mut HeaderMap) {
        let ahead = self.lock().ahead;
        let told = headers.get(DATE).and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
        let Some(moved) = told.filter(|_| !ahead.is_zero()).and_then(|told| told.timestamp().checked_add(ahead).ok())
        else {
            return;
        };
        let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moved).ok();
        if let Some(date) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(DATE, date);
        }
    }

    fn note(&self, course: &Course, code: Option<StatusCode>) {
        let (asked, namespace) = (course.asked.clone(), course.namespace.clone());
        let (code, fault) = (code.map(|code| code.as_u16()), course.fault);
        let entry = Entry { asked, namespace, code, fault, watch_fault: course.watch_fault.map(|(fault, _)| fault) };
        self.lock().journal.push(entry);
    }

    fn remember(&self, address: String, accepted: Option<HeaderValue>, list: Bytes) {
        let mut state = self.lock();
        let Listed { accepts, answers } = state.lists.entry(address).or_default();
        *accepts = accepted;
        if answers.len() == REMEMBERED {
            answers.remove(0);
        }
        answers.push(list);
    }

    /// Forgets the earlier answers to lists, but for how they would be now.
    pub(super) async fn remember_now(&self) -> io::Result<()> {
        let known: Vec<_> = self.lock().lists.iter().map(|(at, listed)| (at.clone(), listed.accepts.clone())).collect();
        for (address, accepts) in known {
            let mut request = Request::get(&address).body(Vec::new().into()).map_err(io::Error::other)?;
            if let Some(accepts) = &accepts {
                request.headers_mut().insert(ACCEPT, accepts.clone());
            }
            let answer = self.client.send(request).await.map_err(io::Error::other)?;
            if !answer.status().is_success() {
                return Err(io::Error::other(format!("{address} cannot be listed: {}", answer.status())));
            }
            let list = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            self.lock().lists.insert(address, Listed { accepts, answers: vec![list] });
        }
        Ok(())
    }

    /// The oldest answer that is known.
    fn stale(&self, course: &Course, request: &Request<Bytes>) -> Option<Answer> {
        let list = self.lock().lists.get(&request.uri().to_string())?.answers.first()?.clone();
        self.note(course, None);
        Some(of_json(StatusCode::OK, list))
    }
}

fn refusal(fault: Fault) -> Answer {
    let (code, reason) = match fault {
        Fault::Conflict => (StatusCode::CONFLICT, "Conflict"),
        Fault::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Fault::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        Fault::Expired => (StatusCode::GONE, "Expired"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "code": code.as_u16(), "message": format!("{reason}, by the fault proxy"),
    });
    let mut answer = of_json(code, status.to_string().into());
    if code == StatusCode::TOO_MANY_REQUESTS {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn of_json(code: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn streamed(pieces: Pieces) -> Body {
    StreamBody::new(pieces).boxed_unsync()
}
