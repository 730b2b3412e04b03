//! Applying one object, and taking away what stands against it.

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::observe::{Lean, child::Child};

use super::rivals::{self, Strip};

/// Applies an object that is `live` as the caches have it; None if it is not there. What its kind admits beside what is
/// applied of nobody is taken away then, and before it what the API server refuses together with it.
pub async fn send(
    api: &Api<Lean<DynamicObject>>,
    name: &str,
    params: &PatchParams,
    mut body: Value,
    live: Option<&Child>,
) -> Result<DynamicObject, kube::Error> {
    let refused = match api.patch(name, params, &Patch::Apply(&body)).await {
        Ok(Lean(answer)) if live.is_some() => return without_foreign_fields(api, name, answer, &body).await,
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => kube::Error::Api(status),
        other => return other.map(|Lean(answer)| answer),
    };
    let Some(strip) = live.and_then(|live| rivals::strip(&live.object.open(), &body)) else { return Err(refused) };
    let Lean(stripped) = api.patch(name, &PatchParams::default(), &on(strip, &body["metadata"])).await?;
    body["metadata"]["resourceVersion"] = json!(stripped.metadata.resource_version);
    api.patch(name, params, &Patch::Apply(&body)).await.map(|Lean(answer)| answer)
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
    let metadata = json!({"uid": answer.uid(), "resourceVersion": answer.resource_version()});
    let patched = api.patch(name, &PatchParams::default(), &on(Strip::Merge(json!({"spec": spec})), &metadata)).await;
    patched.map(|Lean(answer)| answer)
}

/// The patch, of just the object with this metadata.
fn on(strip: Strip, metadata: &Value) -> Patch<Value> {
    let of_it = |mut patch: Value| {
        patch["metadata"] = json!({"uid": metadata["uid"]});
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
