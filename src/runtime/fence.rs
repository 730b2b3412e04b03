//! Lets a process write only while its lease is its own for sure: one that was frozen, or cut off from the API server, may
//! have been followed by another one without having heard of it.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{Method, Request, Response};
use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tower::{BoxError, Layer, Service};

/// Nothing was written, since another process may lead by now.
#[derive(Debug, thiserror::Error)]
#[error("the lease was not renewed in time: another process may lead by now, so this one does not write any more")]
pub struct Fenced;

/// What stands between a client and the API server. Its copies are one fence, with the time until which it is open, if it is
/// one that closes.
#[derive(Clone, Debug)]
pub struct Fence(Option<Arc<watch::Sender<Option<Instant>>>>);

impl Fence {
    /// Lets all through, for good.
    pub fn open() -> Self {
        Self(None)
    }

    /// Lets no write through until a lease is taken.
    pub fn closed() -> Self {
        Self(Some(Arc::new(watch::Sender::new(None))))
    }

    /// Lets writes through until a time, for a lease that was taken.
    pub fn opens(&self, until: Instant) {
        self.set(Some(until));
    }

    /// Lets writes through for longer, if it is open still: a lease that has ended is over, whatever became of it since.
    /// Answers whether it was.
    pub fn extends(&self, until: Instant) -> bool {
        let extend = |current: &mut Option<Instant>| {
            let open = current.is_some_and(|current| Instant::now() < current);
            *current = if open { Some(until) } else { *current };
            open
        };
        self.0.as_ref().is_none_or(|fence| fence.send_if_modified(extend))
    }

    /// Lets no write through any more.
    pub fn shut(&self) {
        self.set(None);
    }

    fn set(&self, until: Option<Instant>) {
        if let Some(fence) = &self.0 {
            let _before = fence.send_replace(until);
        }
    }

    /// Resolves once the lease has ended without having been renewed.
    pub async fn closes(&self) {
        let Some(fence) = &self.0 else { return std::future::pending().await };
        let mut renewals = fence.subscribe();
        loop {
            let until = *renewals.borrow_and_update();
            let Some(until) = until else {
                // This fence keeps the sender.
                let _renewed = renewals.changed().await;
                continue;
            };
            if timeout_at(until, renewals.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Resolves once a lease that was good until a time is over, and was not renewed before that.
    async fn ends(&self, mut until: Instant) {
        loop {
            sleep_until(until).await;
            let renewed = self.0.as_ref().and_then(|fence| *fence.borrow());
            match renewed.filter(|renewed| Instant::now() < *renewed) {
                Some(renewed) => until = renewed,
                None => return,
            }
        }
    }
}

impl<S> Layer<S> for Fence {
    type Service = FencedIn<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FencedIn { inner, fence: self.clone() }
    }
}

/// A service behind a [`Fence`].
#[derive(Clone, Debug)]
pub struct FencedIn<S> {
    inner: S,
    fence: Fence,
}

impl<S, B, C> Service<Request<B>> for FencedIn<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    C: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let now = Instant::now();
        let until = self.fence.0.as_ref().filter(|_| !reads).map(|fence| fence.borrow().unwrap_or(now));
        if until.is_some_and(|until| until <= now) {
            return Box::pin(async { Err(Fenced.into()) });
        }
        let (answer, fence) = (self.inner.call(request), self.fence.clone());
        Box::pin(async move {
            let Some(until) = until else { return answer.await.map_err(Into::into) };
            tokio::select! {
                biased;
                answer = answer => answer.map_err(Into::into),
                // What is asked again by the client itself is given up at that time as well.
                () = fence.ends(until) => Err(Fenced.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;
    use tower::{ServiceExt, service_fn};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);

    fn open_for(time: Duration) -> Fence {
        let fence = Fence::closed();
        fence.opens(Instant::now() + time);
        fence
    }

    /// Sends a request through a fence to a server that answers, or never does.
    async fn send(fence: &Fence, method: Method, answers: bool) -> Result<(), String> {
        let server = service_fn(move |_: Request<()>| async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::new(()))
        });
        let request = Request::builder().method(method).uri("/api").body(()).unwrap();
        fence.layer(server).oneshot(request).await.map(drop).map_err(|error| error.to_string())
    }

    fn refused() -> Result<(), String> {
        Err(Fenced.to_string())
    }

    #[tokio::test]
    async fn nothing_is_written_but_under_a_lease_that_is_known_to_be_good() {
        let fence = Fence::closed();
        assert_eq!(send(&fence, Method::PATCH, true).await, refused());
        assert_eq!(send(&fence, Method::GET, true).await, Ok(()));
        fence.opens(Instant::now() + LONG);
        assert_eq!(send(&fence, Method::PATCH, true).await, Ok(()));
        fence.shut();
        assert_eq!(send(&fence, Method::PATCH, true).await, refused());
    }

    #[tokio::test]
    async fn nothing_is_written_once_the_lease_has_ended() {
        let fence = open_for(SHORT);
        fence.closes().await;
        assert_eq!(send(&fence, Method::PATCH, true).await, refused());
        assert_eq!(send(&fence, Method::GET, true).await, Ok(()));
        assert!(!fence.extends(Instant::now() + LONG), "a renewal that comes too late opens nothing");
        assert_eq!(send(&fence, Method::PATCH, true).await, refused());
    }

    #[tokio::test]
    async fn a_renewal_in_time_keeps_it_open() {
        let fence = open_for(LONG);
        assert!(fence.extends(Instant::now() + SHORT));
        fence.closes().await;
        assert_eq!(send(&fence, Method::PATCH, true).await, refused());
    }

    #[tokio::test]
    async fn what_is_under_way_is_given_up_when_the_lease_ends() {
        assert_eq!(send(&open_for(SHORT), Method::PATCH, false).await, refused());
    }

    #[tokio::test]
    async fn what_is_under_way_goes_on_under_a_lease_that_is_renewed_meanwhile() {
        for (renewed, expected) in [(true, Ok(())), (false, refused())] {
            let fence = open_for(SHORT * 4);
            let lease = fence.clone();
            let server = service_fn(move |_: Request<()>| {
                let lease = lease.clone();
                async move {
                    assert!(!renewed || lease.extends(Instant::now() + LONG));
                    sleep(SHORT * 8).await;
                    Ok::<_, BoxError>(Response::new(()))
                }
            });
            let request = Request::builder().method(Method::PATCH).uri("/api").body(()).unwrap();
            let answer = fence.layer(server).oneshot(request).await;
            assert_eq!(answer.map(drop).map_err(|error| error.to_string()), expected);
        }
    }

    #[tokio::test]
    async fn without_election_all_goes_through() {
        assert_eq!(send(&Fence::open(), Method::PATCH, true).await, Ok(()));
        assert!(Fence::open().extends(Instant::now()));
    }
}
