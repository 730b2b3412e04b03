//! The one patch of a status.

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;

use crate::{
    api::{GROUP, MANAGER, Microservice, MicroserviceStatus, VERSION},
    observe::Lean,
    validate::Identity,
};

/// Writes the status, on just this object and not on a later one of the same name. Answers the new resourceVersion.
///
/// # Errors
/// What the API server answered.
pub async fn write(client: &Client, identity: &Identity, status: &MicroserviceStatus) -> Result<String, kube::Error> {
    let api: Api<Lean<PartialObjectMeta<Microservice>>> = Api::namespaced(client.clone(), &identity.namespace);
    let body = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Microservice",
        "metadata": {"name": identity.name, "namespace": identity.namespace, "uid": identity.uid},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let Lean(answer) = api.patch_status(&identity.name, &params, &Patch::Apply(&body)).await?;
    Ok(answer.metadata.resource_version.unwrap_or_default())
}
