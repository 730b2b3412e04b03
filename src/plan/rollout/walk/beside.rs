//! What the steps so far ask for beside the weights, while the rollout is under way. Pure.

use crate::{
    api::{RolloutStatus, RouteMatch},
    observe::Weights,
    plan::rollout::settle::share,
    validate::{Affinity, Step},
};

use super::{Situation, steps::begun};

/// What the versions that are being raised get beside their weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// In which shares they get it, in percent. Empty while there is no rollout under way.
    pub shares: Weights,
    /// Requests that meet any of these are theirs.
    pub matches: Vec<RouteMatch>,
    /// The version that gets copies of requests, and of how many percent of them.
    pub mirror: Option<(String, i32)>,
    /// How clients stay with the one that served them.
    pub session: Option<Session>,
}

/// What clients of a new version are known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Names the rollout.
    pub id: String,
    pub affinity: Affinity,
}

impl Situation<'_> {
    /// What the steps ask for that are done or under way.
    pub fn beside(&self, status: &RolloutStatus) -> Beside {
        let mut beside = Beside::default();
        let mut mirrored = 0;
        for step in self.in_force(status) {
            match step {
                Step::Match(matches) => beside.matches.extend(matches.iter().cloned()),
                Step::Mirror(percent) => mirrored = *percent,
                Step::Weight(_) => mirrored = 0,
                Step::Pause(_) | Step::Scale(_) | Step::Analysis(_) => {}
            }
        }
        if self.under_way(status) {
            beside.shares = self.shares(status);
            let session = |(id, affinity): (&String, &Affinity)| Session { id: id.clone(), affinity: affinity.clone() };
            beside.session = status.session.as_ref().zip(self.policy.affinity.as_ref()).map(session);
        }
        if mirrored > 0 && self.step(status).is_some() {
            let largest = self.raised(status).min_by_key(|party| std::cmp::Reverse(party.requested));
            beside.mirror = largest.map(|party| (party.name.to_owned(), mirrored));
        }
        beside
    }

    /// It has begun, and has not ended.
    pub(super) fn under_way(&self, status: &RolloutStatus) -> bool {
        status.step_since.is_some() && status.state.is_under_way()
    }

    /// The steps that are done, and the current one unless it waits to begin.
    fn in_force(&self, status: &RolloutStatus) -> impl Iterator<Item = &Step> {
        let count = if self.under_way(status) { begun(status) } else { 0 };
        self.policy.steps.iter().take(count)
    }

    /// A hundred, divided among those that are being raised as their requested weights are.
    fn shares(&self, status: &RolloutStatus) -> Weights {
        let raised: Vec<_> = self.raised(status).collect();
        let requested: Vec<i32> = raised.iter().map(|party| party.requested).collect();
        raised.iter().map(|party| party.name.to_owned()).zip(share(100, &requested)).collect()
    }
}
