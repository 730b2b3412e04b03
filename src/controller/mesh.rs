//! Whether the cluster has the mesh's kinds, whose objects are watched for as long as it does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, NotUsed, Object},
    runtime::watcher,
};
use serde::{Deserialize, Deserializer};
use tokio::{
    sync::{Notify, mpsc::UnboundedSender},
    task::JoinSet,
};

use super::{
    follow::{follow, listing},
    watches::{Trigger, feed_children},
};
use crate::{
    observe::{
        Caches, Mesh,
        lean::{Lean, Wire},
    },
    plan::object::Kind,
};

/// How often the mesh's kinds are looked for when their definitions cannot be watched (a namespaced installation).
const MESH_POLL: Duration = Duration::from_secs(60);

/// Watches the mesh's kinds for as long as the cluster has them.
pub(super) async fn follow_mesh(client: Client, caches: Arc<Caches>, trigger: Trigger) {
    let mesh_kinds = || Kind::ALL.into_iter().filter(|kind| kind.of_mesh());
    let mut known: BTreeMap<Kind, bool> = BTreeMap::new();
    let mut feeding = JoinSet::new();
    let (sender, mut found) = tokio::sync::mpsc::unbounded_channel();
    let mut watching = JoinSet::new();
    let mut missed: BTreeMap<Kind, Arc<Notify>> = BTreeMap::new();
    for kind in mesh_kinds() {
        let gone = missed.entry(kind).or_default().clone();
        watching.spawn(watch_definition(client.clone(), caches.scope.clone(), kind, sender.clone(), gone));
    }
    while let Some((kind, present)) = found.recv().await {
        // One that is asked for again and again is only news when it comes.
        let absent_as_before = known.insert(kind, present) == Some(false) && !present;
        if absent_as_before {
            continue;
        }
        let installed = mesh_kinds().all(|kind| known.get(&kind) == Some(&true));
        let decided = mesh_kinds().all(|kind| known.contains_key(&kind));
        if !decided || (installed && !feeding.is_empty()) {
            continue;
        }
        if installed {
            tracing::info!("the mesh's kinds are installed");
            for kind in mesh_kinds() {
                let missed = missed.get(&kind).cloned();
                feeding.spawn(feed_children(client.clone(), caches.clone(), trigger.clone(), kind, missed));
            }
        } else {
            tracing::info!("the mesh's kinds are not installed");
            feeding.shutdown().await;
            for cache in mesh_kinds().filter_map(|kind| caches.of(kind)) {
                cache.clear();
            }
        }
        caches.set_mesh(if installed { Mesh::Installed } else { Mesh::Absent });
        trigger.all(&caches);
    }
}

/// Tells whether a kind's definition is there, each time that this changes.
async fn watch_definition(
    client: Client,
    scope: Option<String>,
    kind: Kind,
    found: UnboundedSender<(Kind, bool)>,
    gone: Arc<Notify>,
) {
    let resource = kind.api_resource();
    let name = format!("{}.{}", resource.plural, resource.group);
    if scope.is_some() {
        return poll_kind(client, scope, kind, found, gone).await;
    }
    let definitions = ApiResource::erase::<CustomResourceDefinition>(&());
    let api: Api<Lean<Definition>> = Api::all_with(client, &definitions);
    let config = listing().fields(&format!("metadata.name={name}"));
    let events = follow(api, config);
    futures::pin_mut!(events);
    let mut listed = false;
    while let Some(event) = events.next().await {
        let present = match event {
            Ok(watcher::Event::Init) => {
                listed = false;
                continue;
            }
            Ok(watcher::Event::InitApply(definition) | watcher::Event::Apply(definition)) => {
                listed = serves(&definition, &resource.version);
                listed
            }
            Ok(watcher::Event::InitDone) => listed,
            Ok(watcher::Event::Delete(_)) => false,
            Err(error) => {
                tracing::warn!(%error, "cannot watch the definition of {name}; it is tried again");
                continue;
            }
        };
        if found.send((kind, present)).is_err() {
            return;
        }
    }
}

/// A CustomResourceDefinition without its schemas, which are large.
type Definition = Object<Defined, NotUsed>;

impl Wire for Definition {
    fn read<'de, D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        Self::deserialize(wire)
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Defined {
    versions: Vec<DefinedVersion>,
}

#[derive(Clone, Debug, Deserialize)]
struct DefinedVersion {
    name: String,
    served: bool,
}

/// Whether the API server has the kind in a version, which older installations of a mesh lack.
fn serves(definition: &Definition, version: &str) -> bool {
    let stays = definition.metadata.deletion_timestamp.is_none();
    stays && definition.spec.versions.iter().any(|it| it.name == version && it.served)
}

/// Without the right to see definitions, the kind itself is asked for.
async fn poll_kind(
    client: Client,
    scope: Option<String>,
    kind: Kind,
    found: UnboundedSender<(Kind, bool)>,
    gone: Arc<Notify>,
) {
    let namespace = scope.unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &kind.api_resource());
    let one = kube::api::ListParams::default().limit(1);
    loop {
        let present = match api.list_metadata(&one).await {
            Ok(_) => Some(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Some(false),
            Err(error) => {
                tracing::warn!(%error, ?kind, "cannot see whether the mesh's kind is there; it is tried again");
                None
            }
        };
        if let Some(present) = present
            && found.send((kind, present)).is_err()
        {
            return;
        }
        if present == Some(true) {
            // Its own watch tells when it goes.
            gone.notified().await;
        } else {
            tokio::time::sleep(MESH_POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_is_there_in_the_version_that_is_asked_for() {
        let defined = |version: &str, served: bool, deleted: Option<&str>| {
            let definition: Definition = serde_json::from_value(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"deletionTimestamp": deleted},
                "spec": {
                    "group": "networking.istio.io", "scope": "Namespaced",
                    "names": {"kind": "VirtualService", "plural": "virtualservices"},
                    "versions": [{"name": "v1beta1", "served": true, "storage": true},
                                 {"name": version, "served": served, "storage": false}],
                },
            }))
            .unwrap();
            serves(&definition, "v1")
        };
        assert!(defined("v1", true, None));
        assert!(!defined("v1alpha3", true, None), "Istio before 1.22");
        assert!(!defined("v1", false, None));
        assert!(!defined("v1", true, Some("2026-01-01T00:00:00Z")));
    }
}
