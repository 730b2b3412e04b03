//! Answering MicroserviceActions once the status of the Microservice says what came of them, and clearing old ones.

use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use crate::{
    api::{MANAGER, MAX_HANDLED, MicroserviceAction, MicroserviceActionStatus},
    observe::{Caches, Key, Source, Written},
    plan::rollout::orders::Answer,
    validate::Identity,
};

/// Answered actions that are kept of each Microservice, as a record.
const KEPT: usize = 20;

/// Writes the answers, then deletes the oldest answered actions beyond those that are kept. Answers whether all answers are
/// written: one that is not has to be given again.
pub async fn conclude(client: &Client, caches: &Caches, identity: &Identity, answers: &[Answer]) -> bool {
    if answers.is_empty() {
        return true;
    }
    let mut written = true;
    let api: Api<MicroserviceAction> = Api::namespaced(client.clone(), &identity.namespace);
    for answer in answers {
        tracing::info!(action = answer.name, result = ?answer.result, "{}", answer.message);
        if let Err(error) = write(&api, caches, identity, answer).await {
            tracing::warn!(%error, action = answer.name, "the answer to an action was not written; it is tried again");
            written = false;
        }
    }
    for (name, uid) in beyond_kept(caches, identity, answers) {
        let only_this = Preconditions { uid: Some(uid), resource_version: None };
        let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
        match api.delete(&name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => tracing::warn!(%error, action = name, "an old action was not deleted"),
        }
    }
    written
}

async fn write(
    api: &Api<MicroserviceAction>,
    caches: &Caches,
    identity: &Identity,
    answer: &Answer,
) -> Result<(), kube::Error> {
    let round = caches.rounds(Source::Actions);
    let action = Key::new(&identity.namespace, &answer.name);
    let Some(known) = caches.actions.get(&action).filter(|known| known.uid == answer.uid) else { return Ok(()) };
    let status = MicroserviceActionStatus { result: answer.result, message: Some(answer.message.clone()) };
    // The API server looks at no uid when a status is written: another order of that name would be taken for answered.
    let patch = json!({"metadata": {"resourceVersion": known.resource_version}, "status": status});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let written = match api.patch_status(&answer.name, &params, &Patch::Merge(&patch)).await {
        Ok(written) => written,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(error),
    };
    let resource_version = written.metadata.resource_version.unwrap_or_default();
    let microservice = Key::new(&identity.namespace, &identity.name);
    caches.expect(&microservice, Source::Actions, action, Written::Applied { resource_version, round });
    Ok(())
}

/// Names and uids of the oldest answered actions, beyond those that are kept.
fn beyond_kept(caches: &Caches, identity: &Identity, answers: &[Answer]) -> Vec<(String, String)> {
    let is_answered = |uid: &str| answers.iter().any(|answer| answer.uid == uid);
    let mut answered = caches.actions_about(identity);
    answered.retain(|(_, action)| action.order.is_none() || is_answered(&action.uid));
    let surplus = answered.len().saturating_sub(KEPT);
    answered.into_iter().take(surplus.min(MAX_HANDLED)).map(|(key, action)| (key.name, action.uid.clone())).collect()
}
