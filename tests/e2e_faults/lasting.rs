//! Campaign 4, too: one thing cannot be written until there is nothing else to do. Nothing calls the operator back to it then
//! but itself.

use std::time::{Duration, Instant};

use devcluster::faults::{Entry, Fault, Faults, Proxy};
use jiff::Timestamp;
use microservice_operator::api::{Microservice, RolloutState};

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::{Operator, Space, cluster, eventually, run},
};

/// What is not written, how it goes wrong, and a chapter of which it is the last.
const CASES: [(&str, Fault, Chapter); 4] = [
    ("microservices/status", Fault::Conflict, Chapter::Edit),
    ("microserviceactions/status", Fault::InternalError, Chapter::Undo),
    ("microserviceactions/status", Fault::Conflict, Chapter::Undo),
    ("microservices/status", Fault::Conflict, Chapter::Undo),
];

async fn lasting((resource, fault, chapter): (&'static str, Fault, Chapter)) {
    let stage = Stage::new("lasting").await;
    let outcome = stage.is_before(chapter).await;
    let of = vec![resource.to_owned()];
    stage.proxy.goes_wrong(Faults { requests: 1.0, answers: vec![fault], of, ..Faults::default() });
    story::begin(&stage.space, chapter).await;
    stage.settles().await;
    let about = format!("{fault:?} of {resource} in {chapter:?}");
    let hit = stage.proxy.journal().iter().filter(|entry| entry.went_wrong()).count();
    assert!(hit > 0, "{about}: it was never asked for");
    stage.proxy.goes_wrong(Faults::default());
    story::end(&stage.space, chapter).await;
    stage.rests_at(outcome, &about).await;
}

#[test]
fn what_could_not_be_written_is_written_when_there_is_nothing_else_to_do() {
    run(async {
        campaign::run("4, a write that fails for long", campaign::part(CASES.to_vec(), 2), lasting).await;
    });
}

/// Less than an answer is waited for, which was the time that a single event took.
const ANSWER: Duration = Duration::from_secs(30);

fn service(v1: i32, v2: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'registry.example/a:1', weight: {v1}}}, \
         {{name: v2, image: 'registry.example/a:2', weight: {v2}}}]}}"
    )
}

/// A namespace, and an operator of it that leads without an election, behind a proxy.
async fn proxied(name: &str) -> (Space, Proxy, Operator) {
    let space = Space::with_propagation(cluster(), name, Duration::from_secs(1)).await;
    let proxy = Proxy::start(space.client.clone(), cluster().scratch()).await.unwrap();
    let args = ["--namespace", &space.name, "--leader-election", "false", "--mesh-propagation", "1s"];
    let operator = Operator::start(proxy.kubeconfig(), &args);
    (space, proxy, operator)
}

/// How long it takes until these weights are in force, one after the other.
async fn edited(space: &Space, weights: [(i32, i32); 2]) -> Duration {
    let began = Instant::now();
    for (v1, v2) in weights {
        space.apply("a", &service(v1, v2)).await;
        space.weights("a", &format!("v1={v1} v2={v2}")).await;
    }
    began.elapsed()
}

#[test]
fn events_that_are_never_answered_keep_nothing_waiting() {
    run(async {
        let (space, proxy, _operator) = proxied("events").await;
        space.apply("a", &service(90, 10)).await;
        space.ready("a").await;
        let usual = edited(&space, [(80, 20), (90, 10)]).await;
        let (answers, of) = (vec![Fault::Silence], vec!["events".to_owned()]);
        proxy.goes_wrong(Faults { requests: 1.0, answers, of, ..Faults::default() });
        let took = edited(&space, [(40, 60), (60, 40)]).await;
        let silent = |entry: &&Entry| entry.asked.resource == "events" && entry.went_wrong();
        let asked = || async { (proxy.journal().iter().filter(silent).count() > 1).then_some(()) };
        eventually(asked).await.expect("events that nobody answers");
        assert!(took < usual + ANSWER, "{took:?} instead of {usual:?}");
    });
}

/// For a version to be ready.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn a_version_does_not_fail_while_nobody_hears_of_its_pods() {
    run(async {
        let (space, proxy, operator) = proxied("unheard").await;
        let service = |v1: i32, v2: i32| {
            format!(
                "{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'registry.example/a:1', weight: {v1}}}, \
                 {{name: v2, image: 'registry.example/a:2', weight: {v2}, podAnnotations: {{'{}': never-ready}}}}], \
                 rollout: {{progressDeadline: {}s, steps: [{{weight: 50}}]}}}}",
                devcluster::BEHAVIOR,
                DEADLINE.as_secs(),
            )
        };
        let rollout = |it: &Microservice| it.status.as_ref().and_then(|status| status.rollout.clone());
        space.apply("a", &service(100, 0)).await;
        space.weights("a", "v1=100 v2=0").await;
        space.apply("a", &service(0, 100)).await;
        let begins = |it: &Microservice| rollout(it).is_some_and(|it| it.state == RolloutState::Progressing);
        let begun = rollout(&space.until("a", "a rollout", begins).await).unwrap();

        let answers = vec![Fault::Reset];
        proxy.goes_wrong(Faults { requests: 1.0, answers, ..Faults::default() });
        let passed =
            || async { begun.progressed_at.as_ref().filter(|at| Timestamp::now() > at.0 + DEADLINE).map(drop) };
        eventually(passed).await.expect("the deadline passes");
        let tries = || operator.text().matches("cannot write the status").count();
        let before = tries();
        eventually(|| async { (tries() > before).then_some(()) }).await.expect("a rollback that cannot be written");
        proxy.goes_wrong(Faults::default());
        let said = |it: &Microservice| rollout(it).is_some_and(|it| it != begun);
        let after = rollout(&space.until("a", "the end of the outage", said).await).unwrap();
        assert_eq!(after.state, RolloutState::Progressing, "{:?}", after.message);
        assert_ne!(after.progressed_at, begun.progressed_at, "the deadline counts anew");
        let fails = |it: &Microservice| rollout(it).is_some_and(|it| it.state == RolloutState::Aborted);
        space.until("a", "a rollback, as the API server answers and the pods are not ready", fails).await;
    });
}
