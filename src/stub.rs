//! An API server for unit tests: what it answers is a function of the request.

use std::convert::Infallible;

use axum::http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// A client of an API server that answers with a code and a body.
pub fn client(answer: impl Fn(&Request<Body>) -> (u16, Value) + Clone + Send + 'static) -> Client {
    let answer = move |request: Request<Body>| {
        let (code, body) = answer(&request);
        let mut answer = Response::new(Body::from(body.to_string().into_bytes()));
        *answer.status_mut() = code.try_into().unwrap();
        async { Ok::<_, Infallible>(answer) }
    };
    Client::new(tower::service_fn(answer), "default")
}

/// An answer that refuses.
pub fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": code, "reason": reason,
                        "status": "Failure", "message": reason});
    (code, status)
}
