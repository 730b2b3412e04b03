//! What a rollout says of what holds it. Pure.

use jiff::Timestamp;

use crate::api::{Held, HeldBy, RolloutState, RolloutStatus, conditions::reason};

/// What is to be told of it. A pause that waits for a person says more than a hold that is over by itself, and so does
/// one that ends later.
pub fn told(status: &RolloutStatus, pause_ends: Option<Timestamp>) -> Option<&Held> {
    let held = status.held.as_ref()?;
    let first = status.state == RolloutState::Progressing && pause_ends.is_none();
    (held.by == HeldBy::Suspended || first).then_some(held)
}

/// The reason that conditions and events give.
pub fn reason(by: HeldBy) -> &'static str {
    match by {
        HeldBy::Suspended => reason::ROLLOUT_SUSPENDED,
        HeldBy::Window => reason::ROLLOUT_OUTSIDE_WINDOW,
    }
}
