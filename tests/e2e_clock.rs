//! The clock of rollouts, with an API server that has another time than this machine, and whose clock jumps: a proxy
//! before the real one dates its answers anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, header::DATE},
    response::Response,
};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use microservice_operator::api::Microservice;
use serde_json::json;
use support::{Operator, Space, cluster, run};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const PAUSE: Duration = Duration::from_secs(20);
/// Largest body of a request.
const LIMIT: usize = 8 << 20;

/// A proxy before the API server, ahead of this machine by so many seconds.
#[derive(Clone)]
struct Proxy {
    client: Client,
    ahead: Arc<AtomicI64>,
}

impl Proxy {
    async fn serve(client: Client) -> (Self, String) {
        let proxy = Self { client, ahead: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (proxy, format!("http://{address}"))
    }

    fn set_ahead(&self, by: SignedDuration) {
        self.ahead.store(by.as_secs(), Ordering::SeqCst);
    }
}

async fn forward(State(proxy): State<Proxy>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    head.headers.remove("host");
    let body = to_bytes(body, LIMIT).await.unwrap().to_vec();
    let answer = proxy.client.send(axum::http::Request::from_parts(head, body.into())).await.unwrap();
    let mut answer = answer.map(Body::new);
    let time = Timestamp::now() + SignedDuration::from_secs(proxy.ahead.load(Ordering::SeqCst));
    let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap();
    answer.headers_mut().insert(DATE, HeaderValue::from_str(&date).unwrap());
    answer
}

fn two(v1: i32, v2: i32) -> String {
    let pause = PAUSE.as_secs();
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: 1, versions: [\
         {{name: v1, image: 'registry.example/a:1', weight: {v1}}}, \
         {{name: v2, image: 'registry.example/a:2', weight: {v2}}}], \
         rollout: {{steps: [{{weight: 10}}, {{pause: {{duration: {pause}s}}}}]}}}}"
    )
}

/// How far ahead of this machine the time is at which the current step began.
fn ahead(microservice: &Microservice) -> SignedDuration {
    let rollout = microservice.status.as_ref().unwrap().rollout.as_ref().unwrap();
    rollout.step_since.as_ref().unwrap().0.duration_since(Timestamp::now())
}

#[test]
fn steps_are_by_the_api_servers_clock_and_no_jump_of_it_shortens_them() {
    run(async {
        let space = Space::with_propagation(cluster(), "clock", Duration::from_secs(1)).await;
        let (proxy, server) = Proxy::serve(space.client.clone()).await;
        proxy.set_ahead(HOUR);
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "users": [{"name": "proxy", "user": {}}],
        });
        std::fs::write(kubeconfig.path(), config.to_string()).unwrap();
        let args = ["--namespace", &space.name, "--lease-namespace", &space.name, "--mesh-propagation", "1s"];
        let operator = Operator::start(kubeconfig.path(), &args);
        space.apply("a", &two(100, 0)).await;
        space.ready("a").await;

        space.apply("a", &two(0, 100)).await;
        let pausing = space.weights("a", "v1=90 v2=10").await;
        let began = Instant::now();
        let shown = ahead(&pausing);
        assert!((HOUR - shown).abs() < SignedDuration::from_mins(1), "the step began {shown:#} from now");

        proxy.set_ahead(HOUR * 2);
        operator.says("the clock of the API server is not the one").await;
        let touched = json!({"metadata": {"annotations": {"touched": "yes"}}});
        space.microservices().patch("a", &PatchParams::default(), &Patch::Merge(&touched)).await.unwrap();
        let told = began.elapsed();
        assert!(told < PAUSE / 2, "the jump was heard of only after {told:?}, too late for the pause");
        space.weights("a", "v1=0 v2=100").await;
        let paused = began.elapsed();
        // The weights are seen some time after they were reached.
        assert!(paused > PAUSE.mul_f64(0.9), "the pause took only {paused:?}");
        space.ready("a").await;
    });
}
