//! Places for reconciliations, of which the controllers of all scopes have so many together.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::lane::Lane;

/// Places that all controllers share.
#[derive(Clone)]
pub struct Places {
    all: Arc<Semaphore>,
    count: u16,
    /// For looks at what failed slowly.
    pub(super) slow: Arc<Lane>,
}

impl Places {
    /// So many, half of them for what failed slowly.
    pub fn new(count: u16) -> Self {
        let slow = Lane::new(usize::from(count / 2).max(1));
        Self { all: Arc::new(Semaphore::new(usize::from(count))), count, slow: Arc::new(slow) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// A place, until it is dropped. With one controller there always is one.
    pub(super) async fn one(&self) -> Option<SemaphorePermit<'_>> {
        self.all.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn all_controllers_have_so_many_together() {
        let places = Places::new(2);
        let other = places.clone();
        let (one, two) = (places.one().now_or_never(), other.one().now_or_never());
        assert!(one.is_some() && two.is_some());
        assert!(places.one().now_or_never().is_none() && other.one().now_or_never().is_none());
        drop(one);
        assert!(other.one().now_or_never().is_some_and(|place| place.is_some()));
    }
}
