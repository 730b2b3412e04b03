//! Revisions that are known to be good, to which one goes back without steps. Pure.

use crate::{
    api::{RollbackWindow, Served},
    observe::Weights,
    plan::rollout::version::time,
};

use super::{Situation, after};

/// Revisions that are remembered, whatever the window.
const REMEMBERED: usize = 32;

impl Situation<'_> {
    /// Whether one revision is asked for that served within the policy's window.
    pub(super) fn in_window(&self, requested: &Weights) -> bool {
        let (Some(window), Some(old)) = (&self.policy.rollback_window, self.old) else { return false };
        let RollbackWindow { revisions, duration } = window;
        let mut names = requested.keys();
        let (Some(name), None) = (names.next(), names.next()) else { return false };
        let Some((back, served)) = old.served.iter().enumerate().find(|(_, served)| served.revision == *name) else {
            return false;
        };
        let near = revisions.is_none_or(|most| i32::try_from(back).is_ok_and(|back| back < most));
        let fresh = duration.is_none_or(|length| after(served.until.0, length).is_none_or(|end| end >= self.now));
        near && fresh
    }

    /// The revisions that served before those which do now, the latest first.
    pub(super) fn served(&self, stable: &Weights) -> Vec<Served> {
        let Some(old) = self.old.filter(|_| self.policy.rollback_window.is_some()) else { return Vec::new() };
        // What somebody went back to and never came up has not served.
        let came_up = old.meanwhile.is_empty();
        let replaced = old.stable.keys().filter(|name| came_up && !stable.contains_key(*name));
        let replaced = replaced.map(|name| Served { revision: name.clone(), until: time(self.now) });
        let mut served: Vec<Served> = replaced.collect();
        let new: Vec<String> = served.iter().map(|it| it.revision.clone()).collect();
        let older = old.served.iter().filter(|it| !stable.contains_key(&it.revision) && !new.contains(&it.revision));
        served.extend(older.cloned());
        served.truncate(REMEMBERED);
        served
    }
}
