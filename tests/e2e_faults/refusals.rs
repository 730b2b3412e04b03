//! Campaign 4: the cluster refuses what the operator has to write, for a while. What is wrong is told in the status, or in the
//! log where the status is refused, too; and when it is over, all ends as in a clean run.

use std::time::Duration;

use devcluster::faults::{Fault, Faults};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, TypeMeta},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::{Space, cluster, eventually, message, run},
};

/// What is refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The namespace may have none of these.
    Quota(&'static str),
    /// A webhook that nobody answers has to agree to routes.
    DeadValidation,
    /// A webhook that nobody answers has to complete Deployments.
    DeadMutation,
    /// The right to write routes is taken away.
    RoutesRevoked,
    /// All rights are taken away.
    AllRevoked,
}

/// Each trouble, with a chapter in which it matters.
const CASES: [(Trouble, Chapter); 7] = [
    (Trouble::Quota("count/deployments.apps"), Chapter::Create),
    (Trouble::RoutesRevoked, Chapter::Rollout),
    (Trouble::Quota("pods"), Chapter::Create),
    (Trouble::DeadValidation, Chapter::Rollout),
    (Trouble::AllRevoked, Chapter::Rollout),
    (Trouble::Quota("services"), Chapter::Create),
    (Trouble::DeadMutation, Chapter::Create),
];

const RBAC: &str = "rbac.authorization.k8s.io";

/// The operator's rights: all within the namespace, or all but to write routes.
pub fn role(space: &Space, routes: bool) -> Value {
    let others = ["", "apps", "policy", "microservice-operator.dev", "events.k8s.io", "coordination.k8s.io"];
    let verbs: &[&str] = if routes { &["*"] } else { &["get", "list", "watch"] };
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role",
           "metadata": {"name": "operator", "namespace": space.name},
           "rules": [{"apiGroups": others, "resources": ["*"], "verbs": ["*"]},
                     {"apiGroups": ["networking.istio.io"], "resources": ["*"], "verbs": verbs}]})
}

pub fn binding(space: &Space) -> Value {
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
           "metadata": {"name": "operator", "namespace": space.name},
           "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "operator"},
           "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user(space)}]})
}

pub fn user(space: &Space) -> String {
    format!("operator-of-{}", space.name)
}

fn webhook(space: &Space, kind: &str, group: &str, resource: &str) -> Value {
    // Nothing listens at this port.
    let hook = json!({"name": "dead.devcluster.test", "clientConfig": {"url": "https://127.0.0.1:1/"},
                      "rules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                                 "resources": [resource]}],
                      "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
                      "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                      "timeoutSeconds": 1});
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": space.name},
           "webhooks": [hook]})
}

impl Trouble {
    /// The objects that make the trouble.
    fn objects(self, space: &Space) -> Vec<Value> {
        match self {
            Self::Quota(what) => {
                let mut hard = serde_json::Map::new();
                hard.insert(what.to_owned(), json!("0"));
                vec![json!({"apiVersion": "v1", "kind": "ResourceQuota",
                            "metadata": {"name": "nothing", "namespace": space.name}, "spec": {"hard": hard}})]
            }
            Self::DeadValidation => {
                vec![webhook(space, "ValidatingWebhookConfiguration", "networking.istio.io", "virtualservices")]
            }
            Self::DeadMutation => vec![webhook(space, "MutatingWebhookConfiguration", "apps", "deployments")],
            Self::RoutesRevoked => vec![role(space, false)],
            Self::AllRevoked => Vec::new(),
        }
    }

    async fn begins(self, space: &Space) {
        for object in self.objects(space) {
            put(&space.client, &object).await;
        }
        match self {
            Self::AllRevoked => remove(&space.client, &binding(space)).await,
            Self::Quota(_) => {
                let counted =
                    || async { get(&space.client, &self.objects(space)[0]).await["status"]["hard"].is_object() };
                eventually(|| async { counted().await.then_some(()) }).await.expect("the quota is counted");
            }
            _ => {}
        }
    }

    async fn ends(self, space: &Space) {
        match self {
            Self::RoutesRevoked | Self::AllRevoked => {
                put(&space.client, &role(space, true)).await;
                put(&space.client, &binding(space)).await;
            }
            _ => {
                for object in self.objects(space).iter().rev() {
                    remove(&space.client, object).await;
                }
            }
        }
    }

    /// What the status says of it; or the log, where the status cannot be written.
    fn told(self) -> (&'static str, bool) {
        match self {
            Self::Quota(_) => ("exceeded quota", true),
            Self::DeadValidation | Self::DeadMutation => ("failed calling webhook", true),
            Self::RoutesRevoked => ("cannot patch resource", true),
            Self::AllRevoked => ("is forbidden", false),
        }
    }
}

fn api(client: &Client, object: &Value) -> (Api<DynamicObject>, String) {
    let kind: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&kind).unwrap());
    let api = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    (api, object["metadata"]["name"].as_str().unwrap().to_owned())
}

pub async fn put(client: &Client, object: &Value) {
    let (api, name) = api(client, object);
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
}

async fn get(client: &Client, object: &Value) -> Value {
    let (api, name) = api(client, object);
    serde_json::to_value(api.get(&name).await.unwrap()).unwrap()
}

pub async fn remove(client: &Client, object: &Value) {
    let (api, name) = api(client, object);
    api.delete(&name, &DeleteParams::default()).await.unwrap();
}

async fn refused((trouble, chapter): (Trouble, Chapter)) {
    let space = Space::with_propagation(cluster(), "refused", Duration::from_secs(1)).await;
    put(&space.client, &role(&space, true)).await;
    put(&space.client, &binding(&space)).await;
    let user = cluster().client_as(&user(&space), &[]).await.unwrap();
    let stage = Stage::as_user(space, user).await;
    let outcome = stage.is_before(chapter).await;
    if chapter == Chapter::Create {
        trouble.begins(&stage.space).await;
        story::begin(&stage.space, chapter).await;
    } else {
        // The rollout is begun, and comes no further until there is the trouble.
        let (of, before) = (vec!["virtualservices".to_owned()], stage.proxy.journal().len());
        stage.proxy.goes_wrong(Faults { requests: 1.0, answers: vec![Fault::InternalError], of, ..Faults::default() });
        story::begin(&stage.space, chapter).await;
        stage.asks(before, |it| it.writes() && it.resource == "virtualservices").await;
        trouble.begins(&stage.space).await;
        stage.proxy.goes_wrong(Faults::default());
    }
    let (text, by_status) = trouble.told();
    if by_status {
        stage.space.until("a", text, |it| message(it).contains(text)).await;
    } else {
        let says = eventually(|| async { stage.log().contains(text).then_some(()) }).await;
        assert!(says.is_some(), "{trouble:?}: the operator never said {text:?}; it said:\n{}", stage.log());
    }
    trouble.ends(&stage.space).await;
    story::end(&stage.space, chapter).await;
    let about = format!("{trouble:?} in {chapter:?}");
    stage.rests_at(outcome, &about).await;
}

#[test]
fn what_the_cluster_refuses_is_told_and_done_once_it_may_be() {
    run(async {
        campaign::run("4, refusals", campaign::part(CASES.to_vec(), 3), refused).await;
    });
}
