//! The part of all namespaces that a process serves.

use std::num::NonZeroU16;

use kube::{ResourceExt, runtime::watcher};
use sha2::{Digest, Sha256};

/// One of several equal parts of all namespaces. The default is the whole.
///
/// Which part a namespace is in follows from its name alone, in every release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u16,
    of: NonZeroU16,
}

impl Default for Shard {
    fn default() -> Self {
        Self { number: 1, of: NonZeroU16::MIN }
    }
}

impl Shard {
    /// All parts, in their order.
    pub fn all(of: NonZeroU16) -> impl ExactSizeIterator<Item = Self> {
        (0..of.get()).map(move |index| Self { number: index + 1, of })
    }

    /// Its number, from 1, and how many there are.
    pub fn place(self) -> (u16, u16) {
        (self.number, self.of.get())
    }

    /// Whether the namespace is in this part.
    pub fn has(self, namespace: &str) -> bool {
        if self.of == NonZeroU16::MIN {
            return true;
        }
        let hash = Sha256::digest(namespace.as_bytes());
        let hash = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        hash % u64::from(self.of.get()) == u64::from(self.number - 1)
    }

    /// Whether the object's namespace is in this part.
    pub fn has_object<K: ResourceExt>(self, object: &K) -> bool {
        self.has(object.namespace().as_deref().unwrap_or_default())
    }

    /// Whether an event of a watch is about an object of this part, or about all objects.
    pub fn concerns<K: ResourceExt>(self, event: &watcher::Event<K>) -> bool {
        match event {
            watcher::Event::Init | watcher::Event::InitDone => true,
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
                self.has_object(object)
            }
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(of: u16) -> Vec<Shard> {
        Shard::all(NonZeroU16::new(of).unwrap()).collect()
    }

    #[test]
    fn every_namespace_is_in_one_part() {
        for of in [1, 2, 3, 4, 16] {
            for namespace in (0..200).map(|number| format!("team-{number}")) {
                let having = parts(of).into_iter().filter(|part| part.has(&namespace)).count();
                assert_eq!(having, 1, "{namespace} of {of}");
            }
        }
    }

    #[test]
    fn parts_are_about_equal() {
        for part in parts(4) {
            let having = (0..1_000).filter(|number| part.has(&format!("team-{number}"))).count();
            assert!((200..=300).contains(&having), "{part} has {having}");
        }
    }

    #[test]
    fn a_namespace_is_in_the_part_that_it_was_in_in_every_release() {
        let number = |namespace: &str| parts(4).into_iter().find(|part| part.has(namespace)).unwrap().place().0;
        assert_eq!(["default", "shop", "payments", "bookinfo"].map(number), [2, 2, 1, 3]);
    }

    #[test]
    fn the_whole_has_all() {
        assert!(Shard::default().has("") && Shard::default().has("shop"));
        assert_eq!(parts(1), [Shard::default()]);
    }
}
