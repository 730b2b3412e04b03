//! What the operator has asked outside the cluster. As at its own desk, an answer stays until a status was written whose
//! plan no longer asks for it, and all of it ends with the process.

use std::{fmt, hash::Hash};

use jiff::Timestamp;
use microservice_operator::plan::inquiry::{Asked, Finding, Inquiry, Question, Reading, Reply, Verdict};

use crate::state::State;

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Says {
    /// All is well; a 2xx.
    Yes,
    /// It is not; a 4xx.
    No,
    /// There is no data.
    Nothing,
    /// Nobody answered; a 503.
    Error,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub inquiry: Inquiry,
    /// When it was asked.
    pub at: Timestamp,
    pub says: Option<Says>,
}

/// By id of the inquiry, as the operator has them.
#[derive(Clone, Debug, Default)]
pub struct Desk(Vec<Entry>);

impl Entry {
    /// What it is about, such as `orders of v2`.
    pub fn about(&self) -> String {
        match &self.inquiry.question {
            Question::Measure(measure) => {
                let Asked::Query(query) = &measure.metric else { panic!("no query") };
                format!("{query} of {}", measure.version)
            }
            Question::Call(call) => format!("{:?}", call.moment),
        }
    }

    /// What it may be answered.
    pub fn possible(&self) -> &'static [Says] {
        match self.inquiry.question {
            Question::Measure(_) => &[Says::Yes, Says::No, Says::Nothing, Says::Error],
            Question::Call(_) => &[Says::Yes, Says::No, Says::Error],
        }
    }

    fn reply(&self) -> Option<Reply> {
        let finding = match (&self.inquiry.question, self.says?) {
            (_, Says::Error) => Err("nobody answers".to_owned()),
            (Question::Measure(_), says) => Ok(Finding::Measured(reading(says))),
            (Question::Call(_), Says::No) => Ok(Finding::Called(Verdict::Refused("no".to_owned()))),
            (Question::Call(_), _) => Ok(Finding::Called(Verdict::Passed)),
        };
        Some(Reply { id: self.inquiry.id.clone(), at: self.at, finding, query: None })
    }
}

fn reading(says: Says) -> Reading {
    match says {
        Says::Yes => Reading { value: Some(100.0), baseline: None, requests: Some(500.0) },
        Says::No => Reading { value: Some(0.0), baseline: None, requests: Some(500.0) },
        Says::Nothing | Says::Error => Reading { value: None, baseline: None, requests: Some(0.0) },
    }
}

impl Desk {
    pub fn replies(&self) -> Vec<Reply> {
        self.0.iter().filter_map(Entry::reply).collect()
    }

    pub fn answered(&self) -> impl Iterator<Item = (&Entry, Says)> {
        self.0.iter().filter_map(|entry| Some((entry, entry.says?)))
    }

    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(|entry| entry.says.is_none())
    }

    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|entry| entry.inquiry.id == id)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks what is new, and forgets what is asked no longer. Tells whether anything is new.
    pub fn ask(&mut self, inquiries: &[Inquiry], now: Timestamp) -> bool {
        self.0.retain(|entry| inquiries.iter().any(|inquiry| inquiry.id == entry.inquiry.id));
        let known = self.0.len();
        for inquiry in inquiries {
            if !self.0.iter().any(|entry| entry.inquiry.id == inquiry.id) {
                self.0.push(Entry { inquiry: inquiry.clone(), at: now, says: None });
            }
        }
        let any = self.0.len() > known;
        self.0.sort_by(|a, b| a.inquiry.id.cmp(&b.inquiry.id));
        any
    }

    /// The process ends.
    pub fn crash(&mut self) {
        self.0.clear();
    }

    fn open_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut().filter(|entry| entry.says.is_none())
    }

    /// What tells it apart, with times as ages.
    pub fn print(&self, target: Option<&str>, age: impl Fn(Timestamp) -> i64) -> impl Hash {
        let current = |entry: &Entry| target.is_some_and(|target| entry.inquiry.id.starts_with(target));
        let print = |entry: &Entry| (entry.about(), current(entry), age(entry.at), entry.says);
        self.0.iter().map(print).collect::<Vec<_>>()
    }
}

impl State {
    /// Answers the first open inquiry about this.
    pub fn answer(&mut self, about: &str, says: Says) {
        let Some(entry) = self.desk.open_mut().find(|entry| entry.about() == about) else { return };
        entry.says = Some(says);
        self.hooks.hear(entry, says);
    }

    /// All that is asked is well. Answers whether anything was.
    pub fn please(&mut self) -> bool {
        let mut any = false;
        for entry in self.desk.open_mut() {
            (entry.says, any) = (Some(Says::Yes), true);
            self.hooks.hear(entry, Says::Yes);
        }
        any
    }
}

impl fmt::Display for Desk {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.0 {
            match entry.says {
                Some(says) => write!(to, ", {} says {says:?}", entry.about())?,
                None => write!(to, ", {} is asked for", entry.about())?,
            }
        }
        Ok(())
    }
}
