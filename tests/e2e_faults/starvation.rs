//! Campaign 4: a crowd takes what priority and fairness gives to the operator's user, so that most of its requests wait or are
//! sent away, for as long as a rollout is to happen. Whoever of the crowd has a seat keeps it, as a webhook that does not answer
//! has to agree to what is asked: so the seats are taken on a fast machine and on a slow one.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    refusals::{binding, put, remove, role, user},
    stage::Stage,
    story::{self, Chapter},
    support::{Space, cluster, eventually, run},
};

const FLOW: &str = "flowcontrol.apiserver.k8s.io/v1";
/// Requests that the crowd has under way at a time: many more than there are seats and places in the queue.
const CROWD: usize = 64;
/// How long the crowd stays once the operator was sent away.
const STARVED: Duration = Duration::from_secs(30);

/// What the user gets: a seat or a few, and one place to wait.
fn level(space: &Space) -> [Value; 2] {
    let name = &space.name;
    let queuing = json!({"queues": 1, "handSize": 1, "queueLengthLimit": 1});
    [
        json!({"apiVersion": FLOW, "kind": "PriorityLevelConfiguration", "metadata": {"name": name},
               "spec": {"type": "Limited", "limited": {
                   "nominalConcurrencyShares": 1, "lendablePercent": 0, "borrowingLimitPercent": 0,
                   "limitResponse": {"type": "Queue", "queuing": queuing}}}}),
        json!({"apiVersion": FLOW, "kind": "FlowSchema", "metadata": {"name": name},
               "spec": {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 100,
                        "rules": [{"subjects": [{"kind": "User", "user": {"name": user(space)}}],
                                   "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                                                      "namespaces": ["*"], "clusterScope": true}]}]}}),
    ]
}

/// Has to agree to each ConfigMap of the crowd; what is at the address may never answer.
fn webhook(space: &Space, address: SocketAddr) -> Value {
    let hook = json!({"name": "silent.devcluster.test", "clientConfig": {"url": format!("https://{address}/")},
                      "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                 "resources": ["configmaps"]}],
                      "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
                      "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                      "timeoutSeconds": 30});
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
           "metadata": {"name": space.name}, "webhooks": [hook]})
}

/// Asks without an end.
async fn crowd(space: &Space) -> JoinSet<()> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let wanted: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "crowd-"}})).unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let client = cluster().client_as(&user(space), &[]).await.unwrap();
        let api = kube::Api::<ConfigMap>::namespaced(client, &space.name);
        let (dry, wanted) = (dry.clone(), wanted.clone());
        crowd.spawn(async move {
            loop {
                let _refused_or_sent_away = api.create(&dry, &wanted).await;
            }
        });
    }
    crowd
}

/// Requests of the operator that were sent away.
fn sent_away(stage: &Stage) -> usize {
    stage.proxy.journal().iter().filter(|entry| entry.code == Some(429)).count()
}

#[test]
fn an_operator_that_is_starved_carries_on_when_it_is_let() {
    run(async {
        let space = Space::with_propagation(cluster(), "starved", Duration::from_secs(1)).await;
        put(&space.client, &role(&space, true)).await;
        put(&space.client, &binding(&space)).await;
        let user = cluster().client_as(&user(&space), &[]).await.unwrap();
        let stage = Stage::as_user(space, user).await;
        let outcome = stage.is_before(Chapter::Rollout).await;
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let [priority, flow] = level(&stage.space);
        let troubles = [priority, flow, webhook(&stage.space, silent.local_addr().unwrap())];
        for object in &troubles {
            put(&stage.space.client, object).await;
        }
        let crowd = crowd(&stage.space).await;
        story::begin(&stage.space, Chapter::Rollout).await;
        let suffers = || sent_away(&stage) > 0 || stage.log().contains("timed out");
        let away = eventually(|| async { suffers().then_some(()) }).await;
        away.expect("the operator has to wait, or is sent away");
        let ended = tokio::time::timeout(STARVED, story::end(&stage.space, Chapter::Rollout)).await.is_ok();
        drop(crowd);
        println!(
            "starved: {} requests sent away; the rollout {} meanwhile",
            sent_away(&stage),
            if ended { "ended" } else { "did not end" }
        );
        story::end(&stage.space, Chapter::Rollout).await;
        stage.rests_at(outcome, "starved").await;
        for object in troubles.iter().rev() {
            remove(&stage.space.client, object).await;
        }
    });
}
