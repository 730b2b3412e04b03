//! What the users of the services do, as fast as the API server lets them.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::{GroupVersionKind, TypeMeta},
};
use serde_json::Value;

use crate::{
    controllers::{Deed, Service},
    error::Error,
    watch::{Key, Kind},
};

/// How many act at a time.
pub const ABREAST: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the users asked for.
#[derive(Default)]
pub struct Asked {
    /// How many requests that took.
    pub requests: usize,
    /// What was refused, by what was said.
    pub refused: BTreeMap<String, usize>,
}

impl Asked {
    /// For users of whom nothing may be refused.
    pub fn all_taken(self) -> Result<(), Error> {
        self.refused.into_keys().next().map_or(Ok(()), |words| Err(Error::failed("act as a user", words)))
    }
}

/// Does a deed for each service.
pub async fn act(client: &Client, services: &[Key], deed: impl Fn(&Service<'_>) -> Deed) -> Asked {
    let deeds = services.iter().map(|(namespace, name)| {
        let deed = deed(&Service { namespace, name });
        async move { do_one(client, namespace, name, deed).await }
    });
    count(stream::iter(deeds).buffer_unordered(ABREAST).collect().await)
}

/// Deletes the object of this name of each kind.
pub async fn delete(client: &Client, services: &[Key], kinds: &[Kind]) -> Asked {
    let deletions = services.iter().map(|(namespace, name)| async move {
        let mut said = Vec::new();
        for kind in kinds {
            let gone = kind.within(client, namespace).delete(name, &DeleteParams::background()).await;
            said.push(gone.err().map(|error| words(&error)));
        }
        said
    });
    count(stream::iter(deletions).buffer_unordered(ABREAST).collect().await)
}

/// What was said to each request, if it was refused.
async fn do_one(client: &Client, namespace: &str, name: &str, deed: Deed) -> Vec<Option<String>> {
    match deed {
        Deed::None => Vec::new(),
        Deed::PatchStatus(resource, patch) => {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            let patched = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
            vec![patched.err().map(|error| words(&error))]
        }
        Deed::Apply(manifests) => {
            let mut said = Vec::new();
            for manifest in manifests {
                said.push(apply(client, namespace, name, &manifest).await);
            }
            said
        }
    }
}

/// Applies a manifest on the server, as `kubectl apply --server-side` does; what was said if it was refused.
async fn apply(client: &Client, namespace: &str, name: &str, manifest: &Value) -> Option<String> {
    let text = |field: &str| manifest[field].as_str().unwrap_or_default().to_owned();
    let types = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
    let kind = GroupVersionKind::try_from(types).ok()?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind));
    let mut parameters = PatchParams::apply("user");
    parameters.field_validation = Some(kube::api::ValidationDirective::Strict);
    let applied = tokio::time::timeout(PATIENCE, api.patch(name, &parameters, &Patch::Apply(manifest))).await;
    match applied {
        Ok(applied) => applied.err().map(|error| words(&error)),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// What an error says, without what differs from object to object.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}: {}", status.code, status.reason, status.message),
        error => error.to_string(),
    }
}

fn count(said: Vec<Vec<Option<String>>>) -> Asked {
    let mut asked = Asked::default();
    for said in said.into_iter().flatten() {
        asked.requests += 1;
        if let Some(words) = said {
            *asked.refused.entry(words).or_default() += 1;
        }
    }
    asked
}
