//! AnalysisProviders as they are watched; they belong to the cluster, so all scopes share them.

use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::{Resource, ResourceExt, core::DeserializeGuard, runtime::watcher};
use thiserror::Error;
use tokio::sync::watch;

use crate::api::{AnalysisProvider, AnalysisProviderSpec};

use super::cache::{Cache, Key, View};

/// How long an inquiry waits for the first listing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Why none can be seen that were.
const LOST: &str = "they can no longer be watched, and what is known of them grows old; the operator's log says why";

/// The AnalysisProviders of the cluster, or why they cannot be seen.
pub struct Providers {
    cache: Cache<ProviderView>,
    state: watch::Sender<State>,
}

/// Why there is no provider of a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Missing {
    #[error(
        "there is no AnalysisProvider {0:?}: an administrator has to create it, or the analysis to name another one"
    )]
    Unknown(String),
    #[error("AnalysisProviders cannot be seen: {0}")]
    Unseen(String),
    #[error("the AnalysisProvider {name:?} cannot be read: {why}; mend it")]
    Unreadable { name: String, why: String },
}

#[derive(Clone, Debug)]
enum State {
    Listing,
    Listed,
    Unseen(String),
}

#[derive(Clone, Debug)]
struct ProviderView {
    uid: String,
    resource_version: String,
    spec: Result<AnalysisProviderSpec, String>,
}

impl ProviderView {
    fn of(object: &DeserializeGuard<AnalysisProvider>) -> Self {
        let spec = object.0.as_ref().map(|provider| provider.spec.clone()).map_err(|invalid| invalid.error.clone());
        Self {
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            spec,
        }
    }
}

impl View for ProviderView {
    fn terms(&self) -> Vec<String> {
        Vec::new()
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

impl Default for Providers {
    fn default() -> Self {
        Self { cache: Cache::named(&AnalysisProvider::plural(&())), state: watch::Sender::new(State::Listing) }
    }
}

impl Providers {
    /// None that can be seen, for this reason.
    pub fn unseen(why: &str) -> Self {
        Self { state: watch::Sender::new(State::Unseen(why.to_owned())), ..Self::default() }
    }

    /// The provider of that name, once they are listed.
    ///
    /// # Errors
    /// There is none, it cannot be read, or none can be seen.
    pub async fn get(&self, name: &str) -> Result<AnalysisProviderSpec, Missing> {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Listing));
        let known = tokio::time::timeout(PATIENCE, known).await.ok().and_then(Result::ok).map(|state| state.clone());
        match known {
            Some(State::Listed) if self.lost().is_some() => return Err(Missing::Unseen(LOST.to_owned())),
            Some(State::Listed) => {}
            Some(State::Unseen(why)) => return Err(Missing::Unseen(why)),
            Some(State::Listing) | None => return Err(Missing::Unseen("they are still being listed".to_owned())),
        }
        let view = self.cache.get(&Key::new("", name)).ok_or_else(|| Missing::Unknown(name.to_owned()))?;
        view.spec.clone().map_err(|why| Missing::Unreadable { name: name.to_owned(), why })
    }

    /// The kind, if its objects were seen and can no longer be watched.
    pub fn lost(&self) -> Option<&str> {
        self.cache.lost().filter(|_| self.cache.served())
    }

    /// Follows a watch until it ends.
    pub async fn feed(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<AnalysisProvider>>>>,
    ) {
        futures::pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    self.cache.take(&event, ProviderView::of);
                    if self.cache.served() {
                        self.state.send_replace(State::Listed);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "AnalysisProviders cannot be watched; it is tried again");
                    self.cache.failed();
                    if !self.cache.served() {
                        self.state.send_replace(State::Unseen(error.to_string()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_can_no_longer_be_watched_is_not_believed() {
        let providers = Providers::default();
        let provider = serde_json::from_value(json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "AnalysisProvider",
            "metadata": {"name": "default"}, "spec": {"prometheus": {"url": "http://prometheus"}},
        }));
        let refused = || Err(watcher::Error::NoResourceVersion);
        providers.feed(stream::iter([refused()])).await;
        assert!(matches!(providers.get("default").await, Err(Missing::Unseen(_))), "they were never listed");
        providers.cache.failed_for(Duration::from_secs(61));
        assert_eq!(providers.lost(), None, "an operator without the right to them is ready all the same");
        let listing =
            [watcher::Event::Init, watcher::Event::InitApply(provider.unwrap()), watcher::Event::InitDone].map(Ok);
        providers.feed(stream::iter(listing.into_iter().chain([refused()]))).await;
        assert!(providers.get("default").await.is_ok(), "it may pass");
        providers.cache.failed_for(Duration::from_secs(61));
        assert_eq!(providers.lost(), Some("analysisproviders"));
        assert_eq!(providers.get("default").await.err(), Some(Missing::Unseen(LOST.to_owned())));
    }
}
