//! Rollouts that measure: a real Prometheus tells them, by what the mesh's Envoys count, when to go on and when to turn
//! back.

use std::net::Ipv4Addr;

use devcluster::{
    load::{Protocol, Running, binomial_interval},
    relay,
};
use jiff::SignedDuration;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use microservice_operator::{
    api::{AnalysisProvider, MeasurementResult, MetricRun, Microservice, RolloutState},
    plan::object::Kind,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    calls::{Traffic, load},
    metrics::scraped_for_a_while,
    rollouts::{rollout, two},
    service::{Version, known, ready_at, spec, version},
    stage::{Stage, stage},
    support::{RUNTIME, Space, message, run, told},
};

const NAME: &str = "web";
const RATE: u32 = 200;
const FAILURE: u16 = 500;
const FIRST: &str = "v1=95 v2=5";
/// Longer than the delay of the slow version takes, and the limit of a bucket.
const SLOW_MS: u32 = 1_000;
const DELAY: SignedDuration = SignedDuration::from_secs(12);

/// An AnalysisProvider that is deleted when the test ends.
pub struct Provider {
    pub name: String,
    client: Client,
}

impl Provider {
    /// Where pods ask the Prometheus of the mesh.
    pub async fn of(space: &Space) -> Self {
        Self::at(space, "http://prometheus.monitoring.svc:9090").await
    }

    /// Where an operator on this machine asks it: its connections are passed on into the node's network.
    pub async fn here(space: &Space) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        stage().inside.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((taken, _)) = listener.accept().await {
                tokio::spawn(relay::pass(taken, stage().ground.prometheus()));
            }
        });
        Self::at(space, &url).await
    }

    async fn at(space: &Space, url: &str) -> Self {
        let (name, client) = (space.name.clone(), space.client.clone());
        let object = json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "AnalysisProvider", "metadata": {"name": name},
            "spec": {"prometheus": {"url": url, "stats": "Envoy"}},
        });
        let api: Api<AnalysisProvider> = Api::all(client.clone());
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
        scraped_for_a_while().await;
        Self { name, client }
    }

    /// A policy of three steps that measures at each of them.
    fn policy(&self, metrics: &str, more: &str) -> String {
        format!(
            "rollout: {{steps: [{{weight: 5}}, {{weight: 25}}, {{weight: 50}}], scaleDownDelay: 12s, \
             analysis: {{provider: {}, interval: 6s, metrics: [{metrics}]{more}}}}}",
            self.name
        )
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let (name, client) = (self.name.clone(), self.client.clone());
        RUNTIME.spawn(async move {
            let api: Api<AnalysisProvider> = Api::all(client);
            let _gone = api.delete(&name, &DeleteParams::default()).await;
        });
    }
}

pub fn success_rate() -> &'static str {
    "{name: success-rate, kind: SuccessRate, min: 99}"
}

fn p99() -> String {
    format!("{{name: p99, kind: LatencyP99, max: {SLOW_MS}}}")
}

/// A service whose requests all go to v1, v2 at its side, and a provider for its analyses.
async fn begin(name: &str, service: &str, v2: &Version) -> (Space, Provider) {
    let space = Space::new(&stage().cluster, name).await;
    let provider = Provider::of(&space).await;
    resting(&space, service, v2).await;
    (space, provider)
}

async fn resting(space: &Space, service: &str, v2: &Version) {
    let [v1, _] = two(100, 0);
    space.apply(service, &spec(&[v1, Version { weight: 0, ..v2.clone() }], "")).await;
    ready_at(space, service, "v1=100 v2=0").await;
    for version in ["v1", "v2"] {
        known(space, service, version, 2).await;
    }
}

/// Asks for all requests to go to v2.
async fn raise(space: &Space, service: &str, v2: &Version, policy: &str) {
    let [v1, _] = two(0, 100);
    space.apply(service, &spec(&[v1, Version { weight: 100, ..v2.clone() }], policy)).await;
}

async fn requests(space: &Space) -> Running {
    let load = load(space, NAME, Protocol::Http1 { keep_alive: true }, RATE);
    stage().inside.spawn(async move { load.start() }).await.unwrap().unwrap()
}

fn measurement(microservice: &Microservice) -> Option<MetricRun> {
    rollout(microservice).analysis?.metrics.first().cloned()
}

fn weights(microservice: &Microservice) -> Option<String> {
    microservice.status.as_ref().and_then(|status| status.weights.clone())
}

/// When the operator set the replicas that a Deployment has, to the second.
fn sized_at(deployment: &DynamicObject) -> jiff::Timestamp {
    let fields = deployment.managed_fields().iter();
    let sized = fields.filter(|it| it.fields_v1.as_ref().is_some_and(|it| it.0["f:spec"].get("f:replicas").is_some()));
    sized.filter_map(|it| it.time.as_ref()).map(|time| time.0).max().expect("somebody has set the replicas")
}

#[test]
fn a_good_version_walks_to_the_end_by_what_is_measured() {
    run(async {
        let _shared = stage().shared().await;
        let good = version("v2", 0);
        let (space, provider) = begin("good", NAME, &good).await;
        let policy = provider.policy(&format!("{}, {}", success_rate(), p99()), ", failureLimit: 1");
        let traffic = Traffic::start(&space, NAME).await;
        raise(&space, NAME, &good, &policy).await;
        for step in [FIRST, "v1=75 v2=25", "v1=50 v2=50"] {
            let walking = space.weights(NAME, step).await;
            println!("{step}: {}", message(&walking));
        }
        let done = space.weights(NAME, "v1=0 v2=100").await;
        assert_eq!(rollout(&done).state, RolloutState::Completed, "{}", message(&done));
        let entry = done.status.as_ref().unwrap().traffic.iter().find(|entry| entry.version == "v1").unwrap();
        let since = entry.since.as_ref().unwrap().0;
        let rests = |it: &Value| it["spec"]["replicas"] == 0;
        space.child_until(Kind::Deployment, "web-v1", "scaled down", rests).await;
        let deployment = space.child(Kind::Deployment, "web-v1").await.unwrap();
        let waited = sized_at(&deployment) + SignedDuration::from_secs(1) - since;
        let waited = SignedDuration::try_from(waited).unwrap();
        assert!(waited >= DELAY, "v1 lost its weight at {since}, and its pods {waited} later");
        traffic.more(450).await;
        let sent = traffic.lost_none("a good version is measured").await;
        println!("5, 25, 50, 100 by what is measured: 0 of {sent} requests lost");
    });
}

/// Lets a bad version begin its rollout under traffic. Answers the message once it is rolled back, and how many of v2's
/// requests failed of how many that it got.
async fn turned_back(name: &str, env: &str, metric: &str) -> (String, u64, u64) {
    let bad = Version { more: format!("env: [{env}]"), ..version("v2", 0) };
    let (space, provider) = begin(name, NAME, &bad).await;
    let requests = requests(&space).await;
    raise(&space, NAME, &bad, &provider.policy(metric, ", failureLimit: 1")).await;
    space.weights(NAME, FIRST).await;
    let aborted = space.until(NAME, "rolled back", |it| told(it, "Promoted").0 == "RolloutAborted").await;
    assert_eq!((rollout(&aborted).state, rollout(&aborted).step), (RolloutState::Aborted, 1), "{}", message(&aborted));
    space.weights(NAME, "v1=100 v2=0").await;
    let counts = requests.so_far();
    let report = requests.stop().await;
    let got = report.by_version().get("v2").copied().unwrap_or_default();
    let (_, most) = binomial_interval(counts.sent, 0.05, 0.999);
    println!("v2 got {got} of {}: {}", counts.sent, message(&aborted));
    assert!(got > 0 && got <= most, "v2 got {got} of {}, more than 5 % is {most}", counts.sent);
    assert!(report.lost.is_empty(), "{report}");
    (message(&aborted), report.failures(), got)
}

#[test]
fn a_version_that_fails_requests_is_rolled_back_with_the_measured_value() {
    run(async {
        let _shared = stage().shared().await;
        let env = format!("{{name: FAIL_SHARE, value: '50'}}, {{name: FAIL_STATUS, value: '{FAILURE}'}}");
        let (told, failed, got) = turned_back("failing", &env, success_rate()).await;
        let value = told.strip_prefix("rolled back: v2 fails its analysis: success-rate ");
        let (value, rest) = value.and_then(|rest| rest.split_once(" % < 99 % (2 of ")).expect(&told);
        assert!(rest.contains("measurements; query: "), "{told}");
        let [failed, got] = [failed, got].map(|it| f64::from(u32::try_from(it).unwrap()));
        let (value, ledger) = (value.parse::<f64>().unwrap(), 100.0 * (1.0 - failed / got));
        assert!((value - ledger).abs() < 4.0, "{value} % was measured, and the ledger has {ledger} %");
    });
}

#[test]
fn a_slow_version_is_rolled_back_by_its_p99() {
    run(async {
        let _shared = stage().shared().await;
        let env = format!("{{name: DELAY_MS, value: '{}'}}", SLOW_MS + 200);
        let (told, failed, _) = turned_back("slow", &env, &p99()).await;
        let value = told.strip_prefix("rolled back: v2 fails its analysis: p99 ");
        let (value, _) = value.and_then(|rest| rest.split_once(" ms > 1000 ms (2 of ")).expect(&told);
        assert!(value.parse::<f64>().unwrap() > f64::from(SLOW_MS), "{told}");
        assert_eq!(failed, 0, "it is slow, and does not fail");
    });
}

#[test]
fn without_requests_each_on_no_data_says_what_it_does() {
    run(async {
        let _shared = stage().shared().await;
        let v2 = Version { replicas: 2, ..version("v2", 0) };
        let (space, provider) = begin("no-data", NAME, &v2).await;
        for service in ["fails", "passes"] {
            resting(&space, service, &v2).await;
        }
        for (service, on_no_data) in [(NAME, "Wait"), ("passes", "Pass"), ("fails", "Fail")] {
            let policy = provider.policy(success_rate(), &format!(", onNoData: {on_no_data}"));
            raise(&space, service, &v2, &policy).await;
        }
        space.weights("fails", FIRST).await;
        let failed = space.until("fails", "rolled back", |it| told(it, "Promoted").0 == "RolloutAborted").await;
        let no_data = "v2 fails its analysis: success-rate no data: v2 got 0 requests in 6s, which fails by onNoData";
        assert!(message(&failed).starts_with(&format!("rolled back: {no_data}")), "{}", message(&failed));
        ready_at(&space, "passes", "v1=0 v2=100").await;
        let held = space
            .until(NAME, "held without data", |it| {
                measurement(it).is_some_and(|run| run.taken > 1) && weights(it).is_some()
            })
            .await;
        assert_eq!(weights(&held).unwrap(), FIRST);
        let waits = "waits for its analysis: success-rate of v2: no data: v2 got 0 requests in 6s; ";
        assert!(message(&held).contains(waits), "{}", message(&held));
        let requests = requests(&space).await;
        ready_at(&space, NAME, "v1=0 v2=100").await;
        let report = requests.stop().await;
        assert_eq!(report.failures(), 0, "{report}");
    });
}

#[test]
fn a_rollout_holds_while_prometheus_is_gone_and_goes_on_with_it() {
    run(async {
        let _alone = stage().alone().await;
        let Stage { cluster, ground, .. } = stage();
        let good = version("v2", 0);
        let (space, provider) = begin("blind", NAME, &good).await;
        let requests = requests(&space).await;
        let policy = provider.policy(success_rate(), ", consecutiveErrorLimit: 1000");
        raise(&space, NAME, &good, &policy).await;
        space.weights(NAME, FIRST).await;
        ground.end_prometheus(cluster);
        let errors = |it: &Microservice| measurement(it).map_or(0, |run| run.consecutive_errors);
        let blind = space.until(NAME, "nobody answers", |it| errors(it) >= 1).await;
        let held = space.until(NAME, "held", |it| errors(it) >= 3).await;
        assert_eq!(weights(&held), weights(&blind), "no weight goes up unmeasured");
        assert_ne!(weights(&held).as_deref(), Some("v1=0 v2=100"));
        assert_eq!(measurement(&held).unwrap().result, MeasurementResult::Error);
        assert!(message(&held).contains("waits for its analysis: success-rate of v2: "), "{}", message(&held));
        println!("without Prometheus: {}", message(&held));
        ground.await_prometheus(cluster).await;
        scraped_for_a_while().await;
        ready_at(&space, NAME, "v1=0 v2=100").await;
        let report = requests.stop().await;
        assert_eq!(report.failures(), 0, "{report}");
    });
}
