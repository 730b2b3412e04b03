//! How many pods the steps want of the versions that are being raised. Pure.

use crate::{
    api::{RolloutState, RolloutStatus},
    plan::rollout::weight_of,
    validate::{Size, Step, model::part},
};

use super::{
    Party, Situation,
    steps::{begun, done},
};

impl Situation<'_> {
    /// Pods of a version while the rollout is where `status` says; None for its whole size.
    pub fn pods_of(&self, version: &str, status: &RolloutStatus) -> Option<i32> {
        let party = self.raised(status).find(|party| party.name == version)?;
        match status.state {
            // What the steps had not yet scaled up is not worth it any more.
            RolloutState::Aborted if self.scales() && party.exists => Some(party.pods.min(party.whole)),
            RolloutState::Completed | RolloutState::Aborted => None,
            RolloutState::Progressing | RolloutState::Paused => {
                let size = self.size(status)?;
                let needed = part(party.whole, weight_of(&self.aims(status), party.name), party.requested);
                Some(size.of(party.whole).max(needed).min(party.whole))
            }
        }
    }

    /// It may be raised, and has the pods that it needs for it.
    pub(super) fn ready(&self, party: &Party<'_>, status: &RolloutStatus) -> bool {
        party.admitted && party.pods >= self.needed_of(party, status)
    }

    /// Its Deployment asks for the pods that it needs to be raised.
    pub(super) fn is_asked(&self, party: &Party<'_>, status: &RolloutStatus) -> bool {
        party.up_to_date && party.pods >= self.needed_of(party, status)
    }

    fn needed_of(&self, party: &Party<'_>, status: &RolloutStatus) -> i32 {
        let limited = self.sizes(status, &self.current()).get(party.name).copied();
        limited.or_else(|| self.pods_of(party.name, status)).unwrap_or(party.whole)
    }

    /// What the last such step up to the current one asks for. The first step counts before it has begun; a later one may wait
    /// for its time window.
    pub(super) fn size(&self, status: &RolloutStatus) -> Option<Size> {
        self.step(status)?;
        let count = if status.step_since.is_none() { done(status) + 1 } else { begun(status) };
        let sizes = self.policy.steps.iter().take(count).rev();
        sizes.filter_map(|step| if let Step::Scale(size) = step { Some(*size) } else { None }).next()
    }

    fn scales(&self) -> bool {
        self.policy.steps.iter().any(|step| matches!(step, Step::Scale(_)))
    }
}
