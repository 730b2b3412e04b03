//! This operator with sick versions, for as long as the peers are watched: the mesh suite has all else.

use std::time::{Duration, Instant};

use devcluster::{
    invariants::{Recorder, Settings},
    workload::Change,
};
use kube::core::GroupVersionKind;

use crate::{
    calls::Traffic,
    row::Row,
    service::{Version, control, known, pods, ready_at, spec, version},
    stage::stage,
    support::{Operator, Space},
};

const NAME: &str = "web";
const WATCHED: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
pub enum Scenario {
    CrashLoop,
    Failing,
}

impl Scenario {
    pub const ALL: [Self; 2] = [Self::CrashLoop, Self::Failing];

    pub fn title(self) -> &'static str {
        match self {
            Self::CrashLoop => "a version that crash-loops under traffic",
            Self::Failing => "a version that turns unready and answers 503",
        }
    }
}

pub async fn measure(scenario: Scenario) -> Row {
    // What it breaks is told as the peers' is, and stops no round.
    let space = Space::unwatched(&stage().cluster, "ours").await;
    let owner = GroupVersionKind::gvk("microservice-operator.dev", "v1alpha1", "Microservice");
    let recorder = Recorder::start(&space.client, &space.name, Some(owner), None, Settings::default()).await.unwrap();
    let scope = ["--namespace", &space.name, "--leader-election", "false"];
    let operator = Operator::start(stage().cluster.kubeconfig_path(), &scope);
    space.apply(NAME, &spec(&[version("v1", 100)], "")).await;
    ready_at(&space, NAME, "v1=100").await;
    known(&space, NAME, "v1", 2).await;
    let traffic = Traffic::start(&space, NAME).await;
    let more = match scenario {
        Scenario::CrashLoop => "env: [{name: CRASH_AFTER, value: '60'}]",
        Scenario::Failing => "",
    };
    let v2 = Version { more: more.to_owned(), ..version("v2", 20) };
    let mut began = Instant::now();
    space.apply(NAME, &spec(&[version("v1", 80), v2], "")).await;
    if matches!(scenario, Scenario::Failing) {
        ready_at(&space, NAME, "v1=80 v2=20").await;
        began = Instant::now();
        for pod in pods(&space, NAME, "v2").await {
            let change =
                Change { unready: Some(true), fail_share: Some(100), fail_status: Some(503), ..Change::default() };
            control(&pod, &change).await;
        }
    }
    let mut weights: Vec<String> = Vec::new();
    let mut restarts = 0;
    while began.elapsed() < WATCHED {
        let now = space.microservices().get(NAME).await.unwrap();
        let told = now.status.and_then(|status| status.weights).unwrap_or_default();
        if weights.last() != Some(&told) {
            weights.push(told);
        }
        let statuses =
            pods(&space, NAME, "v2").await.into_iter().filter_map(|pod| pod.status?.container_statuses).flatten();
        restarts = restarts.max(statuses.map(|it| it.restart_count).sum());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reports = traffic.stop().await;
    let broken = recorder.finish().await;
    drop(operator);
    let story = format!("in {} s: {}; {restarts} restarts", WATCHED.as_secs(), weights.join(", then "));
    Row::new(&reports, story, broken)
}
