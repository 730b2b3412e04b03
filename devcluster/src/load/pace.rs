//! Sends requests when they are due.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep_until, timeout};

use super::http1::Pool;
use super::http2::Connections;
use super::ledger::{Answer, Ledger, Loss, LossKind, Ticket};
use super::target::Target;
use super::{Load, Protocol, stream};

/// What sends a load's requests.
pub(super) enum Driver {
    Http1(Arc<Pool>),
    Http2(Arc<Connections>),
    Unary(Arc<Connections>),
    Streams(Arc<Connections>),
}

impl Driver {
    pub(super) fn new(load: &Load, target: Target, ledger: &Arc<Ledger>) -> Self {
        let connections = |target| Arc::new(Connections::new(target, ledger.clone(), load.connections));
        match load.protocol {
            Protocol::Http1 { keep_alive } => Self::Http1(Arc::new(Pool::new(target, ledger.clone(), keep_alive))),
            Protocol::Http2 => Self::Http2(connections(target)),
            Protocol::GrpcUnary => Self::Unary(connections(target)),
            Protocol::GrpcStream => Self::Streams(connections(target)),
        }
    }
}

/// Sends until `count` were due or until stopped, and returns when every request has its outcome.
pub(super) async fn run(load: Load, driver: Driver, ledger: Arc<Ledger>, mut stop: watch::Receiver<()>, count: u64) {
    let mut requests = JoinSet::new();
    let mut streams = Vec::new();
    if let Driver::Streams(connections) = &driver {
        for _ in 0..load.connections {
            let (sender, inbox) = mpsc::unbounded_channel();
            requests.spawn(stream::run(connections.clone(), inbox, load.timeout));
            streams.push(sender);
        }
    }
    for number in 0..count {
        let due = ledger.started() + offset(number, load.rate);
        tokio::select! {
            biased;
            // An error says that the handle was dropped, which stops the load, too.
            _ = stop.changed() => break,
            () = sleep_until(due) => {}
        }
        while requests.try_join_next().is_some() {}
        if let Some(ticket) = ledger.send(due, load.max_in_flight) {
            match &driver {
                Driver::Http1(pool) => {
                    let pool = pool.clone();
                    let exchange = async move |ticket: &mut Ticket| pool.exchange(ticket).await;
                    requests.spawn(settle(ticket, load.timeout, exchange));
                }
                Driver::Http2(connections) => {
                    let connections = connections.clone();
                    let exchange = async move |ticket: &mut Ticket| connections.http(ticket).await;
                    requests.spawn(settle(ticket, load.timeout, exchange));
                }
                Driver::Unary(connections) => {
                    let connections = connections.clone();
                    let exchange = async move |ticket: &mut Ticket| connections.unary(ticket).await;
                    requests.spawn(settle(ticket, load.timeout, exchange));
                }
                Driver::Streams(_) => {
                    let turn = usize::try_from(number % streams.len() as u64).unwrap_or_default();
                    // A ticket that can't be handed over is dropped, and so lost.
                    let _ = streams[turn].send(ticket);
                }
            }
        }
        // While there is a backlog, nothing else here would let the answers in.
        yield_now().await;
    }
    drop(streams);
    while requests.join_next().await.is_some() {}
}

/// When a request is due, after the start; computed for each anew, so that nothing adds up.
fn offset(number: u64, rate: u32) -> Duration {
    let rate = u64::from(rate);
    let nanos = (number % rate) * 1_000_000_000 / rate;
    Duration::from_secs(number / rate) + Duration::from_nanos(nanos)
}

async fn settle(mut ticket: Ticket, limit: Duration, exchange: impl AsyncFnOnce(&mut Ticket) -> Result<Answer, Loss>) {
    let outcome = timeout(limit, exchange(&mut ticket)).await;
    let late = |_| Err(Loss::new(LossKind::Timeout, format!("there was no whole answer in {limit:?}")));
    ticket.settle(outcome.unwrap_or_else(late));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_exact_times() {
        assert_eq!(offset(0, 3), Duration::ZERO);
        assert_eq!(offset(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(offset(3, 3), Duration::from_secs(1));
        assert_eq!(offset(3_000_000_001, 3), Duration::new(1_000_000_000, 333_333_333));
    }
}
