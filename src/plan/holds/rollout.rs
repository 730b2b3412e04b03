//! What a rollout waits for, or why it ended. Pure.

use jiff::Timestamp;

use crate::{
    api::{RolloutState, conditions::reason},
    plan::{
        rollout::{Rollout, Standing, held},
        traffic::provider::Stage,
    },
    validate::Validated,
};

use super::{Hold, Severity, weights_in_words};

pub(super) fn of_rollout(service: &Validated, rollout: &Rollout<'_>, stage: &Stage) -> Option<Hold> {
    let status = rollout.progress.as_ref()?;
    let steps = service.rollout.as_ref().map_or(0, |policy| policy.steps.len());
    let name = service.identity.in_a_command();
    let weights = weights_in_words(rollout);
    if status.state.is_under_way() && !stage.routes() {
        let message = format!(
            "the rollout is back before its first step, as no mesh carries the weights of the service: give it one again, \
             or take out spec.rollout to give the versions their weights at once; {weights}"
        );
        return Some(Hold { reason: reason::ROLLOUT_PROGRESSING, message, severity: Severity::Progressing });
    }
    let left = usize::try_from(status.step).is_ok_and(|done| done < steps);
    let at = if left { format!("step {} of {steps}", status.step + 1) } else { "the last raise".to_owned() };
    if let Some(held) = held::told(status, rollout.outlook.pause_ends) {
        let message = format!("{}; {weights}; or back: kubectl ms abort {name}", held.message);
        return Some(Hold { reason: held::reason(held.by), message, severity: Severity::Progressing });
    }
    match status.state {
        RolloutState::Completed => None,
        RolloutState::Progressing => {
            let until = |at: Timestamp| format!("pauses until {}", at.strftime("%H:%M:%S UTC"));
            let outlook = &rollout.outlook;
            let message = match (&status.step_since, outlook.pause_ends) {
                _ if let Some(waits_for) = outlook.waits_for.as_ref().or(outlook.limited.as_ref()) => {
                    format!("{at} of the rollout waits for {waits_for}; {weights}")
                }
                (None, _) => format!("the rollout begins once its pods are ready; {weights}"),
                (Some(_), Some(end)) => format!("{at} of the rollout {}; {weights}", until(end)),
                (Some(_), None) if !left => {
                    "all steps of the rollout are done: the requested weights follow".to_owned()
                }
                (Some(_), None) => format!("{at} of the rollout is under way"),
            };
            Some(Hold { reason: reason::ROLLOUT_PROGRESSING, message, severity: Severity::Progressing })
        }
        RolloutState::Paused => {
            let why = status.message.clone().unwrap_or_else(|| format!("{at} of the rollout waits for a promotion"));
            let message =
                format!("{why}; {weights}; go on with: kubectl ms promote {name}, or: kubectl ms abort {name}");
            Some(Hold { reason: reason::ROLLOUT_PAUSED, message, severity: Severity::Progressing })
        }
        RolloutState::Aborted => {
            let why = status.message.as_deref().unwrap_or("the rollout was aborted");
            let away = rollout.standings.iter().find(|it| it.recalled || it.aim > rollout.weight(it.name));
            let (message, severity) = if let Some(percent) = status.back {
                let message = format!(
                    "rolling back by steps, now at {percent} % of the way: {why}; {weights}; at once with: kubectl ms \
                     abort {name}"
                );
                (message, Severity::Degraded)
            } else if let Some(limited) = &rollout.outlook.limited {
                let message = format!("rolling back as pods allow it: {why}; waits for {limited}; {weights}");
                (message, Severity::Degraded)
            } else if let Some(Standing { name: awaited, .. }) = away {
                let message = format!("rolling back: {why}; waits until {awaited} can take its requests; {weights}");
                (message, Severity::Degraded)
            } else {
                let message = format!("rolled back: {why}; {weights}; change the spec, or: kubectl ms retry {name}");
                (message, Severity::Stalled)
            };
            Some(Hold { reason: reason::ROLLOUT_ABORTED, message, severity })
        }
    }
}
