//! What a load came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::ledger::{Lost, Status, Streams};

/// How many failures are printed one by one.
const PRINTED: usize = 20;

/// What became of every request: `sent` is the number of the answered and of the `lost`.
#[derive(Debug, Clone)]
pub struct Report {
    /// Requests sent.
    pub sent: u64,
    /// The answered, by version (empty if the answer told none) and status.
    pub answered: BTreeMap<(String, Status), u64>,
    /// Those of the answered that were not answered with success.
    pub failed: Vec<Lost>,
    /// Those that were not answered.
    pub lost: Vec<Lost>,
    /// Requests that were due but not sent, as too many were in flight.
    pub skipped: u64,
    /// How often a request was sent over another connection, as the first one was closed before any server saw it.
    pub resent: u64,
    /// How long the answered took, from when they were due.
    pub latency: Latency,
    /// How late a request was sent at most.
    pub lag: Duration,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// The gRPC streams.
    pub streams: Streams,
}

/// Percentiles; zero if nothing was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half were faster or equal.
    pub p50: Duration,
    /// 95 % were.
    pub p95: Duration,
    /// 99 % were.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Latency {
    /// By nearest rank.
    pub(super) fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100);
            latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }
}

impl Report {
    /// How many were answered, in whatever way.
    pub fn answers(&self) -> u64 {
        self.answered.values().sum()
    }

    /// The answered by version, whatever their status.
    pub fn by_version(&self) -> BTreeMap<&str, u64> {
        let mut versions = BTreeMap::new();
        for ((version, _), count) in &self.answered {
            *versions.entry(version.as_str()).or_default() += count;
        }
        versions
    }

    /// How many requests a client would complain about: not answered, or not with 2xx or gRPC's OK.
    pub fn failures(&self) -> u64 {
        (self.failed.len() + self.lost.len()) as u64
    }

    /// These requests, in the order in which they were sent.
    pub fn lost_requests(&self) -> Vec<&Lost> {
        let mut lost: Vec<_> = self.failed.iter().chain(&self.lost).collect();
        lost.sort_by_key(|lost| lost.at);
        lost
    }

    /// Whether everything due was sent and answered with success, and no stream was broken.
    pub fn is_clean(&self) -> bool {
        self.failures() == 0 && self.skipped == 0 && self.streams.is_clean()
    }

    /// The report for programs; times are in milliseconds.
    pub fn to_json(&self) -> Value {
        let answered: Vec<_> = self
            .answered
            .iter()
            .map(|((version, status), count)| json!({"version": version, "status": status.to_string(), "count": count}))
            .collect();
        let Latency { p50, p95, p99, max } = self.latency;
        json!({
            "sent": self.sent,
            "answered": answered,
            "byVersion": self.by_version(),
            "failures": self.failures(),
            "failed": self.failed.iter().map(lost_to_json).collect::<Vec<_>>(),
            "lost": self.lost.iter().map(lost_to_json).collect::<Vec<_>>(),
            "skipped": self.skipped,
            "resent": self.resent,
            "latency": {"p50": ms(p50), "p95": ms(p95), "p99": ms(p99), "max": ms(max)},
            "lag": ms(self.lag),
            "elapsed": ms(self.elapsed),
            "streams": self.streams,
        })
    }
}

fn lost_to_json(lost: &Lost) -> Value {
    let Lost { kind, message, at, time, after, version } = lost;
    json!({
        "kind": kind.to_string(),
        "message": message,
        "at": ms(*at),
        "time": time,
        "after": ms(*after),
        "version": version,
    })
}

fn ms(duration: Duration) -> impl Serialize {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, failed, lost, skipped, resent, streams, .. } = self;
        writeln!(
            out,
            "{sent} sent in {:.1?}: {} answered ({} of them failed), {} lost, {skipped} skipped",
            self.elapsed,
            self.answers(),
            failed.len(),
            lost.len(),
        )?;
        for ((version, status), count) in &self.answered {
            writeln!(out, "  {:<12} {status:<10} {count}", named(version))?;
        }
        let Latency { p50, p95, p99, max } = self.latency;
        write!(
            out,
            "latency p50 {p50:.1?}, p95 {p95:.1?}, p99 {p99:.1?}, max {max:.1?}; largest lag {:.1?}",
            self.lag
        )?;
        if *resent > 0 {
            write!(out, "; {resent} sent over another connection")?;
        }
        if streams.opened > 0 {
            write!(out, "\nstreams: {} opened, {} broken", streams.opened, streams.broken)?;
            for (status, count) in &streams.ended {
                write!(out, ", {count} ended with grpc {status}")?;
            }
        }
        let failures = self.lost_requests();
        for Lost { kind, message, at, time, after, version } in failures.iter().take(PRINTED) {
            let version = named(version.as_deref().unwrap_or_default());
            write!(out, "\n  {time:.3} (+{:.3} s) {version} {kind} after {after:.1?}: {message}", at.as_secs_f64())?;
        }
        match failures.len().saturating_sub(PRINTED) {
            0 => Ok(()),
            more => write!(out, "\n  … and {more} more"),
        }
    }
}

fn named(version: &str) -> &str {
    if version.is_empty() { "-" } else { version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let Latency { p50, p95, p99, max } = Latency::of(latencies);
        assert_eq!([p50, p95, p99, max].map(|latency| latency.as_millis()), [100, 190, 198, 200]);
        let one = Duration::from_millis(7);
        assert_eq!(Latency::of(vec![one]), Latency { p50: one, p95: one, p99: one, max: one });
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }
}
