//! Telling the cluster, by events, and the webhooks that want to know what happened to a Microservice. Of one that comes and
//! goes without end the cluster is told now and then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::timeout;

use crate::{
    api::{Hook, MANAGER, Microservice, MicroserviceStatus},
    observe::Key,
    outside::{Herald, Office},
    status::{self, Notice},
    validate::Identity,
};

/// How long the events of one look may take: with a limit on events, they would keep the service waiting.
const TELLING: Duration = Duration::from_secs(2);
/// Bytes of the longest note that the API server takes in an event.
const MAX_NOTE: usize = 1_024;
/// Events about what comes and goes that a Microservice has at once.
const AT_ONCE: u32 = 25;
/// Seconds until it has one more.
const EACH: i64 = 60;

/// Tells what happened.
pub struct Teller {
    client: Client,
    reporter: Reporter,
    herald: Herald,
    limits: Mutex<HashMap<Key, Limit>>,
}

/// How many more events about what comes and goes a Microservice has.
#[derive(Debug)]
struct Limit {
    left: u32,
    /// Up to when what it has anew is counted.
    since: Timestamp,
    /// Events that were left out since the last one.
    out: usize,
}

impl Limit {
    fn new(now: Timestamp) -> Self {
        Self { left: AT_ONCE, since: now, out: 0 }
    }

    /// Takes one. Answers how many were left out before it, or nothing if it is to be left out, too.
    fn take(&mut self, now: Timestamp) -> Option<usize> {
        let more = (now.as_second() - self.since.as_second()).max(0) / EACH;
        self.left = u32::try_from(more).unwrap_or(AT_ONCE).saturating_add(self.left).min(AT_ONCE);
        let counted = self.since.as_second().saturating_add(more * EACH);
        self.since = Timestamp::from_second(counted).unwrap_or(now);
        if self.left == 0 {
            self.out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.out))
    }
}

impl Teller {
    /// One that speaks as this process.
    pub fn new(client: Client, instance: &str, office: Arc<Office>) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(instance.to_owned()) };
        Self { client, reporter, herald: Herald::new(office), limits: Mutex::default() }
    }

    /// Tells the cluster, and the webhooks that want to know, what happened.
    pub async fn tell(
        &self,
        (newest, hooks): (&Microservice, &[Hook]),
        identity: &Identity,
        status: &MicroserviceStatus,
        notices: Vec<Notice>,
        now: Timestamp,
    ) {
        let key = Key::of(newest);
        for notice in &notices {
            tracing::info!(microservice = %key, reason = notice.reason, "{}", notice.note);
            self.herald.tell(&key, status::calls(notice, hooks, identity, status, now));
        }
        let walks = status.rollout.as_ref().is_some_and(|rollout| rollout.state.is_under_way());
        let published = async {
            for notice in notices.into_iter().filter_map(|notice| self.within_limit(&key, notice, walks, now)) {
                self.publish(newest, notice).await;
            }
        };
        if timeout(TELLING, published).await.is_err() {
            tracing::warn!(microservice = %key, "events were not published, as that took more than {TELLING:?}");
        }
    }

    /// Forgets a Microservice that is gone.
    pub fn forget(&self, key: &Key) {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The notice as it is published; none if there were too many. `walks` is whether a rollout is under way.
    fn within_limit(&self, key: &Key, notice: Notice, walks: bool, now: Timestamp) -> Option<Notice> {
        if !notice.comes_and_goes(walks) {
            return Some(notice);
        }
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let out = limits.entry(key.clone()).or_insert_with(|| Limit::new(now)).take(now)?;
        let since = if out > 0 { format!("{out} events before this one were left out: ") } else { String::new() };
        Some(Notice { note: since + &notice.note, ..notice })
    }

    /// An event that is lost harms nobody; it is only logged.
    async fn publish(&self, about: &Microservice, notice: Notice) {
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.to_owned(),
            note: Some(cut(&notice.note).to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A recorder that has seen a reason before counts it up under the old note, and the new note would never be read.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, &about.object_ref(&())).await {
            tracing::warn!(%error, "an event was not published");
        }
    }
}

/// As much of a note as the API server takes.
fn cut(note: &str) -> &str {
    note.get(..note.floor_char_boundary(MAX_NOTE)).unwrap_or(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_as_long_as_the_api_server_takes_it() {
        for (text, length) in [("a", 1_024), ("é", 1_024), ("語", 1_023), ("𝄞", 1_024)] {
            assert_eq!(cut(&text.repeat(2_000)).len(), length, "{text}");
        }
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn what_comes_and_goes_without_end_is_told_now_and_then() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: i64| Timestamp::from_second(start.as_second() + seconds).unwrap();
        let mut limit = Limit::new(start);
        let told: Vec<_> = (0..30).map(|second| limit.take(at(second))).collect();
        assert_eq!(told.iter().filter(|told| told.is_some()).count(), 25);
        assert_eq!(limit.take(at(59)), None);
        assert_eq!(limit.take(at(60)), Some(6), "those that were left out are counted");
        assert_eq!(limit.take(at(119)), None);
        assert_eq!(limit.take(at(120)), Some(1));
        assert_eq!(limit.take(at(181)), Some(0));
        assert_eq!(limit.take(at(240)), Some(0), "what is left of a minute counts for the next");
        let later: Vec<_> = (0..30).map(|_| limit.take(at(100_000))).collect();
        assert_eq!(later.iter().filter(|told| told.is_some()).count(), 25, "no more than at first");
    }
}
