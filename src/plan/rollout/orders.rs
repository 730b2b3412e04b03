//! What people ask of a rollout: promote, pause, abort, retry, undo. Pure.

use jiff::Timestamp;

use crate::{
    api::{ActionResult, HandledAction, MAX_HANDLED, RolloutState, RolloutStatus, Verb},
    observe::Weights,
};

use super::{
    version::time,
    walk::{Situation, forgive},
};

/// One thing that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub uid: String,
    /// Name of the MicroserviceAction.
    pub name: String,
    pub verb: Verb,
    /// The rollout that was meant; None for whichever there is.
    pub target: Option<String>,
    /// The step that was meant.
    pub step: Option<i32>,
    /// The kept revision to go back to.
    pub revision: Option<String>,
    /// When it was made, in whole seconds.
    pub created: Option<Timestamp>,
    /// After this time it is refused.
    pub expires: Option<Timestamp>,
    /// Who asked.
    pub actor: Option<String>,
}

impl Order {
    /// What came of it, if it was handled before.
    fn known(&self, status: &RolloutStatus) -> Option<Answer> {
        let handled = status.handled.iter().find(|handled| handled.uid == self.uid)?;
        Some(self.answer(handled.result, handled.message.clone()))
    }

    fn answer(&self, result: ActionResult, message: String) -> Answer {
        Answer { uid: self.uid.clone(), name: self.name.clone(), result, message }
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub uid: String,
    /// Name of the MicroserviceAction.
    pub name: String,
    pub result: ActionResult,
    /// What it means, or why it was refused.
    pub message: String,
}

/// Carries out what was not handled yet, and remembers that it was. Answers all that still wait for one.
pub(super) fn obey(status: &mut RolloutStatus, situation: &Situation<'_>) -> Vec<Answer> {
    let fresh: Vec<&Order> = situation.orders.iter().filter(|order| order.known(status).is_none()).collect();
    if !fresh.is_empty() {
        status.handled.retain(|handled| situation.orders.iter().any(|order| order.uid == handled.uid));
    }
    // The others' turn comes when these are answered.
    let room = MAX_HANDLED.saturating_sub(status.handled.len());
    for order in fresh.into_iter().take(room) {
        let outcome = fits(status, order, situation).and_then(|()| carry_out(status, order, situation));
        let (result, message) = match outcome {
            Ok(message) => (ActionResult::Done, message),
            Err(message) => (ActionResult::Refused, message),
        };
        status.handled.push(HandledAction { uid: order.uid.clone(), result, message });
    }
    situation.orders.iter().filter_map(|order| order.known(status)).collect()
}

/// Refuses all that was not handled before, where no rollout can be, so many at a time.
pub fn refuse(orders: &[Order], rollout: Option<&RolloutStatus>, why: &str) -> Vec<Answer> {
    let answer = |order: &Order| {
        let known = rollout.and_then(|rollout| order.known(rollout));
        known.unwrap_or_else(|| order.answer(ActionResult::Refused, why.to_owned()))
    };
    orders.iter().take(MAX_HANDLED).map(answer).collect()
}

/// An order is about what its author saw: another rollout or another step is not what was meant.
fn fits(status: &RolloutStatus, order: &Order, situation: &Situation<'_>) -> Result<(), String> {
    if order.expires.is_some_and(|at| at <= situation.now) {
        return Err("it expired before it was seen".to_owned());
    }
    let born = situation.service.identity.created;
    if born.is_some_and(|born| order.created.is_some_and(|asked| asked < born)) {
        return Err("it is older than the Microservice, and may mean an earlier one of that name: ask again".to_owned());
    }
    if order.target.as_ref().is_some_and(|target| *target != status.target) {
        return Err(format!("the spec has changed since: the rollout is now {}", status.target));
    }
    match order.step {
        Some(step) if step != status.step => {
            Err(format!("the rollout was at step {step} and is now at step {}: look again", status.step))
        }
        _ => Ok(()),
    }
}

/// Why a step that is no pause cannot be promoted.
fn unpromoted(status: &RolloutStatus) -> String {
    let held = status.held.as_ref().map(|held| held.message.clone());
    match held.or_else(|| status.waits_for.as_ref().map(|what| format!("the step waits for {what}"))) {
        Some(why) => {
            format!("nothing waits for a promotion: {why}; promote fully not to wait for it and to skip all steps")
        }
        None => "nothing waits for a promotion: the step is under way; promote fully to skip all steps".to_owned(),
    }
}

fn carry_out(status: &mut RolloutStatus, order: &Order, situation: &Situation<'_>) -> Result<String, String> {
    use RolloutState::{Aborted, Completed, Paused, Progressing};
    let by = order.actor.as_deref().map(|actor| format!(" by {actor}")).unwrap_or_default();
    match (order.verb, status.state) {
        (Verb::Promote | Verb::PromoteFull, Progressing | Paused) if situation.policy.suspend => {
            Err("the rollout is suspended by its policy: remove spec.rollout.suspend first".to_owned())
        }
        (Verb::Promote | Verb::PromoteFull, Paused)
            if let Some(why) = situation.failing(status, |party| party.fault.clone()) =>
        {
            Err(format!("{why}: ask again when it serves and is held out no more, or abort"))
        }
        (Verb::Undo, _) if let Some(revision) = &order.revision => undo_to(status, revision, situation, &by),
        (Verb::Promote, Progressing | Paused) => {
            let pausing = situation.pausing(status);
            if status.state == Progressing && !pausing {
                return Err(unpromoted(status));
            }
            (status.state, status.message) = (Progressing, None);
            status.progressed_at = Some(time(situation.now));
            situation.overrule(status);
            forgive(status);
            if pausing {
                situation.pass(status);
            }
            Ok("the rollout goes on".to_owned())
        }
        (Verb::PromoteFull, Progressing | Paused) => {
            (status.state, status.message) = (Progressing, None);
            forgive(status);
            status.promoted_fully = true;
            status.step = situation.steps();
            status.waits_for = None;
            status.step_since = status.step_since.take().map(|_| time(situation.now));
            status.progressed_at = Some(time(situation.now));
            Ok("the remaining steps are skipped".to_owned())
        }
        (Verb::Pause, Progressing) => {
            situation.pause(status, format!("paused{by}"));
            Ok("the weights stay as they are".to_owned())
        }
        // Paused by its step, it would go on with an edit of that.
        (Verb::Pause, Paused) => {
            status.message.get_or_insert_with(|| format!("paused{by}"));
            Ok("it is paused already".to_owned())
        }
        (Verb::Abort | Verb::Undo, Progressing | Paused) => {
            (status.state, status.message) = (Aborted, Some(format!("aborted{by}")));
            Ok("the weights go back to those before the rollout".to_owned())
        }
        (Verb::Abort, Aborted) if status.back.is_some() => {
            status.back = None;
            Ok("the weights go back at once".to_owned())
        }
        (Verb::Abort, Aborted) => Ok("it is aborted already".to_owned()),
        // Of one that was completed and undone, nothing was taken back yet.
        (Verb::Retry, Aborted) if situation.arrived() && status.from.is_empty() => {
            keep_what_serves(status);
            (status.state, status.message, status.back) = (Progressing, None, None);
            (status.step, status.step_since) = (situation.steps(), Some(time(situation.now)));
            status.progressed_at = Some(time(situation.now));
            status.from = status.stable.clone();
            Ok("the requested weights are still in force: they stay".to_owned())
        }
        (Verb::Retry, Aborted) => {
            keep_what_serves(status);
            status.state = Progressing;
            status.message = None;
            status.promoted_fully = false;
            status.began = Some(time(situation.now));
            (status.step, status.step_since) = (0, None);
            (status.waits_for, status.weights_since) = (None, None);
            (status.analysis, status.step_analysis) = (None, None);
            forgive(status);
            status.progressed_at = Some(time(situation.now));
            status.from = status.stable.clone();
            Ok("the rollout starts again with its first step".to_owned())
        }
        (Verb::Undo, Completed) => undo(status, situation, &by),
        (_, Completed) if !situation.arrived() => Err(unreached(status, situation)),
        (verb, state) => Err(objection(verb, state).unwrap_or("it cannot be done now").to_owned()),
    }
}

/// What an undo leads to may never have come up: what serves meanwhile is what the next one goes back to.
fn keep_what_serves(status: &mut RolloutStatus) {
    if !status.meanwhile.is_empty() {
        status.stable = std::mem::take(&mut status.meanwhile);
    }
}

/// Why nothing can be asked that is for a rollout, while the requested weights come into force without one.
fn unreached(status: &RolloutStatus, situation: &Situation<'_>) -> String {
    if status.meanwhile.is_empty() {
        let follow = "the requested weights follow, without steps, as soon as pods can carry them";
        return format!("no rollout is under way: {follow}; to have others, change the spec");
    }
    let awaited = situation.requested().into_keys().collect::<Vec<_>>().join(" and ");
    format!(
        "no rollout is under way: {awaited} gets all requests, without steps, as soon as its pods are ready; to leave them \
         where they are, change the spec back"
    )
}

/// Why nothing of the kind can be asked of a rollout in this state. None when it can, or when more decides about it.
pub fn objection(verb: Verb, state: RolloutState) -> Option<&'static str> {
    use RolloutState::{Aborted, Completed, Paused, Progressing};
    match (verb, state) {
        (Verb::Undo, Aborted) => Some("it is aborted: the weights are those before the rollout already"),
        (Verb::Retry, Progressing | Paused) => Some("it is under way: only an aborted rollout can be tried again"),
        (Verb::Retry | Verb::Promote | Verb::PromoteFull | Verb::Pause | Verb::Abort, Completed) => {
            Some("no rollout is under way: the requested weights are in force")
        }
        (Verb::Promote | Verb::PromoteFull | Verb::Pause, Aborted) => {
            Some("the rollout is aborted: change the spec, or retry")
        }
        (Verb::Promote | Verb::PromoteFull | Verb::Pause | Verb::Abort | Verb::Undo, Progressing | Paused)
        | (Verb::Abort | Verb::Retry, Aborted)
        | (Verb::Undo, Completed) => None,
    }
}

/// Back to a revision that is kept. It holds as an abort does: until the spec asks for another one, or somebody retries.
fn undo_to(status: &mut RolloutStatus, revision: &str, situation: &Situation<'_>, by: &str) -> Result<String, String> {
    if !situation.returns {
        return Err("only a service with an image has revisions: change the weights of the versions".to_owned());
    }
    if situation.requested().contains_key(revision) {
        return Err(format!("{revision} is what the spec asks for: retry, if the rollout was aborted"));
    }
    match situation.kept.get(revision) {
        None => {
            let kept = situation.kept.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(format!("no revision {revision} is kept; these are: {kept}"));
        }
        Some(Some(port)) => {
            return Err(format!(
                "the pods of {revision} would get no requests, as port {port} of the Service had another name and another \
                 targetPort then: put the image of then into the spec, with the targetPort of then and the name of now"
            ));
        }
        Some(None) => {}
    }
    status.state = RolloutState::Aborted;
    status.message = Some(format!("undone{by} to {revision}"));
    let before = std::mem::replace(&mut status.stable, Weights::from([(revision.to_owned(), 100)]));
    if status.meanwhile.is_empty() {
        status.meanwhile = before;
    }
    Ok(format!(
        "{revision} gets all requests as soon as its pods are ready, until the spec asks for another revision or \
         somebody retries"
    ))
}

/// Back to the weights before the rollout that was completed last.
fn undo(status: &mut RolloutStatus, situation: &Situation<'_>, by: &str) -> Result<String, String> {
    if status.previous.is_empty() || status.previous == status.stable {
        return Err("there was no rollout before that could be undone".to_owned());
    }
    let gone = status.previous.keys().find(|name| situation.party(name).is_none_or(|party| !party.exists));
    if let Some(gone) = gone {
        let back = match situation.returns {
            true => {
                let name = situation.service.identity.in_a_command();
                format!("kubectl ms undo {name} --to-revision {gone} makes it anew")
            }
            false => "put it back into the spec".to_owned(),
        };
        return Err(format!("{gone} served before and is gone: {back}"));
    }
    status.state = RolloutState::Aborted;
    status.message = Some(format!("undone{by}"));
    status.stable = std::mem::take(&mut status.previous);
    Ok("the weights go back to those before the rollout".to_owned())
}
