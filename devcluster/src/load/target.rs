//! Where requests go and what they say, and how a connection is made.

use std::error::Error;
use std::net::SocketAddr;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ledger::{Loss, LossKind};
use super::{Load, LoadError, Protocol};
use crate::grpc;

/// What every request of a load has in common.
#[derive(Debug, Clone)]
pub(super) struct Target {
    connect: SocketAddr,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Target {
    pub(super) fn new(load: &Load) -> Result<Self, LoadError> {
        let Load { connect, authority, path, headers: further, protocol, absolute_form, .. } = load;
        let invalid = |source| LoadError::Uri { authority: authority.clone(), path: path.clone(), source };
        let uri = Uri::from_str(&format!("http://{authority}{path}")).map_err(invalid)?;
        let mut headers = HeaderMap::new();
        let (method, uri) = match protocol {
            Protocol::Http1 { keep_alive } => {
                headers.insert(HOST, header_value("host", authority)?);
                if !keep_alive {
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                (Method::GET, if *absolute_form { uri } else { Uri::from_str(path).map_err(invalid)? })
            }
            Protocol::Http2 => (Method::GET, uri),
            Protocol::GrpcUnary | Protocol::GrpcStream => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
                headers.insert(TE, HeaderValue::from_static("trailers"));
                (Method::POST, uri)
            }
        };
        for (name, value) in further {
            let value = header_value(name, value)?;
            let name = HeaderName::from_str(name).map_err(|_| invalid_header(name, &value))?;
            headers.append(name, value);
        }
        Ok(Self { connect: *connect, method, uri, headers })
    }

    pub(super) fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    pub(super) async fn connection(&self) -> Result<TokioIo<TcpStream>, Loss> {
        let stream = TcpStream::connect(self.connect).await.map_err(|error| not_connected(&error))?;
        stream.set_nodelay(true).map_err(|error| not_connected(&error))?;
        Ok(TokioIo::new(stream))
    }
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, LoadError> {
    HeaderValue::from_str(value).map_err(|_| LoadError::Header { name: name.to_owned(), value: value.to_owned() })
}

fn invalid_header(name: &str, value: &HeaderValue) -> LoadError {
    LoadError::Header { name: name.to_owned(), value: String::from_utf8_lossy(value.as_bytes()).into_owned() }
}

pub(super) fn not_connected(error: &dyn Error) -> Loss {
    Loss::new(LossKind::Connect, in_full(error))
}

pub(super) fn reset(error: &dyn Error) -> Loss {
    Loss::new(LossKind::Reset, in_full(error))
}

/// An error with its causes.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A gRPC message as a request body sends it.
pub(super) fn message() -> Bytes {
    grpc::frame(b"")
}
