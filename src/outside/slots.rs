//! How much of the same may be under way at once: so much of each name, so that nobody waits for who asks another one, and of
//! that so much for each namespace, so that nobody waits for all that somebody else asks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Measurements that one provider is asked for at once, and calls of one webhook: each may take minutes.
const SLOTS: usize = 8;
/// Of these, at most so many for one namespace, which has no more in the queue for them either.
const SHARE: usize = 4;

/// A name, and the namespace whose share of its slots it is; none for all of them.
type Name = (String, Option<String>);

/// The slots of each name that somebody asks for. A name costs nothing once nobody does.
#[derive(Default)]
pub struct Slots {
    of: Mutex<HashMap<Name, Weak<Semaphore>>>,
}

/// A slot, until it is dropped.
pub struct Slot {
    _share: Option<OwnedSemaphorePermit>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// Waits for a slot of a name, for a namespace.
    pub async fn one_of(&self, name: &str, namespace: &str) -> Slot {
        // A semaphore is never closed.
        let share = self.of((name.to_owned(), Some(namespace.to_owned())), SHARE).acquire_owned().await.ok();
        let slot = self.of((name.to_owned(), None), SLOTS).acquire_owned().await.ok();
        Slot { _share: share, _slot: slot }
    }

    fn of(&self, name: Name, slots: usize) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = of.get(&name).and_then(Weak::upgrade) {
            return slots;
        }
        of.retain(|_, slots| slots.strong_count() > 0);
        let slots = Arc::new(Semaphore::new(slots));
        of.insert(name, Arc::downgrade(&slots));
        slots
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn nobody_waits_for_who_asks_another_one_nor_for_another_namespace() {
        let slots = Slots::default();
        let one_of = |name: &str, namespace: &str| slots.one_of(name, namespace).now_or_never();
        let mut all: Vec<_> = (0..SHARE).map(|_| one_of("slow", "a").unwrap()).collect();
        assert!(one_of("slow", "a").is_none(), "its share");
        all.extend((0..SHARE).map(|_| one_of("slow", "b").unwrap()));
        assert!(one_of("slow", "c").is_none(), "all slots are taken");
        assert!(one_of("other", "a").is_some());
        drop(all);
        assert!(one_of("third", "a").is_some());
        assert_eq!(slots.of.lock().unwrap().len(), 2, "names that nobody asks for are forgotten");
    }

    #[tokio::test]
    async fn a_namespace_has_no_more_in_the_queue_than_its_share() {
        let slots = Arc::new(Slots::default());
        let mut taken: Vec<_> = Vec::new();
        for namespace in ["a", "b"] {
            for _ in 0..SHARE {
                taken.push(slots.one_of("provider", namespace).await);
            }
        }
        let (turn, mut turns) = tokio::sync::mpsc::unbounded_channel();
        for namespace in ["many"].repeat(100).into_iter().chain(["one"]) {
            let (slots, turn) = (slots.clone(), turn.clone());
            tokio::spawn(async move {
                let slot = slots.one_of("provider", namespace).await;
                turn.send((namespace, slot)).unwrap();
            });
            tokio::task::yield_now().await;
        }
        let mut served = Vec::new();
        for _ in 0..=SHARE {
            drop(taken.pop());
            let (namespace, slot) = turns.recv().await.unwrap();
            served.push(namespace);
            taken.insert(0, slot);
        }
        assert_eq!(served, ["many", "many", "many", "many", "one"]);
    }
}
