//! A long gRPC stream whose messages are the requests: the server answers each with one message, in order.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{self, UnboundedSender};
use http::StatusCode;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::answer::{describe, grpc_status, version};
use super::http2::{Body, Connections, RESENT};
use super::ledger::{Answer, Loss, LossKind, Status, Ticket};
use super::target::{message, reset};
use crate::grpc::{self, Deframer};

/// Sends the messages that come, over one stream after the other, until no more can come and all have an outcome.
pub(super) async fn run(connections: Arc<Connections>, mut inbox: UnboundedReceiver<Ticket>, timeout: Duration) {
    let mut first = VecDeque::new();
    let mut refused = 0;
    loop {
        if first.is_empty() {
            let Some(ticket) = inbox.recv().await else { return };
            first.push_back(ticket);
        }
        let (sender, messages) = mpsc::unbounded();
        let stream = Stream { connections: &connections, sent: Mutex::default(), closing: Notify::new(), timeout };
        let body = StreamBody::new(messages.map(Ok::<_, Infallible>)).boxed_unsync();
        let end = tokio::select! {
            biased;
            // Before the others, so that the first messages are the stream's when it ends at once.
            end = stream.write(take(&mut first), sender, &mut inbox) => end,
            end = stream.watch() => end,
            end = stream.read(body) => end,
        };
        refused = if matches!(end, End::Refused) { refused + 1 } else { 0 };
        if refused > 0 && refused < RESENT {
            connections.ledger.resend();
            first = stream.sent().pending.split_off(0);
        }
        stream.end(&end);
    }
}

struct Stream<'a> {
    connections: &'a Connections,
    sent: Mutex<Sent>,
    /// The server asks for the stream's end.
    closing: Notify,
    timeout: Duration,
}

/// What the stream's tasks share.
#[derive(Default)]
struct Sent {
    /// The messages without an answer, in the order in which they were sent.
    pending: VecDeque<Ticket>,
    opened: bool,
    version: String,
}

/// How a stream ended.
enum End {
    /// With a gRPC status.
    Status(u32, String),
    /// Before any server saw it.
    Refused,
    /// Otherwise.
    Broken(Loss),
}

impl Stream<'_> {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until the server or the load asks for the end; then the stream is closed on this side.
    async fn write(
        &self,
        first: VecDeque<Ticket>,
        sender: UnboundedSender<Frame<Bytes>>,
        inbox: &mut UnboundedReceiver<Ticket>,
    ) -> End {
        let send = |ticket| {
            self.sent().pending.push_back(ticket);
            // It fails once the stream is gone, which its reader sees, too.
            let _ = sender.unbounded_send(Frame::data(message()));
        };
        first.into_iter().for_each(send);
        loop {
            tokio::select! {
                biased;
                () = self.closing.notified() => break,
                ticket = inbox.recv() => match ticket {
                    Some(ticket) => send(ticket),
                    None => break,
                },
            }
        }
        drop(sender);
        std::future::pending().await
    }

    /// Opens the stream, and reads it to its end.
    async fn read(&self, body: Body) -> End {
        let response = match self.connections.try_send(self.connections.target.request(body)).await {
            Ok(Some(response)) => response,
            Ok(None) => return End::Refused,
            Err(loss) => return End::Broken(loss),
        };
        let (head, mut body) = response.into_parts();
        if head.status != StatusCode::OK {
            let kind = LossKind::Status(head.status.as_u16());
            return End::Broken(Loss::new(kind, describe(&head.headers, b"")));
        }
        if let Some((status, message)) = grpc_status(&head.headers) {
            return End::Status(status, message);
        }
        self.connections.ledger.streams(|streams| streams.opened += 1);
        {
            let mut sent = self.sent();
            sent.opened = true;
            sent.version = version(&head.headers);
        }
        let mut deframer = Deframer::default();
        while let Some(frame) = body.frame().await {
            let data = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(frame)) => match frame.trailers_ref().and_then(grpc_status) {
                    Some((status, message)) => return End::Status(status, message),
                    None => continue,
                },
                Err(error) => return End::Broken(reset(&error)),
            };
            deframer.push(&data);
            loop {
                match deframer.next() {
                    Ok(None) => break,
                    Ok(Some(message)) => {
                        if let Err(loss) = self.answered(&message) {
                            return End::Broken(loss);
                        }
                    }
                    Err(error) => return End::Broken(reset(&error)),
                }
            }
        }
        End::Broken(Loss::new(LossKind::Reset, "the stream ended without a grpc-status"))
    }

    /// The oldest message is answered. An empty message answers none: it asks for the end of the stream.
    fn answered(&self, message: &[u8]) -> Result<(), Loss> {
        if message.is_empty() {
            self.closing.notify_one();
            return Ok(());
        }
        let oldest = self.sent().pending.pop_front();
        let oldest = oldest.ok_or_else(|| Loss::new(LossKind::Reset, "more answers came than messages were sent"))?;
        let version = String::from_utf8_lossy(message).into_owned();
        oldest.settle(Ok(Answer { version, status: Status::Grpc(grpc::OK), detail: String::new() }));
        Ok(())
    }

    /// Returns when a message has waited for too long: the next answer would be taken for that of another one.
    async fn watch(&self) -> End {
        loop {
            let oldest = self.sent().pending.front().map(Ticket::sent);
            let deadline = oldest.unwrap_or_else(Instant::now) + self.timeout;
            if deadline <= Instant::now() {
                let message = format!("a message of this stream was not answered in {:?}", self.timeout);
                return End::Broken(Loss::new(LossKind::Timeout, message));
            }
            sleep_until(deadline).await;
        }
    }

    /// What was sent and not answered is lost.
    fn end(self, end: &End) {
        let Sent { pending, opened, version } = self.sent.into_inner().unwrap_or_else(PoisonError::into_inner);
        if opened {
            self.connections.ledger.streams(|streams| match end {
                End::Status(status, _) => *streams.ended.entry(*status).or_default() += 1,
                End::Refused | End::Broken(_) => streams.broken += 1,
            });
        }
        for mut ticket in pending {
            ticket.answered_by(&version);
            ticket.settle(Err(match end {
                End::Status(status, message) => {
                    let message = format!("the stream ended before the answer; {message}");
                    Loss::new(LossKind::GrpcStatus(*status), message.trim_end_matches("; "))
                }
                End::Refused => Loss::new(LossKind::Reset, "connections went away before they took the stream"),
                End::Broken(Loss { kind, message }) => Loss::new(*kind, message),
            }));
        }
    }
}
