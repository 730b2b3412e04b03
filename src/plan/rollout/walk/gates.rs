//! What holds the weights back although the step before is done: small policies, asked in their order each time before
//! the weights go up any further. A loss, an abort and a failure are held by none of them. Pure.

use jiff::Timestamp;

use crate::api::RolloutStatus;

use super::Situation;

/// Why the weights do not go up yet.
pub(super) struct Held {
    /// What is waited for, as the status tells it.
    pub waits_for: String,
    /// When time alone may change it.
    pub until: Option<Timestamp>,
}

impl Situation<'_> {
    /// The first gate that holds the next raise of the weights.
    pub(super) fn held(&self, status: &RolloutStatus) -> Option<Held> {
        self.other_gates(status).or_else(|| self.webhook_gate(status))
    }

    /// The first gate that holds it, but for webhooks, which are asked last.
    pub(super) fn other_gates(&self, status: &RolloutStatus) -> Option<Held> {
        let gates: [fn(&Self, &RolloutStatus) -> Option<Held>; 1] = [Self::analysis_gate];
        gates.iter().find_map(|gate| gate(self, status))
    }

    /// Every metric must have passed at the present weights.
    fn analysis_gate(&self, status: &RolloutStatus) -> Option<Held> {
        let (course, run) = self.background(status)?;
        Some(Held { waits_for: course.not_passed(run)?, until: None })
    }
}
