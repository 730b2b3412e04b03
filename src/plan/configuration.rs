//! ConfigMaps as a part of a revision: what the newest one is made of, when its pods use copies of them. Pure.
//!
//! The name of a copy tells its content, and pods refer to the copy. So a changed ConfigMap is a changed pod, and every
//! rule about revisions holds for configuration, too.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use serde_json::{Value, json};

use crate::{
    api::MicroserviceStatus,
    validate::{
        Behind, Copies, Identity, Invalid, Problem, Refusal, Validated, Version,
        digest::digest,
        references::{Reference, references, renamed},
        template_hash,
    },
};

/// Digits of the digest in a copy's name.
const HASH_LENGTH: usize = 10;
/// Longest name of a ConfigMap.
const MAX_NAME: usize = 253;
/// Bytes of all ConfigMaps that one service may have copied at once: they are in memory, several times, until all is written.
pub const MOST_AT_ONCE: usize = 4 << 20;
/// As many older revisions may be on their way out when a changed ConfigMap makes one more. They keep their pods for the
/// drain time, and the newest one needs time to start.
const MOST_LEAVING: usize = 3;

/// What a ConfigMap holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub data: BTreeMap<String, String>,
    pub binary_data: BTreeMap<String, ByteString>,
}

impl Content {
    /// What it holds, without anything else about it.
    pub fn of(config_map: ConfigMap) -> Self {
        let ConfigMap { data, binary_data, immutable: _, metadata: _ } = config_map;
        Self { data: data.unwrap_or_default(), binary_data: binary_data.unwrap_or_default() }
    }

    /// What its entries have, in bytes.
    pub fn size(&self) -> usize {
        let texts = self.data.iter().map(|(key, value)| key.len().saturating_add(value.len()));
        let bytes = self.binary_data.iter().map(|(key, value)| key.len().saturating_add(value.0.len()));
        texts.chain(bytes).fold(0, usize::saturating_add)
    }

    /// Digest of all entries.
    pub fn digest(&self) -> String {
        digest(&json!({"data": self.data, "binaryData": self.binary_data}), 64)
    }
}

/// A ConfigMap that a service refers to, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Absent,
    /// Why it could not be read.
    Unread(String),
    /// With those before it, it has more than is copied at once.
    Excess,
    /// The digest of its content, and the content itself if a copy is yet to be made.
    Known {
        digest: String,
        content: Option<Content>,
    },
}

/// ConfigMaps by name.
pub type Sources = BTreeMap<String, Source>;

/// The ConfigMaps whose content makes the newest revision, which has its name without them. `runs` tells whether a
/// revision of a name runs already, as those do that were made without copies.
pub fn needed(service: &Validated, runs: impl FnOnce(&str) -> bool) -> BTreeMap<String, Reference> {
    let newest = service.versions.first().filter(|_| service.by_image());
    let copied = |version: &&Version| service.config_revisions.unwrap_or_else(|| !runs(&version.name));
    newest.filter(copied).map(|version| references(&version.pod)).unwrap_or_default()
}

/// Makes the newest revision use copies of the ConfigMaps as they are now. One that is gone or cannot be read is used as
/// it is kept in `last`, the copies of the last accepted spec; and so are all of them for as long as many older revisions
/// drain, if nothing but ConfigMaps makes the new one.
///
/// # Errors
/// ConfigMaps without which pods cannot start, and of which there is no copy.
pub fn settle(
    mut service: Validated,
    needed: &BTreeMap<String, Reference>,
    sources: &Sources,
    last: &Copies,
    status: &MicroserviceStatus,
) -> Result<Validated, Invalid> {
    let mut copies = Copies::new();
    let mut problems = Vec::new();
    for (name, reference) in needed {
        let source = sources.get(name).unwrap_or(&Source::Absent);
        let nothing = copy_name(&service.identity, name, None);
        let (what, cure) = match source {
            Source::Known { digest, .. } => {
                copies.insert(name.clone(), copy_name(&service.identity, name, Some(digest)));
                continue;
            }
            Source::Absent if !reference.required => {
                copies.insert(name.clone(), nothing);
                continue;
            }
            Source::Absent => ("does not exist".to_owned(), "create it, or make the reference optional"),
            Source::Unread(why) => (format!("cannot be read: {why}"), "it is tried again"),
            Source::Excess => (
                format!("is too much: what is copied at once may have {} MiB", MOST_AT_ONCE >> 20),
                "make it smaller, or have pods use ConfigMaps as they stand, by configRevisions: false",
            ),
        };
        if let Some(copy) = last.get(name).filter(|copy| **copy != nothing) {
            copies.insert(name.clone(), copy.clone());
            let told = format!("the ConfigMap {name} {what}: its last copy {copy} stays in use; {cure}");
            service.configuration.push(Behind::Missing(told));
        } else {
            problems.push(Problem::new(&reference.place, format!("the ConfigMap {name} {what}: {cure}")));
        }
    }
    if !problems.is_empty() {
        return Err(Invalid { problems, why: Refusal::Missing });
    }
    if let Some(newest) = service.versions.first_mut() {
        let (revision, behind) = in_turn(newest, &copies, last, status, &service.identity);
        *newest = revision;
        service.configuration.extend(behind);
    }
    Ok(service)
}

/// The newest revision with the copies that it should have, or with its last ones while it would be one too many.
fn in_turn(
    newest: &Version,
    copies: &Copies,
    last: &Copies,
    status: &MicroserviceStatus,
    identity: &Identity,
) -> (Version, Option<Behind>) {
    let wanted = with_copies(newest.clone(), copies.clone(), identity);
    if is_known(status, &wanted.name) {
        return (wanted, None);
    }
    let standing = with_copies(newest.clone(), last.clone(), identity);
    let leaving = leaving(status, &standing.name);
    if leaving < MOST_LEAVING || !is_known(status, &standing.name) {
        return (wanted, None);
    }
    let changed: Vec<_> = copies.iter().filter(|(of, copy)| last.get(*of) != Some(copy)).map(|(of, _)| &**of).collect();
    let behind = format!(
        "ConfigMaps changed again ({}) while {leaving} older revisions drain: {} keeps what it has until one of them is gone",
        changed.join(", "),
        standing.name
    );
    (standing, Some(Behind::Changing(behind)))
}

/// Whether a revision is one of those that are known already.
fn is_known(status: &MicroserviceStatus, revision: &str) -> bool {
    status.of_version(revision).is_some()
}

/// How many revisions other than `newest` have no requests, and are not kept to go back to.
fn leaving(status: &MicroserviceStatus, newest: &str) -> usize {
    let kept = |name: &String| {
        status.rollout.as_ref().is_some_and(|it| it.stable.contains_key(name) || it.previous.contains_key(name))
    };
    let others = status.traffic.iter().filter(|memory| memory.version != newest && memory.effective == 0);
    others.filter(|memory| !kept(&memory.version)).count()
}

/// The revision whose pods use copies, which gives it another name.
pub fn with_copies(revision: Version, copies: Copies, identity: &Identity) -> Version {
    if copies.is_empty() {
        return revision;
    }
    let renamed = Version { pod: renamed(&revision.pod, &copies), copies, ..revision };
    Version { name: format!("r-{}", template_hash(identity, &renamed)), ..renamed }
}

/// What the copies hold that are to be made, by the name of the copy.
pub fn contents(identity: &Identity, sources: Sources) -> BTreeMap<String, Content> {
    let content = |(name, source): (String, Source)| match source {
        Source::Known { digest, content } => Some((copy_name(identity, &name, Some(&digest)), content?)),
        Source::Absent | Source::Unread(_) | Source::Excess => None,
    };
    sources.into_iter().filter_map(content).collect()
}

/// `<ConfigMap>-<hash>`. Each service has copies of its own, and a ConfigMap that does not exist has a name that nothing
/// ever gets, so that pods which started without it go on without it.
pub fn copy_name(identity: &Identity, name: &str, content: Option<&str>) -> String {
    let subject =
        json!({"digest": "v1", "service": identity.name, "content": content.map_or(Value::Null, Value::from)});
    let most = MAX_NAME - HASH_LENGTH - 1;
    let stem = name.get(..most).unwrap_or(name).trim_end_matches(['-', '.']);
    format!("{stem}-{}", digest(&subject, HASH_LENGTH))
}

/// The name of the ConfigMap that a copy of this name may be of.
pub fn copied_name(copy: &str) -> Option<&str> {
    let (name, hash) = copy.rsplit_once('-')?;
    let hexadecimal = hash.len() == HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Identity {
        Identity { name: name.to_owned(), ..Identity::default() }
    }

    fn content(value: &str) -> Content {
        Content { data: BTreeMap::from([("key".to_owned(), value.to_owned())]), ..Content::default() }
    }

    #[test]
    fn a_copys_name_tells_its_content_and_its_service_in_every_release() {
        let name =
            |service: &str, value: &str| copy_name(&identity(service), "settings", Some(&content(value).digest()));
        assert_eq!(name("a", "1"), "settings-10431d7bb1");
        assert_eq!(copied_name(&name("a", "1")), Some("settings"));
        for other in [name("a", "2"), name("b", "1"), copy_name(&identity("a"), "settings", None)] {
            assert_ne!(other, name("a", "1"));
        }
        let binary = Content {
            binary_data: BTreeMap::from([("key".to_owned(), ByteString(b"1".to_vec()))]),
            ..Content::default()
        };
        assert_ne!(binary.digest(), content("1").digest());
    }

    #[test]
    fn the_longest_name_has_a_copy() {
        let long = format!("{}.{}", "a".repeat(241), "b".repeat(11));
        let copy = copy_name(&identity("a"), &long, None);
        assert!(copy.len() <= MAX_NAME && copy.starts_with(&format!("{}-", "a".repeat(241))), "{copy}");
        for other in ["settings", "settings-1", "settings-abcdefghij"] {
            assert_eq!(copied_name(other), None, "{other}");
        }
    }
}
