//! A few long-lived HTTP/2 connections, each made anew when it is closed or going away.

use std::convert::Infallible;
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
use super::ledger::{Answer, Ledger, Loss, Ticket};
use super::target::{self, Target, not_connected, reset};

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
        answer::http(self.send(self.target.request(Empty::new().boxed_unsync())).await?, ticket).await
    }

    pub(super) async fn unary(&self, ticket: &mut Ticket) -> Result<Answer, Loss> {
        let body = Full::new(target::message()).boxed_unsync();
        answer::unary(self.send(self.target.request(body)).await?, ticket).await
    }

    /// Sends a request over the next connection in turn, and waits for the answer's headers.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Loss> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        loop {
            let (mut sender, reused) = self.sender(turn).await?;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut failure) => match failure.take_message() {
                    Some(unsent) if reused => {
                        self.ledger.resend();
                        request = unsent;
                    }
                    _ => return Err(reset(&failure.into_error())),
                },
            }
        }
    }

    /// A connection, and whether it was there already.
    async fn sender(&self, turn: usize) -> Result<(SendRequest<Body>, bool), Loss> {
        let mut slot = self.slots[turn].lock().await;
        if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), true));
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), self.target.connection().await?)
            .await
            .map_err(|error| not_connected(&error))?;
        // An error of the connection is one of each request that it carries.
        tokio::spawn(connection);
        *slot = Some(sender.clone());
        Ok((sender, false))
    }
}
