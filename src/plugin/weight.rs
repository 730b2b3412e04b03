//! `kubectl ms weight`: edits the weights in the spec, as the one command that does, and says so.

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, Status},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::Microservice;

use super::{
    Error, Exit,
    cli::WeightArgs,
    cluster::{Cluster, MICROSERVICES, is_absent},
    output::{Out, Tone},
    weights::{Weights, rebalanced, shown},
};

/// How often the edit is made anew when something else of the object changed meanwhile.
const TRIES: usize = 5;

const NOTE: &str =
    "this edited the spec in the cluster: change the manifest in Git too, or the next sync puts the old weights back";

/// Why a service with an image has no weights to edit.
const BY_IMAGE: &str = "it names an image and no versions, so its newest revision is always asked to have 100: \
                        kubectl ms promote, pause and abort steer the way there, and the image of before in the \
                        manifest leads back";

/// What was changed, for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    namespace: &'a str,
    microservice: &'a str,
    before: &'a Weights,
    after: &'a Weights,
    changed: bool,
    note: &'static str,
}

/// Edits weights.
///
/// # Errors
/// When they cannot be what is asked, or the cluster refuses.
pub async fn weight(cluster: &Cluster, out: Out, args: &WeightArgs) -> Result<Exit, Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<Microservice>(&()));
    let mut first: Option<Weights> = None;
    for _ in 0..TRIES {
        let object = match api.get(&args.name).await {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if is_absent(&status) => return Err(cluster.absent(&args.name).await),
            Err(error) => return Err(cluster.failed("get", MICROSERVICES, false, error)),
        };
        if object.data.pointer("/spec/image").is_some() {
            return refused(out, args, BY_IMAGE);
        }
        let before = weights_of(&object.data);
        if let Some(seen) = first.as_ref().filter(|seen| **seen != before) {
            return refused(
                out,
                args,
                &format!(
                    "somebody changed the weights meanwhile, from {} to {}: look again",
                    shown(seen),
                    shown(&before)
                ),
            );
        }
        let after = match rebalanced(&before, &args.weights) {
            Ok(after) => after,
            Err(why) => return refused(out, args, &why),
        };
        if before == after {
            return told(cluster, out, args, &before, &after);
        }
        match api.patch(&args.name, &patch_params(), &Patch::Merge(patch(&object, &after))).await {
            Ok(_) => return told(cluster, out, args, &before, &after),
            Err(kube::Error::Api(status)) if conflicts(&status) => first = Some(before),
            Err(error) => return Err(cluster.failed("patch", MICROSERVICES, false, error)),
        }
    }
    refused(out, args, "it changes all the time: try again")
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some("kubectl-ms".to_owned()), ..PatchParams::default() }
}

fn conflicts(status: &Status) -> bool {
    status.code == 409
}

/// The weights that the spec asks for. A single version without one has all.
fn weights_of(data: &Value) -> Weights {
    let versions = data.pointer("/spec/versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let default = if versions.len() == 1 { 100 } else { 0 };
    let weight = |version: &Value| version.get("weight").and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok());
    let name = |version: &Value| version.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    versions.iter().map(|version| (name(version), weight(version).unwrap_or(default))).collect()
}

/// The list of versions as it was read, unknown fields and all, with other weights. It applies to no other state of the
/// object than the one that was read.
fn patch(object: &DynamicObject, after: &[(String, i32)]) -> Value {
    let mut versions = object.data.pointer("/spec/versions").cloned().unwrap_or_default();
    for (version, (_, weight)) in versions.as_array_mut().into_iter().flatten().zip(after) {
        if let Some(fields) = version.as_object_mut() {
            fields.insert("weight".to_owned(), json!(weight));
        }
    }
    json!({"metadata": {"resourceVersion": object.metadata.resource_version}, "spec": {"versions": versions}})
}

fn refused(out: Out, args: &WeightArgs, why: &str) -> Result<Exit, Error> {
    match out.format {
        Some(format) => out.value(format, &json!({"microservice": args.name, "changed": false, "message": why}))?,
        None => eprintln!("{}: weights {}: {why}", args.name, out.paint.paint(Tone::Bad, "refused")),
    }
    Ok(Exit::Refused)
}

fn told(cluster: &Cluster, out: Out, args: &WeightArgs, before: &Weights, after: &Weights) -> Result<Exit, Error> {
    let changed = before != after;
    let (namespace, microservice) = (cluster.namespace.as_str(), args.name.as_str());
    if let Some(format) = out.format {
        let note = if changed { NOTE } else { "nothing was changed" };
        let list = Outcome { namespace, microservice, before, after, changed, note };
        out.value(format, &list)?;
    } else if changed {
        out.text(&format!("{microservice}: {} -> {}\n{NOTE}\n", shown(before), shown(after)))?;
    } else {
        out.text(&format!("{microservice}: {} already, nothing was changed\n", shown(after)))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_weights_is_changed() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": "a", "resourceVersion": "7"},
            "spec": {"replicas": 2, "versions": [
                {"name": "v1", "image": "x:1", "ofTomorrow": {"kept": true}}, {"name": "v2", "image": "x:2", "weight": 0},
            ]},
        }))
        .unwrap();
        assert_eq!(weights_of(&object.data), [("v1".to_owned(), 0), ("v2".to_owned(), 0)]);
        assert_eq!(
            patch(&object, &[("v1".to_owned(), 75), ("v2".to_owned(), 25)]),
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"versions": [
                {"name": "v1", "image": "x:1", "ofTomorrow": {"kept": true}, "weight": 75},
                {"name": "v2", "image": "x:2", "weight": 25},
            ]}})
        );
    }

    #[test]
    fn a_single_version_has_all() {
        assert_eq!(weights_of(&json!({"spec": {"versions": [{"name": "v1"}]}})), [("v1".to_owned(), 100)]);
    }
}
