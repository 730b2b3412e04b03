//! HTTP/1.1 requests, over connections of their own or over a pool.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};

use super::answer;
use super::ledger::{Answer, Ledger, Loss, Ticket};
use super::target::{Target, not_connected, reset};

type Sender = SendRequest<Empty<Bytes>>;

pub(super) struct Pool {
    target: Target,
    ledger: Arc<Ledger>,
    keep_alive: bool,
    /// Connections that wait for a request; the last one was used last.
    idle: Mutex<Vec<Sender>>,
}

impl Pool {
    pub(super) fn new(target: Target, ledger: Arc<Ledger>, keep_alive: bool) -> Self {
        Self { target, ledger, keep_alive, idle: Mutex::default() }
    }

    pub(super) async fn exchange(&self, ticket: &mut Ticket) -> Result<Answer, Loss> {
        let mut request = self.target.request(Empty::new());
        loop {
            let (mut sender, reused) = match self.idle() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let answer = answer::http(response, ticket).await?;
                    if self.keep_alive {
                        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
                    }
                    return Ok(answer);
                }
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

    /// The idle connection that was used last, and is not known to be closed.
    fn idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        // Its task may not have seen yet that the last answer has ended.
        let last = idle.iter().rposition(Sender::is_ready)?;
        Some(idle.remove(last))
    }

    async fn connect(&self) -> Result<Sender, Loss> {
        let (sender, connection) =
            http1::handshake(self.target.connection().await?).await.map_err(|error| not_connected(&error))?;
        // An error of the connection is one of the request that it carries.
        tokio::spawn(connection);
        Ok(sender)
    }
}
