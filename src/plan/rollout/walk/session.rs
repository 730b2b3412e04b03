//! What names a rollout to the clients that stay with its new version. Pure.

use serde_json::json;

use crate::{api::RolloutStatus, plan::resources::digest::digest};

use super::Situation;

/// Digits of a session's digest.
const SESSION_LENGTH: usize = 10;

impl Situation<'_> {
    /// Every rollout, and every further try of one, has a session of its own from its beginning to its end.
    pub(super) fn keep_session(&self, status: &mut RolloutStatus) {
        if self.policy.affinity.is_none() || !self.under_way(status) {
            status.session = None;
        } else if status.session.is_none() {
            status.session = Some(digest(&json!([status.target, self.now.as_microsecond()]), SESSION_LENGTH));
        }
    }
}
