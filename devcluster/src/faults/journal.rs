//! What was asked through a proxy, and what came of it.

use std::collections::BTreeMap;

use super::asked::{Asked, Verb};
use super::plan::{Fault, WatchFault};

/// A request and what came of it, in the order in which they ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was asked.
    pub asked: Asked,
    /// Where; empty for what is in none. What goes wrong does not depend on it: it may be named at random.
    pub namespace: String,
    /// What the API server answered; None where it was not asked.
    pub code: Option<u16>,
    /// What went wrong on the way.
    pub fault: Option<Fault>,
    /// What goes wrong with the events, if it is a watch.
    pub watch_fault: Option<WatchFault>,
}

impl Entry {
    /// Whether anything went wrong.
    pub fn went_wrong(&self) -> bool {
        self.fault.is_some() || self.watch_fault.is_some()
    }

    /// Whether the API server was asked to change something, whatever became of the answer.
    pub fn is_forwarded_write(&self) -> bool {
        self.asked.writes() && self.code.is_some()
    }

    /// What became of an object by it: that it is there (true), or that it goes (false).
    fn made(&self) -> Option<bool> {
        match (self.asked.verb, self.code?) {
            (Verb::Create | Verb::Patch | Verb::Update, 201) => Some(true),
            (Verb::Delete, 200..=299) => Some(false),
            _ => None,
        }
    }
}

/// How many objects of each resource were created, and how many deleted. Events are no objects of anybody's.
pub fn creates_and_deletes(entries: &[Entry]) -> BTreeMap<String, (usize, usize)> {
    let mut all: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.asked.resource != "events") {
        let Some(made) = entry.made() else { continue };
        let (creates, deletes) = all.entry(entry.asked.resource.clone()).or_default();
        *if made { creates } else { deletes } += 1;
    }
    all
}
