//! How a kind is followed: listed by pages, watched, and asked for less and less often for as long as that fails.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, TryStreamExt};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;

/// How objects are listed: a page of many kinds at a time is in memory as trees, several times what is kept of it.
pub fn listing() -> watcher::Config {
    watcher::Config::default().page_size(100)
}

/// The longest pause after an error: what is as it was before must not take much longer to be seen again.
const LONGEST: Duration = Duration::from_secs(10);

/// What happens to the objects of a kind, without an end. After errors in a row it pauses for longer and longer.
pub fn follow<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let heard = Arc::new(AtomicBool::new(false));
    let pauses = Pauses { growing: DefaultBackoff::default(), heard: heard.clone() };
    let events = watcher(api, config).inspect_ok(move |event| {
        if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
            heard.store(true, Ordering::Relaxed);
        }
    });
    events.backoff(pauses)
}

/// Pauses that grow until a listing is complete, or a change was heard of. A listing that only begins is an event, too, and
/// kube's own pauses begin anew with each: what may not be listed would be asked for every second, for ever.
struct Pauses {
    growing: DefaultBackoff,
    heard: Arc<AtomicBool>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.growing.next().map(|pause| pause.min(LONGEST))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        if self.heard.swap(false, Ordering::Relaxed) {
            self.growing.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::atomic::AtomicUsize};

    use axum::http::{Request, Response};
    use futures::StreamExt;
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Client, client::Body};
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_may_not_be_listed_is_asked_for_less_and_less_often() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let refuse = move |_: Request<Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 403, "reason": "Forbidden",
                                "status": "Failure", "message": "no"});
            let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
            *answer.status_mut() = axum::http::StatusCode::FORBIDDEN;
            async { Ok::<_, Infallible>(answer) }
        };
        let pods = Api::<Pod>::all(Client::new(tower::service_fn(refuse), "default"));
        let all = follow(pods, listing()).for_each(|_| async {});
        let _for_ever = tokio::time::timeout(Duration::from_secs(600), all).await;
        let asked = asked.load(Ordering::Relaxed);
        assert!((30..100).contains(&asked), "{asked} times in ten minutes");
    }
}
