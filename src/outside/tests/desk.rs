//! The desk: what is asked once, what is forgotten, and who is told.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};

use crate::{api::MetricKind, observe::Key, plan::inquiry::Inquiry};

use super::{
    super::Desk,
    inquiry, office, prometheus, ready,
    server::{Server, Told},
    vector,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn asking(id: &str) -> Inquiry {
    inquiry(id, ready(MetricKind::Throughput))
}

async fn desk(url: &str) -> (Desk, mpsc::UnboundedReceiver<Key>, impl Fn() -> String) {
    let (sender, replied) = mpsc::unbounded_channel();
    let (office, metrics) = office(&[("default", prometheus(url))]).await;
    let desk = Desk::new(office, move |key| sender.send(key.clone()).unwrap());
    (desk, replied, move || metrics.text().unwrap())
}

fn ids(desk: &Desk, key: &Key) -> Vec<String> {
    desk.replies(key).into_iter().map(|reply| reply.id).collect()
}

#[tokio::test]
async fn an_inquiry_is_asked_once_and_its_reply_kept_while_it_is_asked_for() {
    let server = Server::always(Told::ok(vector(&["1"]))).await;
    let (desk, mut replied, metrics) = desk(&server.url).await;
    let key = Key::new("shop", "web");
    for _ in 0..3 {
        desk.ask(&key, vec![asking("a"), asking("b")]);
    }
    for _ in 0..2 {
        assert_eq!(timeout(PATIENCE, replied.recv()).await.unwrap(), Some(key.clone()));
    }
    desk.ask(&key, vec![asking("a"), asking("b")]);
    assert_eq!((ids(&desk, &key), server.asked().len()), (vec!["a".to_owned(), "b".to_owned()], 2));
    let counted = "microservice_operator_inquiries_total{provider=\"prometheus\",result=\"success\"} 2";
    assert!(metrics().contains(counted), "{}", metrics());

    desk.ask(&key, vec![asking("b"), asking("c")]);
    assert_eq!(timeout(PATIENCE, replied.recv()).await.unwrap(), Some(key.clone()));
    assert_eq!((ids(&desk, &key), server.asked().len()), (vec!["b".to_owned(), "c".to_owned()], 3));
    assert!(ids(&desk, &Key::new("shop", "other")).is_empty());

    desk.forget(&key);
    assert!(ids(&desk, &key).is_empty());
    assert!(replied.try_recv().is_err(), "told once of each reply");
}

#[tokio::test]
async fn what_is_no_longer_asked_for_ends() {
    let slow = Told { after: Duration::from_secs(600), ..Told::ok(vector(&["1"])) };
    let server =
        Server::start(move |asked| if asked.body.contains("v9") { Told::ok(vector(&["1"])) } else { slow.clone() })
            .await;
    let (desk, mut replied, _) = desk(&server.url).await;
    let key = Key::new("shop", "web");
    desk.ask(&key, vec![asking("a")]);
    let arrived = async {
        while server.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, arrived).await.unwrap();
    let mut quick = asking("b");
    let crate::plan::inquiry::Question::Measure(measure) = &mut quick.question else { panic!("no measurement") };
    measure.version = "v9".to_owned();
    desk.ask(&key, vec![quick]);
    assert_eq!(timeout(PATIENCE, replied.recv()).await.unwrap(), Some(key.clone()));
    assert_eq!(ids(&desk, &key), ["b"]);
    drop(desk);
    assert_eq!(timeout(PATIENCE, replied.recv()).await.unwrap(), None, "the task of a is gone, and all it held");
}

#[tokio::test]
async fn an_error_is_a_reply_and_told() {
    let (desk, mut replied, metrics) = desk("http://127.0.0.1:1").await;
    let key = Key::new("shop", "web");
    desk.ask(&key, vec![asking("a")]);
    assert_eq!(timeout(PATIENCE, replied.recv()).await.unwrap(), Some(key.clone()));
    let told = desk.replies(&key)[0].finding.clone().unwrap_err();
    assert!(told.contains("cannot be reached"), "{told}");
    assert!(metrics().contains("{provider=\"prometheus\",result=\"error\"} 1"), "{}", metrics());
}
