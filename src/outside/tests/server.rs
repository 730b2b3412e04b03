//! An HTTP server that answers as it is told and remembers what it was asked.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, StatusCode, Uri, request::Parts},
    response::Response,
};
use futures::{StreamExt, stream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: String,
}

/// What to answer to a request.
#[derive(Clone)]
pub struct Told {
    pub status: u16,
    pub body: String,
    pub location: Option<String>,
    pub after: Duration,
    pub end: End,
}

/// What becomes of a body after its text.
#[derive(Clone, Copy)]
pub enum End {
    Whole,
    BreaksOff,
    NeverEnds,
}

impl End {
    fn body(self, text: String) -> Body {
        let beginning = |text| stream::once(async move { Ok::<String, io::Error>(text) });
        let breaks = async {
            // What was written must be on its way before the connection is gone.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(io::Error::other("it breaks off"))
        };
        match self {
            Self::Whole => Body::from(text),
            Self::BreaksOff => Body::from_stream(beginning(text).chain(stream::once(breaks))),
            Self::NeverEnds => Body::from_stream(beginning(text).chain(stream::pending())),
        }
    }
}

impl Told {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::status(200, body)
    }

    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), location: None, after: Duration::ZERO, end: End::Whole }
    }
}

/// The server ends with this.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    /// Answers every request with what `tell` makes of it.
    pub async fn start(tell: impl Fn(&Asked) -> Told + Clone + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let noted = asked.clone();
        let handler = move |parts: Parts, body: Bytes| {
            let (tell, noted) = (tell.clone(), noted.clone());
            async move {
                let Parts { method, uri, headers, .. } = parts;
                let request = Asked { method, uri, headers, body: String::from_utf8(body.to_vec()).unwrap() };
                let told = tell(&request);
                noted.lock().unwrap().push(request);
                tokio::time::sleep(told.after).await;
                let mut response = Response::builder().status(StatusCode::from_u16(told.status).unwrap());
                if let Some(location) = told.location {
                    response = response.header("location", location);
                }
                response.body(told.end.body(told.body)).unwrap()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving =
            tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await.unwrap() });
        Self { url, asked, serving }
    }

    /// Answers every request with the same.
    pub async fn always(told: Told) -> Self {
        Self::start(move |_| told.clone()).await
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// The value of a field of a form.
pub fn field(form: &str, name: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://x/?{form}")).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}
