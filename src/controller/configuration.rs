//! Reading the ConfigMaps that a service refers to. They are watched without their content, of which a cluster may have
//! more than fits; so a ConfigMap is read once when it is new or changed, and again when a copy of it has to be made.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};

use crate::{
    observe::{Caches, Key},
    plan::{
        configuration::{Content, Source, Sources, copy_name},
        object::Kind,
    },
    validate::Identity,
};

/// The ConfigMaps of these names, with their content where a copy is missing.
pub async fn read<'a>(
    client: &Client,
    caches: &Caches,
    identity: &Identity,
    names: impl Iterator<Item = &'a String>,
) -> Sources {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &identity.namespace);
    let mut sources = Sources::new();
    for name in names {
        sources.insert(name.clone(), read_one(&api, caches, identity, name).await);
    }
    sources
}

async fn read_one(api: &Api<ConfigMap>, caches: &Caches, identity: &Identity, name: &str) -> Source {
    let key = Key::new(&identity.namespace, name);
    if caches.child(Kind::ConfigMap, &key).is_none_or(|live| live.deleting) {
        return Source::Absent;
    }
    let copied = |digest: &String| {
        let copy = Key::new(&identity.namespace, copy_name(identity, name, Some(digest)));
        caches.child(Kind::ConfigMap, &copy).is_some()
    };
    if let Some(digest) = caches.digest(&key).filter(copied) {
        return Source::Known { digest, content: None };
    }
    match api.get_opt(name).await {
        Ok(Some(live)) => {
            let version = live.resource_version().unwrap_or_default();
            let content = Content::of(live);
            let digest = content.digest();
            caches.note_digest(&key, version, digest.clone());
            Source::Known { digest, content: Some(content) }
        }
        Ok(None) => Source::Absent,
        Err(error) => Source::Unread(error.to_string()),
    }
}
