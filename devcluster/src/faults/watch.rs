//! The events of a watch, and what goes wrong with them.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt, stream};
use http_body_util::BodyDataStream;
use hyper::body::Frame;
use kube::client::Body;
use tokio::time::{Instant, timeout_at};

use super::gate::{Passage, Release};
use super::plan::WatchFault;

/// A body that comes in pieces.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>;

const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

struct Events {
    from: BodyDataStream<Body>,
    /// The beginning of an event whose end has not come yet.
    begun: BytesMut,
    fault: Option<WatchFault>,
    longest: Duration,
    since: Instant,
    passage: Passage,
    over: bool,
}

/// Passes the events of a watch on.
pub(super) fn pieces(body: Body, fault: Option<(WatchFault, Duration)>, passage: Passage) -> Pieces {
    let (fault, longest) = fault.map_or((None, Duration::ZERO), |(fault, longest)| (Some(fault), longest));
    let from = BodyDataStream::new(body);
    let events = Events { from, begun: BytesMut::new(), fault, longest, since: Instant::now(), passage, over: false };
    Box::pin(stream::unfold(events, Events::next))
}

impl Events {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if self.over {
            return None;
        }
        let piece = match self.fault {
            None => self.event().await,
            Some(WatchFault::Late) => self.late().await,
            Some(WatchFault::Twice) => self.event().await.map(|event| Bytes::from([event.clone(), event].concat())),
            Some(WatchFault::Deaf) => self.deaf().await,
            Some(WatchFault::Reset) if !self.begun.is_empty() => {
                self.over = true;
                return Some((Err(io::ErrorKind::ConnectionReset.into()), self));
            }
            Some(WatchFault::Reset) => {
                let first = self.event().await;
                self.begun.extend_from_slice(b"cut");
                first
            }
        };
        if self.passage.opens().await == Some(Release::Missed) {
            return Some((Ok(Frame::data(self.expires())), self));
        }
        piece.map(|piece| (Ok(Frame::data(piece)), self))
    }

    /// The last that comes: that the watch is too old.
    fn expires(&mut self) -> Bytes {
        self.over = true;
        Bytes::from_static(EXPIRED.as_bytes())
    }

    /// The next event, once it is there; None at the end.
    async fn event(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                return Some(self.begun.split_to(end + 1).freeze());
            }
            self.begun.extend_from_slice(&self.from.next().await?.ok()?);
        }
    }

    /// All that has come by the time that the first of them is passed on.
    async fn late(&mut self) -> Option<Bytes> {
        let first = self.event().await?;
        tokio::time::sleep(self.longest).await;
        let mut all = BytesMut::from(&first[..]);
        while let Some(Some(more)) = self.event().now_or_never() {
            all.extend_from_slice(&more);
        }
        Some(all.freeze())
    }

    /// Nothing, and in the end that the watch is too old.
    async fn deaf(&mut self) -> Option<Bytes> {
        let end = self.since + self.longest;
        while let Ok(missed) = timeout_at(end, self.from.next()).await {
            missed?.ok()?;
        }
        Some(self.expires())
    }
}
