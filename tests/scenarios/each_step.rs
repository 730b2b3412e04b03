//! What may happen to a rollout at each step of a policy that has every kind of step, in a world made of data.

use jiff::SignedDuration;
use microservice_operator::{
    api::{MicroserviceStatus, RolloutState, Verb},
    plan::{inquiry::Reading, object::Kind},
};

use crate::{
    read::{rollout, service_of},
    world::{Pods, World},
};

const POLICY: &str = "{progressDeadline: 2m, analysis: {interval: 30s, metrics: [{name: rate, query: rate, min: 1}]}, steps: [\
     {scale: {replicas: 1}}, {pause: {duration: 30s}}, {match: [{headers: {user: {exact: tester}}}]}, \
     {pause: {duration: 30s}}, {weight: 10}, {pause: {duration: 30s}}, {mirror: {percent: 50}}, {pause: {duration: 30s}}, \
     {analysis: {interval: 10s, count: 2, metrics: [{name: orders, query: orders, min: 1}]}}, {weight: 50}, \
     {pause: {duration: 30s}}]}";

/// Steps that last: those that are no pauses wait for pods or measurements.
const PLACES: [i32; 8] = [0, 1, 3, 5, 7, 8, 9, 10];
const PAUSES: [i32; 5] = [1, 3, 5, 7, 10];
/// How long it takes until another process is there.
const RESTART: SignedDuration = SignedDuration::from_secs(2);

fn service(versions: &str) -> String {
    service_of(versions, 3, POLICY)
}

/// A service that has long been at v1, and is asked for v2.
fn beginning() -> World {
    let mut world = World::new(&service("v1=100 v2=0"));
    world.provider = |_| Ok(Reading { value: Some(1.0), baseline: None, requests: Some(500.0) });
    world.settle();
    world.pass(600);
    world.edit(&service("v1=0 v2=100"));
    world
}

/// The same, at a step. Where it would not last, v2 misses its pods, or one of them.
fn at(place: i32) -> World {
    let mut world = beginning();
    if place == 0 {
        world.pods.insert("v2".into(), Pods::Ready(0));
    }
    for _ in 0..60 {
        go(&mut world, 5, |_| {});
        let step = rollout(&world).step;
        if place == 9 && step == 8 {
            world.pods.insert("v2".into(), Pods::Ready(1));
        }
        if step == place {
            return world;
        }
    }
    panic!("step {place} was not reached: {:?}", world.status());
}

/// Lets time pass, and looks at the world after every single reconciliation.
fn go(world: &mut World, seconds: i64, mut look: impl FnMut(&mut World)) {
    let end = world.now + SignedDuration::from_secs(seconds);
    loop {
        let came = (0..30).any(|_| {
            let changed = world.reconcile();
            look(world);
            !changed
        });
        assert!(came, "does not come to rest: {:?}", world.status());
        match world.last.as_ref().unwrap().next.filter(|wake| *wake <= end) {
            Some(wake) => world.now = wake.max(world.now),
            None => break,
        }
    }
    world.now = end;
}

fn weight(world: &World, version: &str) -> i32 {
    let routed = world.routed();
    let pairs = routed.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == version).map(|(_, weight)| weight.parse::<i32>().unwrap()).sum()
}

/// Which way v2 goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Up,
    Down,
}

/// Which reconciliations come to a status that is not written: each third from one on. The process ends before, or the
/// API server refuses it and the process lives on.
#[derive(Clone, Copy, Debug)]
struct Lost {
    first: usize,
    killed: bool,
}

/// Lets a lot of time pass, and checks that v2 goes one way only.
fn lasts(world: &mut World, way: Way, lost: Option<Lost>, about: &str) {
    let mut last = weight(world, "v2");
    let mut before = world.microservice.status.clone();
    let mut passes = 0;
    go(world, 600, |world| {
        if let Some(lost) = lost.filter(|lost| passes % 3 == lost.first) {
            world.microservice.status.clone_from(&before);
            if lost.killed {
                world.replies.clear();
                world.now += RESTART;
            }
        }
        before.clone_from(&world.microservice.status);
        passes += 1;
        let now = weight(world, "v2");
        let kept = if way == Way::Up { now >= last } else { now <= last };
        assert!(kept, "{about}, {lost:?}: v2 went from {last} to {now}");
        last = now;
    });
}

/// The weights and the state in the end, with nothing left of what the steps gave beside the weights.
fn ends(world: &World, routed: &str, state: RolloutState, about: &str) {
    assert_eq!((world.routed().as_str(), rollout(world).state), (routed, state), "{about}");
    let names = world.route_names();
    assert!(!names.iter().any(|name| name.starts_with("rollout.")), "{about}: {names:?}");
    let routes = world.object(Kind::VirtualService, "order-service")["spec"]["http"].to_string();
    assert!(!routes.contains("mirror"), "{about}: {routes}");
    let ready = if state == RolloutState::Completed { "True" } else { "False" };
    assert_eq!(world.condition("Ready").0, ready, "{about}");
}

struct Case {
    about: &'static str,
    happens: fn(&mut World),
    /// The weights right after it, with all pods ready; None where they stay.
    then: Option<&'static str>,
    way: Way,
    end: (&'static str, RolloutState),
}

const ABORTED: (&str, RolloutState) = ("v1=100", RolloutState::Aborted);
const PROMOTED: (&str, RolloutState) = ("v2=100", RolloutState::Completed);

#[rustfmt::skip]
const CASES: [Case; 9] = [
    Case {
        about: "v3 is applied", happens: |world| world.edit(&service("v1=0 v2=0 v3=100")),
        then: Some("v1=100"), way: Way::Down, end: ("v3=100", RolloutState::Completed),
    },
    Case {
        about: "v1 is applied again", happens: |world| world.edit(&service("v1=100 v2=0")),
        then: Some("v1=100"), way: Way::Down, end: ("v1=100", RolloutState::Completed),
    },
    Case {
        about: "it is aborted", happens: |world| drop(world.ask(Verb::Abort).unwrap()),
        then: Some("v1=100"), way: Way::Down, end: ABORTED,
    },
    Case {
        about: "it is undone", happens: |world| drop(world.ask(Verb::Undo).unwrap()),
        then: Some("v1=100"), way: Way::Down, end: ABORTED,
    },
    Case { about: "it is aborted and tried again", happens: retry, then: Some("v1=100"), way: Way::Up, end: PROMOTED },
    Case { about: "it is promoted", happens: promote, then: None, way: Way::Up, end: PROMOTED },
    Case {
        about: "it is promoted fully", happens: |world| drop(world.ask(Verb::PromoteFull).unwrap()),
        then: Some("v2=100"), way: Way::Up, end: PROMOTED,
    },
    Case { about: "it is paused, and promoted later", happens: pause, then: None, way: Way::Up, end: PROMOTED },
    Case { about: "the status is lost with the operator", happens: forget, then: None, way: Way::Up, end: PROMOTED },
];

fn retry(world: &mut World) {
    world.ask(Verb::Abort).unwrap();
    assert_eq!(world.routed(), "v1=100");
    world.ask(Verb::Retry).unwrap();
    assert!(rollout(world).step < 2, "it starts again with its first step");
}

/// Only a pause can be ended.
fn promote(world: &mut World) {
    let step = rollout(world).step;
    let answer = world.ask(Verb::Promote);
    if PAUSES.contains(&step) {
        assert!(answer.is_ok() && rollout(world).step > step, "{answer:?}");
    } else {
        assert!(answer.unwrap_err().starts_with("nothing waits for a promotion: the step "));
        assert_eq!(rollout(world).step, step);
    }
}

fn pause(world: &mut World) {
    world.ask(Verb::Pause).unwrap();
    let before = (world.routed(), rollout(world).step);
    go(world, 300, |world| assert_eq!((world.routed(), rollout(world).step), before));
    world.ask(Verb::Promote).unwrap();
}

fn forget(world: &mut World) {
    world.replies.clear();
    world.microservice.status = Some(MicroserviceStatus::default());
}

#[test]
fn whatever_happens_at_any_step_comes_to_its_end() {
    for place in PLACES {
        for Case { about, happens, then, way, end } in CASES {
            let about = format!("{about} at step {place}");
            let mut world = at(place);
            happens(&mut world);
            world.pods.insert("v2".into(), Pods::Healthy);
            if let Some(then) = then {
                world.settle();
                assert_eq!(world.routed(), then, "{about}");
            }
            lasts(&mut world, way, None, &about);
            ends(&world, end.0, end.1, &about);
        }
    }
}

/// Half of the times the process ends, and half of the times it lives on.
#[test]
fn an_operator_that_is_killed_or_whose_status_is_refused_at_any_pass_comes_to_the_same_end() {
    let losses = (0..6).map(|number| Lost { first: number % 3, killed: number % 2 == 0 });
    for lost in losses {
        let mut world = beginning();
        lasts(&mut world, Way::Up, Some(lost), "the whole way");
        ends(&world, PROMOTED.0, PROMOTED.1, "the whole way");
        for Case { about, happens, way, end, .. } in CASES.into_iter().take(3) {
            let mut world = at(8);
            happens(&mut world);
            lasts(&mut world, way, Some(lost), about);
            ends(&world, end.0, end.1, about);
        }
    }
}
