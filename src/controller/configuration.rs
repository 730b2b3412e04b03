//! Reading the ConfigMaps that a service refers to. They are watched without their content, of which a cluster may have
//! more than fits; so a ConfigMap is read once when it is new or changed, and again when a copy of it has to be made.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};

use crate::{
    observe::{Caches, Key},
    plan::{
        configuration::{Content, MOST_AT_ONCE, Source, Sources, copy_name},
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
    let mut room = Some(MOST_AT_ONCE);
    for (name, reference) in needed {
        // One that pods can do without may have been made a moment before the service, and the watch lags behind: without
        // it there would be a revision that nobody meant.
        let doubted = !reference.required && last.get(name) != Some(&copy_name(identity, name, None));
        let source = read_one(&api, caches, identity, (name, doubted), room.is_some()).await;
        sources.insert(name.clone(), within(&mut room, source));
    }
    sources
}

/// The source, if there is room left for its content.
fn within(room: &mut Option<usize>, source: Source) -> Source {
    let Source::Known { content: Some(content), .. } = &source else { return source };
    *room = room.and_then(|room| room.checked_sub(content.size()));
    if room.is_some() { source } else { Source::Excess }
}

async fn read_one(
    api: &Api<ConfigMap>,
    caches: &Caches,
    identity: &Identity,
    (name, doubted): (&str, bool),
    room: bool,
) -> Source {
    let key = Key::new(&identity.namespace, name);
    if !doubted && caches.child(Kind::ConfigMap, &key).is_none_or(|live| live.deleting) {
        return Source::Absent;
    }
    if let Some(digest) = caches.digest(&key).filter(|digest| caches.has_copy(identity, name, digest)) {
        return Source::Known { digest, content: None };
    }
    if !room {
        return Source::Excess;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_copied_at_once_is_in_memory_only_up_to_a_limit() {
        let known = |size: usize| Source::Known {
            digest: "d".to_owned(),
            content: Some(Content { data: BTreeMap::from([(String::new(), "x".repeat(size))]), ..Content::default() }),
        };
        let copied = Source::Known { digest: "d".to_owned(), content: None };
        let mut room = Some(MOST_AT_ONCE);
        for (source, fits) in [
            (known(MOST_AT_ONCE - 1), true),
            (copied.clone(), true),
            (known(1), true),
            (known(1), false),
            (known(0), false),
            (copied, true),
        ] {
            let expected = if fits { source.clone() } else { Source::Excess };
            assert!(within(&mut room, source) == expected, "{room:?}");
        }
        assert_eq!(room, None, "nothing more is read");
    }
}
