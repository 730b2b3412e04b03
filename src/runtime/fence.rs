//! Lets a process write only while its lease is its own for sure: one that was frozen, or cut off from the API server, may
//! have been followed by another one without having heard of it.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Method, Request, Response};
use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tower::{BoxError, Layer, Service};

/// Part of the time for which a lease is good that an answer about it is waited for: short enough to ask again.
const PATIENCE: u32 = 5;

/// Nothing was written, since another process may lead by now.
#[derive(Debug, thiserror::Error)]
#[error("the lease was not renewed in time: another process may lead by now, so this one does not write any more")]
pub struct Fenced;

/// What stands between a client and the API server. Its copies are one fence.
#[derive(Clone, Debug)]
pub struct Fence(Option<Arc<Lease>>);

#[derive(Debug)]
struct Lease {
    /// How the address of its kind ends, by which it is created.
    kind: String,
    name: String,
    duration: Duration,
    /// Until when it is this process', as far as that is known.
    until: watch::Sender<Option<Instant>>,
}

impl Fence {
    /// Lets all through.
    pub fn open() -> Self {
        Self(None)
    }

    /// Lets writes through from a renewal of the lease on, for as long as that is good for, counted from before it was
    /// asked for. A lease whose name goes on after a hyphen is one of those of which a process has one at a time.
    pub fn of(namespace: &str, name: &str, duration: Duration) -> Self {
        let kind = format!("/namespaces/{namespace}/leases");
        Self(Some(Arc::new(Lease { kind, name: name.to_owned(), duration, until: watch::Sender::new(None) })))
    }

    /// Resolves once the lease has ended without having been renewed.
    pub async fn closes(&self) {
        let Some(lease) = &self.0 else { return std::future::pending().await };
        let mut renewals = lease.until.subscribe();
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
}

impl Lease {
    fn is_at(&self, path: &str) -> bool {
        let Some((_, rest)) = path.split_once(&self.kind) else { return false };
        let own = rest.strip_prefix('/').and_then(|name| name.strip_prefix(&self.name));
        rest.is_empty() || own.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
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
        let of_lease = self.fence.0.as_ref().filter(|lease| lease.is_at(request.uri().path())).cloned();
        let asked = Instant::now();
        let until = match (&self.fence.0, &of_lease) {
            (_, Some(lease)) => Some(asked + lease.duration / PATIENCE),
            (Some(lease), None) if !reads => Some(lease.until.borrow().unwrap_or(asked)),
            _ => None,
        };
        if until.is_some_and(|until| until <= asked) {
            return Box::pin(async { Err(Fenced.into()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match until {
                // What is asked again by the client itself is given up at that time as well.
                Some(until) => timeout_at(until, answer).await.map_err(|_| BoxError::from(Fenced))?,
                None => answer.await,
            };
            let answer = answer.map_err(Into::into)?;
            if let Some(lease) = of_lease.filter(|_| !reads && answer.status().is_success()) {
                lease.until.send_replace(Some(asked + lease.duration));
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;

    const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/home/leases/operator";
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/home/leases";
    const ROUTE: &str = "/apis/networking.istio.io/v1/namespaces/a/virtualservices/b";
    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);

    fn fence(duration: Duration) -> Fence {
        Fence::of("home", "operator", duration)
    }

    /// Sends a request through a fence to a server that answers, or never does.
    async fn send(fence: &Fence, method: Method, path: &str, answers: bool) -> Result<(), String> {
        let server = service_fn(move |_: Request<()>| async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::new(()))
        });
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        fence.layer(server).oneshot(request).await.map(drop).map_err(|error| error.to_string())
    }

    fn refused() -> Result<(), String> {
        Err(Fenced.to_string())
    }

    #[tokio::test]
    async fn nothing_is_written_but_under_a_lease_that_is_known_to_be_good() {
        let fence = fence(LONG);
        assert_eq!(send(&fence, Method::PATCH, ROUTE, true).await, refused());
        assert_eq!(send(&fence, Method::GET, ROUTE, true).await, Ok(()));
        assert_eq!(send(&fence, Method::POST, LEASES, true).await, Ok(()), "a lease can be made");
        let before = Instant::now();
        send(&fence, Method::PATCH, LEASE, true).await.unwrap();
        assert_eq!(send(&fence, Method::PATCH, ROUTE, true).await, Ok(()));
        let until = fence.0.as_ref().unwrap().until.borrow().unwrap();
        assert!((before + LONG..=Instant::now() + LONG).contains(&until));
    }

    #[tokio::test]
    async fn nothing_is_written_once_the_lease_has_ended() {
        let fence = fence(SHORT);
        send(&fence, Method::PATCH, LEASE, true).await.unwrap();
        fence.closes().await;
        assert_eq!(send(&fence, Method::PATCH, ROUTE, true).await, refused());
        assert_eq!(send(&fence, Method::GET, ROUTE, true).await, Ok(()));
    }

    #[tokio::test]
    async fn what_is_under_way_is_given_up_when_the_lease_ends() {
        let fence = fence(SHORT);
        send(&fence, Method::PATCH, LEASE, true).await.unwrap();
        assert_eq!(send(&fence, Method::PATCH, ROUTE, false).await, refused());
    }

    #[tokio::test]
    async fn a_renewal_that_hangs_is_given_up_while_the_lease_is_still_good() {
        let fence = fence(Duration::from_secs(5));
        send(&fence, Method::PATCH, LEASE, true).await.unwrap();
        let began = Instant::now();
        assert_eq!(send(&fence, Method::PATCH, LEASE, false).await, refused());
        let good = fence.0.as_ref().unwrap().until.borrow().unwrap();
        assert!(good > Instant::now() && good < began + Duration::from_secs(5), "what hung did not renew it");
    }

    #[tokio::test]
    async fn without_election_all_goes_through() {
        assert_eq!(send(&Fence::open(), Method::PATCH, ROUTE, true).await, Ok(()));
    }
}
