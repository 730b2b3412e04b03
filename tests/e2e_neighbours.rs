//! A thousand broken Microservices of one tenant: what they cost the API server is bounded, and another tenant's edits are
//! served while they are made and beside them, each once. How fast is printed and not judged: machines differ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use devcluster::{AuditEvent, AuditMark};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use microservice_operator::{api::Microservice, plan::object::Kind};
use serde_json::{Value, json};
use support::{Operator, Space, cluster, current, eventually, run};

/// Specs that the operator refuses.
const INVALID: usize = 900;
/// Services whose Deployment the API server refuses.
const REFUSED: usize = 80;
/// Services whose pods never get ready.
const HANGING: usize = 20;
const ABREAST: usize = 32;
/// Edits of the neighbour before and after.
const EDITS: usize = 7;
/// The longest wait between two tries, less its jitter, in seconds.
const SLOWEST: i64 = 45;
/// Tries until the waits are that long, and those that a change brings about: each child and status that is written is one.
const FIRST_TRIES: i64 = 16;

fn microservice(name: &str, more: &Value) -> Microservice {
    let mut spec =
        json!({"ports": [{"name": "http", "port": 80}], "versions": [{"name": "v1", "image": "registry.example/a:1"}]});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    serde_json::from_value(json!({"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
                                  "metadata": {"name": name}, "spec": spec}))
    .unwrap()
}

/// Creates all the broken ones, and waits until the operator has looked at each. No more Deployments are allowed than those of
/// the hanging ones, which come first.
async fn broken(space: &Space) {
    create(space, "hanging", HANGING, &json!({"podAnnotations": {devcluster::BEHAVIOR: "never-ready"}})).await;
    let allowed = json!({"count/deployments.apps": HANGING.to_string()});
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": allowed}});
    space.put(&quota).await;
    let api = space.api::<ResourceQuota>();
    let counted = eventually(|| async {
        let used = api.get("few").await.ok()?.status?.used?;
        (used.values().next()?.0 == HANGING.to_string()).then_some(())
    });
    counted.await.expect("the quota is used up");
    create(space, "refused", REFUSED, &json!({})).await;
    create(space, "invalid", INVALID, &json!({"nodeSelector": {"disk": "-"}})).await;
}

async fn create(space: &Space, kind: &str, count: usize, more: &Value) {
    let all = (0..count).map(|index| microservice(&format!("{kind}-{index}"), more));
    let api = space.microservices();
    let created = stream::iter(all).map(|it| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &it).await }
    });
    let created: Vec<_> = created.buffer_unordered(ABREAST).collect().await;
    assert!(created.iter().all(Result::is_ok));
    // As long as it takes, while it goes on.
    let mut ahead = usize::MAX;
    while ahead > 0 {
        let fewer = eventually(|| async {
            let list = api.list(&ListParams::default()).await.ok()?;
            let now = list.iter().filter(|it| !current(it)).count();
            (now < ahead).then_some(now)
        });
        ahead = fewer.await.unwrap_or_else(|| panic!("{ahead} are never looked at"));
    }
}

/// How long an edit took, in milliseconds.
struct Took {
    /// To reach the child.
    whole: u128,
    /// Of that, to be taken by the API server, before the operator hears of it.
    before: u128,
}

/// A part of the time, in words, and how it is told from the whole.
type Part = (&'static str, fn(&Took) -> u128);

/// Edits the neighbour.
async fn edit(space: &Space, note: &str) -> Took {
    let patch = json!({"spec": {"podAnnotations": {"example.com/note": note}}});
    let began = Instant::now();
    space.microservices().patch("b", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let before = began.elapsed().as_millis();
    let children = space.children(Kind::Deployment);
    loop {
        let live = serde_json::to_value(children.get("b-v1").await.unwrap()).unwrap();
        if live.pointer("/spec/template/metadata/annotations/example.com~1note") == Some(&note.into()) {
            break;
        }
        assert!(began.elapsed() < support::PATIENCE, "the edit never reached the child");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let whole = began.elapsed().as_millis();
    space.ready("b").await;
    Took { whole, before }
}

/// What a few edits took, one after the other.
async fn edits(space: &Space, mark: &str) -> Vec<Took> {
    let mut took = Vec::new();
    for nth in 0..EDITS {
        took.push(edit(space, &format!("{mark}-{nth}")).await);
    }
    took
}

/// What the edits took that were made while something else is.
async fn edits_during(space: &Space, work: impl Future<Output = ()>) -> Vec<Took> {
    let ended = Cell::new(false);
    let work = async {
        work.await;
        ended.set(true);
    };
    let edits = async {
        let mut took = Vec::new();
        while !ended.get() {
            let note = format!("during-{}", took.len());
            took.push(edit(space, &note).await);
        }
        took
    };
    futures::future::join(work, edits).await.1
}

fn median(took: &[Took], of: impl Fn(&Took) -> u128) -> u128 {
    let mut took: Vec<u128> = took.iter().map(of).collect();
    took.sort_unstable();
    took[took.len() / 2]
}

/// The operator's requests about a namespace, counted by what they are about.
fn counted(events: &[AuditEvent], matters: impl Fn(&AuditEvent) -> bool) -> BTreeMap<String, Vec<&AuditEvent>> {
    let mut counts = BTreeMap::<String, Vec<&AuditEvent>>::new();
    for event in events.iter().filter(|event| matters(event)) {
        counts.entry(event.name.clone()).or_default().push(event);
    }
    counts
}

#[test]
fn a_thousand_broken_services_cost_little_and_others_are_served() {
    run(async {
        let (a, b) = (Space::unwatched(cluster(), "broken").await, Space::unwatched(cluster(), "well").await);
        let _operator = Operator::start(cluster().kubeconfig_path(), &["--leader-election", "false"]);
        b.microservices().create(&PostParams::default(), &microservice("b", &json!({}))).await.unwrap();
        b.ready("b").await;
        let alone = edits(&b, "alone").await;
        let during = edits_during(&b, broken(&a)).await;
        let beside = edits(&b, "beside").await;
        let broken = INVALID + REFUSED + HANGING;
        let parts: [Part; 3] = [
            ("reach their child", |it| it.whole),
            ("are taken by the API server", |it| it.before),
            ("reach their child after that", |it| it.whole - it.before),
        ];
        for (what, part) in parts {
            let at_rest = median(&alone, part);
            println!("half of the edits {what} within {at_rest} ms alone");
            for (when, took) in [("while they are made and first looked at", &during), ("beside them", &beside)] {
                let (half, times) = (median(took, part), median(took, part) as f64 / at_rest.max(1) as f64);
                println!(
                    "{broken} broken services: within {half} ms {when}, {times:.2} times that, of {} edits",
                    took.len()
                );
            }
        }
        assert!(during.len() > 2, "{} edits were served before all broken ones were looked at", during.len());

        cluster().settled_mark().await.unwrap();
        let ours = |namespace: &str| {
            let of = |it: &AuditEvent| it.user_agent.starts_with("microservice-operator/") && it.namespace == namespace;
            cluster().audit().unwrap().since(AuditMark::START, of).unwrap()
        };
        let written = |it: &&AuditEvent| it.resource == "deployments" && it.is_write() && it.code < 300;
        let written = ours(&b.name).iter().filter(written).count();
        let made = alone.len() + during.len() + beside.len() + 1;
        assert_eq!(
            written, made,
            "the neighbour's Deployment is made, and written once an edit, whatever is beside it"
        );
        let events = ours(&a.name);
        let of = |kind: &str| {
            let prefix = format!("{kind}-");
            move |event: &AuditEvent| event.name.starts_with(&prefix) && event.is_write() && event.resource != "events"
        };
        let invalid = counted(&events, of("invalid"));
        let once = invalid.values().filter(|writes| writes.len() == 1 && writes[0].subresource == "status").count();
        assert_eq!((invalid.len(), once), (INVALID, INVALID), "an invalid spec costs one status, and no child");
        let tries = counted(&events, |event| event.resource == "deployments" && event.name.starts_with("refused-"));
        assert_eq!(tries.len(), REFUSED, "each is tried");
        for (name, tries) in tries {
            let lasted = tries[tries.len() - 1].time.duration_since(tries[0].time).as_secs();
            let most = FIRST_TRIES + lasted / SLOWEST;
            assert!(i64::try_from(tries.len()).unwrap() <= most, "{name}: {} tries in {lasted} s", tries.len());
        }
        let hanging = counted(&events, |event| event.resource == "deployments" && event.name.starts_with("hanging-"));
        let once = hanging.values().filter(|writes| writes.len() == 1).count();
        assert_eq!(
            (hanging.len(), once),
            (HANGING, HANGING),
            "pods that never get ready cost no further write of their child"
        );
    });
}
