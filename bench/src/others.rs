//! What everybody asked of the API server in a row: the controller, the users and the built-in programs.

use std::{collections::BTreeMap, fmt, time::Duration};

use devcluster::AuditEvent;

use crate::meter::name;

/// How many lines are told.
const LINES: usize = 24;

/// Requests by who made them and what they are, how many, and how long the API server took for them in all.
#[derive(Default)]
pub struct Others(BTreeMap<(String, String), (u32, Duration)>);

impl Others {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a request, unless it is a watch, which takes as long as anybody listens.
    pub fn add(&mut self, event: &AuditEvent) {
        let Some(request) = name(event).filter(|_| event.verb != "watch") else { return };
        let (count, took) = self.0.entry((event.user.clone(), request)).or_default();
        *count += 1;
        *took += event.took;
    }
}

impl fmt::Display for Others {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut longest: Vec<_> = self.0.iter().collect();
        longest.sort_by_key(|(_, (_, took))| std::cmp::Reverse(*took));
        for ((user, request), (count, took)) in longest.into_iter().take(LINES) {
            let user = user.rsplit(':').next().unwrap_or_default();
            let each = took.as_secs_f64() * 1e3 / f64::from(*count);
            writeln!(formatter, "    {count:>7} x {each:>6.1} ms = {:>6.1} s  {user}: {request}", took.as_secs_f64())?;
        }
        Ok(())
    }
}
