//! What the connections of one process share.

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::behaviour::{Fate, Faults};
use super::query::Overrides;

/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Tells which version answered.
pub(super) const VERSION: &str = "x-version";

pub(super) struct App {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) version_header: HeaderValue,
    pub(super) pod: String,
    pub(super) log: Option<Mutex<File>>,
    pub(super) faults: Mutex<Faults>,
    /// The process is to end with exit code 1.
    pub(super) crash: Notify,
    /// True once the process is to end in good order.
    pub(super) ending: watch::Sender<bool>,
}

impl App {
    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the process is to end in good order.
    pub(super) async fn ended(&self) {
        // The sender is a field, so waiting can't fail.
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// Counts and delays an ordinary request; the status it is to be answered with. Never returns when the process
    /// crashes at this request.
    pub(super) async fn ordinary(&self, overrides: &Overrides) -> u16 {
        let fate = self.faults().decide(overrides);
        match fate {
            Fate::Answer { status, delay } => {
                if delay > Duration::ZERO {
                    sleep(delay).await;
                }
                status
            }
            Fate::Crash => {
                self.crash.notify_one();
                std::future::pending().await
            }
        }
    }

    /// Appends a line for a request that has come.
    pub(super) fn log(&self, method: &Method, path: &str) {
        let Some(log) = &self.log else { return };
        let line = format!("{} {} {method} {path}\n", self.service, self.version);
        let mut file = log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            eprintln!("workload: cannot write the log: {error}");
        }
    }
}
