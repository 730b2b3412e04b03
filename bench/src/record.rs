//! What was measured, as it is kept in a file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::controllers::Controller;

/// How much of a cluster there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// With the built-in controllers, the scheduler and simulated nodes.
    Whole,
    /// Without them: a small program fills in what Deployments and ReplicaSets come to. The cost of the controller alone.
    Filled,
}

/// What was done with the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// All are created, until all serve.
    Create,
    /// Nothing happens for a time.
    Rest,
    /// Each gets a canary of 20 %.
    Canary,
    /// Each canary gets 50 %.
    Step,
    /// Each canary gets all.
    Promote,
    /// The users apply their manifests again, with the version that is promoted.
    Reapply,
    /// Somebody changes the weights of routes by hand, until all are put right.
    Drift,
    /// The controller is started again; one service of each namespace was edited meanwhile, until all of these edits are in force.
    Restart,
    /// All are deleted, until nothing of them is left.
    Delete,
}

impl Row {
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Rest,
        Self::Canary,
        Self::Step,
        Self::Drift,
        Self::Promote,
        Self::Reapply,
        Self::Restart,
        Self::Delete,
    ];

    /// How it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Rest => "60 s at rest",
            Self::Canary => "canary of 20 %",
            Self::Step => "step to 50 %",
            Self::Drift => "routes put right",
            Self::Promote => "promoted",
            Self::Reapply => "applied again",
            Self::Restart => "restarted",
            Self::Delete => "deleted",
        }
    }
}

/// A row of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub row: Row,
    /// Services, or drifts, that it was about.
    pub of: usize,
    /// How many of them came to their end within the time given.
    pub done: usize,
    /// Seconds from the first request of the users until then.
    pub seconds: f64,
    /// Seconds of processors that the controller used.
    pub cpu: f64,
    /// The most memory that it had at once, in KiB.
    pub peak: u64,
    /// The memory that it had in the end, in KiB.
    pub memory: u64,
    /// Its requests, by verb and resource; watches are counted as they begin.
    pub requests: BTreeMap<String, usize>,
    /// Requests that the users needed.
    pub user_requests: usize,
    /// Requests of the users that were refused, by what was said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, usize>,
}

impl Measured {
    /// How many requests change something.
    pub fn writes(&self) -> usize {
        self.count(|verb| !matches!(verb, "get" | "list" | "watch"))
    }

    /// How many requests there were, but for watches.
    pub fn all_requests(&self) -> usize {
        self.count(|verb| verb != "watch")
    }

    fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let is_wanted = |it: &(&String, &usize)| it.0.split(' ').next().is_some_and(&wanted);
        self.requests.iter().filter(is_wanted).map(|(_, count)| count).sum()
    }
}

/// All rows of a controller, with so many services, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub began: Timestamp,
    /// The version of the code that was measured, `-dirty` if not all of it was committed, and the variable that named the
    /// program if it was another one.
    pub commit: String,
    /// What it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    pub ground: Ground,
    pub controller: Controller,
    pub services: usize,
    pub round: usize,
    pub rows: Vec<Measured>,
}
