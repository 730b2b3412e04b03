//! Webhooks: who may be called, what is sent, when it is tried again, and what an answer means.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::{Response, header::DATE};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    api::{Moment, RolloutWebhookSpec},
    observe::Clock,
    outside::{
        Office, Webhooks,
        webhook::{Fault, signature},
    },
    plan::inquiry::{Call, Finding, Inquiry, Question, Verdict},
};

use super::{
    TOKEN, office,
    server::{End, Server, Told},
};

/// What follows the host of an address that lets in whoever knows it.
const PATH: &str = "/hook/s3cr3t";

/// One webhook, named `tests`.
pub struct Known(pub RolloutWebhookSpec);

impl Webhooks for Known {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RolloutWebhookSpec, Fault>> {
        let found =
            if ["tests", "other"].contains(&name) { Ok(self.0.clone()) } else { Err(Fault::Unknown(name.to_owned())) };
        Box::pin(async move { found })
    }
}

pub fn call() -> Call {
    Call {
        webhook: "tests".into(),
        key: "call-1-0".into(),
        moment: Moment::BeforeTraffic,
        namespace: "shop".into(),
        service: "web".into(),
        uid: "uid-1".into(),
        target: "abc".into(),
        step: 2,
        weights: BTreeMap::from([("v1".into(), 95), ("v2".into(), 5)]),
        requested: BTreeMap::from([("v2".into(), 100)]),
        stable: BTreeMap::from([("v1".into(), 100)]),
        message: None,
        parameters: BTreeMap::from([("suite".into(), "smoke".into())]),
        event: None,
    }
}

/// What a call of this webhook comes to, without long pauses.
async fn answer(webhook: Value, call: Call) -> Result<Verdict, String> {
    answer_by(Clock::default(), webhook, call).await
}

async fn answer_by(clock: Clock, webhook: Value, call: Call) -> Result<Verdict, String> {
    let spec = serde_json::from_value(webhook).unwrap();
    let office = Arc::into_inner(office(&[]).await.0).unwrap();
    let office: Office = office.with_webhooks(Arc::new(Known(spec)), Some(Duration::from_millis(1))).with_clock(clock);
    let inquiry = Inquiry { id: "1".into(), question: Question::Call(Box::new(call)) };
    let reply = office.answer(&inquiry).await;
    assert_eq!(reply.id, "1");
    reply.finding.map(|finding| match finding {
        Finding::Called(verdict) => verdict,
        Finding::Measured(_) => panic!("nothing was to be measured"),
    })
}

pub fn at(server: &Server) -> Value {
    json!({"url": format!("{}/hook", server.url), "allowHttp": true})
}

#[tokio::test]
async fn a_call_says_what_it_is_about_and_is_signed() {
    let server = Server::always(Told::ok("fine")).await;
    let mut webhook = at(&server);
    webhook["signingSecret"] = json!({"name": "keys", "key": "token"});
    assert_eq!(answer(webhook, call()).await, Ok(Verdict::Passed));
    let asked = server.asked();
    let [request] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((request.method.as_str(), request.uri.path()), ("POST", "/hook"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let expected = json!({
        "id": "call-1-0", "moment": "BeforeTraffic", "microservice": "web", "namespace": "shop", "uid": "uid-1",
        "target": "abc", "step": 2, "weights": {"v1": 95, "v2": 5}, "requestedWeights": {"v2": 100},
        "stableWeights": {"v1": 100}, "message": null, "parameters": {"suite": "smoke"},
    });
    assert_eq!(body, expected);
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("idempotency-key"), "call-1-0");
    assert_eq!(header("content-type"), "application/json");
    let signed = header("x-microservice-signature");
    let seconds = signed.trim_start_matches("t=").split(',').next().unwrap().parse().unwrap();
    let at = jiff::Timestamp::from_second(seconds).unwrap();
    assert_eq!(Some(signed), signature(TOKEN.as_bytes(), at, &request.body));
}

#[tokio::test]
async fn each_attempt_is_signed_with_the_time_of_the_api_server() {
    let clock = Clock::default();
    let dated = service_fn(|(): ()| async {
        Ok::<_, Infallible>(Response::builder().header(DATE, "Fri, 01 Jan 2100 12:00:00 GMT").body(()).unwrap())
    });
    clock.layer().layer(dated).oneshot(()).await.unwrap();
    let server = Server::always(Told::status(503, "busy")).await;
    let mut webhook = at(&server);
    (webhook["signingSecret"], webhook["retries"]) = (json!({"name": "keys", "key": "token"}), json!(1));
    assert!(answer_by(clock, webhook, call()).await.is_err());
    let year = |signed: &str| {
        let seconds = signed.trim_start_matches("t=").split(',').next().unwrap().parse().unwrap();
        jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y").to_string()
    };
    let asked = server.asked();
    let years = asked.iter().map(|asked| year(asked.headers["x-microservice-signature"].to_str().unwrap()));
    assert_eq!(years.collect::<Vec<_>>(), ["2100"; 2]);
}

#[test]
fn a_signature_is_the_hmac_of_the_time_and_the_body() {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        signature(b"s3cr3t-t0ken", at, "{\"id\":\"call-1\"}").as_deref(),
        Some("t=1767225600,v1=d6127973cbdfbb56fe9b2c951f333546ed99222f06bac07ed65ca14bad86b1b1")
    );
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let server = Server::always(Told::ok("")).await;
    assert_eq!(answer(at(&server), call()).await, Ok(Verdict::Passed));
    assert!(!server.asked()[0].headers.contains_key("x-microservice-signature"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_key() {
    for status in [408, 425, 429, 500, 503] {
        let count = Arc::new(AtomicUsize::new(0));
        let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Told::status(status, "busy"),
            _ => Told::status(204, ""),
        })
        .await;
        assert_eq!(answer(at(&server), call()).await, Ok(Verdict::Passed), "{status}");
        let keys: Vec<_> = server.asked().iter().map(|asked| asked.headers["idempotency-key"].clone()).collect();
        assert_eq!(keys, ["call-1-0"; 3], "{status}");
    }
}

#[tokio::test]
async fn it_is_tried_as_often_as_is_said_and_then_told() {
    let server = Server::always(Told::status(503, "out of\n\u{1b}[31mtests")).await;
    let told = answer(at(&server), call()).await.unwrap_err();
    assert_eq!(told, format!("{} answered 503: out of \\u{{1b}}[31mtests", server.url));
    assert_eq!(server.asked().len(), 4, "once and 3 times more");
    let mut webhook = at(&server);
    webhook["retries"] = json!(0);
    assert!(answer(webhook, call()).await.is_err());
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn a_4xx_refuses_at_once_in_its_own_words() {
    let server = Server::always(Told::status(409, format!("3 of 40 failed {}", "x".repeat(500)))).await;
    let Ok(Verdict::Refused(said)) = answer(at(&server), call()).await else { panic!("not refused") };
    assert!(said.starts_with("3 of 40 failed xxx") && said.ends_with(" …"), "{said}");
    assert!(said.chars().count() < 250, "{said}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_status_decides_whatever_becomes_of_the_body() {
    let long = "x".repeat(2 << 20);
    let refused = |said: &str| Ok(Verdict::Refused(said.to_owned()));
    for (status, body, end, verdict) in [
        (200, long.as_str(), End::Whole, Ok(Verdict::Passed)),
        (200, "fi", End::BreaksOff, Ok(Verdict::Passed)),
        (200, "fi", End::NeverEnds, Ok(Verdict::Passed)),
        (409, long.as_str(), End::Whole, refused(&format!("{} …", "x".repeat(200)))),
        (409, "3 of 40 failed", End::BreaksOff, refused("3 of 40 failed")),
        (409, "3 of 40 failed", End::NeverEnds, refused("3 of 40 failed")),
    ] {
        let server = Server::always(Told { end, ..Told::status(status, body) }).await;
        let mut webhook = at(&server);
        webhook["timeout"] = json!("2s");
        assert_eq!(answer(webhook, call()).await, verdict, "{status}");
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_is_tried_again_is_told_as_far_as_it_came() {
    let server = Server::always(Told { end: End::BreaksOff, ..Told::status(503, "busy") }).await;
    let mut webhook = at(&server);
    webhook["retries"] = json!(1);
    assert_eq!(answer(webhook, call()).await, Err(format!("{} answered 503: busy", server.url)));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn of_an_address_nothing_is_told_but_where_it_is() {
    let hook = |origin: &str| {
        let url = format!("{origin}{PATH}");
        json!({"url": url, "allowHttp": true, "timeout": "1s", "retries": 0})
    };
    let late = Told { after: Duration::from_secs(60), ..Told::ok("") };
    let moved = Told { location: Some(format!("https://ci.example{PATH}")), ..Told::status(307, "") };
    for (told, words) in [
        (Told::status(503, ""), "answered 503"),
        (Told::status(503, format!("Cannot POST {PATH}")), "answered 503: Cannot POST ***"),
        (late, "gave no answer within 1s"),
        (moved, "answered 307 and points elsewhere"),
    ] {
        let server = Server::always(told).await;
        let told = answer(hook(&server.url), call()).await.unwrap_err();
        assert!(told.starts_with(&format!("{} {words}", server.url)) && !told.contains("s3cr3t"), "{told}");
        assert_eq!(server.asked()[0].uri.path(), PATH);
    }
    let told = answer(hook("http://127.0.0.1:1"), call()).await.unwrap_err();
    assert!(told.starts_with("http://127.0.0.1:1 cannot be reached: ") && !told.contains("s3cr3t"), "{told}");
    let server = Server::always(Told::status(404, format!("Cannot POST {PATH}"))).await;
    assert_eq!(answer(hook(&server.url), call()).await, Ok(Verdict::Refused("Cannot POST ***".to_owned())));
}

#[tokio::test]
async fn an_answer_that_is_late_is_none() {
    let server = Server::always(Told { after: Duration::from_secs(60), ..Told::ok("") }).await;
    let mut webhook = at(&server);
    (webhook["timeout"], webhook["retries"]) = (json!("100ms"), json!(1));
    let told = answer(webhook, call()).await.unwrap_err();
    assert!(told.contains("gave no answer within 100ms") && told.contains("RolloutWebhook"), "{told}");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn who_may_not_is_not_called() {
    let server = Server::always(Told::ok("")).await;
    let mut webhook = at(&server);
    webhook["namespaces"] = json!(["other"]);
    let told = answer(webhook, call()).await.unwrap_err();
    assert!(told.contains("is not for the namespace \"shop\""), "{told}");
    let mut webhook = at(&server);
    webhook["allowHttp"] = json!(false);
    assert!(answer(webhook, call()).await.unwrap_err().contains("mend it"));
    let told = answer(at(&server), Call { webhook: "none".into(), ..call() }).await.unwrap_err();
    assert!(told.contains("no RolloutWebhook \"none\" exists"), "{told}");
    let mut webhook = at(&server);
    webhook["signingSecret"] = json!({"name": "none", "key": "token"});
    assert!(answer(webhook, call()).await.unwrap_err().contains("the Secret \"none\""));
    assert_eq!(server.asked().len(), 0);
}
