//! What providers of measurements and webhooks answer: whatever it is, it comes to a number, to none, or to a short line that
//! can be shown to anybody, and the same answer comes to the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::StatusCode};
use devcluster::Dice;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{client::Body, core::DeserializeGuard, runtime::watcher};
use microservice_operator::{
    api::{AnalysisProvider, Duration, MetricKind, Moment},
    observe::Providers,
    outside::{ClusterWebhooks, Error, Office, Secrets},
    plan::inquiry::{Asked, Call, Calls, Finding, Inquiry, Measure, Question, Reading},
    telemetry::Metrics,
    validate::syntax::printable,
};
use serde_json::{Value, json};

use crate::mutate::{lines, runs, text};

const TOKEN: &str = "s3cr3t-t0ken";
/// The longest line that a status may get.
const LONGEST: usize = 2_000;
const STATUSES: [u16; 12] = [200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503, 599];

struct Given;

impl Secrets for Given {
    fn read<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, Error>> {
        Box::pin(async { Ok(BTreeMap::from([("token".to_owned(), TOKEN.as_bytes().to_vec())])) })
    }
}

/// Answers everybody the same, until it is given another answer.
type Answer = Arc<Mutex<(u16, String)>>;

async fn answered(State(answer): State<Answer>) -> (StatusCode, String) {
    let (status, body) = answer.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), body)
}

async fn serve(answer: Answer) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(answered).with_state(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An API server that has one RolloutWebhook.
fn api_server(url: &str) -> kube::Client {
    let hook = json!({
        "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "RolloutWebhook", "metadata": {"name": "hook"},
        "spec": {"url": url, "allowHttp": true, "retries": 0},
    });
    let hook = hook.to_string();
    let service = tower::service_fn(move |_: axum::http::Request<Body>| {
        let answer = axum::http::Response::new(Body::from(hook.clone().into_bytes()));
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    kube::Client::new(service, "default")
}

async fn office(url: &str) -> Office {
    let key = json!({"name": "keys", "key": "token"});
    let credentials = json!({"bearerTokenSecret": key});
    let keys = json!({"url": url, "apiKeySecret": key, "applicationKeySecret": key});
    let with = |mut spec: Value| {
        spec.as_object_mut().unwrap().extend(credentials.as_object().unwrap().clone());
        spec
    };
    let providers = [
        ("prometheus", with(json!({"prometheus": {"url": url, "stats": "Envoy"}}))),
        ("datadog", with(json!({"datadog": keys, "ownQueries": "Allow"}))),
        (
            "http",
            with(json!({"http": {"url": format!("{url}?q=${{query}}"), "value": "/value"}, "ownQueries": "Allow"})),
        ),
    ];
    let object = |(name, spec): (&str, Value)| {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let spec = serde_json::from_value(spec).unwrap();
        watcher::Event::InitApply(DeserializeGuard(Ok(AnalysisProvider { metadata, spec })))
    };
    let known = Arc::new(Providers::default());
    let events = [watcher::Event::Init].into_iter().chain(providers.into_iter().map(object));
    known.feed(futures::stream::iter(events.chain([watcher::Event::InitDone]).map(Ok))).await;
    let office = Office::new(known, Arc::new(Given), Arc::new(Metrics::default()));
    office.with_webhooks(Arc::new(ClusterWebhooks::new(api_server(url))), None)
}

fn measure(provider: &str, metric: Asked) -> Question {
    Question::Measure(Measure {
        provider: provider.to_owned(),
        metric,
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        ports: vec![80],
        calls: Calls::None,
        version: "v2".to_owned(),
        baseline: None,
        window: Duration::from_secs(60),
        count: false,
    })
}

fn call() -> Question {
    Question::Call(Box::new(Call {
        webhook: "hook".to_owned(),
        key: "1".to_owned(),
        moment: Moment::BeforePromotion,
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        uid: "uid".to_owned(),
        target: "v2".to_owned(),
        step: 1,
        weights: BTreeMap::new(),
        requested: BTreeMap::new(),
        stable: BTreeMap::new(),
        message: None,
        parameters: BTreeMap::new(),
        event: None,
    }))
}

fn assert_shown(told: &str, about: &str) {
    assert!(told.len() <= LONGEST, "{about}: {} bytes: {told}", told.len());
    assert_eq!(printable(told), told, "{about}: a terminal would obey it");
    assert!(!told.contains('\n'), "{about}: more than a line: {told:?}");
}

/// A question to each provider, and to the webhook.
fn questions() -> [Question; 4] {
    let own = || Asked::Query("burn".to_owned());
    [
        measure("prometheus", Asked::Ready(MetricKind::SuccessRate)),
        measure("datadog", own()),
        measure("http", own()),
        call(),
    ]
}

#[test]
fn every_provider_finds_its_number_among_the_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = Answer::new(Mutex::new((200, String::new())));
        let office = office(&serve(answer.clone()).await).await;
        let mut found = BTreeSet::new();
        for line in lines("answers.txt") {
            *answer.lock().unwrap() = (200, line);
            for question in questions() {
                let Question::Measure(Measure { provider, .. }) = &question else { continue };
                let provider = provider.clone();
                let told = office.answer(&Inquiry { id: "1".to_owned(), question }).await.finding;
                if let Ok(Finding::Measured(Reading { value: Some(_), .. })) = told {
                    found.insert(provider);
                }
            }
        }
        assert_eq!(found, ["datadog", "http", "prometheus"].map(str::to_owned).into());
    });
}

#[test]
fn whatever_is_answered_comes_to_a_number_or_to_words() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = Answer::new(Mutex::new((200, String::new())));
        let office = office(&serve(answer.clone()).await).await;
        let corpus = lines("answers.txt");
        let (mut numbers, mut errors, mut refusals) = (0, 0, 0);
        for seed in runs(400) {
            let mut dice = Dice::of(seed);
            let status = STATUSES[if dice.below(2) == 0 { 0 } else { dice.below(STATUSES.len()) }];
            *answer.lock().unwrap() = (status, text(&corpus, &mut dice));
            for question in questions() {
                let about = format!("CAMPAIGN_SEED={seed}, {question:?}, {:?}", answer.lock().unwrap());
                let inquiry = Inquiry { id: "1".to_owned(), question };
                let found = office.answer(&inquiry).await.finding;
                assert_eq!(format!("{found:?}"), format!("{:?}", office.answer(&inquiry).await.finding), "{about}");
                match found {
                    Ok(Finding::Measured(Reading { value, .. })) => numbers += usize::from(value.is_some()),
                    Ok(Finding::Called(verdict)) => {
                        if let microservice_operator::plan::inquiry::Verdict::Refused(words) = verdict {
                            assert_shown(&words, &about);
                            refusals += 1;
                        }
                    }
                    Err(words) => {
                        assert_shown(&words, &about);
                        // The webhook is not sent it, so it says it of its own.
                        let told = words.contains(TOKEN) && matches!(inquiry.question, Question::Measure(_));
                        assert!(!told, "{about}: the credential is told: {words}");
                        assert!(!words.is_empty(), "{about}: nothing is told");
                        errors += 1;
                    }
                }
            }
        }
        assert!(
            numbers > 5 && errors > 100 && refusals > 10,
            "{numbers} numbers, {errors} errors, {refusals} refusals"
        );
    });
}
