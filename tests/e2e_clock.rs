//! The clock of rollouts, with an API server that has another time than this machine, and whose clock jumps: a proxy
//! before the real one dates its answers anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use devcluster::faults::Proxy;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use microservice_operator::api::Microservice;
use serde_json::json;
use support::{Operator, Space, cluster, run};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const PAUSE: Duration = Duration::from_secs(60);

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
        let proxy = Proxy::start(space.client.clone(), cluster().scratch()).await.unwrap();
        proxy.dates_ahead(HOUR);
        let args = ["--namespace", &space.name, "--lease-namespace", &space.name, "--mesh-propagation", "1s"];
        let operator = Operator::start(proxy.kubeconfig(), &args);
        space.apply("a", &two(100, 0)).await;
        space.ready("a").await;

        space.apply("a", &two(0, 100)).await;
        let pausing = space.weights("a", "v1=90 v2=10").await;
        let began = Instant::now();
        let shown = ahead(&pausing);
        assert!((HOUR - shown).abs() < SignedDuration::from_mins(1), "the step began {shown:#} from now");

        proxy.dates_ahead(HOUR * 2);
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
