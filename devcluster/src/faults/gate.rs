//! Watches that are held back by their kind, until somebody lets them go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch as signal;

/// What becomes of events that were held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// They come late, in their order.
    #[default]
    Late,
    /// They are missed: the watch expires with 410, and the kind has to be listed again.
    Missed,
}

/// What is held back, or how the last that was held back was let go.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    pub(super) resources: Vec<String>,
    pub(super) release: Release,
}

/// One watch before the gate.
pub(super) struct Passage {
    pub(super) resource: String,
    pub(super) gate: signal::Receiver<Gate>,
    /// How often anything was held back.
    pub(super) held: Arc<AtomicUsize>,
}

impl Passage {
    /// Waits while the kind is held back; answers how it was let go, if it was held back at all.
    pub(super) async fn opens(&mut self) -> Option<Release> {
        let held = |gate: &Gate| gate.resources.contains(&self.resource);
        if !held(&self.gate.borrow_and_update()) {
            return None;
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        Some(self.gate.wait_for(|gate| !held(gate)).await.ok()?.release)
    }
}
