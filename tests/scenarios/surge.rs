//! How `maxSurge` divides the pods of a rollout among its versions, in a world made of data. On every pass the pods stay
//! within the budget, and no version has fewer than its weights in force need.

use microservice_operator::{
    api::{RolloutState, Verb},
    validate::model::part,
};

use crate::{
    read::{message, rollout, service_of},
    world::{Pods, World},
};

const STEPS: &str = "{maxSurge: 1, steps: [{weight: 5}, {pause: {}}, {weight: 50}, {pause: {}}]}";

/// A service that is led from one set of weights to another, with a watch over its pods.
struct Watched {
    world: World,
    /// Pods of each version when the rollout is over.
    replicas: i64,
    /// Pods of all versions together.
    budget: i64,
    /// Weights of the versions with the time until which the mesh may know them.
    carried: Vec<(jiff::Timestamp, String, i64)>,
}

fn weights(text: &str) -> Vec<(String, i64)> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, weight)| (name.to_owned(), weight.parse().unwrap())).collect()
}

impl Watched {
    /// Lets `from` settle, and then leads it to `to`.
    fn new(from: &str, to: &str, replicas: i32, budget: i64, policy: &str) -> Self {
        let mut world = World::new(&service_of(from, replicas, policy));
        world.settle();
        world.pass(600);
        world.edit(&service_of(to, replicas, policy));
        Self { world, replicas: replicas.into(), budget, carried: Vec::new() }
    }

    fn running(&self) -> Vec<(String, i64)> {
        let traffic = self.world.status().traffic.iter();
        traffic.map(|entry| (entry.version.clone(), self.world.replicas(&entry.version))).collect()
    }

    fn settle(&mut self) {
        for _ in 0..40 {
            let before = self.running();
            let now = self.world.now;
            let until = now + self.world.settings.propagation;
            self.carried.retain(|(until, ..)| *until > now);
            for (name, weight) in weights(&self.world.routed()) {
                self.carried.push((until, name, weight));
            }
            let changed = self.world.reconcile();
            self.check(&before);
            if !changed {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.world.status());
    }

    fn check(&self, before: &[(String, i64)]) {
        let rollout = rollout(&self.world);
        if !rollout.state.is_under_way() && rollout.state != RolloutState::Aborted {
            return;
        }
        let routed = self.world.routed();
        let sum = |pods: &[(String, i64)]| pods.iter().map(|(_, pods)| pods).sum::<i64>();
        let pods = self.running();
        let all = sum(&pods);
        assert!(all <= self.budget.max(sum(before)), "{all} pods at {routed}: {pods:?}, before {before:?}");
        let in_force = weights(&routed).into_iter().chain(self.carried.iter().map(|(_, name, w)| (name.clone(), *w)));
        for (name, weight) in in_force {
            let requested = self.world.traffic(&name).requested;
            let most = requested.max(rollout.stable.get(&name).copied().unwrap_or_default());
            let whole = i32::try_from(self.replicas).unwrap();
            let needed = i64::from(part(whole, i32::try_from(weight).unwrap(), most));
            let runs = self.world.replicas(&name);
            assert!(runs >= needed, "{name} has {runs} pods and needs {needed} for {weight}: {routed}");
        }
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.settle();
            self.world.now += jiff::SignedDuration::from_secs(1);
        }
        self.settle();
    }

    fn ask(&mut self, verb: Verb) {
        assert!(self.world.ask(verb).is_ok());
    }

    fn at(&self) -> (String, Vec<i64>) {
        (self.world.routed(), self.running().into_iter().map(|(_, pods)| pods).collect())
    }

    /// The weights on the way, each once.
    fn way(&mut self, seconds: i64) -> Vec<String> {
        let mut way = vec![self.world.routed()];
        for _ in 0..seconds {
            self.pass(1);
            let routed = self.world.routed();
            if way.last() != Some(&routed) {
                way.push(routed);
            }
        }
        way
    }
}

fn walking() -> Watched {
    let mut watched = Watched::new("v1=100 v2=0", "v1=0 v2=100", 4, 5, STEPS);
    watched.pass(60);
    watched
}

#[test]
fn a_step_that_the_surge_cannot_carry_at_once_is_walked_in_several_raises() {
    let mut watched = walking();
    assert_eq!(watched.at(), ("v1=95 v2=5".into(), vec![4, 1]));
    watched.ask(Verb::Promote);
    assert_eq!(watched.way(60), ["v1=75 v2=25", "v1=50 v2=50"]);
    assert_eq!(watched.at(), ("v1=50 v2=50".into(), vec![2, 2]));
    assert_eq!(rollout(&watched.world).state, RolloutState::Paused);
    watched.ask(Verb::Promote);
    assert_eq!(watched.way(60), ["v1=50 v2=50", "v1=25 v2=75", "v2=100"]);
    assert_eq!(watched.at(), ("v2=100".into(), vec![4, 4]), "all versions run whole once it is completed");
    assert_eq!(rollout(&watched.world).state, RolloutState::Completed);
}
