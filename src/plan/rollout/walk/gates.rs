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

    /// What lets the weights go up was only just measured or agreed to, and is not persisted yet. Until then they stay: after a
    /// crash it would have to be asked again, and the weights would go back until then.
    pub(super) fn has_just_opened(&self, status: &RolloutStatus) -> bool {
        let Some(old) = self.old else { return false };
        if (&old.analysis, &old.step_analysis, &old.calls) == (&status.analysis, &status.step_analysis, &status.calls) {
            return false;
        }
        let open = |status: &RolloutStatus| [self.held(status).is_none(), self.uncounted(status).is_none()];
        let persisted = RolloutStatus {
            analysis: old.analysis.clone(),
            step_analysis: old.step_analysis.clone(),
            calls: old.calls.clone(),
            ..status.clone()
        };
        open(status).into_iter().zip(open(&persisted)).any(|(now, before)| now && !before)
    }

    /// Every metric must have passed at the present weights.
    fn analysis_gate(&self, status: &RolloutStatus) -> Option<Held> {
        let (course, run) = self.background(status)?;
        Some(Held { waits_for: course.not_passed(run)?, until: None })
    }
}
