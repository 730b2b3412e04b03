//! How a kind is followed: listed by pages, watched, and asked for less and less often for as long as that fails.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, ready},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, future, stream};
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

/// A watch that ends sooner than this was hardly taken up.
const BRIEF: Duration = Duration::from_secs(10);
/// The API server sends a bookmark to each watch once a minute: one that has said nothing for longer was not heard.
const UNHEARD: Duration = Duration::from_secs(70);

/// What happens to the objects of a kind, without an end. After errors in a row it pauses for longer and longer. That a watch
/// was cut off is none: it goes on where it ended, and whether it cannot is told then.
pub fn follow<K>(
    api: Api<Lean<K>>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Wire + Clone + Debug + Send + 'static,
{
    let heard = Arc::new(AtomicBool::new(false));
    let pauses = Pauses { growing: DefaultBackoff::default(), heard: heard.clone() };
    let events = timed(watcher(api, config), Instant::now).inspect(move |event| {
        if shows_life(event) {
            heard.store(true, Ordering::Relaxed);
        }
    });
    events.backoff(pauses).filter_map(|event| future::ready(told(event)))
}

/// An error, and for how long nothing had been heard before.
#[derive(Debug)]
struct Failure {
    error: watcher::Error,
    after: Duration,
}

impl Failure {
    /// Whether the watch was taken up before it failed.
    fn was_taken_up(&self) -> bool {
        matches!(self.error, watcher::Error::WatchFailed(_)) && self.after >= BRIEF
    }

    /// Whether the watch was only cut off, as by a load balancer that finds it idle.
    fn is_cut(&self) -> bool {
        self.was_taken_up() && self.after < UNHEARD
    }
}

/// The events, with how long each error was waited for. Pauses do not count.
fn timed<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    now: impl Fn() -> Instant + Send,
) -> impl Stream<Item = Result<watcher::Event<K>, Failure>> + Send {
    let mut events = Box::pin(events);
    let mut since = None;
    stream::poll_fn(move |context| {
        let began = *since.get_or_insert_with(&now);
        let next = ready!(events.as_mut().poll_next(context));
        since = None;
        let failure = |error| Failure { error, after: now().saturating_duration_since(began) };
        Poll::Ready(next.map(|event| event.map_err(failure)))
    })
}

/// Whether what is asked for is answered.
fn shows_life<K>(event: &Result<watcher::Event<K>, Failure>) -> bool {
    match event {
        Ok(event) => !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)),
        Err(failure) => failure.was_taken_up(),
    }
}

fn told<K>(event: Result<watcher::Event<Lean<K>>, Failure>) -> Option<watcher::Result<watcher::Event<K>>> {
    match event {
        Ok(event) => Some(Ok(read(event))),
        Err(failure) if failure.is_cut() => {
            tracing::debug!(error = %failure.error, "a watch was cut off, and goes on where it ended");
            None
        }
        Err(failure) => Some(Err(failure.error)),
    }
}

/// The objects that events are of. Errors end here: after each, kube's controller pauses all that triggers it, while a
/// watch that fails has paused already and concerns nobody else.
pub fn objects<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
) -> impl Stream<Item = watcher::Result<K>> {
    events.touched_objects().filter(|object| future::ready(object.is_ok()))
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

/// Pauses that grow until a listing is complete, a change was heard of, or a watch was taken up. A listing that only begins is
/// an event, too, and kube's own pauses begin anew with each: what may not be listed would be asked for every second, for ever.
struct Pauses {
    growing: DefaultBackoff,
    heard: Arc<AtomicBool>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.heard.swap(false, Ordering::Relaxed) {
            self.growing.reset();
        }
        self.growing.next().map(|pause| pause.min(LONGEST))
    }
}

impl Backoff for Pauses {
    /// kube calls it at each event, and at no error.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::http::{Request, header::ACCEPT};
    use futures::future::ready;
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

    fn broken() -> watcher::Error {
        watcher::Error::WatchFailed(kube::Error::LinesCodecMaxLineLengthExceeded)
    }

    #[test]
    fn a_watch_that_was_cut_off_after_a_while_is_no_trouble() {
        let not_started = || watcher::Error::WatchStartFailed(kube::Error::LinesCodecMaxLineLengthExceeded);
        let second = Duration::from_secs;
        for (error, after, taken_up, cut) in [
            (broken(), second(45), true, true),
            (broken(), second(60), true, true),
            (broken(), second(1), false, false),
            (broken(), second(75), true, false),
            (not_started(), second(45), false, false),
            (watcher::Error::NoResourceVersion, second(45), false, false),
        ] {
            let failure = Failure { error, after };
            assert_eq!((failure.was_taken_up(), failure.is_cut()), (taken_up, cut), "{failure:?}");
            let event: Result<watcher::Event<Lean<Pod>>, _> = Err(failure);
            assert_eq!(shows_life(&event), taken_up, "the pauses begin anew");
            assert_eq!(told(event).is_none(), cut, "it is told");
        }
    }

    #[tokio::test]
    async fn an_error_is_timed_from_when_it_was_waited_for() {
        let start = Instant::now();
        // It is waited for, and the next one after a pause.
        let times = Mutex::new([0, 45, 55, 130].map(|at| start + Duration::from_secs(at)).into_iter());
        let now = move || times.lock().unwrap().next().unwrap();
        let events: [watcher::Result<watcher::Event<Pod>>; 2] = [Err(broken()), Err(broken())];
        let waited = timed(stream::iter(events), now).map(|event| event.unwrap_err().after.as_secs());
        assert_eq!(waited.take(2).collect::<Vec<_>>().await, [45, 75]);
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
