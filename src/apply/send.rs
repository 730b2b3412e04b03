//! Applying one object, and taking away what stands against it.

use std::fmt::Debug;

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    api::MANAGER,
    observe::{Lean, child::Child},
};

use super::{
    owners,
    rivals::{self, Strip},
};

/// How often in a row it is said who owns an object: the cluster writes, too, to what has just changed.
const TRIES: usize = 5;

/// Applies an object that is `live` as the caches have it; None if it is not there. What its kind admits beside what is
/// applied of nobody is taken away then, and before it what the API server refuses together with it. `whole` is asked where it
/// matters who owns what.
pub async fn send(
    (api, whole): (&Api<Lean<DynamicObject>>, &Api<DynamicObject>),
    name: &str,
    params: &PatchParams,
    mut body: Value,
    live: Option<&Child>,
) -> Result<DynamicObject, kube::Error> {
    let mut answer = api.patch(name, params, &Patch::Apply(&body)).await;
    let strip = answer.as_ref().err().and_then(|error| refused_for(error, live, &body));
    if let Some(strip) = strip {
        let Lean(stripped) = update(api, name, strip, &body["metadata"]).await?;
        carry_on(&mut body, &stripped);
        answer = api.patch(name, params, &Patch::Apply(&body)).await;
    }
    let Lean(mut answer) = answer?;
    if live.is_some() {
        answer = without_foreign_fields(api, name, answer, &body).await?;
    }
    // A process can be killed before it comes to this, so every answer is looked at.
    let handed_over = live.is_some_and(|live| live.adoptable_by.is_some());
    if handed_over || owners::writes_otherwise(answer.managed_fields()) {
        carry_on(&mut body, &answer);
        answer = applied_alone((whole, handed_over), name, params, body).await?;
    }
    Ok(answer)
}

/// What may be the reason why the API server refuses the object.
fn refused_for(error: &kube::Error, live: Option<&Child>, body: &Value) -> Option<Strip> {
    let kube::Error::Api(status) = error else { return None };
    let live = live.filter(|_| matches!(status.code, 400 | 422))?;
    rivals::strip(&live.object.open(), body)
}

async fn without_foreign_fields(
    api: &Api<Lean<DynamicObject>>,
    name: &str,
    answer: DynamicObject,
    applied: &Value,
) -> Result<DynamicObject, kube::Error> {
    if !rivals::is_exact(applied) {
        return Ok(answer);
    }
    let live = serde_json::to_value(&answer).map_err(kube::Error::SerdeError)?;
    let Some(spec) = rivals::foreign_fields(&live, applied) else { return Ok(answer) };
    let patched = update(api, name, Strip::Merge(json!({"spec": spec})), &identity_of(&answer)).await;
    patched.map(|Lean(answer)| answer)
}

/// Lets the operator own no more than it applies: what else it wrote would stay when it is wanted no more. Of what was handed
/// over it owns that alone.
async fn applied_alone(
    (api, handed_over): (&Api<DynamicObject>, bool),
    name: &str,
    params: &PatchParams,
    mut body: Value,
) -> Result<DynamicObject, kube::Error> {
    let mut answer = api.patch(name, params, &Patch::Apply(&body)).await?;
    for left in (0..TRIES).rev() {
        let entries = answer.managed_fields();
        let others = || owners::taken_over(entries).filter(|_| handed_over);
        let Some(owners) = owners::applied_alone(entries).or_else(others) else { break };
        let entries = Strip::Merge(json!({"metadata": {"managedFields": owners.entries}}));
        let written = update(api, name, entries, &identity_of(&answer)).await;
        let again = match written {
            Ok(written) => {
                answer = written;
                owners.more
            }
            // The next apply tells how the object is by now; of one that was decided on a version, that it is another.
            Err(kube::Error::Api(status)) if status.code == 409 && left > 0 => true,
            Err(error) => return Err(error),
        };
        if again {
            carry_on(&mut body, &answer);
            answer = api.patch(name, params, &Patch::Apply(&body)).await?;
        }
    }
    Ok(answer)
}

/// Writes what cannot be applied, to just the object with this metadata. [`applied_alone`] finds it by its manager.
async fn update<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    name: &str,
    strip: Strip,
    metadata: &Value,
) -> Result<K, kube::Error> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &params, &on(strip, metadata)).await
}

/// Which object it is, and which version of it.
fn identity_of(answer: &DynamicObject) -> Value {
    json!({"uid": answer.uid(), "resourceVersion": answer.resource_version()})
}

/// What was decided on a version goes on with that of the operator's own write.
fn carry_on(body: &mut Value, answer: &DynamicObject) {
    if let Some(version) = body.pointer_mut("/metadata/resourceVersion") {
        *version = json!(answer.resource_version());
    }
}

/// The patch, of just the object with this metadata.
fn on(strip: Strip, metadata: &Value) -> Patch<Value> {
    let of_it = |mut patch: Value| {
        patch["metadata"]["uid"] = metadata["uid"].clone();
        // None at all is not the same as null, which budgets refuse.
        if let Some(version) = metadata.get("resourceVersion").filter(|version| !version.is_null()) {
            patch["metadata"]["resourceVersion"] = version.clone();
        }
        patch
    };
    match strip {
        Strip::Merge(patch) => Patch::Merge(of_it(patch)),
        Strip::Strategic(patch) => Patch::Strategic(of_it(patch)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::header::CONTENT_TYPE;
    use futures::FutureExt;
    use kube::Client;

    use super::*;
    use crate::{plan::object::Kind, stub};

    const APPLY: &str = "apply-patch+yaml";
    const MERGE: &str = "merge-patch+json";
    const STRATEGIC: &str = "strategic-merge-patch+json";

    /// Kinds of patches, with what they say.
    type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    /// An API server that gives these answers in turn, and what it is asked for.
    fn answering(answers: Vec<(u16, Value)>) -> (Client, Asked) {
        let asked = Asked::default();
        let noted = asked.clone();
        let client = stub::client(move |request| {
            let body = request.body().try_clone().unwrap().collect_bytes().now_or_never().unwrap().unwrap();
            let kind = request.headers()[CONTENT_TYPE].to_str().unwrap().replace("application/", "");
            let mut noted = noted.lock().unwrap();
            noted.push((kind, serde_json::from_slice(&body).unwrap()));
            answers[noted.len() - 1].clone()
        });
        (client, asked)
    }

    fn kinds(asked: &Asked) -> Vec<String> {
        asked.lock().unwrap().iter().map(|(kind, _)| kind.clone()).collect()
    }

    /// An answer with the budget in a version, and with who owns what of it.
    fn budget(version: &str, owners: &[&Value]) -> (u16, Value) {
        let owner = json!([{"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "name": "a",
                            "uid": "2", "controller": true}]);
        let metadata = json!({"name": "a", "namespace": "shop", "uid": "1", "resourceVersion": version,
                              "ownerReferences": owner, "managedFields": owners});
        let spec = json!({"minAvailable": 1});
        (200, json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}))
    }

    fn owner(operation: &str, fields: &[&str]) -> Value {
        let fields: Value = fields.iter().map(|field| ((*field).to_owned(), json!({}))).collect();
        json!({"manager": MANAGER, "operation": operation, "apiVersion": "policy/v1", "fieldsType": "FieldsV1",
               "fieldsV1": {"f:spec": fields}})
    }

    /// Applies the budget with another bound than that of the live one.
    async fn sent(client: Client, metadata: Value) -> Result<DynamicObject, kube::Error> {
        sent_over(client, metadata, budget("1", &[]).1).await
    }

    async fn sent_over(client: Client, metadata: Value, live: Value) -> Result<DynamicObject, kube::Error> {
        let budgets = Kind::PodDisruptionBudget.api_resource();
        let api = Api::namespaced_with(client.clone(), "shop", &budgets);
        let whole = Api::namespaced_with(client, "shop", &budgets);
        let live = Child::of(Kind::PodDisruptionBudget, &serde_json::from_value(live).unwrap());
        let body = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata,
                          "spec": {"maxUnavailable": 1}});
        send((&api, &whole), "a", &PatchParams::apply(MANAGER).force(), body, Some(&live)).await
    }

    #[tokio::test]
    async fn what_is_written_in_place_of_a_rival_is_owned_as_applied_alone() {
        let (applied, update) = (owner("Apply", &["f:maxUnavailable"]), owner("Update", &["f:maxUnavailable"]));
        let (client, asked) = answering(vec![
            stub::refusal(422, "Invalid"),
            budget("2", &[&update]),
            budget("3", &[&applied, &update]),
            budget("3", &[&applied, &update]),
            budget("4", &[&applied]),
        ]);
        let answer = sent(client, json!({"name": "a", "uid": "1"})).await.unwrap();
        assert_eq!(answer.resource_version().as_deref(), Some("4"));
        assert_eq!(kinds(&asked), [APPLY, STRATEGIC, APPLY, APPLY, MERGE]);
        let asked = asked.lock().unwrap();
        assert_eq!(asked[1].1["spec"], json!({"minAvailable": null, "maxUnavailable": 1}));
        let alone = json!({"metadata": {"uid": "1", "resourceVersion": "3", "managedFields": [applied]}});
        assert_eq!(asked[4].1, alone);
    }

    #[tokio::test]
    async fn what_was_handed_over_is_owned_alone() {
        let (applied, own) = (owner("Apply", &["f:maxUnavailable"]), owner("Update", &["f:minAvailable"]));
        let (mut theirs, mut left) =
            (owner("Update", &["f:maxUnavailable", "f:selector"]), owner("Update", &["f:selector"]));
        theirs["manager"] = json!("kubectl-client-side-apply");
        left["manager"] = theirs["manager"].clone();
        let mut live = budget("1", &[]).1;
        live["metadata"]["annotations"] = json!({"microservice-operator.dev/adopt": "a"});
        let (client, asked) = answering(vec![
            budget("2", &[&applied, &theirs]),
            budget("2", &[&applied, &theirs]),
            budget("3", &[&applied, &left]),
        ]);
        let answer = sent_over(client, json!({"name": "a", "uid": "1"}), live.clone()).await.unwrap();
        assert_eq!(answer.resource_version().as_deref(), Some("3"));
        assert_eq!(kinds(&asked), [APPLY, APPLY, MERGE]);
        let alone = json!({"metadata": {"uid": "1", "resourceVersion": "2", "managedFields": [applied, left]}});
        assert_eq!(asked.lock().unwrap()[2].1, alone);

        let both = owner("Apply", &["f:maxUnavailable", "f:minAvailable"]);
        let (client, asked) = answering(vec![
            budget("2", &[&applied, &own, &theirs]),
            budget("2", &[&applied, &own, &theirs]),
            budget("3", &[&theirs, &both]),
            budget("4", &[&theirs, &applied]),
            budget("5", &[&left, &applied]),
        ]);
        let answer = sent_over(client, json!({"name": "a", "uid": "1"}), live).await.unwrap();
        assert_eq!(answer.resource_version().as_deref(), Some("5"));
        assert_eq!(kinds(&asked), [APPLY, APPLY, MERGE, APPLY, MERGE]);
    }

    #[tokio::test]
    async fn what_a_crash_left_owned_is_found_by_the_next_write_and_goes() {
        let (applied, left) = (owner("Apply", &["f:maxUnavailable"]), owner("Update", &["f:minAvailable"]));
        let both = owner("Apply", &["f:maxUnavailable", "f:minAvailable"]);
        let (client, asked) = answering(vec![
            budget("2", &[&applied, &left]),
            budget("2", &[&applied, &left]),
            stub::refusal(409, "Conflict"),
            budget("3", &[&applied, &left]),
            budget("4", &[&both]),
            budget("5", &[&applied]),
        ]);
        let answer = sent(client, json!({"name": "a", "uid": "1"})).await.unwrap();
        assert_eq!(answer.resource_version().as_deref(), Some("5"));
        assert_eq!(kinds(&asked), [APPLY, APPLY, MERGE, APPLY, MERGE, APPLY]);
        let alone = json!({"metadata": {"uid": "1", "resourceVersion": "3", "managedFields": [both]}});
        assert_eq!(asked.lock().unwrap()[4].1, alone);
    }

    #[tokio::test]
    async fn what_was_decided_on_a_version_goes_on_with_no_other() {
        let (applied, left) = (owner("Apply", &["f:maxUnavailable"]), owner("Update", &["f:minAvailable"]));
        let conflict = || stub::refusal(409, "Conflict");
        let (client, asked) =
            answering(vec![budget("2", &[&applied, &left]), budget("2", &[&applied, &left]), conflict(), conflict()]);
        let refused = sent(client, json!({"name": "a", "uid": "1", "resourceVersion": "1"})).await;
        assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 409), "{refused:?}");
        assert_eq!(asked.lock().unwrap()[3].1["metadata"]["resourceVersion"], "2");
    }
}
