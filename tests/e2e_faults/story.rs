//! The story that each run tells, chapter by chapter: from the creation of a service to its deletion.

use axum::http::Uri;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use microservice_operator::{
    api::{ActionResult, Microservice, MicroserviceAction, MicroserviceActionSpec, RolloutState, Verb},
    plan::object::Kind,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{
    Space, cluster, condition, current, eventually,
    outside::{HOOK, Outside, number, query_of},
};

/// A part of the story: what a person does, and when it has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chapter {
    /// Two versions come up.
    Create,
    /// Weights are edited, without a policy.
    Edit,
    /// A policy takes all weight to v2.
    Rollout,
    /// A person takes the weights back to those before it.
    Undo,
    /// v3 never comes up, and is rolled back.
    Rollback,
    /// v1 and v3 are taken out of the spec, and the policy: the operator deletes what it made for them.
    Leave,
    /// A second service, of an image that is set up by a ConfigMap, comes up.
    Image,
    /// Its next image walks the steps, within a limit of pods; the revision before it goes.
    Revise,
    /// The image after it is let through to its second weight, by a webhook and an analysis, and fails there by another one.
    Judge,
    /// Both services are deleted.
    Delete,
}

impl Chapter {
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::Edit,
        Self::Rollout,
        Self::Undo,
        Self::Rollback,
        Self::Leave,
        Self::Image,
        Self::Revise,
        Self::Judge,
        Self::Delete,
    ];
}

const POLICY: &str = "progressDeadline: 30s, steps: [{weight: 20}, {pause: {duration: 1s}}, {weight: 60}]";

/// A service with these versions.
fn service(versions: &str, policy: &str) -> String {
    let rollout = if policy.is_empty() { String::new() } else { format!(", rollout: {{{policy}}}") };
    format!("{{ports: [{{name: http, port: 80}}], replicas: 2, drain: 1s, versions: [{versions}]{rollout}}}")
}

fn version(number: i32, weight: i32) -> String {
    format!("{{name: v{number}, image: 'registry.example/a:{number}', weight: {weight}}}")
}

fn two(v1: i32, v2: i32, policy: &str) -> String {
    service(&[version(1, v1), version(2, v2)].join(", "), policy)
}

fn broken() -> String {
    let v3 = format!(
        "{{name: v3, image: 'registry.example/a:3', weight: 100, podAnnotations: {{'{}': crash-loop}}}}",
        devcluster::BEHAVIOR
    );
    service(&[version(1, 0), version(2, 0), v3].join(", "), POLICY)
}

fn image(number: i32, policy: &str) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: 3, drain: 1s, image: 'registry.example/b:{number}', \
         envFrom: [{{configMapRef: {{name: settings}}}}], rollout: {{maxSurge: 1, {policy}}}}}"
    )
}

/// What the story asks outside has the same name in each run, as clean ones are compared with the others.
const OUTSIDE: &str = "story";

/// A webhook and what passes lead to the second weight, and what fails back from it.
fn judged() -> String {
    let step = |query: &str| {
        let metrics = format!("[{{name: measured, query: {query}, min: 1}}]");
        format!("{{analysis: {{provider: {OUTSIDE}, interval: 1s, count: 1, metrics: {metrics}}}}}")
    };
    format!(
        "webhooks: [{{webhook: {OUTSIDE}, at: [BeforeTraffic]}}], steps: [{{weight: 20}}, {}, {{weight: 60}}, {}]",
        step("passes"),
        step("fails")
    )
}

/// Webhooks agree, and what passes can be told from what fails; for all runs.
async fn outside() {
    static OUTSIDE_OF_ALL: OnceCell<Outside> = OnceCell::const_new();
    let answer = |uri: &Uri, body: &str| match uri.path() {
        HOOK => Value::Null,
        _ => number(if query_of(body) == "passes" { 1.0 } else { 0.0 }),
    };
    OUTSIDE_OF_ALL.get_or_init(|| Outside::for_all(OUTSIDE, cluster().client(), answer)).await;
}

/// Does what the chapter begins with.
pub async fn begin(space: &Space, chapter: Chapter) {
    match chapter {
        Chapter::Create => drop(space.apply("a", &two(90, 10, "")).await),
        Chapter::Edit => drop(space.apply("a", &two(60, 40, "")).await),
        Chapter::Rollout => drop(space.apply("a", &two(0, 100, POLICY)).await),
        Chapter::Rollback => drop(space.apply("a", &broken()).await),
        Chapter::Undo => order(space, Verb::Undo, "undo").await,
        Chapter::Leave => drop(space.apply("a", &service(&version(2, 100), "")).await),
        Chapter::Image => {
            let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
                                  "data": {"LEVEL": "info"}});
            space.put(&settings).await;
            space.apply("b", &image(1, POLICY)).await;
        }
        Chapter::Revise => drop(space.apply("b", &image(2, POLICY)).await),
        Chapter::Judge => {
            outside().await;
            space.apply("b", &image(3, &judged())).await;
        }
        Chapter::Delete => {
            for name in ["a", "b"] {
                space.microservices().delete(name, &DeleteParams::background()).await.unwrap();
            }
        }
    }
}

/// Takes v1, which gets no requests any more, out of the spec of the rollout.
pub async fn takes_v1_out(space: &Space) {
    space.apply("a", &service(&version(2, 100), POLICY)).await;
}

/// Gives an order, named after what it asks for.
async fn order(space: &Space, verb: Verb, name: &str) {
    let seen = space.microservices().get("a").await.unwrap();
    let spec = MicroserviceActionSpec {
        microservice: seen.name_any(),
        verb,
        uid: seen.uid(),
        target: None,
        step: None,
        revision: None,
        expires: None,
        actor: Some("mia".into()),
    };
    let action = MicroserviceAction::new(name, spec);
    space.api::<MicroserviceAction>().create(&PostParams::default(), &action).await.unwrap();
}

/// Waits until the rollout is over; one that was rolled back is tried again.
pub async fn retries(space: &Space) {
    let state = |it: &Microservice| Some(it.status.as_ref()?.rollout.as_ref()?.state);
    let over = |it: &Microservice| {
        current(it) && [Some(RolloutState::Completed), Some(RolloutState::Aborted)].contains(&state(it))
    };
    let ended = space.until("a", "the end of the rollout", over).await;
    if state(&ended) == Some(RolloutState::Aborted) {
        order(space, Verb::Retry, "retry").await;
    }
}

/// Waits until the rollout is on its way.
pub async fn walks(space: &Space) {
    let walks = |it: &Microservice| it.status.as_ref().is_some_and(|it| it.weights.as_deref() != Some("v1=60 v2=40"));
    space.until("a", "the first step", walks).await;
}

/// Waits for the end of the chapter.
pub async fn end(space: &Space, chapter: Chapter) {
    let at = |weights: &'static str, state: Option<RolloutState>| {
        move |it: &Microservice| {
            let Some(status) = &it.status else { return false };
            let rollout = status.rollout.as_ref().map(|rollout| rollout.state);
            current(it) && status.weights.as_deref() == Some(weights) && (state.is_none() || rollout == state)
        }
    };
    let what = format!("the end of {chapter:?}");
    match chapter {
        Chapter::Create => drop(space.until("a", &what, ready(at("v1=90 v2=10", None))).await),
        Chapter::Edit => drop(space.until("a", &what, ready(at("v1=60 v2=40", None))).await),
        Chapter::Rollout => {
            drop(space.until("a", &what, ready(at("v1=0 v2=100", Some(RolloutState::Completed)))).await)
        }
        Chapter::Rollback => {
            drop(space.until("a", &what, at("v1=60 v2=40 v3=0", Some(RolloutState::Aborted))).await);
        }
        Chapter::Undo => {
            let api = space.api::<MicroserviceAction>();
            let answered = eventually(|| async { api.get("undo").await.ok()?.status }).await.expect("an answer");
            assert_eq!(answered.result, ActionResult::Done, "{:?}", answered.message);
            space.until("a", &what, at("v1=60 v2=40", Some(RolloutState::Aborted))).await;
        }
        Chapter::Leave => {
            space.until("a", &what, ready(at("v2=100", None))).await;
            space.gone(Kind::Deployment, "a-v1").await;
            space.gone(Kind::Deployment, "a-v3").await;
        }
        Chapter::Image => drop(space.until("b", &what, ready(current)).await),
        Chapter::Revise => {
            let alone = |it: &Microservice| current(it) && it.status.as_ref().is_some_and(|it| it.traffic.len() == 1);
            space.until("b", &what, ready(alone)).await;
        }
        Chapter::Judge => {
            let judged = |it: &Microservice| {
                let rollout = it.status.as_ref().and_then(|status| status.rollout.as_ref());
                let (state, why) =
                    rollout.map(|it| (it.state, it.message.clone().unwrap_or_default())).unwrap_or_default();
                current(it) && state == RolloutState::Aborted && why.contains("fails its analysis: measured 0 < 1")
            };
            space.until("b", &what, judged).await;
        }
        Chapter::Delete => {
            let all = || async { space.microservices().list(&ListParams::default()).await.ok() };
            let gone = eventually(|| async { all().await?.items.is_empty().then_some(()) });
            gone.await.expect("the Microservices go");
        }
    }
}

fn ready(and: impl Fn(&Microservice) -> bool) -> impl Fn(&Microservice) -> bool {
    move |it| condition(it, "Ready") == "True" && and(it)
}
