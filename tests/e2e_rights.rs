//! Least privilege: over the whole life of a service, every right that the chart grants is used, and none is missing; for the
//! whole cluster, and in one namespace by Roles alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeSet, path::PathBuf};

use axum::{Router, http::HeaderMap, routing::post};
use k8s_openapi::{
    api::core::v1::ServiceAccount,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use microservice_operator::{
    api::{ActionResult, Microservice, MicroserviceAction, RolloutWebhook},
    plan::object::Kind,
};
use serde_json::{Value, json};
use support::{
    Operator, Space, cluster, eventually, helm, kubectl,
    rights::{Right, by_admission, granted_by, may_own, used_by},
    run,
};

const NAME: &str = "microservice-operator";
const USER: &str = "system:serviceaccount:ops:microservice-operator";

fn granted() -> BTreeSet<Right> {
    let selector = format!(
        "--selector=app.kubernetes.io/name={NAME},!rbac.authorization.k8s.io/aggregate-to-view,!rbac.authorization.k8s.io/aggregate-to-edit"
    );
    let mut rights = BTreeSet::new();
    for kind in [&["clusterroles"][..], &["roles", "--all-namespaces"]] {
        let roles: Value =
            serde_json::from_str(&kubectl(cluster(), &[&["get"], kind, &[&selector, "--output=json"]].concat()))
                .unwrap();
        rights.extend(roles["items"].as_array().unwrap().iter().flat_map(granted_by));
    }
    assert!(rights.len() > 20, "{rights:?}");
    rights
}

const TWO: &str = "{replicas: 2, ports: [{name: http, port: 80}], drain: 1s, versions: [\
    {name: v1, image: 'registry.example/a:1', weight: 90}, {name: v2, image: 'registry.example/a:2', weight: 10}]}";

const IMAGE: &str = "{image: 'registry.example/b:1', envFrom: [{configMapRef: {name: settings}}]}";

/// Where the operator is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Cluster,
    Namespace,
}

/// Asks more of a service's rollout than is kept, until all is answered and the oldest are cleared.
async fn many_actions(space: &Space, reach: Reach) {
    let api = space.api::<MicroserviceAction>();
    let create = async |index: usize, actor: &str| {
        let spec = json!({"microservice": "a", "verb": "Promote", "actor": actor});
        let action = json!({"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "MicroserviceAction",
                            "metadata": {"name": format!("a-{index:02}")}, "spec": spec});
        api.create(&PostParams::default(), &serde_json::from_value(action).unwrap()).await
    };
    // Policies belong to the cluster.
    if reach == Reach::Cluster {
        let refused = create(0, "somebody-else").await.unwrap_err().to_string();
        assert!(refused.contains("spec.actor must be the user who creates the action: admin"), "{refused}");
    }
    for index in 0..22 {
        create(index, "admin").await.unwrap();
        let name = format!("a-{index:02}");
        let answered = eventually(|| async { api.get(&name).await.ok()?.status }).await;
        assert_eq!(answered.expect("an answer").result, ActionResult::Refused);
    }
    let cleared = eventually(|| async { (api.list(&Default::default()).await.ok()?.items.len() <= 20).then_some(()) });
    cleared.await.expect("old actions are cleared");
}

/// A rollout that asks a webhook, whose calls are signed with a Secret of the operator's namespace.
async fn a_webhook(space: &Space) {
    let signed = |headers: HeaderMap| async move {
        let signature = headers.get("x-microservice-signature").map(|it| it.to_str().unwrap().to_owned());
        assert!(signature.is_some_and(|it| it.contains(",v1=")), "the call is signed");
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(signed))).await });
    let secret = "--from-literal=signing-key=secret";
    kubectl(cluster(), &["create", "secret", "generic", "webhooks", secret, "--namespace=ops"]);
    let spec = json!({"url": url, "allowHttp": true, "signingSecret": {"name": "webhooks", "key": "signing-key"},
                      "namespaces": [space.name]});
    let webhook = json!({"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "RolloutWebhook",
                         "metadata": {"name": space.name}, "spec": spec});
    let api: Api<RolloutWebhook> = Api::all(space.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(webhook).unwrap()).await.unwrap();
    let asking = |v1: i32, v2: i32| {
        let rollout = format!(
            "{{rollout: {{steps: [{{weight: 50}}], webhooks: [{{webhook: {}, at: [BeforeTraffic]}}]}}, ",
            space.name
        );
        let weights =
            TWO.replace("weight: 10", &format!("weight: {v2}")).replace("weight: 90", &format!("weight: {v1}"));
        weights.replacen('{', &rollout, 1)
    };
    space.apply("c", &asking(100, 0)).await;
    space.ready("c").await;
    space.apply("c", &asking(0, 100)).await;
    space.weights("c", "v1=0 v2=100").await;
    api.delete(&space.name, &DeleteParams::default()).await.unwrap();
    server.abort();
}

/// Everything that can happen to a service, so that each kind of child is made, changed and deleted.
async fn a_whole_life(space: &Space, reach: Reach) {
    space.put(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}})).await;
    space.apply("b", IMAGE).await;
    space.apply("a", TWO).await;
    space.ready("a").await;
    space.ready("b").await;
    many_actions(space, reach).await;
    if reach == Reach::Cluster {
        a_webhook(space).await;
    }
    let drift = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}});
    for kind in Kind::ALL {
        for name in space.snapshot().await.into_keys() {
            let Some(name) = name.strip_prefix(&format!("{kind:?}/")) else { continue };
            let params = PatchParams { field_manager: Some("meddler".into()), ..PatchParams::default() };
            space.children(kind).patch(name, &params, &Patch::Merge(&drift)).await.unwrap();
            let ours = |it: &Value| it["metadata"]["labels"]["app.kubernetes.io/managed-by"] == NAME;
            space.child_until(kind, name, "put back", ours).await;
        }
    }
    let copy = space.snapshot().await.into_keys().find_map(|name| Some(name.strip_prefix("ConfigMap/")?.to_owned()));
    let without = IMAGE.replace("{image", "{configRevisions: false, revisionHistoryLimit: 0, drain: 1s, image");
    space.apply("b", &without).await;
    space.gone(Kind::ConfigMap, &copy.expect("a copy")).await;
    for (v1, v2) in [(0, 100), (90, 10), (0, 100)] {
        let weights =
            TWO.replace("weight: 10", &format!("weight: {v2}")).replace("weight: 90", &format!("weight: {v1}"));
        space.apply("a", &weights).await;
        space.weights("a", &format!("v1={v1} v2={v2}")).await;
    }
    let one = "{replicas: 2, ports: [{name: http, port: 80}], traffic: {provider: None}, serviceAccountName: default, \
               drain: 1s, versions: [{name: v2, image: 'registry.example/a:2'}]}";
    space.apply("a", one).await;
    for (kind, name) in [
        (Kind::Deployment, "a-v1"),
        (Kind::PodDisruptionBudget, "a-v1"),
        (Kind::ServiceAccount, "a"),
        (Kind::VirtualService, "a"),
        (Kind::DestinationRule, "a"),
    ] {
        space.gone(kind, name).await;
    }
    space.apply("a", "{serviceAccountName: default, versions: [{name: v2, image: 'registry.example/a:2'}]}").await;
    space.gone(Kind::Service, "a").await;
    space.ready("a").await;
}

/// The one right that no request tells of: to own a child by a service, as the operator's children are.
async fn owning_needs_a_right(space: &Space) {
    let service = space.api::<Microservice>().get("a").await.unwrap();
    let owner =
        service.controller_owner_ref(&()).map(|owner| OwnerReference { block_owner_deletion: Some(true), ..owner });
    let metadata = ObjectMeta {
        name: Some("child".into()),
        owner_references: Some(vec![owner.unwrap()]),
        ..ObjectMeta::default()
    };
    let (child, params) = (ServiceAccount { metadata, ..ServiceAccount::default() }, PostParams::default());
    let maker = cluster().client_as("maker", &[]).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(maker, &space.name);
    let make = || accounts.create(&params, &child);
    let namespace = format!("--namespace={}", space.name);
    let may = |verb: &str, resource: &str| {
        let [asked, to, role] = [format!("--verb={verb}"), format!("--resource={resource}"), format!("--role={verb}")];
        kubectl(cluster(), &["create", "role", verb, &asked, &to, &namespace]);
        kubectl(cluster(), &["create", "rolebinding", verb, &role, "--user=maker", &namespace]);
    };
    may("create", "serviceaccounts");
    let refused =
        || async { make().await.unwrap_err().to_string().contains("cannot set blockOwnerDeletion").then_some(()) };
    eventually(refused).await.expect("that is what is refused, once the right to make accounts is known");
    may("update", "microservices.microservice-operator.dev/finalizers");
    eventually(|| async { make().await.ok() }).await.expect("it is made with the right");
}

async fn operator(more: &[&str]) -> (Operator, PathBuf) {
    let kubeconfig = cluster().kubeconfig_for_service_account("ops", NAME).await.unwrap();
    let args = [&["--lease-namespace", "ops", "--mesh-propagation", "1s"], more].concat();
    (Operator::start(&kubeconfig, &args), kubeconfig)
}

fn install(settings: &[&str]) {
    let chart = ["upgrade", "--install", NAME, "charts/microservice-operator", "--namespace=ops", "--create-namespace"];
    helm(cluster(), &[&chart[..], &["--set=crds.enabled=false"], settings].concat());
}

/// Lives through everything with a fresh installation, and compares what it may with what it did.
async fn compare(reach: Reach) {
    let space = Space::with_propagation(cluster(), "rights", std::time::Duration::from_secs(1)).await;
    let namespace = format!("--namespace={}", space.name);
    let more = match reach {
        Reach::Cluster => {
            install(&["--set=analysisProviders.secrets={webhooks}"]);
            Vec::new()
        }
        Reach::Namespace => {
            let watched = format!("--set=watchNamespaces={{{}}}", space.name);
            install(&[&watched, "--set=analysisProviders.secrets=null"]);
            let selector = format!("--selector=app.kubernetes.io/name={NAME}");
            let bound = kubectl(cluster(), &["get", "clusterroles,clusterrolebindings", &selector, "--output=name"]);
            assert_eq!(bound, "", "it has Roles alone");
            kubectl(cluster(), &["delete", "lease", NAME, "--namespace=ops"]);
            vec![namespace.as_str(), "--analysis-providers=false"]
        }
    };
    let since = may_own(cluster(), &space.name, ("ops", NAME)).await;
    let (operator, _kubeconfig) = operator(&more).await;
    operator.says("leading").await;
    a_whole_life(&space, reach).await;
    cluster().settled_mark().await.unwrap();
    let events = cluster().audit().unwrap().since(since, |event| event.user == USER).unwrap();
    let refused: Vec<String> =
        events.iter().filter(|it| it.code == 403).map(|it| format!("{} {}", it.verb, it.request_uri)).collect();
    assert_eq!(refused, Vec::<String>::new(), "{reach:?}: rights are missing");
    let used: BTreeSet<Right> = events.iter().flat_map(used_by).collect();
    let unused: Vec<Right> = granted().into_iter().filter(|right| !used.contains(right)).collect();
    assert_eq!(unused, [by_admission()], "{reach:?}: rights are never used");
    owning_needs_a_right(&space).await;
}

#[test]
fn every_right_is_used_and_none_is_missing() {
    run(async {
        compare(Reach::Cluster).await;
        compare(Reach::Namespace).await;
    });
}
