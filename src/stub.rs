//! An API server for unit tests: what it answers is a function of the request.

use std::{convert::Infallible, future::ready};

use axum::http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// A client of an API server that answers with a code and a body.
pub fn client(answer: impl Fn(&Request<Body>) -> (u16, Value) + Clone + Send + 'static) -> Client {
    slow_client(move |request| ready(answer(&request)))
}

/// The same, of one that takes its time.
pub fn slow_client<A>(answer: impl Fn(Request<Body>) -> A + Clone + Send + 'static) -> Client
where
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    let answer = move |request: Request<Body>| {
        let answer = answer(request);
        async move {
            let (code, body) = answer.await;
            let mut answer = Response::new(Body::from(body.to_string().into_bytes()));
            *answer.status_mut() = code.try_into().unwrap();
            Ok::<_, Infallible>(answer)
        }
    };
    Client::new(tower::service_fn(answer), "default")
}

/// An answer that refuses.
pub fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": code, "reason": reason,
                        "status": "Failure", "message": reason});
    (code, status)
}
