//! The proxy, before an API server that answers everything alike and remembers what it was asked.

use std::convert::Infallible;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::timeout;
use tower::service_fn;

use super::*;

const ROUTE: &str = "/apis/networking.istio.io/v1/namespaces/a/virtualservices/b";
const PODS: &str = "/api/v1/namespaces/a/pods";
const EVENTS: &str = "{\"n\":1}\n{\"n\":2}\n";
const SHORT: Duration = Duration::from_millis(300);

/// A proxy before an API server whose lists count up, and whose watches have two events and an end.
async fn proxy() -> (Proxy, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let memory = seen.clone();
    let server = service_fn(move |request: Request<kube::client::Body>| {
        let memory = memory.clone();
        async move {
            let mut memory = memory.lock().unwrap();
            memory.push(format!("{} {}", request.method(), request.uri().path()));
            let watches = request.uri().query().is_some_and(|query| query.contains("watch"));
            let body = if watches { EVENTS.to_owned() } else { memory.len().to_string() };
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
        }
    });
    (Proxy::start(Client::new(server, "default"), &std::env::temp_dir()).await.unwrap(), seen)
}

async fn controller(proxy: &Proxy) -> Client {
    crate::client::from_kubeconfig(proxy.kubeconfig()).await.unwrap()
}

/// The code and the body of an answer.
async fn ask(client: &Client, method: Method, path: &str) -> Result<(u16, String), kube::Error> {
    let request = Request::builder().method(method).uri(path).body(Vec::new().into()).unwrap();
    let answer = client.send(request).await?;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| kube::Error::Service(error.into()))?;
    Ok((code, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
}

fn always(fault: Fault) -> Faults {
    Faults { requests: 1.0, answers: vec![fault], ..Faults::default() }
}

fn watching(fault: WatchFault) -> Faults {
    Faults { watches: 1.0, events: vec![fault], longest: Duration::from_millis(50), ..Faults::default() }
}

#[tokio::test]
async fn answers_go_wrong_as_told() {
    let (proxy, seen) = proxy().await;
    let client = controller(&proxy).await;
    assert_eq!(ask(&client, Method::PATCH, ROUTE).await.unwrap(), (200, "1".into()));
    proxy.goes_wrong(always(Fault::Conflict));
    assert_eq!(ask(&client, Method::PATCH, ROUTE).await.unwrap().0, 409);
    assert_eq!(ask(&client, Method::GET, ROUTE).await.unwrap().0, 200, "a read meets no conflict");
    proxy.goes_wrong(always(Fault::InternalError));
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().0, 500);
    proxy.goes_wrong(always(Fault::Expired));
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().0, 410);
    proxy.goes_wrong(always(Fault::Reset));
    assert!(ask(&client, Method::DELETE, ROUTE).await.is_err());
    assert_eq!(seen.lock().unwrap().len(), 2, "nothing of what went wrong was forwarded");
    proxy.goes_wrong(always(Fault::AnswerLost));
    assert!(ask(&client, Method::DELETE, ROUTE).await.is_err());
    assert_eq!(seen.lock().unwrap().last().unwrap(), &format!("DELETE {ROUTE}"));
    proxy.goes_wrong(always(Fault::Silence));
    assert!(timeout(SHORT, ask(&client, Method::GET, PODS)).await.is_err());
    proxy.goes_wrong(Faults::default());
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().0, 200);
    let codes: Vec<_> = proxy.journal().into_iter().map(|entry| (entry.code, entry.fault)).collect();
    assert_eq!(
        codes,
        [
            (Some(200), None),
            (None, Some(Fault::Conflict)),
            (Some(200), None),
            (None, Some(Fault::InternalError)),
            (None, Some(Fault::Expired)),
            (None, Some(Fault::Reset)),
            (Some(200), Some(Fault::AnswerLost)),
            (None, Some(Fault::Silence)),
            (Some(200), None),
        ]
    );
}

#[tokio::test]
async fn a_stale_list_is_the_oldest_that_is_known() {
    let (proxy, _) = proxy().await;
    let client = controller(&proxy).await;
    proxy.goes_wrong(always(Fault::Stale));
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().1, "1", "nothing older is known");
    proxy.goes_wrong(Faults::default());
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().1, "2");
    proxy.goes_wrong(always(Fault::Stale));
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().1, "1");
}

#[tokio::test]
async fn what_is_remembered_on_demand_is_what_stale_lists_say() {
    let (proxy, _) = proxy().await;
    let client = controller(&proxy).await;
    for _ in 0..2 {
        ask(&client, Method::GET, PODS).await.unwrap();
    }
    proxy.remembers().await.unwrap();
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().1, "4");
    proxy.goes_wrong(always(Fault::Stale));
    assert_eq!(ask(&client, Method::GET, PODS).await.unwrap().1, "3");
}

#[tokio::test]
async fn events_that_are_held_back_come_late_or_are_missed() {
    let (proxy, _) = proxy().await;
    let client = controller(&proxy).await;
    let watch = || {
        let client = client.clone();
        tokio::spawn(async move { ask(&client, Method::GET, &format!("{PODS}?watch=true")).await.unwrap().1 })
    };
    proxy.holds(&["services"]);
    assert_eq!(watch().await.unwrap(), EVENTS, "another kind is not held back");
    assert_eq!(proxy.held(), 0);
    for (release, comes) in [(Release::Late, EVENTS), (Release::Missed, "410")] {
        proxy.holds(&["pods"]);
        let mut held = watch();
        assert!(timeout(SHORT, &mut held).await.is_err(), "nothing comes before");
        proxy.releases(release);
        let came = held.await.unwrap();
        assert!(came.contains(comes), "{release:?}: {came}");
        assert_eq!(came.contains(EVENTS), release == Release::Late, "{release:?}: {came}");
    }
    assert_eq!(proxy.held(), 2);
    proxy.holds_from(2, &["pods".to_owned()]);
    ask(&client, Method::PATCH, ROUTE).await.unwrap();
    assert_eq!(watch().await.unwrap(), EVENTS, "nothing is held back before the second write");
    ask(&client, Method::PATCH, ROUTE).await.unwrap();
    assert!(timeout(SHORT, watch()).await.is_err());
}

#[tokio::test]
async fn it_stops_before_a_write_or_after_it_and_forwards_nothing_of_the_dead() {
    for (moment, forwarded) in [(Moment::Before, 1), (Moment::After, 2)] {
        let (proxy, seen) = proxy().await;
        let client = controller(&proxy).await;
        proxy.stop_at(2, moment);
        ask(&client, Method::PATCH, ROUTE).await.unwrap();
        ask(&client, Method::GET, PODS).await.unwrap();
        let second = tokio::spawn(async move { ask(&client, Method::PATCH, ROUTE).await });
        timeout(SHORT * 10, proxy.stopped()).await.unwrap();
        let other = controller(&proxy).await;
        assert!(timeout(SHORT, ask(&other, Method::GET, PODS)).await.is_err(), "it does not answer while it stands");
        second.abort();
        proxy.go_on();
        assert_eq!(ask(&other, Method::GET, PODS).await.unwrap().0, 200);
        let writes = seen.lock().unwrap().iter().filter(|it| it.starts_with("PATCH")).count();
        assert_eq!(writes, forwarded, "{moment:?}");
        assert_eq!(proxy.writes(), forwarded);
    }
}

#[tokio::test]
async fn watches_go_wrong_as_told() {
    let (proxy, _) = proxy().await;
    let client = controller(&proxy).await;
    let address = format!("{PODS}?watch=true");
    let watch = || ask(&client, Method::GET, &address);
    assert_eq!(watch().await.unwrap().1, EVENTS);
    proxy.goes_wrong(watching(WatchFault::Late));
    assert_eq!(watch().await.unwrap().1, EVENTS);
    proxy.goes_wrong(watching(WatchFault::Twice));
    assert_eq!(watch().await.unwrap().1, "{\"n\":1}\n{\"n\":1}\n{\"n\":2}\n{\"n\":2}\n");
    proxy.goes_wrong(watching(WatchFault::Reset));
    assert!(watch().await.is_err());
}

#[test]
fn what_was_created_and_deleted_is_counted_by_the_answers_of_the_api_server() {
    let entry = |method: Method, uri: &str, code| {
        let asked = Asked::of(&method, &uri.parse().unwrap());
        Entry { asked, namespace: "a".to_owned(), code, fault: None, watch_fault: None }
    };
    let journal = [
        entry(Method::PATCH, ROUTE, Some(201)),
        entry(Method::PATCH, ROUTE, Some(200)),
        entry(Method::POST, "/api/v1/namespaces/a/events", Some(201)),
        entry(Method::POST, "/api/v1/namespaces/a/services", Some(409)),
        entry(Method::POST, "/api/v1/namespaces/a/services", None),
        entry(Method::DELETE, ROUTE, Some(404)),
        entry(Method::DELETE, ROUTE, Some(200)),
    ];
    assert_eq!(creates_and_deletes(&journal), BTreeMap::from([("virtualservices".to_owned(), (1, 1))]));
}

#[tokio::test]
async fn a_delayed_write_arrives_when_it_is_let_and_others_pass() {
    let (proxy, seen) = proxy().await;
    let client = controller(&proxy).await;
    proxy.delays("virtualservices");
    assert_eq!(ask(&client, Method::GET, ROUTE).await.unwrap().0, 200);
    let late = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, Method::PATCH, ROUTE).await }
    });
    timeout(SHORT * 10, proxy.delayed()).await.unwrap();
    assert_eq!(ask(&client, Method::PATCH, ROUTE).await.unwrap(), (200, "2".into()), "the next one passes");
    assert_eq!(seen.lock().unwrap().len(), 2, "the one that is delayed was not forwarded");
    proxy.arrives();
    assert_eq!(late.await.unwrap().unwrap(), (200, "3".into()));
}
