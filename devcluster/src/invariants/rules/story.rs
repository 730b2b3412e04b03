//! Tells sequences of revisions for tests: one service `a` with a Deployment and a subset a version.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::invariants::model::{Labels, Share};

/// A namespace that tells a checker what happens in it.
pub(super) struct Story {
    pub(super) checker: Checker,
    pub(super) version: u64,
    pub(super) at: Timestamp,
    pub(super) found: Vec<Rule>,
    /// Statuses from now on are those of an older spec.
    pub(super) behind: bool,
    pub(super) begins: BTreeMap<String, i64>,
    pub(super) held: BTreeSet<String>,
    generations: BTreeMap<String, i64>,
}

pub(super) fn labels(version: &str) -> Labels {
    [("app", "a"), ("version", version)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

pub(super) fn only(key: &str, value: &str) -> Labels {
    Labels::from([(key.to_owned(), value.to_owned())])
}

pub(super) fn target(version: &str) -> Target {
    Target { service: "a".into(), subset: Some(version.into()) }
}

pub(super) fn route(key: &str, weights: &[(&str, i64)]) -> Route {
    let shares = weights.iter().map(|(version, weight)| Share { target: target(version), weight: Some(*weight) });
    Route { key: key.into(), matched: key != "http default", shares: shares.collect(), mirrors: Vec::new() }
}

impl Story {
    /// Versions v1 and v2 of two pods each, v1 with all the weight, long settled.
    pub(super) fn settled() -> Self {
        let mut story = Self::empty();
        story.owner(1);
        story.versions(&["v1", "v2"]);
        story.routes(&[("v1", 100)]);
        story.selector(only("app", "a"));
        story.pass(60_000);
        assert_eq!(story.found, []);
        story
    }

    pub(super) fn empty() -> Self {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        Self {
            checker: Checker::new(Settings::default()),
            version: 0,
            at,
            found: Vec::new(),
            behind: false,
            begins: BTreeMap::new(),
            held: BTreeSet::new(),
            generations: BTreeMap::new(),
        }
    }

    pub(super) fn versions(&mut self, names: &[&str]) {
        for name in names {
            self.deployment(name, 2, 2);
            self.pods(name, 2, true);
        }
        self.subsets(names);
    }

    pub(super) fn pass(&mut self, millis: i64) {
        self.at += SignedDuration::from_millis(millis);
    }

    pub(super) fn change(&mut self, change: Change) {
        self.version += 1;
        self.pass(5);
        let found = self.checker.observe(&Revision { version: self.version, at: self.at, change });
        for violation in &found {
            assert!(!violation.why.is_empty() && !violation.to_string().contains("  ->"), "{violation}");
        }
        self.found.extend(found.iter().map(|it| it.rule));
    }

    pub(super) fn set(&mut self, name: &str, owner: Option<&str>, generation: i64, fields: Fields) {
        let owner = owner.map(str::to_owned);
        let (name, uid) = (name.to_owned(), format!("uid-{name}"));
        self.change(Change::Set(Object { name, uid, owner, generation, deleting: false, fields }));
    }

    pub(super) fn owner(&mut self, generation: i64) {
        self.status(generation, "Progressing", "");
    }

    pub(super) fn routes(&mut self, weights: &[(&str, i64)]) {
        self.all_routes(vec![route("http default", weights)]);
    }

    pub(super) fn all_routes(&mut self, routes: Vec<Route>) {
        self.set("a", Some("uid-a"), 1, Fields::VirtualService { routes });
    }

    pub(super) fn subsets(&mut self, names: &[&str]) {
        self.labelled_subsets(names.iter().map(|name| ((*name).to_owned(), only("version", name))).collect());
    }

    pub(super) fn labelled_subsets(&mut self, subsets: BTreeMap<String, Labels>) {
        self.set("a", Some("uid-a"), 1, Fields::DestinationRule { service: "a".into(), subsets });
    }

    pub(super) fn selector(&mut self, selector: Labels) {
        self.set("a", Some("uid-a"), 1, Fields::Service { selector });
    }

    /// A Deployment whose controller has seen its newest generation.
    pub(super) fn deployment(&mut self, version: &str, replicas: i64, available: i64) {
        self.deployment_at(version, 0, replicas, available);
    }

    pub(super) fn deployment_at(&mut self, version: &str, behind: i64, replicas: i64, available: i64) {
        let generation = self.generations.entry(version.to_owned()).or_insert(1);
        *generation += behind;
        let generation = *generation;
        let fields = Fields::Deployment {
            replicas,
            observed_generation: generation - behind,
            total: replicas,
            updated: replicas,
            available,
            labels: labels(version),
        };
        self.set(&format!("a-{version}"), Some("uid-a"), generation, fields);
    }

    /// Pods of a version, and what its Service knows of them.
    pub(super) fn pods(&mut self, version: &str, count: usize, ready: bool) {
        for index in 0..count {
            self.pod(version, index, ready, None);
        }
        let name = |index| format!("a-{version}-{index}");
        let ready: BTreeSet<String> = if ready { (0..count).map(name).collect() } else { BTreeSet::new() };
        self.set(&format!("a-{version}"), None, 1, Fields::EndpointSlice { service: "a".into(), ready });
    }

    pub(super) fn pod(&mut self, version: &str, index: usize, ready: bool, last_end: Option<Timestamp>) {
        let fields = Fields::Pod { labels: labels(version), ready, last_end };
        self.set(&format!("a-{version}-{index}"), None, 1, fields);
    }

    pub(super) fn gone(&mut self, kind: Kind, name: &str) {
        self.change(Change::Gone(kind, name.to_owned()));
    }

    /// The owner, with what its status says of its rollout and else.
    pub(super) fn status(&mut self, generation: i64, rollout: &str, more: &str) {
        self.leads(generation, rollout, "", more);
    }

    /// The same, with what the rollout leads to.
    pub(super) fn leads(&mut self, generation: i64, rollout: &str, to: &str, more: &str) {
        let status = format!("{rollout} {to} {more}");
        let fields = Fields::Owner {
            aborted: rollout == "Aborted",
            leads_to: to.to_owned(),
            begins: self.begins.clone(),
            held: self.held.clone(),
            behind: self.behind,
            status,
        };
        self.set("a", None, generation, fields);
    }

    /// Ends the recording so much later.
    pub(super) fn finish(&mut self, millis: i64) {
        self.pass(millis);
        self.found.extend(self.checker.finish(self.at).iter().map(|it| it.rule));
    }

    pub(super) fn broke(&mut self, rules: &[Rule]) {
        let found = std::mem::take(&mut self.found);
        assert_eq!(found, rules);
    }

    pub(super) fn holds(&mut self) {
        self.broke(&[]);
    }
}
