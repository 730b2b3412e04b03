//! `kubectl ms promote`, `pause`, `abort`, `retry` and `undo`: each makes a MicroserviceAction and waits for the answer.

use std::{pin::pin, time::Duration};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
    runtime::watcher::watch_object,
};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::{
    api::{
        ActionResult, Microservice, MicroserviceAction, MicroserviceActionSpec, MicroserviceActionStatus, Provider,
        RolloutState, Verb,
    },
    plan::rollout::orders::objection,
};

use super::{
    Error, Exit,
    cli::ActArgs,
    cluster::{ACTIONS, Cluster},
    output::{Out, Tone, tame},
    revisions,
    view::is_current,
};

/// After this time nobody carries the action out any more.
const EXPIRES: SignedDuration = SignedDuration::from_mins(10);
/// Longest actor that an action takes.
const MAX_ACTOR: usize = 512;

/// What came of it, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    namespace: &'a str,
    microservice: &'a str,
    verb: Verb,
    /// Name of the MicroserviceAction; None when it was not made, or when nobody knows.
    action: Option<&'a str>,
    /// Done, Refused, TimedOut or Created.
    result: &'static str,
    message: &'a str,
}

/// Asks one thing of a rollout, for no longer than the arguments say.
///
/// # Errors
/// When it cannot be asked; a refusal is an answer.
pub async fn act(
    cluster: &Cluster,
    out: Out,
    args: &ActArgs,
    verb: Verb,
    to_revision: Option<&str>,
) -> Result<Exit, Error> {
    let deadline = Instant::now() + args.timeout.as_std();
    let told = |action: Option<&str>, result, message: &str| {
        let outcome =
            Outcome { namespace: &cluster.namespace, microservice: &args.name, verb, action, result, message };
        tell(out, &outcome)
    };
    let late = |action: Option<&str>, what: &str| {
        let message = format!("no answer within {}: {what}", args.timeout);
        told(action, "TimedOut", &message).map(|()| Exit::TimedOut)
    };
    let Ok(prepared) = timeout_at(deadline, prepared(cluster, args, verb, to_revision)).await else {
        return late(None, &format!("{} says nothing, and nothing was asked of the rollout", cluster.way()));
    };
    let action = match prepared? {
        Ok(action) => action,
        Err(why) => {
            told(None, "Refused", &why)?;
            return Ok(Exit::Refused);
        }
    };
    let actions: Api<MicroserviceAction> = cluster.api();
    let params = PostParams { field_manager: Some("kubectl-ms".to_owned()), ..PostParams::default() };
    let Ok(made) = timeout_at(deadline, actions.create(&params, &action)).await else {
        let what = format!(
            "{} does not say whether it made the microserviceaction; one that was made stands until {}: see kubectl get \
             microserviceactions {}",
            cluster.way(),
            expiry(&action),
            cluster.scope_options()
        );
        return late(None, &what);
    };
    let made = made.map_err(|error| cluster.failed("create", ACTIONS, false, error))?;
    let name = made.name_any();
    if args.no_wait {
        told(Some(&name), "Created", "the answer will be in its status")?;
        return Ok(Exit::Done);
    }
    match timeout_at(deadline, answer(cluster, actions, &name)).await {
        Ok(answer) => {
            let answer = answer?;
            let message = tame(answer.message.as_deref().unwrap_or_default());
            let (result, exit) = match answer.result {
                ActionResult::Done => ("Done", Exit::Done),
                ActionResult::Refused => ("Refused", Exit::Refused),
            };
            told(Some(&name), result, &message)?;
            Ok(exit)
        }
        Err(_) => {
            let what = format!(
                "the operator may not run, or not watch {}; what was asked stands until {}, unless somebody who may \
                 deletes the microserviceaction {name} in {}",
                cluster.namespace,
                expiry(&made),
                cluster.namespace,
            );
            late(Some(&name), &what)
        }
    }
}

/// The action that is to be made; or else why nothing of the kind can be asked.
async fn prepared(
    cluster: &Cluster,
    args: &ActArgs,
    verb: Verb,
    to_revision: Option<&str>,
) -> Result<Result<MicroserviceAction, String>, Error> {
    let microservice = cluster.microservice(&args.name).await?;
    let revision = match to_revision {
        None => None,
        Some(_) if microservice.spec.image.is_none() => {
            let why = "only a service with an image has revisions: change the weights of its versions";
            return Ok(Err(why.to_owned()));
        }
        Some(asked) => {
            let kept = revisions::kept(&microservice, &cluster.revisions(&args.name).await?);
            match revisions::chosen(&kept, asked, cluster.clock.now()) {
                Ok(name) => Some(name),
                Err(why) => return Ok(Err(why)),
            }
        }
    };
    if let Err(why) = possible(&microservice, verb, revision.is_some(), &cluster.scope_options()) {
        return Ok(Err(why));
    }
    let actor = cluster.user().await.unwrap_or_else(|error| {
        eprintln!("warning: the action does not say who asked: {error}");
        None
    });
    let mut action = action(&microservice, verb, actor, cluster.clock.now());
    action.spec.revision = revision;
    Ok(Ok(action))
}

/// Until when somebody may carry an action out.
fn expiry(action: &MicroserviceAction) -> String {
    action.spec.expires.as_ref().map(|at| at.0.strftime("%H:%M:%S UTC").to_string()).unwrap_or_default()
}

/// Why nothing of the kind can be asked, as far as can be seen from here. The operator decides about the rest. `scope` is what
/// a command needs to reach the same namespace.
///
/// # Errors
/// The reason.
pub fn possible(microservice: &Microservice, verb: Verb, to_revision: bool, scope: &str) -> Result<(), String> {
    let name = microservice.name_any();
    if microservice.spec.rollout.is_none() {
        let instead = match &microservice.spec.image {
            Some(_) => "the image in the manifest decides which revision serves".to_owned(),
            None => format!("change them in the manifest, or: kubectl ms weight {name} VERSION=WEIGHT {scope}"),
        };
        return Err(format!(
            "it has no rollout policy (spec.rollout): weights travel at once, so there is nothing to {}; {instead}",
            word(verb)
        ));
    }
    let status = microservice.status.as_ref();
    let Some(rollout) = status.and_then(|status| status.rollout.as_ref()) else {
        return Err(if status.is_some_and(|status| status.provider == Some(Provider::None)) {
            "no mesh carries its weights (provider None), so its rollout policy is not walked".to_owned()
        } else {
            format!(
                "the operator has not begun with its rollout policy: kubectl ms why {name} {scope} says where it stands"
            )
        });
    };
    // Not to a rollout that was completed before the spec was changed.
    if !is_current(microservice) && !to_revision {
        return Err(format!(
            "the operator has not seen the newest spec yet: ask again in a moment; if that lasts, kubectl ms why {name} {scope}"
        ));
    }
    // What an ended rollout has yet to reach, the operator knows. To a revision one goes back from wherever it is.
    let reached = status.is_none_or(|status| status.traffic.iter().all(|entry| entry.effective == entry.requested));
    let decided = !to_revision && (reached || rollout.state != RolloutState::Completed);
    objection(verb, rollout.state).filter(|_| decided).map_or(Ok(()), |why| Err(why.to_owned()))
}

/// The action that asks for it, about what was seen.
pub fn action(microservice: &Microservice, verb: Verb, actor: Option<String>, now: Timestamp) -> MicroserviceAction {
    let name = microservice.name_any();
    let rollout = microservice.status.as_ref().and_then(|status| status.rollout.as_ref());
    let owner = microservice.meta().uid.clone().map(|uid| OwnerReference {
        api_version: Microservice::api_version(&()).into_owned(),
        kind: Microservice::kind(&()).into_owned(),
        name: name.clone(),
        uid,
        controller: Some(false),
        block_owner_deletion: None,
    });
    MicroserviceAction {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-{}-", word(verb).replace(' ', "-"))),
            namespace: microservice.namespace(),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: MicroserviceActionSpec {
            microservice: name,
            verb,
            uid: microservice.uid(),
            target: rollout.map(|rollout| rollout.target.clone()),
            // Only a promotion is about one step; to stop or to turn back is meant wherever the rollout has come.
            revision: None,
            step: rollout.filter(|_| verb == Verb::Promote).map(|rollout| rollout.step),
            expires: now.checked_add(EXPIRES).ok().map(Time),
            actor: actor.map(|actor| actor.chars().take(MAX_ACTOR).collect()),
        },
        status: None,
    }
}

/// A verb as it is typed.
pub fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Promote => "promote",
        Verb::PromoteFull => "promote full",
        Verb::Pause => "pause",
        Verb::Abort => "abort",
        Verb::Retry => "retry",
        Verb::Undo => "undo",
    }
}

/// Whether the API server may answer the next time.
fn may_pass(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 429 || status.code >= 500)
}

/// Waits for the operator's answer.
async fn answer(
    cluster: &Cluster,
    actions: Api<MicroserviceAction>,
    name: &str,
) -> Result<MicroserviceActionStatus, Error> {
    let mut seen = pin!(watch_object(actions.clone(), name));
    loop {
        match seen.next().await {
            Some(Ok(Some(MicroserviceAction { status: Some(status), .. }))) => return Ok(status),
            Some(Ok(Some(_))) => {}
            Some(Ok(None)) => {
                let message = "somebody deleted it before it was answered".to_owned();
                return Err(Error::Refused { verb: "watch", resource: ACTIONS, message });
            }
            // What may only create and get actions can still see the answer.
            Some(Err(_)) | None => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                match actions.get(name).await {
                    Ok(action) => {
                        if let Some(status) = action.status {
                            return Ok(status);
                        }
                    }
                    Err(error @ kube::Error::Api(_)) if !may_pass(&error) => {
                        return Err(cluster.failed("get", ACTIONS, false, error));
                    }
                    // It was asked for, and may be answered yet.
                    Err(_) => {}
                }
            }
        }
    }
}

fn tell(out: Out, outcome: &Outcome<'_>) -> Result<(), Error> {
    if let Some(format) = out.format {
        return out.value(format, outcome);
    }
    let (tone, word_of_result) = match outcome.result {
        "Done" => (Tone::Good, "done"),
        "Created" => (Tone::Moving, "asked"),
        "TimedOut" => (Tone::Bad, "not answered"),
        _ => (Tone::Bad, "refused"),
    };
    let Outcome { microservice, verb, message, action, .. } = outcome;
    let action = action.filter(|_| outcome.result == "Created").map(|name| format!(" ({name})")).unwrap_or_default();
    let result = out.paint.paint(tone, word_of_result);
    let text = format!("{microservice}: {} {result}{action}: {message}\n", word(*verb));
    if tone == Tone::Bad {
        eprint!("{text}");
        return Ok(());
    }
    out.text(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(state: Option<&str>, policy: bool) -> Microservice {
        let rollout = if policy { json!({"steps": [{"weight": 5}]}) } else { json!(null) };
        let status = state
            .map(|state| json!({"observedGeneration": 2, "rollout": {"state": state, "target": "abc", "step": 1}}));
        serde_json::from_value(json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": "a", "namespace": "shop", "uid": "u-1", "generation": 2},
            "spec": {"versions": [{"name": "v1", "image": "x"}], "rollout": rollout}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_cannot_be_is_refused_before_it_is_asked() {
        for (microservice, verb, told) in [
            (
                with(None, false),
                Verb::Promote,
                "it has no rollout policy (spec.rollout): weights travel at once, so there is nothing to promote",
            ),
            (with(None, true), Verb::Abort, "the operator has not begun with its rollout policy"),
            (
                with(Some("Completed"), true),
                Verb::Promote,
                "no rollout is under way: the requested weights are in force",
            ),
            (with(Some("Aborted"), true), Verb::Pause, "the rollout is aborted: change the spec, or retry"),
            (with(Some("Paused"), true), Verb::Retry, "it is under way: only an aborted rollout can be tried again"),
        ] {
            let why = possible(&microservice, verb, false, "--namespace shop").unwrap_err();
            assert!(why.starts_with(told), "{verb:?}: {why}");
        }
        let mut on_its_way = with(Some("Completed"), true);
        let entry = json!({"version": "v1", "requested": 100, "effective": 0});
        on_its_way.status.as_mut().unwrap().traffic = vec![serde_json::from_value(entry).unwrap()];
        assert_eq!(possible(&on_its_way, Verb::Abort, false, ""), Ok(()), "the operator says what it waits for");
        let mut image = with(None, false);
        image.spec.image = Some("x".to_owned());
        let why = possible(&image, Verb::Abort, false, "--namespace shop").unwrap_err();
        assert!(why.ends_with("nothing to abort; the image in the manifest decides which revision serves"), "{why}");
        let mut plain = with(None, true);
        plain.status = Some(serde_json::from_value(json!({"provider": "None"})).unwrap());
        assert!(
            possible(&plain, Verb::Promote, false, "--namespace shop")
                .unwrap_err()
                .starts_with("no mesh carries its weights")
        );
        let mut edited = with(Some("Completed"), true);
        edited.metadata.generation = Some(3);
        let why = possible(&edited, Verb::Abort, false, "--namespace shop").unwrap_err();
        assert!(why.starts_with("the operator has not seen the newest spec yet"), "{why}");
        assert_eq!(possible(&edited, Verb::Undo, true, "--namespace shop"), Ok(()));
        for (state, verb) in [("Paused", Verb::Promote), ("Completed", Verb::Undo), ("Aborted", Verb::Retry)] {
            assert_eq!(possible(&with(Some("Aborted"), true), Verb::Undo, true, "--namespace shop"), Ok(()));
            assert_eq!(possible(&with(Some(state), true), verb, false, "--namespace shop"), Ok(()));
        }
    }

    #[test]
    fn an_action_is_about_what_was_seen() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let seen = with(Some("Paused"), true);
        assert_eq!(action(&seen, Verb::Abort, None, now).spec.step, None, "an abort is meant at any step");
        let action = action(&seen, Verb::Promote, Some("mia".into()), now);
        assert_eq!(
            serde_json::to_value(&action).unwrap(),
            json!({
                "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "MicroserviceAction",
                "metadata": {
                    "generateName": "a-promote-", "namespace": "shop",
                    "ownerReferences": [{
                        "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "name": "a",
                        "uid": "u-1", "controller": false,
                    }],
                },
                "spec": {
                    "microservice": "a", "verb": "Promote", "uid": "u-1", "target": "abc", "step": 1,
                    "expires": "2026-01-01T00:10:00Z", "actor": "mia",
                },
            })
        );
    }
}
