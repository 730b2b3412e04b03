//! A namespace with an operator behind a fault proxy, which can be killed and started again.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Debug,
    time::{Duration, Instant},
};

use devcluster::faults::{Asked, Fault, Faults, Proxy, creates_and_deletes};
use kube::{
    Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use microservice_operator::{api::Microservice, plan::object::Kind};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    story::{self, Chapter},
    support::{Operator, Space, cluster, eventually},
};

/// How long there must be no write in the end.
pub const SILENCE: Duration = Duration::from_secs(60);

/// Where the built-in controller counts the pod templates of a Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// After so long without a write, a clean run is at rest.
const REST: Duration = Duration::from_secs(15);

/// What there is when a run has come to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// All children, without identities and times.
    pub objects: BTreeMap<String, Value>,
    /// How many pod templates each Deployment has had: one that was changed and put back replaced all its pods twice.
    pub templates: BTreeMap<String, String>,
    /// What each status says, without times.
    pub status: Value,
}

/// What a run has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub end: End,
    /// How many objects of each resource the operator created and deleted.
    pub counts: BTreeMap<String, (usize, usize)>,
}

/// What a clean run of a chapter comes to, and with how many writes.
pub struct Clean {
    pub chapter: Chapter,
    pub outcome: Outcome,
    pub writes: usize,
}

/// Runs all chapters one after the other without any fault; once for all campaigns.
pub async fn clean() -> &'static [Clean] {
    static CLEAN: OnceCell<Vec<Clean>> = OnceCell::const_new();
    CLEAN.get_or_init(run_clean).await
}

async fn run_clean() -> Vec<Clean> {
    let stage = Stage::new("clean").await;
    let mut all = Vec::new();
    for chapter in Chapter::ALL {
        let before = stage.proxy.writes();
        story::begin(&stage.space, chapter).await;
        story::end(&stage.space, chapter).await;
        stage.settles().await;
        all.push(Clean { chapter, outcome: stage.outcome().await, writes: stage.proxy.writes() - before });
    }
    all
}

/// Where one run takes place.
pub struct Stage {
    pub space: Space,
    pub proxy: Proxy,
    operator: Option<Operator>,
}

impl Stage {
    pub async fn new(name: &str) -> Self {
        Self::within(Space::with_propagation(cluster(), name, Duration::from_secs(1)).await).await
    }

    /// In a namespace for an operator with a propagation of a second.
    pub async fn within(space: Space) -> Self {
        let administrator = space.client.clone();
        Self::as_user(space, administrator).await
    }

    /// With an operator that is this user.
    pub async fn as_user(space: Space, user: Client) -> Self {
        let proxy = Proxy::start(user, cluster().scratch()).await.unwrap();
        let mut stage = Self { space, proxy, operator: None };
        stage.start();
        stage
    }

    fn start(&mut self) {
        let args = ["--namespace", &self.space.name, "--leader-election", "false", "--mesh-propagation", "1s"];
        self.operator = Some(Operator::start(self.proxy.kubeconfig(), &args));
    }

    /// Kills the operator where the proxy has stopped it, and starts another one.
    pub fn restart(&mut self) {
        self.operator.take().unwrap().kill();
        self.proxy.go_on();
        self.start();
    }

    /// Kills the operator, and starts another one that is told what the proxy remembers of these resources, and nothing since.
    pub async fn travels(&mut self, resources: &[String]) {
        let (answers, of) = (vec![Fault::Stale], resources.to_vec());
        self.proxy.goes_wrong(Faults { requests: 1.0, answers, of, ..Faults::default() });
        self.proxy.holds(&resources.iter().map(String::as_str).collect::<Vec<_>>());
        self.restart();
        self.is_served().await;
    }

    /// Waits until the operator has listed everything.
    pub async fn is_served(&self) {
        self.operator.as_ref().unwrap().becomes_ready().await;
    }

    /// Waits until something was asked, not counting what is in the journal up to an entry.
    pub async fn asks(&self, after: usize, what: impl Fn(&Asked) -> bool) {
        let asked = || self.proxy.journal().iter().skip(after).any(|entry| what(&entry.asked));
        let found = eventually(|| async { asked().then_some(()) }).await;
        assert!(found.is_some(), "it was never asked; the operator said:\n{}", self.log());
    }

    /// The operator's log so far.
    pub fn log(&self) -> String {
        self.operator.as_ref().map(Operator::text).unwrap_or_default()
    }

    /// What there is now.
    pub async fn outcome(&self) -> Outcome {
        Outcome { end: self.end().await, counts: creates_and_deletes(&self.proxy.journal()) }
    }

    async fn end(&self) -> End {
        // Commands name the namespace.
        let anywhere = |text: &str| text.replace(&self.space.name, "shop");
        let told = |found: Microservice| {
            let name = found.name_any();
            let status = found.status.unwrap_or_default();
            let conditions =
                status.conditions.iter().map(|it| json!([it.type_, it.status, it.reason, anywhere(&it.message)]));
            let message = status.message.as_deref().map(anywhere);
            let traffic = status.traffic.iter().map(|it| json!([it.version, it.requested, it.effective]));
            let rollout = status.rollout.as_ref().map(|it| json!([it.state, it.progress, it.stable]));
            json!({
                "name": name, "phase": status.phase, "message": message, "weights": status.weights,
                "conditions": conditions.collect::<Vec<_>>(), "accepted": status.accepted_revision,
                "traffic": traffic.collect::<Vec<_>>(), "rollout": rollout,
            })
        };
        let all = self.space.microservices().list(&ListParams::default()).await.unwrap();
        let status = all.items.into_iter().map(told).collect();
        let deployments = self.space.children(Kind::Deployment).list(&ListParams::default()).await.unwrap();
        let revision = |it: &DynamicObject| Some((it.name_any(), it.annotations().get(REVISION)?.clone()));
        let templates = deployments.items.iter().filter_map(revision).collect();
        End { objects: self.space.snapshot().await, templates, status }
    }

    /// Runs the chapters before one of them without any fault; answers what that one comes to in a clean run.
    pub async fn is_before(&self, chapter: Chapter) -> &'static Outcome {
        for clean in clean().await {
            if clean.chapter == chapter {
                return &clean.outcome;
            }
            story::begin(&self.space, clean.chapter).await;
            story::end(&self.space, clean.chapter).await;
            self.comes_to(&clean.outcome, "before anything goes wrong").await;
        }
        panic!("{chapter:?} is no chapter")
    }

    /// Waits until all is as in a clean run.
    pub async fn comes_to(&self, clean: &Outcome, about: &str) {
        becomes(|| self.outcome(), clean, about).await;
    }

    /// Waits until the children are what they were.
    pub async fn puts_back(&self, children: &BTreeMap<String, Value>, about: &str) {
        becomes(|| self.space.snapshot(), children, about).await;
    }

    /// Waits until nothing was written for a while.
    pub async fn settles(&self) {
        rests(|| self.proxy.writes(), REST, "a clean run").await;
    }

    /// Waits until nothing was written for a time: what is under way may still have to be given up, and written again.
    pub async fn is_silent(&self, about: &str) {
        rests(|| self.proxy.writes(), SILENCE, about).await;
    }

    /// Waits until all is as in a clean run and nothing is written any more, and it has stayed so.
    pub async fn rests_at(&self, clean: &Outcome, about: &str) {
        self.rests(|| self.outcome(), clean, about).await;
    }

    /// As [`Self::rests_at`], whatever was made and deleted on the way.
    pub async fn rests_like(&self, clean: &End, about: &str) {
        self.rests(|| self.end(), clean, about).await;
    }

    async fn rests<T: PartialEq + Debug, F: Future<Output = T>>(&self, now: impl Fn() -> F, clean: &T, about: &str) {
        becomes(&now, clean, about).await;
        self.is_silent(about).await;
        let now = now().await;
        assert!(now == *clean, "{about}: it did not stay so, and came to\n{now:#?}\ninstead of\n{clean:#?}");
    }
}

/// Waits until something is as it is to be.
async fn becomes<T: PartialEq + Debug, F: Future<Output = T>>(now: impl Fn() -> F, wanted: &T, about: &str) {
    let same = eventually(|| async { (now().await == *wanted).then_some(()) }).await;
    assert!(same.is_some(), "{about}: it came to\n{:#?}\ninstead of\n{wanted:#?}", now().await);
}

/// Waits until what is counted has not changed for a time.
pub async fn rests(count: impl Fn() -> usize, time: Duration, about: &str) {
    let last = Cell::new((count(), Instant::now()));
    let rests = eventually(|| async {
        if last.get().0 != count() {
            last.set((count(), Instant::now()));
        }
        (last.get().1.elapsed() >= time).then_some(())
    });
    assert!(rests.await.is_some(), "{about} never comes to rest: {} writes by now", count());
}
