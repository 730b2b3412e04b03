//! How a kind is followed: listed by pages, watched, and asked for less and less often for as long as that fails.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, TryStreamExt, future::ready};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, watcher},
    },
};

use crate::observe::lean::{Lean, Wire};

/// How objects are listed: a page of many kinds at a time is in memory as trees, several times what is kept of it.
pub fn listing() -> watcher::Config {
    watcher::Config::default().page_size(100)
}

/// The longest pause after an error: what is as it was before must not take much longer to be seen again.
const LONGEST: Duration = Duration::from_secs(10);

/// What happens to the objects of a kind, without an end. After errors in a row it pauses for longer and longer.
pub fn follow<K>(
    api: Api<Lean<K>>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Wire + Clone + Debug + Send + 'static,
{
    let heard = Arc::new(AtomicBool::new(false));
    let pauses = Pauses { growing: DefaultBackoff::default(), heard: heard.clone() };
    let events = watcher(api, config).inspect_ok(move |event| {
        if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
            heard.store(true, Ordering::Relaxed);
        }
    });
    events.backoff(pauses).map_ok(read)
}

/// The objects that events are of. Errors end here: after each, kube's controller pauses all that triggers it, while a
/// watch that fails has paused already and concerns nobody else.
pub fn objects<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
) -> impl Stream<Item = watcher::Result<K>> {
    events.touched_objects().filter(|object| ready(object.is_ok()))
}

fn read<K>(event: watcher::Event<Lean<K>>) -> watcher::Event<K> {
    match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(Lean(object)) => watcher::Event::InitApply(object),
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::Apply(Lean(object)) => watcher::Event::Apply(object),
        watcher::Event::Delete(Lean(object)) => watcher::Event::Delete(object),
    }
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
    use std::time::Instant;

    use axum::http::{Request, header::ACCEPT};
    use futures::stream;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use kube::{ResourceExt, client::Body, core::PartialObjectMeta};
    use serde_json::{Value, json};

    use super::*;
    use crate::stub::{client, refusal};

    #[tokio::test]
    async fn of_config_maps_nothing_is_asked_for_but_their_metadata() {
        let only_metadata = |request: &Request<Body>| {
            let accepted = request.headers().get(ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
            refusal(if accepted.contains("as=PartialObjectMetadataList") { 403 } else { 406 }, "it depends")
        };
        let all = Api::<Lean<PartialObjectMeta<ConfigMap>>>::all(client(only_metadata));
        let first = follow(all, listing()).filter_map(|event| ready(event.err())).boxed().next().await;
        assert!(
            matches!(&first, Some(watcher::Error::InitialListFailed(kube::Error::Api(it))) if it.code == 403),
            "{first:?}"
        );
    }

    #[tokio::test]
    async fn a_listing_that_cannot_go_on_begins_anew() {
        let expires = Arc::new(AtomicBool::new(true));
        let pages = move |request: &Request<Body>| {
            let list = |names: &[&str], next: &str| {
                let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
                (200, json!({"metadata": {"resourceVersion": "1", "continue": next}, "items": items}))
            };
            if !request.uri().to_string().contains("continue=") {
                return list(&["a", "b"], "more");
            }
            if expires.swap(false, Ordering::Relaxed) { refusal(410, "Expired") } else { list(&["c"], "") }
        };
        let mut told = Vec::new();
        let mut events = follow(Api::<Lean<Pod>>::all(client(pages)), listing()).boxed();
        while told.last().is_none_or(|last| last != "done") {
            told.push(match events.next().await.unwrap() {
                Ok(watcher::Event::Init) => "begins".to_owned(),
                Ok(watcher::Event::InitApply(pod)) => pod.name_any(),
                Ok(watcher::Event::InitDone) => "done".to_owned(),
                Ok(other) => panic!("{other:?} is no listing"),
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) => status.code.to_string(),
                Err(other) => panic!("{other}"),
            });
        }
        assert_eq!(told, ["begins", "a", "b", "410", "begins", "a", "b", "c", "done"]);
    }

    #[tokio::test]
    async fn what_may_not_be_listed_is_asked_for_less_and_less_often() {
        let pods = Api::<Lean<Pod>>::all(client(|_| refusal(403, "Forbidden")));
        let began = Instant::now();
        let errors = follow(pods, listing()).filter(|event| ready(event.is_err()));
        assert_eq!(errors.take(4).count().await, 4);
        // Three times the first one are 4.8 seconds at most.
        let pauses = Duration::from_millis(800 + 1_600 + 3_200);
        assert!(began.elapsed() >= pauses, "{:?} with three pauses", began.elapsed());
    }

    #[tokio::test]
    async fn errors_of_a_watch_trigger_nothing_and_so_pause_nothing() {
        let error = || Err(watcher::Error::NoResourceVersion);
        let (listed, changed) = (watcher::Event::InitApply(1), watcher::Event::Apply(2));
        let events = [error(), Ok(watcher::Event::Init), Ok(listed), error(), Ok(changed), error()];
        let triggers: Vec<_> = objects(stream::iter(events)).map(Result::ok).collect().await;
        assert_eq!(triggers, [Some(1), Some(2)]);
    }

    #[test]
    fn pauses_begin_anew_when_something_was_heard() {
        let heard = Arc::new(AtomicBool::new(false));
        let mut pauses = Pauses { growing: DefaultBackoff::default(), heard: heard.clone() };
        let mut next = || {
            pauses.reset();
            pauses.next().unwrap()
        };
        let eighth = (0..8).map(|_| next()).last();
        assert_eq!(eighth, Some(LONGEST));
        heard.store(true, Ordering::Relaxed);
        assert!(next() < Duration::from_secs(2));
        assert!(next() >= Duration::from_millis(1_600));
    }
}
