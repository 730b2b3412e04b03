//! Rollouts under traffic: a good version walks its steps, a bad one is turned back, and whatever people ask for on the
//! way costs no request.

use std::sync::atomic::{AtomicI64, Ordering};

use devcluster::load::Lost;
use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use microservice_operator::{
    api::{ActionResult, Microservice, MicroserviceAction, MicroserviceActionSpec, RolloutState, RolloutStatus, Verb},
    plan::object::Kind,
};

use crate::{
    calls::Traffic,
    service::{Version, known, ready_at, spec, version},
    stage::stage,
    support::{Operator, Space, condition, current, eventually, message, run, told},
    zero_loss::{Resting, operator},
};

pub const NAME: &str = "web";
const ROUNDS: usize = 3;
/// Weights at the steps of [`PAUSING`].
const STEPS: [&str; 3] = ["v1=95 v2=5", "v1=75 v2=25", "v1=50 v2=50"];
/// At each step, somebody must promote.
const PAUSING: &str =
    "rollout: {steps: [{weight: 5}, {pause: {}}, {weight: 25}, {pause: {}}, {weight: 50}, {pause: {}}]}";
const WALKING: &str = "rollout: {steps: [{weight: 5}, {pause: {duration: 3s}}, {weight: 25}, {pause: {duration: 3s}}, \
                       {weight: 50}, {pause: {duration: 3s}}]}";
/// At most one pod more than the weights before and after it need.
const LIMITED: &str = "rollout: {maxSurge: 1, steps: [{weight: 5}, {pause: {duration: 3s}}, {weight: 25}, \
                       {pause: {duration: 3s}}, {weight: 50}, {pause: {}}]}";
/// How long an Envoy may take to hear of a route on a busy machine; the mesh is given 5 s.
const MESH_HEARS: SignedDuration = SignedDuration::from_secs(3);

pub fn two(v1: i32, v2: i32) -> [Version; 2] {
    [version("v1", v1), version("v2", v2)]
}

pub async fn edit(space: &Space, versions: &[Version], policy: &str) {
    space.apply(NAME, &spec(versions, policy)).await;
}

/// A service whose requests all go to v1, with v2 at its side.
pub async fn stable(name: &str, policy: &str) -> Space {
    let space = Space::new(&stage().cluster, name).await;
    settle(&space, policy).await;
    space
}

/// Brings a new service to where its requests all go to v1, with v2 at its side.
pub async fn settle(space: &Space, policy: &str) {
    edit(space, &two(100, 0), policy).await;
    ready_at(space, NAME, "v1=100 v2=0").await;
    known(space, NAME, "v1", 2).await;
}

pub fn rollout(microservice: &Microservice) -> RolloutStatus {
    microservice.status.as_ref().and_then(|status| status.rollout.clone()).unwrap_or_default()
}

/// Waits until the rollout pauses at these weights.
async fn pausing(space: &Space, weights: &str) {
    space
        .until(NAME, weights, |it| {
            let effective = it.status.as_ref().and_then(|status| status.weights.as_deref());
            current(it) && condition(it, "Paused") == "True" && effective == Some(weights)
        })
        .await;
}

/// Asks for it as a person would, and waits until it is done.
pub async fn ask(space: &Space, verb: Verb) {
    let seen = space.microservices().get(NAME).await.unwrap();
    let me = Api::<SelfSubjectReview>::all(space.client.clone());
    let me = me.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let spec = MicroserviceActionSpec {
        microservice: NAME.to_owned(),
        verb,
        uid: seen.uid(),
        target: Some(rollout(&seen).target),
        step: Some(rollout(&seen).step),
        revision: None,
        expires: None,
        actor: me.status.and_then(|status| status.user_info?.username),
    };
    let mut action = MicroserviceAction::new("", spec);
    action.metadata.generate_name = Some("ask-".into());
    let api = space.api::<MicroserviceAction>();
    let made = api.create(&PostParams::default(), &action).await.unwrap();
    let answer = eventually(|| async { api.get(&made.name_any()).await.ok()?.status }).await;
    let answer = answer.unwrap_or_else(|| panic!("{verb:?} was not answered"));
    assert_eq!(answer.result, ActionResult::Done, "{verb:?}: {:?}", answer.message);
}

/// Brings v2 to one of the [`STEPS`].
async fn walk_to(space: &Space, step: usize) {
    edit(space, &two(0, 100), PAUSING).await;
    pausing(space, STEPS[0]).await;
    for weights in &STEPS[1..=step] {
        ask(space, Verb::Promote).await;
        pausing(space, weights).await;
    }
}

async fn back(space: &Space) {
    edit(space, &two(100, 0), PAUSING).await;
    ready_at(space, NAME, "v1=100 v2=0").await;
}

#[test]
fn a_good_version_walks_to_the_end_by_itself() {
    run(async {
        let _shared = stage().shared().await;
        let space = stable("walks", WALKING).await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            edit(&space, &two(0, 100), WALKING).await;
            for weights in STEPS {
                space.weights(NAME, weights).await;
            }
            ready_at(&space, NAME, "v1=0 v2=100").await;
            traffic.more(450).await;
            let promoted = space.microservices().get(NAME).await.unwrap();
            assert_eq!(condition(&promoted, "Promoted"), "True");
            assert_eq!(rollout(&promoted).state, RolloutState::Completed);
            edit(&space, &two(100, 0), "").await;
            ready_at(&space, NAME, "v1=100 v2=0").await;
            edit(&space, &two(100, 0), WALKING).await;
            traffic.more(450).await;
            let sent = traffic.lost_none("a good version walks").await;
            println!("5, 25, 50, 100 by itself, round {}: 0 of {sent} requests lost", round + 1);
        }
    });
}

/// Pods that the Deployments of all versions ask for.
async fn asked_for(space: &Space) -> Vec<i64> {
    let all = space.children(Kind::Deployment).list(&ListParams::default()).await.unwrap();
    all.items.iter().map(|deployment| deployment.data["spec"]["replicas"].as_i64().unwrap()).collect()
}

#[test]
fn pods_that_are_limited_go_where_the_weights_go_and_cost_nothing() {
    run(async {
        let _shared = stage().shared().await;
        let space = Space::new(&stage().cluster, "limited").await;
        edit(&space, &[version("v1", 100)], LIMITED).await;
        ready_at(&space, NAME, "v1=100").await;
        known(&space, NAME, "v1", 2).await;
        let traffic = Traffic::start(&space, NAME).await;
        let most = AtomicI64::new(0);
        edit(&space, &two(0, 100), LIMITED).await;
        let halfway = eventually(|| async {
            most.fetch_max(asked_for(&space).await.iter().sum(), Ordering::Relaxed);
            let seen = space.microservices().get(NAME).await.ok()?;
            let weights = seen.status.as_ref()?.weights.as_deref() == Some(STEPS[2]);
            (weights && condition(&seen, "Paused") == "True" && asked_for(&space).await == [1, 1]).then_some(())
        });
        halfway.await.expect("both versions have half of the weight and of their pods");
        assert_eq!(most.into_inner(), 3, "two pods of one version, and the surge");

        ask(&space, Verb::Abort).await;
        space.weights(NAME, "v1=100 v2=0").await;
        ask(&space, Verb::Retry).await;
        pausing(&space, STEPS[2]).await;
        ask(&space, Verb::Promote).await;
        ready_at(&space, NAME, "v1=0 v2=100").await;
        traffic.more(450).await;
        let sent = traffic.lost_none("pods are limited").await;
        println!("maxSurge 1, to the half, back and to the end: 0 of {sent} requests lost");
    });
}

#[test]
fn a_version_that_crash_loops_is_rolled_back_without_any_metrics() {
    run(async {
        let _shared = stage().shared().await;
        let space = stable("turns-back", WALKING).await;
        let traffic = Traffic::start(&space, NAME).await;
        let crashing = Version { more: "env: [{name: CRASH_AFTER, value: '60'}]".to_owned(), ..version("v3", 100) };
        edit(&space, &[version("v1", 0), version("v2", 0), crashing], WALKING).await;
        let aborted = space.until(NAME, "rolled back", |it| told(it, "Promoted").0 == "RolloutAborted").await;
        space.weights(NAME, "v1=100 v2=0 v3=0").await;
        assert!(message(&aborted).starts_with("rolled back: v3 cannot serve: "), "{}", message(&aborted));
        assert_eq!(condition(&aborted, "Available"), "True");
        let taken = aborted.status.as_ref().unwrap().traffic.iter().find(|entry| entry.version == "v3").unwrap();
        let taken = taken.since.as_ref().unwrap().0;
        traffic.more(2_000).await;
        let reports = traffic.stop().await;
        let sent: u64 = reports.iter().map(|(_, report)| report.sent).sum();
        let lost: Vec<&Lost> = reports.iter().flat_map(|(_, report)| report.lost_requests()).collect();
        println!("a crash-looping version at its first step: {} of {sent} requests lost", lost.len());
        let late: Vec<&&Lost> = lost.iter().filter(|lost| lost.time > taken + MESH_HEARS).collect();
        assert!(late.is_empty(), "v3's weight was taken at {taken}, and requests were lost later: {late:#?}");
        let after = space.microservices().get(NAME).await.unwrap();
        assert_eq!(rollout(&after).state, RolloutState::Aborted, "nothing tries again by itself");
    });
}

#[test]
fn another_version_and_the_way_back_cost_nothing_at_any_step() {
    run(async {
        let _shared = stage().shared().await;
        let space = stable("superseded", PAUSING).await;
        for (step, weights) in STEPS.into_iter().enumerate() {
            let traffic = Traffic::start(&space, NAME).await;
            walk_to(&space, step).await;
            edit(&space, &[version("v1", 0), version("v3", 100)], PAUSING).await;
            pausing(&space, "v1=95 v3=5").await;
            back(&space).await;
            space.gone(Kind::Deployment, "web-v3").await;
            let sent = traffic.lost_none("superseded").await;
            println!("v3 at {weights}, then back to v1: 0 of {sent} requests lost");
        }
    });
}

#[test]
fn what_people_ask_for_costs_nothing_at_any_step() {
    run(async {
        let _shared = stage().shared().await;
        let space = stable("asked", PAUSING).await;
        for (step, weights) in STEPS.into_iter().enumerate() {
            let traffic = Traffic::start(&space, NAME).await;
            walk_to(&space, step).await;
            ask(&space, Verb::Abort).await;
            space.weights(NAME, "v1=100 v2=0").await;
            ask(&space, Verb::Retry).await;
            pausing(&space, STEPS[0]).await;
            ask(&space, Verb::PromoteFull).await;
            ready_at(&space, NAME, "v1=0 v2=100").await;
            ask(&space, Verb::Undo).await;
            space.weights(NAME, "v1=100 v2=0").await;
            back(&space).await;
            traffic.more(450).await;
            let sent = traffic.lost_none("asked").await;
            println!("abort at {weights}, retry, promote fully, undo: 0 of {sent} requests lost");
        }
    });
}

#[test]
fn an_operator_killed_at_each_step_goes_on_where_it_was() {
    run(async {
        let _alone = stage().alone().await;
        let resting = Resting::begin().await;
        let space = Space::new(&stage().cluster, "killed-walking").await;
        let mut running: Operator = operator(&space);
        settle(&space, WALKING).await;
        let traffic = Traffic::start(&space, NAME).await;
        edit(&space, &two(0, 100), WALKING).await;
        for weights in STEPS {
            space.weights(NAME, weights).await;
            running.kill();
            running = operator(&space);
        }
        ready_at(&space, NAME, "v1=0 v2=100").await;
        traffic.more(450).await;
        let sent = traffic.lost_none("killed at each step").await;
        println!("operator killed at each step: 0 of {sent} requests lost");
        running.kill();
        drop(resting);
    });
}
