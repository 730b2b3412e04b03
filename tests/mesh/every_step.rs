//! What may happen to a rollout at every kind of step, on the mesh: no request is lost, not even those that a step
//! matches, and in the end nothing of the steps is left in the routes.
//!
//! `tests/scenarios/each_step.rs` has all steps times all that may happen, in a world made of data.

use std::collections::BTreeSet;

use devcluster::load::{Load, Protocol};
use microservice_operator::{
    api::{Microservice, RolloutState, Verb},
    plan::object::Kind,
};
use serde_json::Value;

use crate::{
    analyses::{Provider, success_rate},
    calls::{Traffic, load},
    lanes::{copied, heard},
    rollouts::{NAME, ask, edit, rollout, settle, stable, two},
    service::{Version, ready_at, version},
    stage::stage,
    support::{Operator, Space, condition, current, message, run},
    zero_loss::{Resting, operator},
};

/// What the requests have that a step matches, and how many of them there are in a second.
const BETA: (&str, &str) = ("x-beta", "1");
const BETA_RATE: u32 = 20;

/// A policy with every kind of step.
fn policy(provider: &Provider) -> String {
    format!(
        "rollout: {{sessionAffinity: {{cookie: {{name: trial}}}}, steps: [{{scale: {{replicas: 1}}}}, {{pause: {{}}}}, \
         {{match: [{{headers: {{x-beta: {{exact: '1'}}}}}}]}}, {{pause: {{}}}}, {{mirror: {{percent: 100}}}}, \
         {{pause: {{}}}}, {{weight: 50}}, {{pause: {{}}}}, {{pause: {{duration: 6s}}}}, \
         {{analysis: {{provider: {}, interval: 6s, count: 2, metrics: [{}]}}}}]}}",
        provider.name,
        success_rate()
    )
}

/// Where the rollout stays for long enough to be disturbed.
#[derive(Debug, PartialEq)]
struct Place {
    /// The step that it is at, or the one whose pause it is.
    name: &'static str,
    /// Number of steps that are done.
    done: i32,
    /// Paused where somebody must promote.
    state: RolloutState,
    /// What the routes have there, as [`routed`] tells; NEW is the version that is being raised.
    routed: &'static str,
}

const SCALE: Place = Place { name: "scale", done: 1, state: RolloutState::Paused, routed: "rollout.cookie.NEW v1=100" };
const MATCH: Place =
    Place { name: "match", done: 3, state: RolloutState::Paused, routed: "rollout.cookie.NEW rollout.match v1=100" };
const MIRROR: Place = Place {
    name: "mirror",
    done: 5,
    state: RolloutState::Paused,
    routed: "mirror.NEW rollout.cookie.NEW rollout.match v1=100",
};
const WEIGHT: Place = Place { name: "weight", done: 7, state: RolloutState::Paused, routed: HALF };
const TIMED: Place = Place { name: "timed pause", done: 8, state: RolloutState::Progressing, routed: HALF };
const ANALYSIS: Place = Place { name: "analysis", done: 9, state: RolloutState::Progressing, routed: HALF };
const HALF: &str = "rollout.cookie.NEW rollout.match v1=50 NEW=50";
const PLACES: [&Place; 6] = [&SCALE, &MATCH, &MIRROR, &WEIGHT, &TIMED, &ANALYSIS];

/// What happens there.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    AnotherVersion,
    Back,
    Replicas,
    Weights,
    AbortAndRetry,
    Promote,
    PromoteFully,
    Undo,
}
use Disturbance::{AbortAndRetry, AnotherVersion, Back, Promote, PromoteFully, Replicas, Undo, Weights};

/// Every kind of edit at least once, and an edit at every place.
const EDITS: [(&Place, Disturbance); 11] = [
    (&SCALE, Replicas),
    (&SCALE, Weights),
    (&MATCH, Back),
    (&MATCH, Weights),
    (&MIRROR, AnotherVersion),
    (&MIRROR, Back),
    (&MIRROR, Replicas),
    (&WEIGHT, Weights),
    (&WEIGHT, Replicas),
    (&TIMED, Back),
    (&ANALYSIS, AnotherVersion),
];

/// Every kind of action at least once, and an action at every place.
const ACTIONS: [(&Place, Disturbance); 13] = [
    (&SCALE, AbortAndRetry),
    (&SCALE, PromoteFully),
    (&MATCH, PromoteFully),
    (&MATCH, Undo),
    (&MIRROR, AbortAndRetry),
    (&MIRROR, Promote),
    (&MIRROR, PromoteFully),
    (&WEIGHT, AbortAndRetry),
    (&WEIGHT, PromoteFully),
    (&TIMED, Promote),
    (&TIMED, Undo),
    (&ANALYSIS, AbortAndRetry),
    (&ANALYSIS, PromoteFully),
];

impl Disturbance {
    /// Makes it happen, and leads the rollout to its end; answers the end.
    async fn happen(self, space: &Space, place: &Place, policy: &str) -> (&'static str, RolloutState) {
        match self {
            AnotherVersion => {
                edit(space, &[version("v1", 0), version("v3", 100)], policy).await;
                reached(space, &SCALE, "v3").await;
                ask(space, Verb::PromoteFull).await;
                ("v3=100", RolloutState::Completed)
            }
            Back => {
                edit(space, &two(100, 0), policy).await;
                ("v1=100", RolloutState::Completed)
            }
            Replicas => {
                let [v1, v2] = two(0, 100);
                edit(space, &[v1, Version { replicas: 3, ..v2 }], policy).await;
                reached(space, place, "v2").await;
                ask(space, Verb::PromoteFull).await;
                let grown = |it: &Value| it["status"]["availableReplicas"] == 3;
                space.child_until(Kind::Deployment, "web-v2", "three pods", grown).await;
                ("v2=100", RolloutState::Completed)
            }
            Weights => {
                edit(space, &two(40, 60), policy).await;
                space.until(NAME, "the first pause again", |it| stays_at(it, &SCALE)).await;
                ask(space, Verb::PromoteFull).await;
                ("v1=40 v2=60", RolloutState::Completed)
            }
            AbortAndRetry => {
                ask(space, Verb::Abort).await;
                ended(space, "v1=100", RolloutState::Aborted).await;
                ask(space, Verb::Retry).await;
                reached(space, &SCALE, "v2").await;
                ask(space, Verb::PromoteFull).await;
                ("v2=100", RolloutState::Completed)
            }
            Promote => {
                ask(space, Verb::Promote).await;
                let next = PLACES.iter().find(|next| next.done > place.done).expect("no place is the last step");
                reached(space, next, "v2").await;
                ask(space, Verb::PromoteFull).await;
                ("v2=100", RolloutState::Completed)
            }
            PromoteFully => {
                ask(space, Verb::PromoteFull).await;
                ("v2=100", RolloutState::Completed)
            }
            Undo => {
                ask(space, Verb::Undo).await;
                ("v1=100", RolloutState::Aborted)
            }
        }
    }
}

/// What the routes have, as a set of words: weights of the requests that no route takes, and whatever steps give.
fn routed(virtual_service: &Value) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for route in virtual_service["spec"]["http"].as_array().into_iter().flatten() {
        let name = route["name"].as_str().unwrap_or_default();
        if name.starts_with("rollout.") {
            words.insert(name.to_owned());
            continue;
        }
        if let Some(version) = route["mirror"]["subset"].as_str() {
            words.insert(format!("mirror.{version}"));
        }
        for to in route["route"].as_array().into_iter().flatten() {
            let weight = to["weight"].as_i64().unwrap_or(100);
            let version = to["destination"]["subset"].as_str().unwrap_or_default();
            words.extend((weight > 0).then(|| format!("{version}={weight}")));
        }
    }
    words
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn stays_at(microservice: &Microservice, place: &Place) -> bool {
    let now = rollout(microservice);
    let begun = now.step_since.is_some() && now.waits_for.is_none();
    current(microservice) && begun && (now.step, now.state) == (place.done, place.state)
}

/// Waits until the rollout is there with this version, and has in its routes what the steps up to there give.
async fn reached(space: &Space, place: &Place, version: &str) {
    space.until(NAME, place.name, |it| stays_at(it, place)).await;
    let wanted = words(&place.routed.replace("NEW", version));
    space.child_until(Kind::VirtualService, NAME, place.name, |it| routed(it) == wanted).await;
}

/// Waits until the rollout has ended like this, and nothing but the weights is left of it.
async fn ended(space: &Space, weights: &str, state: RolloutState) {
    let weights = words(weights);
    let there = |it: &Microservice| {
        let ready = state == RolloutState::Aborted || condition(it, "Ready") == "True";
        current(it) && rollout(it).state == state && ready
    };
    let seen = space.until(NAME, &format!("{state:?}"), there).await;
    let arrived = |it: &Value| routed(it).is_superset(&weights);
    let route = space.child_until(Kind::VirtualService, NAME, "the weights of the end", arrived).await;
    assert_eq!(routed(&route), weights, "{}", message(&seen));
}

/// Goes from one place to the next, where that takes a promotion, and waits until the mesh has heard of it.
async fn walk_on(space: &Space, from: Option<&Place>, to: &Place) {
    if from.is_some_and(|from| from.state == RolloutState::Paused) {
        ask(space, Verb::Promote).await;
    }
    reached(space, to, "v2").await;
    if *to == MATCH {
        heard(space, Some(BETA), "v2").await;
    }
    if *to == MIRROR {
        copied(space).await;
    }
}

/// Begins the rollout, and brings it to a place.
async fn walk_to(space: &Space, place: &Place, policy: &str) {
    edit(space, &two(0, 100), policy).await;
    let mut from = None;
    for to in PLACES.iter().filter(|to| to.done <= place.done) {
        walk_on(space, from, to).await;
        from = Some(to);
    }
}

/// Back to where all requests go to v1, with no steps: what has served before needs none.
async fn reset(space: &Space, policy: &str) {
    let seen = space.microservices().get(NAME).await.unwrap();
    let there = rollout(&seen).stable.get("v1") == Some(&100);
    if !there {
        ask(space, Verb::Undo).await;
    }
    edit(space, &two(100, 0), policy).await;
    ready_at(space, NAME, "v1=100 v2=0").await;
    ended(space, "v1=100", RolloutState::Completed).await;
}

/// Traffic of all kinds, some of it such that a step matches it.
async fn traffic(space: &Space) -> Traffic {
    let beta = load(space, NAME, Protocol::Http1 { keep_alive: true }, BETA_RATE);
    let headers = vec![(BETA.0.to_owned(), BETA.1.to_owned())];
    Traffic::start(space, NAME).await.and(Load { headers, ..beta }).await
}

/// Lets each of these happen to a rollout of its own.
async fn each(name: &str, cases: &[(&Place, Disturbance)]) {
    let _shared = stage().shared().await;
    let space = stable(name, "").await;
    let provider = Provider::of(&space).await;
    let policy = policy(&provider);
    for (place, disturbance) in cases {
        let about = format!("{disturbance:?} at {}", place.name);
        let traffic = traffic(&space).await;
        walk_to(&space, place, &policy).await;
        let (weights, state) = disturbance.happen(&space, place, &policy).await;
        ended(&space, weights, state).await;
        reset(&space, &policy).await;
        traffic.more(450).await;
        let sent = traffic.lost_none(&about).await;
        println!("every step: {about}: 0 of {sent} requests lost");
    }
}

#[test]
fn every_step_can_be_edited_away() {
    run(each("every-step-edited", &EDITS));
}

#[test]
fn every_step_takes_what_people_ask_for() {
    run(each("every-step-asked", &ACTIONS));
}

#[test]
fn every_step_outlives_the_operator() {
    run(async {
        let _alone = stage().alone().await;
        let resting = Resting::begin().await;
        let space = Space::new(&stage().cluster, "every-step-killed").await;
        let provider = Provider::here(&space).await;
        let mut running: Operator = operator(&space);
        settle(&space, "").await;
        let traffic = traffic(&space).await;
        edit(&space, &two(0, 100), &policy(&provider)).await;
        let mut from = None;
        for place in PLACES {
            walk_on(&space, from, place).await;
            running.kill();
            running = operator(&space);
            from = Some(place);
        }
        ended(&space, "v2=100", RolloutState::Completed).await;
        traffic.more(450).await;
        let sent = traffic.lost_none("killed at every step").await;
        println!("every step: operator killed at each: 0 of {sent} requests lost");
        running.kill();
        drop(resting);
    });
}
