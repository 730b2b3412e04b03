//! What holds a rollout although nothing failed and nobody paused it. Pure.
//!
//! While it is held, no weight goes up and no step passes. Losses, failures, orders to abort and edits of the spec are
//! none of its business.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::{
    api::{Held, HeldBy, RolloutState, RolloutStatus},
    plan::rollout::{
        version::time,
        windows::{Hours, hours},
    },
};

use super::Situation;

/// What holds a rollout now.
struct Holder {
    by: HeldBy,
    message: String,
    until: Option<Timestamp>,
}

impl Situation<'_> {
    /// Notes what holds the rollout now; when a hold ends, the time that it took counts for nothing.
    pub(super) fn hold(&self, status: &mut RolloutStatus) {
        let holder = if status.state.is_under_way() { self.holder(status) } else { None };
        let before = status.held.take();
        let same = before.as_ref().zip(holder.as_ref()).is_some_and(|(before, holder)| before.by == holder.by);
        if let Some(over) = before.as_ref().filter(|_| !same) {
            self.release(status, over);
        }
        let Some(Holder { by, message, until }) = holder else { return };
        let since = before.filter(|_| same).map_or_else(|| time(self.now), |before| before.since);
        if status.kept.is_empty() && status.step_since.is_some() && !self.pausing(status) && !self.reached(status) {
            status.kept = self.kept(status);
        }
        status.held = Some(Held { by, since, message, until: until.map(time) });
    }

    fn holder(&self, status: &RolloutStatus) -> Option<Holder> {
        self.suspension().or_else(|| self.closed_window(status))
    }

    fn suspension(&self) -> Option<Holder> {
        let message = "the rollout is suspended by its policy: it goes on when spec.rollout.suspend is removed";
        self.policy.suspend.then(|| Holder { by: HeldBy::Suspended, message: message.to_owned(), until: None })
    }

    /// What a step waits for that somebody lets begin outside of the time windows.
    pub(super) fn closed(&self, status: &RolloutStatus) -> Option<String> {
        self.closed_window(status).map(|_| "its time window".to_owned())
    }

    fn closed_window(&self, status: &RolloutStatus) -> Option<Holder> {
        let Hours::Closed { opens } = hours(&self.policy.windows, self.now) else { return None };
        let message = match &opens {
            Some(opening) => format!("the rollout waits for the time window that opens {}", opening.in_words()),
            None => "the rollout waits for a time window, and none opens within two weeks: correct \
                     spec.rollout.windows"
                .to_owned(),
        };
        let holds = !status.promoted_fully;
        holds.then(|| Holder { by: HeldBy::Window, message, until: opens.map(|opening| opening.at) })
    }

    /// When the time window closes in which the rollout is on its way.
    pub(super) fn window_closes(&self, status: &RolloutStatus) -> Option<Timestamp> {
        let moves = status.state == RolloutState::Progressing && status.held.is_none() && !status.promoted_fully;
        if !moves {
            return None;
        }
        match hours(&self.policy.windows, self.now) {
            Hours::Open { until } => until,
            Hours::Closed { .. } => None,
        }
    }

    /// The deadline stood still, and under a suspension the pauses, too.
    fn release(&self, status: &mut RolloutStatus, over: &Held) {
        let length = self.now.duration_since(over.since.0).max(SignedDuration::ZERO);
        let later = |at: MicroTime| at.0.checked_add(length).map_or(at, |later| time(later.min(self.now)));
        status.progressed_at = status.progressed_at.take().map(later);
        if over.by == HeldBy::Suspended {
            status.step_since = status.step_since.take().map(later);
        }
    }

    /// When the hold is over by itself.
    pub(super) fn held_until(&self, status: &RolloutStatus) -> Option<Timestamp> {
        status.held.as_ref()?.until.as_ref().map(|until| until.0)
    }
}
