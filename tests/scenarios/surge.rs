//! How `maxSurge` divides the pods of a rollout among its versions, in a world made of data. On every pass the pods stay
//! within the budget, and no version has fewer than its weights in force need.

use jiff::{SignedDuration, Timestamp};
use microservice_operator::{
    api::{RolloutState, Verb},
    observe::Weights,
    plan::object::Kind,
    validate::model::part,
};

use crate::{
    read::{message, rollout, service_of},
    world::{Pods, World},
};

const STEPS: &str = "steps: [{weight: 5}, {pause: {}}, {weight: 50}, {pause: {}}]}";

fn policy(surge: &str) -> String {
    format!("{{maxSurge: {surge}, {STEPS}")
}

/// A rollout with a watch over its pods.
struct Watched {
    world: World,
    /// Pods of each version when the rollout is over.
    whole: i32,
    /// Pods of all versions together, as long as none fails.
    budget: i64,
    /// Weights by which the mesh may still send requests, with until when.
    in_force: Vec<(Timestamp, Weights)>,
    before: i64,
}

fn weights(text: &str) -> Weights {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, weight)| (name.to_owned(), weight.parse().unwrap())).collect()
}

impl Watched {
    /// Lets a service of four pods a version rest at `from`, and leads it to `to`.
    fn new(from: &str, to: &str, budget: i64, policy: &str) -> Self {
        Self::sized(4, from, to, budget, policy)
    }

    fn sized(whole: i32, from: &str, to: &str, budget: i64, policy: &str) -> Self {
        let mut world = World::new(&service_of(from, whole, policy));
        world.settle();
        world.pass(600);
        let mut watched = Self { world, whole, budget, in_force: Vec::new(), before: i64::MAX };
        watched.edit(to, whole, policy);
        watched.pass(40);
        watched
    }

    fn edit(&mut self, versions: &str, whole: i32, policy: &str) {
        self.world.edit(&service_of(versions, whole, policy));
        self.whole = whole;
        self.settle();
    }

    fn pods(&self) -> Vec<i64> {
        self.world.status().traffic.iter().map(|entry| self.world.replicas(&entry.version)).collect()
    }

    fn at(&self) -> (String, Vec<i64>) {
        (self.world.routed(), self.pods())
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            let now = self.world.now;
            let until = now.checked_add(self.world.settings.propagation).unwrap();
            self.in_force.retain(|(until, _)| *until > now);
            self.in_force.push((until, weights(&self.world.routed())));
            let changed = self.world.reconcile();
            self.check();
            if !changed {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.world.status());
    }

    fn check(&mut self) {
        let all: i64 = self.pods().iter().sum();
        let before = std::mem::replace(&mut self.before, all);
        let rollout = rollout(&self.world);
        if rollout.state == RolloutState::Completed {
            self.before = i64::MAX;
            return;
        }
        assert!(all <= self.budget.max(before), "{all} pods: {:?}", self.at());
        let routed = weights(&self.world.routed());
        for (name, weight) in self.in_force.iter().map(|(_, weights)| weights).chain([&routed]).flatten() {
            let stable = rollout.stable.get(name).copied().unwrap_or_default();
            let most = stable.max(self.world.traffic(name).requested);
            let needed = if most > 0 { part(self.whole, *weight, most).min(self.whole) } else { 0 };
            let pods = self.world.replicas(name);
            assert!(pods >= needed.into(), "{name} has {pods} pods, and {weight} needs {needed}: {:?}", self.at());
        }
    }

    /// Answers the weights on the way, each once.
    fn pass(&mut self, seconds: i64) -> Vec<String> {
        let mut way = Vec::new();
        for second in 0..=seconds {
            self.world.now += SignedDuration::from_secs(i64::from(second > 0));
            self.settle();
            way.push(self.world.routed());
        }
        way.dedup();
        way
    }

    fn ask(&mut self, verb: Verb) {
        let action = self.world.action(verb);
        self.world.orders.push(action);
        self.settle();
    }
}

fn walking() -> Watched {
    let watched = Watched::new("v1=100 v2=0", "v1=0 v2=100", 5, &policy("1"));
    assert_eq!(watched.at(), ("v1=95 v2=5".into(), vec![4, 1]));
    watched
}

fn halfway() -> Watched {
    let mut watched = walking();
    watched.ask(Verb::Promote);
    watched.pass(60);
    assert_eq!(watched.at(), ("v1=50 v2=50".into(), vec![2, 2]));
    watched
}

#[test]
fn a_step_that_the_surge_cannot_carry_at_once_is_walked_in_several_raises() {
    let mut watched = walking();
    watched.ask(Verb::Promote);
    assert_eq!(watched.pass(60), ["v1=75 v2=25", "v1=50 v2=50"]);
    assert_eq!(watched.at(), ("v1=50 v2=50".into(), vec![2, 2]), "a step gets no more than its weight needs");
    assert_eq!((rollout(&watched.world).state, rollout(&watched.world).step), (RolloutState::Paused, 3));
    watched.ask(Verb::Promote);
    assert_eq!(watched.pass(60), ["v1=25 v2=75", "v2=100"]);
    assert_eq!(rollout(&watched.world).state, RolloutState::Completed);
    assert_eq!(watched.pods(), [4, 4], "all versions run whole once it is completed");
}

#[test]
fn a_larger_surge_makes_fewer_raises() {
    for (surge, budget, way) in [("2", 6, vec!["v1=50 v2=50"]), ("'25%'", 5, vec!["v1=75 v2=25", "v1=50 v2=50"])] {
        let mut watched = Watched::new("v1=100 v2=0", "v1=0 v2=100", budget, &policy(surge));
        watched.ask(Verb::Promote);
        assert_eq!(watched.pass(60), way, "{surge}");
    }
}

#[test]
fn what_waits_for_the_pods_says_so_with_values() {
    let mut watched = walking();
    watched.ask(Verb::Promote);
    assert_eq!(
        message(&watched.world),
        "step 3 of 4 of the rollout waits for pods: with maxSurge 1 all versions have 5 together, and v2 gets 1 of the 2 \
         for its 50 %; traffic stays at v1 75, v2 25"
    );
    watched.pass(60);
    watched.ask(Verb::Abort);
    let told = message(&watched.world);
    assert!(
        told.starts_with("rolling back as pods allow it: aborted by mia; waits for pods: with maxSurge 1 "),
        "{told}"
    );
    assert!(told.contains("v1 gets 3 of the 4 for its 100 %; traffic stays at v1 75, v2 25"), "{told}");
}

#[test]
fn pods_that_the_limit_leaves_are_waited_for() {
    let mut watched = walking();
    watched.ask(Verb::Promote);
    watched.world.pods.insert("v2".into(), Pods::Ready(1));
    watched.pass(60);
    assert_eq!(watched.at(), ("v1=75 v2=25".into(), vec![3, 2]));
    assert!(message(&watched.world).starts_with("v2 has 1 of 2 pods ready"), "{}", message(&watched.world));
    watched.world.pods.insert("v2".into(), Pods::Healthy);
    assert_eq!(watched.pass(60), ["v1=50 v2=50"]);
}

/// On its way to all of eight pods, one by one.
fn raising(deadline: &str) -> Watched {
    let steps = format!("{{maxSurge: 1, progressDeadline: {deadline}, steps: [{{weight: 10}}, {{pause: {{}}}}]}}");
    let mut watched = Watched::sized(8, "v1=100 v2=0", "v1=0 v2=100", 10, &steps);
    watched.ask(Verb::Promote);
    watched
}

#[test]
fn the_deadline_counts_from_the_latest_raise() {
    let mut watched = raising("8s");
    watched.pass(9);
    assert_eq!(rollout(&watched.world).state, RolloutState::Progressing);
    watched.pass(60);
    assert_eq!(rollout(&watched.world).state, RolloutState::Completed);
}

/// Half-way through a rollout whose Deployments cannot be written: the API server answers so.
fn untold(code: u16) -> World {
    let mut watched = raising("2m");
    watched.pass(9);
    let mut world = watched.world;
    (world.refused, world.code) = (vec![Kind::Deployment], code);
    world.pass(60);
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    world
}

#[test]
fn a_version_does_not_fail_by_pods_that_nobody_could_ask_for() {
    let mut world = untold(503);
    world.refused.clear();
    world.now += SignedDuration::from_mins(15);
    world.settle();
    world.pass(60);
    assert_eq!(rollout(&world).state, RolloutState::Completed, "{:?}", world.status());
    let mut world = untold(422);
    world.pass(120);
    assert_eq!(rollout(&world).state, RolloutState::Aborted, "what is refused stays so");
}

#[test]
fn nor_while_nobody_looked() {
    let mut world = raising("2m").world;
    world.pods.insert("v2".into(), Pods::Ready(1));
    world.pass(60);
    (world.now, world.restarted) = (world.now + SignedDuration::from_mins(15), true);
    world.settle();
    assert_eq!(rollout(&world).state, RolloutState::Progressing, "it may be ready in a moment");
    world.pass(119);
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    world.pass(1);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn an_abort_goes_back_as_far_as_the_pods_carry_it() {
    let mut watched = halfway();
    watched.ask(Verb::Abort);
    assert_eq!(watched.pass(60), ["v1=75 v2=25", "v1=100"]);
    assert_eq!(watched.at(), ("v1=100".into(), vec![4, 1]), "a pod stays for whoever wants to know what it was");
    watched.ask(Verb::Retry);
    assert_eq!(watched.pass(60), ["v1=95 v2=5"]);
    watched.ask(Verb::PromoteFull);
    assert_eq!(watched.pass(60), ["v1=75 v2=25", "v1=50 v2=50", "v1=25 v2=75", "v2=100"]);
}

#[test]
fn an_edit_back_goes_as_far_as_the_pods_carry_it() {
    let mut watched = halfway();
    watched.world.pods.insert("v1".into(), Pods::Ready(3));
    watched.edit("v1=100 v2=0", 4, &policy("1"));
    watched.pass(10);
    assert_eq!(watched.at(), ("v1=75 v2=25".into(), vec![4, 2]), "what is left gets no further pods");
    watched.world.pods.insert("v1".into(), Pods::Healthy);
    watched.pass(10);
    assert_eq!(watched.at(), ("v1=100".into(), vec![4, 4]));
}

#[test]
fn a_new_version_that_fails_loses_all_at_once_and_the_stable_one_gets_all_of_its_pods() {
    let mut watched = halfway();
    watched.budget = 8;
    watched.world.pods.insert("v2".into(), Pods::Broken("Error"));
    watched.settle();
    assert_eq!(rollout(&watched.world).state, RolloutState::Aborted);
    assert_eq!(watched.at(), ("v1=100".into(), vec![4, 2]), "beyond the limit: serving counts more than saving");
    watched.pass(60);
    assert_eq!(watched.at(), ("v1=100".into(), vec![4, 1]), "and within it again when v2 has drained");
}

#[test]
fn a_stable_version_that_fails_is_replaced_by_the_whole_new_one() {
    let mut watched = halfway();
    watched.budget = 8;
    watched.world.pods.insert("v1".into(), Pods::Broken("Error"));
    watched.settle();
    assert_eq!(watched.at(), ("v2=100".into(), vec![2, 4]));
    watched.pass(60);
    assert_eq!(watched.at(), ("v2=100".into(), vec![1, 4]));
    watched.world.pods.insert("v1".into(), Pods::Healthy);
    assert_eq!(watched.pass(90).last().unwrap(), "v1=50 v2=50", "its weight comes back as far as its pods carry it");
    assert_eq!(watched.pods(), [2, 2]);
}

#[test]
fn when_nobody_can_serve_the_others_get_all_of_their_pods() {
    let steps = "{maxSurge: 1, onFailure: Pause, steps: [{weight: 100}, {pause: {}}]}";
    let mut watched = Watched::new("v1=100 v2=0", "v1=0 v2=100", 5, steps);
    watched.pass(60);
    assert_eq!(watched.at(), ("v2=100".into(), vec![0, 4]));
    watched.budget = 8;
    watched.world.pods.insert("v2".into(), Pods::Broken("Error"));
    watched.settle();
    assert_eq!(watched.at(), ("v1=100".into(), vec![4, 4]));
}

#[test]
fn whoever_stands_in_for_the_promoted_version_grows() {
    let mut watched = Watched::new("v1=100 v2=0", "v1=0 v2=100", 5, "{maxSurge: 1, steps: [{weight: 50}]}");
    watched.pass(600);
    assert_eq!(watched.world.routed(), "v2=100");
    watched.world.pods.insert("v2".into(), Pods::Broken("Error"));
    watched.settle();
    assert_eq!(watched.at(), ("v1=100".into(), vec![4, 4]));
    watched.edit("v1=0 v2=100", 8, "{maxSurge: 1, steps: [{weight: 50}]}");
    watched.pass(10);
    assert_eq!(watched.at(), ("v1=100".into(), vec![8, 8]));
}

#[test]
fn one_replica_is_replaced_by_one() {
    let mut watched = Watched::sized(1, "v1=100 v2=0", "v1=0 v2=100", 2, &policy("1"));
    assert_eq!(watched.at(), ("v1=95 v2=5".into(), vec![1, 1]));
    watched.ask(Verb::Promote);
    watched.ask(Verb::Promote);
    assert_eq!(watched.at(), ("v2=100".into(), vec![1, 1]));
}

#[test]
fn every_size_and_every_surge_comes_to_its_end() {
    for (whole, surge) in [(2, 1), (3, 1), (3, 2), (7, 1), (7, 3), (13, 2)] {
        let steps = format!("{{maxSurge: {surge}, steps: [{{weight: 37}}]}}");
        // At 67 percent of 3 pods all are needed, and the other version needs a second one for more than 33.
        let budget = i64::from(whole + surge.max(2));
        let mut watched = Watched::sized(whole, "v1=100 v2=0", "v1=0 v2=100", budget, &steps);
        watched.pass(90);
        assert_eq!(watched.at(), ("v2=100".into(), vec![whole.into(); 2]), "maxSurge {surge} of {whole}");
    }
}

#[test]
fn more_pods_than_percents_move_by_percents() {
    let mut world = World::new(&service_of("v1=100 v2=0", 250, "{maxSurge: 1, steps: [{weight: 3}]}"));
    world.settle();
    world.pass(600);
    world.edit(&service_of("v1=0 v2=100", 250, "{maxSurge: 1, steps: [{weight: 3}, {pause: {}}]}"));
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=97 v2=3");
}

#[test]
fn three_versions_share_the_pods() {
    let mut watched = Watched::new("v1=100 v2=0 v3=0", "v1=0 v2=60 v3=40", 10, &policy("1"));
    assert_eq!(watched.at(), ("v1=95 v2=3 v3=2".into(), vec![4, 1, 1]));
    watched.ask(Verb::Promote);
    watched.pass(120);
    assert_eq!(watched.at(), ("v1=50 v2=30 v3=20".into(), vec![2, 2, 2]));
    watched.ask(Verb::Promote);
    watched.pass(120);
    assert_eq!(watched.at(), ("v2=60 v3=40".into(), vec![4, 4, 4]));
    let mut watched = Watched::new("v1=60 v2=40 v3=0", "v1=0 v2=0 v3=100", 9, &policy("1"));
    watched.ask(Verb::Promote);
    watched.pass(120);
    assert_eq!(watched.at(), ("v1=30 v2=20 v3=50".into(), vec![2, 2, 2]));
    watched.ask(Verb::Abort);
    watched.pass(120);
    assert_eq!(watched.at(), ("v1=60 v2=40".into(), vec![4, 4, 1]));
}

#[test]
fn another_version_on_the_way_gets_its_pods_from_both() {
    let mut watched = halfway();
    watched.budget = 7;
    watched.edit("v1=0 v2=0 v3=100", 4, &policy("1"));
    watched.pass(120);
    assert_eq!(watched.at(), ("v1=95 v3=5".into(), vec![4, 2, 1]));
    watched.ask(Verb::Promote);
    watched.pass(120);
    watched.ask(Verb::Promote);
    watched.pass(120);
    assert_eq!(watched.at(), ("v3=100".into(), vec![4, 4, 4]));
}

#[test]
fn replicas_may_be_edited_on_the_way() {
    let mut watched = halfway();
    watched.budget = 9;
    watched.edit("v1=0 v2=100", 8, &policy("1"));
    watched.pass(30);
    assert_eq!(watched.at(), ("v1=50 v2=50".into(), vec![4, 4]));
    watched.edit("v1=0 v2=100", 2, &policy("1"));
    watched.pass(30);
    assert_eq!(watched.at(), ("v1=50 v2=50".into(), vec![1, 1]));
    watched.ask(Verb::Promote);
    assert_eq!(watched.pass(60).last().unwrap(), "v2=100");
}

#[test]
fn an_autoscaler_sees_the_pods_of_all_versions_while_they_share_them() {
    let watched = halfway();
    let told = |world: &World| (world.status().replicas, world.status().label_selector.clone().unwrap());
    let service = "microservice-operator.dev/service=order-service";
    assert_eq!(told(&watched.world), (Some(4), format!("{service},version in (v1,v2)")));
    let mut watched = watched;
    watched.ask(Verb::Promote);
    watched.pass(60);
    assert_eq!(told(&watched.world), (Some(4), format!("{service},version=v2")));
}

#[test]
fn the_short_form_walks_within_the_limit_too() {
    let short = "{maxSurge: 1, stepWeight: 50, interval: 1m}";
    let mut watched = Watched::new("v1=100 v2=0", "v1=0 v2=100", 5, short);
    assert_eq!(watched.at().0, "v1=50 v2=50");
    assert_eq!(watched.pass(120), ["v1=50 v2=50", "v1=25 v2=75", "v2=100"]);
}

#[test]
fn a_removed_version_keeps_its_pods_and_takes_none_from_the_new_one() {
    let mut world = World::new(&service_of("v1=100", 4, &policy("1")));
    world.settle();
    world.pass(600);
    world.edit(&service_of("v2=100", 4, &policy("1")));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), world.replicas("v1")), ("v2=5 v1=95", 4));
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(5);
    assert_eq!((world.routed().as_str(), world.replicas("v1"), world.replicas("v2")), ("v2=100", 4, 4));
}

#[test]
fn a_version_that_a_route_leads_to_keeps_its_whole_size() {
    let routed = |versions: &str| {
        let route = "routes: [{name: old, match: [{path: {prefix: /old}}], version: v1}], rollout";
        service_of(versions, 4, &policy("1")).replace("rollout", route)
    };
    let mut world = World::new(&routed("v1=100 v2=0"));
    world.settle();
    world.pass(600);
    world.edit(&routed("v1=0 v2=100"));
    world.settle();
    world.pass(60);
    assert!(world.ask(Verb::Promote).is_ok());
    world.pass(60);
    assert_eq!((world.routed().as_str(), world.replicas("v1"), world.replicas("v2")), ("v1=50 v2=50", 4, 2));
}

#[test]
fn without_a_mesh_it_is_passed_over() {
    let plain = |versions: &str| {
        let traffic = "traffic: {provider: None}, rollout";
        service_of(versions, 4, &policy("1")).replace("rollout", traffic)
    };
    let mut world = World::new(&plain("v1=100 v2=0"));
    world.settle();
    world.edit(&plain("v1=0 v2=100"));
    world.settle();
    world.pass(60);
    assert_eq!((world.replicas("v1"), world.replicas("v2")), (4, 4));
}

#[test]
fn an_older_revision_that_nobody_may_ask_back_gets_no_pods_at_the_end() {
    let of = |image: &str, delay: &str| {
        let policy = policy("1").replace("{maxSurge", &format!("{{{delay}maxSurge"));
        format!("{{ports: [{{name: http, port: 80}}], replicas: 4, image: '{image}', rollout: {policy}}}")
    };
    for (delay, pods) in [("", 1), ("scaleDownDelay: 1h, ", 4)] {
        let mut world = World::new(&of("x:1", delay));
        world.settle();
        world.pass(600);
        let first = world.status().revision.clone().unwrap();
        world.edit(&of("x:2", delay));
        world.settle();
        world.pass(60);
        assert!(world.ask(Verb::PromoteFull).is_ok());
        while rollout(&world).state != RolloutState::Completed {
            world.pass(1);
        }
        assert_eq!(world.replicas(&first), pods, "{delay}");
    }
}
