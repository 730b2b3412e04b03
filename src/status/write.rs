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

/// Writes the status, on just what was `seen`: its resourceVersion, as the API server looks at no uid when a status is written,
/// and that of a Microservice that is gone would be a later one's of the same name. Answers the new resourceVersion.
///
/// # Errors
/// What the API server answered: HTTP 409 if the Microservice has changed since.
pub async fn write(
    client: &Client,
    (identity, seen): (&Identity, &str),
    status: &MicroserviceStatus,
) -> Result<String, kube::Error> {
    let api: Api<Lean<PartialObjectMeta<Microservice>>> = Api::namespaced(client.clone(), &identity.namespace);
    let body = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Microservice",
        "metadata": {"name": identity.name, "namespace": identity.namespace, "resourceVersion": seen},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let Lean(answer) = api.patch_status(&identity.name, &params, &Patch::Apply(&body)).await?;
    Ok(answer.metadata.resource_version.unwrap_or_default())
}
