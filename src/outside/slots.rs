//! How much of the same may be under way at once: so much of each name, so that nobody waits for who asks another one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Measurements that one provider is asked for at once, and calls of one webhook: each may take minutes.
const SLOTS: usize = 8;

/// The slots of each name that somebody asks for. A name costs nothing once nobody does.
#[derive(Default)]
pub struct Slots {
    of: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Slots {
    /// Waits for a slot of a name.
    pub async fn one_of(&self, name: &str) -> Option<OwnedSemaphorePermit> {
        // A semaphore is never closed.
        self.of(name).acquire_owned().await.ok()
    }

    fn of(&self, name: &str) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = of.get(name).and_then(Weak::upgrade) {
            return slots;
        }
        of.retain(|_, slots| slots.strong_count() > 0);
        let slots = Arc::new(Semaphore::new(SLOTS));
        of.insert(name.to_owned(), Arc::downgrade(&slots));
        slots
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn nobody_waits_for_who_asks_another_one() {
        let slots = Slots::default();
        let one_of = |name: &str| slots.one_of(name).now_or_never().flatten();
        let all: Vec<_> = (0..SLOTS).map(|_| one_of("slow").unwrap()).collect();
        assert!(one_of("slow").is_none());
        assert!(one_of("other").is_some());
        drop(all);
        assert!(one_of("third").is_some());
        assert_eq!(slots.of.lock().unwrap().len(), 1, "names that nobody asks for are forgotten");
    }
}
