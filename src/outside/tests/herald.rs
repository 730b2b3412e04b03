//! The herald: what webhooks are told of events, in which order, and what is dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    api::Moment,
    observe::Key,
    outside::{Herald, Office},
    plan::inquiry::{Call, Occurrence},
    telemetry::Metrics,
};

use super::{
    office,
    server::{Asked, Server, Told},
    webhook::{Known, at, call},
};

fn event(message: &str) -> Call {
    let event = Occurrence {
        warning: true,
        reason: "RolloutAborted",
        message: message.to_owned(),
        at: "2026-01-01T00:00:00.5Z".parse().unwrap(),
    };
    Call { moment: Moment::OnEvent, key: format!("event-{message}"), event: Some(event), ..call() }
}

async fn herald(webhook: Value) -> (Herald, Arc<Metrics>) {
    let (office, metrics) = office(&[]).await;
    let office: Office = Arc::into_inner(office).unwrap();
    let known = Known(serde_json::from_value(webhook).unwrap());
    let office = office.with_webhooks(Arc::new(known), Some(Duration::from_millis(1)));
    (Herald::new(Arc::new(office)), metrics)
}

fn shop(name: &str) -> Key {
    Key::new("shop", name)
}

/// Waits until so many events have come to this result.
async fn counted(metrics: &Metrics, result: &str, count: usize) {
    let wanted = format!("microservice_operator_event_calls_total{{result=\"{result}\"}} {count}\n");
    let seen = async {
        while !metrics.text().unwrap().contains(&wanted) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap_or_else(|_| panic!("no {wanted}"));
}

fn message(asked: &Asked) -> String {
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    body["event"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_event_is_told_as_the_other_moments_are() {
    let server = Server::always(Told::ok("")).await;
    let mut webhook = at(&server);
    webhook["signingSecret"] = json!({"name": "keys", "key": "token"});
    let (herald, metrics) = herald(webhook).await;
    herald.tell(&shop("web"), vec![event("1")]);
    counted(&metrics, "success", 1).await;
    let asked = server.asked();
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    let expected = json!({
        "id": "event-1", "moment": "OnEvent", "microservice": "web", "namespace": "shop", "uid": "uid-1",
        "target": "abc", "step": 2, "weights": {"v1": 95, "v2": 5}, "requestedWeights": {"v2": 100},
        "stableWeights": {"v1": 100}, "message": null, "parameters": {"suite": "smoke"},
        "event": {
            "type": "Warning", "reason": "RolloutAborted", "message": "1", "time": "2026-01-01T00:00:00.500000Z",
        },
    });
    assert_eq!(body, expected);
    assert_eq!(asked[0].headers["idempotency-key"], "event-1");
    assert!(asked[0].headers.contains_key("x-microservice-signature"));
}

#[tokio::test]
async fn events_of_a_service_keep_their_order_and_are_tried_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Told::status(503, "busy"),
        _ => Told::ok(""),
    })
    .await;
    let (herald, metrics) = herald(at(&server)).await;
    for number in 1..=3 {
        herald.tell(&shop("web"), vec![event(&number.to_string())]);
    }
    counted(&metrics, "success", 3).await;
    assert_eq!(server.asked().iter().map(message).collect::<Vec<_>>(), ["1", "1", "1", "2", "3"]);
}

#[tokio::test]
async fn an_event_that_is_refused_or_not_answered_is_lost_and_the_next_one_told() {
    let server = Server::start(|asked| match message(asked).as_str() {
        "refused" => Told::status(403, "no"),
        "unanswered" => Told::status(503, ""),
        _ => Told::ok(""),
    })
    .await;
    let mut webhook = at(&server);
    webhook["retries"] = json!(1);
    let (herald, metrics) = herald(webhook).await;
    for name in ["refused", "unanswered", "told"] {
        herald.tell(&shop("web"), vec![event(name)]);
    }
    counted(&metrics, "success", 1).await;
    counted(&metrics, "error", 2).await;
    let told: Vec<String> = server.asked().iter().map(message).collect();
    assert_eq!(told, ["refused", "unanswered", "unanswered", "told"]);
    let unknown = Call { webhook: "none".into(), ..event("1") };
    herald.tell(&shop("web"), vec![unknown]);
    counted(&metrics, "error", 3).await;
}

/// Answers at once to `other` alone.
async fn hanging() -> Server {
    Server::start(|asked| match message(asked).as_str() {
        "other" => Told::ok(""),
        _ => Told { after: Duration::from_secs(60), ..Told::ok("") },
    })
    .await
}

#[tokio::test]
async fn a_slow_webhook_holds_nobody_up_and_what_is_too_much_is_dropped() {
    let server = hanging().await;
    let (herald, metrics) = herald(at(&server)).await;
    for number in 0..40 {
        herald.tell(&shop("web"), vec![event(&number.to_string())]);
    }
    herald.tell(&shop("other"), vec![event("other")]);
    counted(&metrics, "success", 1).await;
    counted(&metrics, "dropped", 8).await;
}

#[tokio::test]
async fn a_webhook_that_hangs_keeps_no_other_waiting() {
    let server = hanging().await;
    let (herald, metrics) = herald(at(&server)).await;
    for number in 0..40 {
        herald.tell(&shop(&format!("web-{number}")), vec![event("slow")]);
    }
    let hangs = async {
        while server.asked().len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), hangs).await.unwrap();
    let other = Call { webhook: "other".to_owned(), ..event("other") };
    herald.tell(&shop("web-0"), vec![other]);
    counted(&metrics, "success", 1).await;
    assert_eq!(server.asked().len(), 5);
}
