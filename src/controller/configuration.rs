//! Reading the ConfigMaps that a service refers to. They are watched without their content, of which a cluster may have
//! more than fits; so a ConfigMap is read once when it is new or changed, and again when a copy of it has to be made.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};

use crate::{
    observe::{Caches, Key},
    plan::{
        configuration::{Content, Source, Sources, copy_name},
        object::Kind,
    },
    validate::{Copies, Identity, references::Reference},
};

/// The ConfigMaps that are needed, with their content where a copy is missing. `last` has the copies of the last accepted
/// spec.
pub async fn read(
    client: &Client,
    caches: &Caches,
    identity: &Identity,
    needed: &BTreeMap<String, Reference>,
    last: &Copies,
) -> Sources {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &identity.namespace);
    let mut sources = Sources::new();
    for (name, reference) in needed {
        // One that pods can do without may have been made a moment before the service, and the watch lags behind: without
        // it there would be a revision that nobody meant.
        let doubted = !reference.required && last.get(name) != Some(&copy_name(identity, name, None));
        sources.insert(name.clone(), read_one(&api, caches, identity, name, doubted).await);
    }
    sources
}

async fn read_one(api: &Api<ConfigMap>, caches: &Caches, identity: &Identity, name: &str, doubted: bool) -> Source {
    let key = Key::new(&identity.namespace, name);
    if !doubted && caches.child(Kind::ConfigMap, &key).is_none_or(|live| live.deleting) {
        return Source::Absent;
    }
    if let Some(digest) = caches.digest(&key).filter(|digest| caches.has_copy(identity, name, digest)) {
        return Source::Known { digest, content: None };
    }
    match api.get_opt(name).await {
        Ok(Some(live)) if live.metadata.deletion_timestamp.is_none() => {
            let version = live.resource_version().unwrap_or_default();
            let content = Content::of(live);
            let digest = content.digest();
            caches.note_digest(&key, version, digest.clone());
            Source::Known { digest, content: Some(content) }
        }
        Ok(_) => Source::Absent,
        Err(error) => Source::Unread(error.to_string()),
    }
}
