//! What a rollout says of what holds it. Pure.

use jiff::Timestamp;

use crate::api::{Held, HeldBy, RolloutState, RolloutStatus, conditions::reason};

/// What is to be told of it. A pause that waits for a person says more than a hold that is over by itself, and so does
/// one that ends later.
pub fn told(status: &RolloutStatus, pause_ends: Option<Timestamp>) -> Option<&Held> {
    shown(status).filter(|held| held.by == HeldBy::Suspended || pause_ends.is_none())
}

/// What conditions and events say of it: what waits for a person waits for no window.
pub fn shown(status: &RolloutStatus) -> Option<&Held> {
    let held = status.held.as_ref()?;
    (held.by == HeldBy::Suspended || status.state == RolloutState::Progressing).then_some(held)
}

/// The reason that conditions and events give.
pub fn reason(by: HeldBy) -> &'static str {
    match by {
        HeldBy::Suspended => reason::ROLLOUT_SUSPENDED,
        HeldBy::Window => reason::ROLLOUT_OUTSIDE_WINDOW,
    }
}
