//! What an administrator made, where some of the kind are given as well.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{AnalysisProviderSpec, RolloutWebhookSpec},
    input::Origin,
    offline::name_of,
};

/// The AnalysisProviders and RolloutWebhooks that are given. Where there are none, they are elsewhere.
#[derive(Debug, Default)]
pub(in crate::lint) struct Given {
    pub(super) providers: Vec<Made<AnalysisProviderSpec>>,
    pub(super) webhooks: Vec<Made<RolloutWebhookSpec>>,
}

/// One of them, and where it was found.
#[derive(Debug)]
pub(super) struct Made<S> {
    pub(super) origin: Origin,
    pub(super) name: String,
    /// None where it cannot be read, which is told as a refusal.
    pub(super) spec: Option<S>,
}

impl Given {
    /// Notes a manifest, if it is of one of these kinds.
    pub(in crate::lint) fn note(&mut self, origin: &Origin, manifest: &Value) {
        match manifest["kind"].as_str() {
            Some("AnalysisProvider") => self.providers.push(Made::of(origin, manifest)),
            Some("RolloutWebhook") => self.webhooks.push(Made::of(origin, manifest)),
            _ => {}
        }
    }
}

impl<S: DeserializeOwned> Made<S> {
    fn of(origin: &Origin, manifest: &Value) -> Self {
        let spec = serde_json::from_value(manifest["spec"].clone()).ok();
        Self { origin: origin.clone(), name: name_of(manifest), spec }
    }
}
