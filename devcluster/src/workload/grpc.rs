//! The gRPC methods. Messages are opaque bytes: no schema is needed to tell which version answered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::{Instant, sleep_until};

use super::app::{App, Body, VERSION};
use super::connection::Peer;
use super::query::Overrides;
use crate::grpc::{self, Deframer, FramingError};

/// `HealthCheckResponse{status: SERVING}` and `{status: NOT_SERVING}`.
const SERVING: &[u8] = &[0x08, 0x01];
const NOT_SERVING: &[u8] = &[0x08, 0x02];

/// How long a stream lives on after its client was told to end it.
const LAST_MESSAGES: Duration = Duration::from_secs(5);
/// Answers that wait for a slow reader.
const BUFFERED: usize = 64;

type Frames = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

pub(super) async fn handle(app: Arc<App>, _: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    match head.uri.path() {
        "/grpc.health.v1.Health/Check" => {
            let ready = !app.faults().behaviour().unready;
            drain(body).await;
            single(&app, if ready { SERVING } else { NOT_SERVING })
        }
        "/devcluster.v1.Echo/Unary" => {
            app.log(&head.method, head.uri.path());
            drain(body).await;
            match app.ordinary(&Overrides::default()).await {
                200 => single(&app, app.version.as_bytes()),
                _ => status_only(&app, grpc::UNAVAILABLE, "it was asked to fail"),
            }
        }
        "/devcluster.v1.Echo/Stream" => {
            app.log(&head.method, head.uri.path());
            let (frames, answers) = mpsc::channel(BUFFERED);
            tokio::spawn(stream_of(app.clone(), body, frames));
            response(&app, StreamBody::new(answers).boxed_unsync())
        }
        _ => status_only(&app, grpc::UNIMPLEMENTED, "there is no such method"),
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Answers each message with the version's name until the client ends the stream or resets it.
///
/// When the process ends, one empty message asks the client to end the stream. A client that does so loses nothing; for
/// another one the stream ends 5 s later, in good order, but without what it sent at that moment.
async fn stream_of(app: Arc<App>, mut body: Incoming, mut frames: Frames) {
    let mut deframer = Deframer::default();
    let mut deadline = None;
    loop {
        tokio::select! {
            biased;
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    deframer.push(&data);
                    match answer(&app, &mut deframer, &mut frames).await {
                        Ok(true) => {}
                        Ok(false) => return,
                        Err(error) => return end(&mut frames, grpc::UNKNOWN, &error.to_string()).await,
                    }
                }
                Some(Err(_)) => return,
                None => return end(&mut frames, grpc::OK, "").await,
            },
            () = app.ended(), if deadline.is_none() => {
                deadline = Some(Instant::now() + LAST_MESSAGES);
                if frames.send(Ok(Frame::data(grpc::frame(b"")))).await.is_err() {
                    return;
                }
            }
            () = until(deadline) => return end(&mut frames, grpc::OK, "").await,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Answers the messages that are whole; false when nobody reads the answers any more.
async fn answer(app: &App, deframer: &mut Deframer, frames: &mut Frames) -> Result<bool, FramingError> {
    while deframer.next()?.is_some() {
        if frames.send(Ok(Frame::data(grpc::frame(app.version.as_bytes())))).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends a stream; one that is gone already is as good.
async fn end(frames: &mut Frames, status: u32, message: &str) {
    let _ = frames.send(Ok(Frame::trailers(trailers(status, message)))).await;
}

fn single(app: &App, message: &[u8]) -> Response<Body> {
    let frames = [Frame::data(grpc::frame(message)), Frame::trailers(trailers(grpc::OK, ""))];
    response(app, StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync())
}

/// A response without a message: its status stands among the headers.
fn status_only(app: &App, status: u32, message: &str) -> Response<Body> {
    let mut response = response(app, http_body_util::Empty::new().boxed_unsync());
    response.headers_mut().extend(trailers(status, message));
    response
}

fn response(app: &App, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response.headers_mut().insert(VERSION, app.version_header.clone());
    response
}

fn trailers(status: u32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(grpc::STATUS, HeaderValue::from(status));
    if !message.is_empty()
        && let Ok(message) = HeaderValue::from_str(message)
    {
        trailers.insert(grpc::MESSAGE, message);
    }
    trailers
}
