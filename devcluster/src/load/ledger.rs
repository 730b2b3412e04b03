//! The one place where requests are counted. A [`Ticket`] is a request that was sent; it is consumed by its outcome, and
//! one that is dropped without is lost, so that `sent = answered + lost + in flight` holds at any time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::report::{Latency, Report};
use crate::grpc;

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// By an HTTP status.
    Http(u16),
    /// By a gRPC status.
    Grpc(u32),
}

impl Status {
    /// Whether it is 2xx, or gRPC's OK.
    pub fn is_success(self) -> bool {
        match self {
            Self::Http(status) => (200..300).contains(&status),
            Self::Grpc(status) => status == grpc::OK,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => status.fmt(out),
            Self::Grpc(status) => write!(out, "grpc {status}"),
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossKind {
    /// No connection could be made.
    Connect,
    /// The connection or the HTTP/2 stream ended before the whole answer came.
    Reset,
    /// There was no whole answer in time.
    Timeout,
    /// It was answered by an HTTP status that is not 2xx.
    Status(u16),
    /// It was answered by a gRPC status other than OK; or its stream ended with this status, even OK, before it was
    /// answered.
    GrpcStatus(u32),
}

impl fmt::Display for LossKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => out.write_str("connect"),
            Self::Reset => out.write_str("reset"),
            Self::Timeout => out.write_str("timeout"),
            Self::Status(status) => write!(out, "status {status}"),
            Self::GrpcStatus(status) => write!(out, "grpc status {status}"),
        }
    }
}

/// A request that was not answered, or not with success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Why.
    pub kind: LossKind,
    /// The reason in words: the error, or what the answer's headers and body say.
    pub message: String,
    /// When it was sent, since the load's start.
    pub at: Duration,
    /// The same by the clock on the wall.
    pub time: Timestamp,
    /// How long after that it failed.
    pub after: Duration,
    /// The version that began to answer, if one did.
    pub version: Option<String>,
}

/// What became of gRPC streams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Streams {
    /// How many the server accepted.
    pub opened: u64,
    /// How many of these ended with which gRPC status.
    pub ended: BTreeMap<u32, u64>,
    /// How many of these were cut without one, or given up.
    pub broken: u64,
}

impl Streams {
    /// Whether every stream that ended did so in good order.
    pub fn is_clean(&self) -> bool {
        self.broken == 0 && self.ended.keys().all(|&status| status == grpc::OK)
    }
}

/// The counts of a load at one moment: `sent` is the sum of `answered`, `lost` and `in_flight`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests sent.
    pub sent: u64,
    /// Those that were answered, in whatever way.
    pub answered: u64,
    /// Those of the answered that were not answered with success.
    pub failed: u64,
    /// Those that were not answered.
    pub lost: u64,
    /// Those that are neither answered nor lost yet.
    pub in_flight: u64,
    /// Requests that were not sent, as too many were in flight.
    pub skipped: u64,
    /// The answered, by version; an answer without one counts as the empty string.
    pub by_version: BTreeMap<String, u64>,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) version: String,
    pub(super) status: Status,
    /// What it says, if it is not a success.
    pub(super) detail: String,
}

/// That there was none.
pub(super) struct Loss {
    pub(super) kind: LossKind,
    pub(super) message: String,
}

impl Loss {
    pub(super) fn new(kind: LossKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    started: Instant,
    started_at: Timestamp,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    sent: u64,
    settled: u64,
    skipped: u64,
    resent: u64,
    answered: BTreeMap<(String, Status), u64>,
    failed: Vec<Lost>,
    lost: Vec<Lost>,
    latencies: Vec<Duration>,
    lag: Duration,
    streams: Streams,
}

impl Ledger {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), started_at: Timestamp::now(), book: Mutex::default() })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Counts a request as sent, if fewer than `limit` are in flight, and as skipped otherwise.
    pub(super) fn send(self: &Arc<Self>, due: Instant, limit: u64) -> Option<Ticket> {
        let sent = Instant::now();
        let mut book = self.book();
        book.lag = book.lag.max(sent.saturating_duration_since(due));
        if book.sent - book.settled >= limit {
            book.skipped += 1;
            return None;
        }
        book.sent += 1;
        Some(Ticket { ledger: self.clone(), due, sent, version: None, settled: false })
    }

    /// Notes that a request was never written, and goes over another connection.
    pub(super) fn resend(&self) {
        self.book().resent += 1;
    }

    pub(super) fn streams(&self, note: impl FnOnce(&mut Streams)) {
        note(&mut self.book().streams);
    }

    pub(super) fn counts(&self) -> Counts {
        let book = self.book();
        let mut by_version = BTreeMap::new();
        for ((version, _), count) in &book.answered {
            *by_version.entry(version.clone()).or_default() += count;
        }
        let lost = book.lost.len() as u64;
        Counts {
            sent: book.sent,
            answered: book.settled - lost,
            failed: book.failed.len() as u64,
            lost,
            in_flight: book.sent - book.settled,
            skipped: book.skipped,
            by_version,
        }
    }

    pub(super) fn report(&self) -> Report {
        let book = self.book();
        Report {
            sent: book.sent,
            answered: book.answered.clone(),
            failed: book.failed.clone(),
            lost: book.lost.clone(),
            skipped: book.skipped,
            resent: book.resent,
            latency: Latency::of(book.latencies.clone()),
            lag: book.lag,
            elapsed: self.started.elapsed(),
            streams: book.streams.clone(),
        }
    }

    fn settle(&self, ticket: &Ticket, outcome: Result<Answer, Loss>) {
        let now = Instant::now();
        let at = ticket.sent.saturating_duration_since(self.started);
        let entry = |kind, message, version| Lost {
            kind,
            message,
            at,
            time: self.started_at + at,
            after: now.saturating_duration_since(ticket.sent),
            version,
        };
        let mut book = self.book();
        book.settled += 1;
        match outcome {
            Ok(Answer { version, status, detail }) => {
                if !status.is_success() {
                    let kind = match status {
                        Status::Http(status) => LossKind::Status(status),
                        Status::Grpc(status) => LossKind::GrpcStatus(status),
                    };
                    let version = (!version.is_empty()).then(|| version.clone());
                    book.failed.push(entry(kind, detail, version));
                }
                book.latencies.push(now.saturating_duration_since(ticket.due));
                *book.answered.entry((version, status)).or_default() += 1;
            }
            Err(Loss { kind, message }) => book.lost.push(entry(kind, message, ticket.version.clone())),
        }
    }
}

/// A request that was sent and has no outcome yet.
#[derive(Debug)]
pub(super) struct Ticket {
    ledger: Arc<Ledger>,
    due: Instant,
    sent: Instant,
    version: Option<String>,
    settled: bool,
}

impl Ticket {
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// Notes who began to answer, should the rest never come.
    pub(super) fn answered_by(&mut self, version: &str) {
        if !version.is_empty() {
            self.version = Some(version.to_owned());
        }
    }

    pub(super) fn settle(mut self, outcome: Result<Answer, Loss>) {
        self.settled = true;
        self.ledger.settle(&self, outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.settle(self, Err(Loss::new(LossKind::Reset, "the request was given up")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: &str, status: Status) -> Result<Answer, Loss> {
        Ok(Answer { version: version.into(), status, detail: "why".into() })
    }

    #[test]
    fn every_ticket_ends_in_one_account() {
        let ledger = Ledger::new();
        let send = || ledger.send(Instant::now(), 10).unwrap();
        send().settle(answer("v1", Status::Http(200)));
        send().settle(answer("v1", Status::Http(503)));
        send().settle(answer("v2", Status::Grpc(0)));
        let mut cut = send();
        cut.answered_by("v2");
        cut.settle(Err(Loss::new(LossKind::Timeout, "slow")));
        drop(send());
        let _in_flight = send();

        let counts = ledger.counts();
        assert_eq!((counts.sent, counts.answered, counts.failed, counts.lost, counts.in_flight), (6, 3, 1, 2, 1));
        assert_eq!(counts.by_version, [("v1".to_owned(), 2), ("v2".to_owned(), 1)].into());
        let report = ledger.report();
        assert_eq!(report.lost[0].version.as_deref(), Some("v2"));
        assert_eq!(report.lost[1].kind, LossKind::Reset);
        assert_eq!(report.failed[0].kind, LossKind::Status(503));
        assert_eq!(report.failures(), 3);
    }

    #[test]
    fn what_is_above_the_limit_is_skipped_and_not_sent() {
        let ledger = Ledger::new();
        let ticket = ledger.send(Instant::now(), 1);
        assert!(ledger.send(Instant::now(), 1).is_none());
        drop(ticket);
        assert!(ledger.send(Instant::now(), 1).is_some());
        let report = ledger.report();
        assert_eq!((report.sent, report.skipped), (2, 1));
        assert!(!report.is_clean());
    }
}
