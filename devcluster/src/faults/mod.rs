//! A proxy before an API server, in which things go wrong as a seed tells: for any controller that a kubeconfig leads to it.
//!
//! It answers errors, ends connections, never answers, loses answers, answers lists as they were, holds back watches, dates
//! answers anew, lets a write arrive late, and stops at the n-th write, so that the controller can be killed there. What was
//! asked and what came of it is in its journal.

mod asked;
mod gate;
mod journal;
mod late;
mod plan;
mod serve;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderValue;
use jiff::SignedDuration;
use kube::Client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch as signal;

pub use asked::{Asked, Verb};
pub use gate::Release;
pub use journal::{Entry, creates_and_deletes};
pub use plan::{Fault, Faults, WatchFault};

use gate::Gate;
use late::Late;

/// When the proxy stops at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it is forwarded.
    Before,
    /// After it is done, before its answer is passed on.
    After,
}

/// A proxy on this machine's loopback. It ends when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    kubeconfig: tempfile::NamedTempFile,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    client: Client,
    state: Mutex<State>,
    halted: signal::Sender<bool>,
    gate: signal::Sender<Gate>,
    held: Arc<AtomicUsize>,
    late: Late,
}

/// Earlier answers to a list.
#[derive(Default)]
struct Listed {
    /// In which form it was asked for.
    accepts: Option<HeaderValue>,
    /// The oldest first.
    answers: Vec<Bytes>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    /// How often each was asked.
    counts: HashMap<Asked, u64>,
    journal: Vec<Entry>,
    stop: Option<Stop>,
    hold: Option<Hold>,
    /// How far the clock that dates answers is ahead of the API server's.
    ahead: SignedDuration,
    /// Earlier answers to lists, by address.
    lists: BTreeMap<String, Listed>,
}

/// Where to stop: after so many further writes.
#[derive(Clone, Copy)]
struct Stop {
    left: usize,
    moment: Moment,
}

/// What is to be held back after so many further writes.
struct Hold {
    left: usize,
    resources: Vec<String>,
}

impl Proxy {
    /// Starts a proxy that carries out everything as who `client` is. Its kubeconfig is made in a folder.
    ///
    /// # Errors
    /// No port is free, or no file for the kubeconfig can be made.
    pub async fn start(client: Client, folder: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let kubeconfig = tempfile::NamedTempFile::new_in(folder)?;
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", listener.local_addr()?)}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "users": [{"name": "proxy", "user": {}}],
        });
        std::fs::write(kubeconfig.path(), content.to_string())?;
        let (halted, gate) = (signal::Sender::new(false), signal::Sender::default());
        let (state, held, late) = (Mutex::default(), Arc::default(), Late::default());
        let shared = Arc::new(Shared { client, state, halted, gate, held, late });
        let server = tokio::spawn(serve::run(listener, shared.clone()));
        Ok(Self { shared, kubeconfig, server })
    }

    /// The file that leads a controller to it.
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// From now on things go wrong like this; by the default, nothing does. Watches that run are left as they are.
    pub fn goes_wrong(&self, faults: Faults) {
        let mut state = self.shared.lock();
        state.faults = faults;
        state.counts.clear();
    }

    /// Holds the events of these resources back from now on, of watches that run and of new ones.
    pub fn holds(&self, resources: &[&str]) {
        let resources = resources.iter().map(|it| (*it).to_owned()).collect();
        self.shared.gate.send_replace(Gate { resources, release: Release::default() });
    }

    /// The same from the `nth` write from now on, counted from 1: what comes of that one is held back, too.
    pub fn holds_from(&self, nth: usize, resources: &[String]) {
        self.shared.lock().hold = nth.checked_sub(1).map(|left| Hold { left, resources: resources.to_vec() });
    }

    /// Lets all watches go on.
    pub fn releases(&self, release: Release) {
        self.shared.gate.send_replace(Gate { resources: Vec::new(), release });
    }

    /// How often an event, or the end of a watch, was held back.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Keeps the next write of this resource on its way, and lets all others pass.
    pub fn delays(&self, resource: &str) {
        self.shared.late.awaits(resource);
    }

    /// Waits until the write that is delayed is on its way.
    pub async fn delayed(&self) {
        self.shared.late.is_on_its_way().await;
    }

    /// Lets the write that is delayed arrive, also if whoever sent it stands still. With its sender it is gone.
    pub fn arrives(&self) {
        self.shared.late.arrives();
    }

    /// Keeps how everything is now that was listed before: [`Fault::Stale`] answers like that from now on.
    ///
    /// # Errors
    /// Something cannot be listed.
    pub async fn remembers(&self) -> io::Result<()> {
        self.shared.remember_now().await
    }

    /// Stops at the `nth` write from now, counted from 1: from then on nothing is forwarded or answered.
    pub fn stop_at(&self, nth: usize, moment: Moment) {
        self.shared.lock().stop = nth.checked_sub(1).map(|left| Stop { left, moment });
    }

    /// Waits until it has stopped.
    pub async fn stopped(&self) {
        let mut halted = self.shared.halted.subscribe();
        // The sender lives as long as this proxy.
        let _stopped = halted.wait_for(|halted| *halted).await;
    }

    /// Goes on after a stop, or forgets where it was to stop. What was asked meanwhile is never forwarded.
    pub fn go_on(&self) {
        self.shared.lock().stop = None;
        self.shared.halted.send_replace(false);
    }

    /// Answers of the API server are dated so far ahead from now on.
    pub fn dates_ahead(&self, by: SignedDuration) {
        self.shared.lock().ahead = by;
    }

    /// All that was asked and has ended.
    pub fn journal(&self) -> Vec<Entry> {
        self.shared.lock().journal.clone()
    }

    /// How many writes were forwarded so far.
    pub fn writes(&self) -> usize {
        self.shared.lock().journal.iter().filter(|entry| entry.is_forwarded_write()).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
