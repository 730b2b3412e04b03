//! A few long-lived HTTP/2 connections, each made anew when it is closed or going away.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;

use super::answer;
use super::ledger::{Answer, Ledger, Loss, LossKind, Ticket};
use super::target::{self, Target, not_connected, reset};

/// Over how many connections a request is sent at most.
pub(super) const RESENT: usize = 5;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) struct Connections {
    pub(super) target: Target,
    pub(super) ledger: Arc<Ledger>,
    /// Locked while the connection is made, so that it is made once.
    slots: Vec<Mutex<Option<SendRequest<Body>>>>,
    next: AtomicUsize,
}

impl Connections {
    pub(super) fn new(target: Target, ledger: Arc<Ledger>, count: usize) -> Self {
        let slots = (0..count).map(|_| Mutex::default()).collect();
        Self { target, ledger, slots, next: AtomicUsize::new(0) }
    }

    pub(super) async fn http(&self, ticket: &mut Ticket) -> Result<Answer, Loss> {
        answer::http(self.send(|| self.target.request(Empty::new().boxed_unsync())).await?, ticket).await
    }

    pub(super) async fn unary(&self, ticket: &mut Ticket) -> Result<Answer, Loss> {
        let body = || Full::new(target::message()).boxed_unsync();
        answer::unary(self.send(|| self.target.request(body())).await?, ticket).await
    }

    /// Sends a request until a server takes it, and waits for the answer's headers.
    async fn send(&self, request: impl Fn() -> Request<Body>) -> Result<Response<Incoming>, Loss> {
        for _ in 0..RESENT {
            match self.try_send(request()).await? {
                Some(response) => return Ok(response),
                None => self.ledger.resend(),
            }
        }
        Err(Loss::new(LossKind::Reset, format!("{RESENT} connections went away before they took the request")))
    }

    /// Sends a request over the next connection in turn, and waits for the answer's headers. None says that no server
    /// has seen it: the connection was closed before it was written, or went away without taking it.
    pub(super) async fn try_send(&self, request: Request<Body>) -> Result<Option<Response<Incoming>>, Loss> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let answer = self.sender(turn).await?.try_send_request(request).await;
        match answer {
            Ok(response) => Ok(Some(response)),
            Err(failure) if failure.message().is_some() || is_refused(failure.error()) => Ok(None),
            Err(failure) => Err(reset(&failure.into_error())),
        }
    }

    async fn sender(&self, turn: usize) -> Result<SendRequest<Body>, Loss> {
        let mut slot = self.slots[turn].lock().await;
        if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), self.target.connection().await?)
            .await
            .map_err(|error| not_connected(&error))?;
        // An error of the connection is one of each request that it carries.
        tokio::spawn(connection);
        *slot = Some(sender.clone());
        Ok(sender)
    }
}

/// Whether the connection is going away in good order, and this request is above those that its server still answers.
/// Requests that it took fail otherwise, should it be cut.
fn is_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|error| error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}
