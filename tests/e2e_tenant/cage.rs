//! What holds after all attacks, whatever they were: nothing that came of them reaches beyond the tenant's own.

use std::{collections::BTreeMap, process::Command};

use devcluster::{AuditEvent, AuditMark};
use k8s_openapi::api::{core::v1::Service, events::v1::Event};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
};
use microservice_operator::{api::Microservice, plan::object::Kind};
use serde_json::{Value, json};

use crate::{
    ground::{CHART, Ground, PASSWORD},
    support::{Space, cluster, eventually},
};

type Objects = BTreeMap<String, Value>;

/// The Microservices of a namespace, and everything that they could have made or changed there, less what the cluster itself
/// says of it.
pub async fn everything(space: &Space) -> Objects {
    let resource = ApiResource::erase::<Microservice>(&());
    let api = Api::<DynamicObject>::namespaced_with(space.client.clone(), &space.name, &resource);
    let microservices = api.list(&ListParams::default()).await.unwrap().items;
    let mut all: Objects =
        microservices.iter().map(|it| (format!("Microservice/{}", it.name_any()), seen(it))).collect();
    for kind in Kind::ALL {
        all.extend(list(space, kind).await.iter().map(|it| (format!("{kind:?}/{}", it.name_any()), seen(it))));
    }
    all
}

async fn list(space: &Space, kind: Kind) -> Vec<DynamicObject> {
    space.children(kind).list(&ListParams::default()).await.unwrap().items
}

fn seen(object: &DynamicObject) -> Value {
    json!([object.uid(), object.labels(), object.owner_references(), object.data["spec"], object.data["data"]])
}

/// What reaches beyond the tenant's own.
pub async fn escapes(ground: &Ground) -> Vec<String> {
    let mut found = Vec::new();
    let services: Vec<Service> = ground.space.api().list(&ListParams::default()).await.unwrap().items;
    for kind in Kind::ALL {
        for object in list(&ground.space, kind).await {
            let Some(owner) = object.owner_references().first().cloned().filter(|it| it.kind == "Microservice") else {
                continue;
            };
            let host = format!("{}.{}.svc.cluster.local", owner.name, ground.space.name);
            let data = serde_json::to_value(&object).unwrap();
            let wrong = match kind {
                Kind::VirtualService => route(&data, &host),
                Kind::DestinationRule => same(&data, "/spec/host", &json!(host)),
                Kind::Service => service(&data, &owner.name),
                Kind::Deployment => deployment(&data, &owner.name, &services),
                _ => Vec::new(),
            };
            let keys = object.annotations().keys().chain(object.labels().keys());
            let foreign = keys.filter(|key| key.contains("istio.io") || key.contains("amazonaws.com"));
            let foreign = foreign.map(|key| format!("has the key {key}"));
            found.extend(wrong.into_iter().chain(foreign).map(|it| format!("{kind:?} {}: {it}", object.name_any())));
        }
    }
    found
}

fn same(object: &Value, pointer: &str, wanted: &Value) -> Vec<String> {
    let is = object.pointer(pointer).unwrap_or(&Value::Null);
    if is == wanted { Vec::new() } else { vec![format!("{pointer} is {is}")] }
}

fn route(route: &Value, host: &str) -> Vec<String> {
    let mut wrong = same(route, "/spec/hosts", &json!([host]));
    wrong.extend(same(route, "/spec/gateways", &Value::Null));
    let mut hosts = Vec::new();
    walk(route, &mut |key, value| {
        if key == "host" {
            hosts.push(value.clone());
        }
    });
    wrong.extend(hosts.iter().filter(|it| **it != host).map(|it| format!("requests go to {it}")));
    wrong
}

fn service(service: &Value, owner: &str) -> Vec<String> {
    let mut wrong = same(service, "/spec/type", &json!("ClusterIP"));
    wrong.extend(same(service, "/spec/externalIPs", &Value::Null));
    wrong.extend(same(service, "/spec/selector/microservice-operator.dev~1service", &json!(owner)));
    wrong
}

/// Pods stay within the node's walls, run as nobody else, and are selected by no Service but their own.
fn deployment(deployment: &Value, owner: &str, services: &[Service]) -> Vec<String> {
    let mut wrong = Vec::new();
    let pod = &deployment["spec"]["template"];
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    if account != owner && owner != "staffed" {
        wrong.push(format!("runs as {account}"));
    }
    for field in ["hostNetwork", "hostPID", "hostIPC", "nodeName", "priorityClassName"] {
        wrong.extend(same(&pod["spec"], &format!("/{field}"), &Value::Null));
    }
    walk(pod, &mut |key, value| {
        let bad = match key {
            "hostPath" | "hostPort" | "csi" | "nfs" | "host" => true,
            "privileged" | "allowPrivilegeEscalation" => *value == json!(true),
            _ => false,
        };
        if bad {
            wrong.push(format!("{key} is {value}"));
        }
    });
    let labels = &pod["metadata"]["labels"];
    for service in services.iter().filter(|it| it.name_any() != owner) {
        let selector = service.spec.iter().flat_map(|spec| spec.selector.iter().flatten());
        let mut selector = selector.peekable();
        if selector.peek().is_some() && selector.all(|(key, value)| labels[key] == *value) {
            wrong.push(format!("is selected by the Service {}", service.name_any()));
        }
    }
    wrong
}

fn walk(value: &Value, meet: &mut dyn FnMut(&str, &Value)) {
    for (key, field) in value.as_object().into_iter().flatten() {
        meet(key, field);
        walk(field, meet);
    }
    value.as_array().into_iter().flatten().for_each(|item| walk(item, meet));
}

/// Objects that have what is in the tenant's Secret, where there are copies of ConfigMaps.
pub async fn leaked(ground: &Ground) -> Vec<String> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        let all = list(&ground.space, kind).await;
        let copied = all.iter().any(|it| !it.owner_references().is_empty());
        assert!(copied || kind != Kind::ConfigMap, "no ConfigMap was copied");
        let has = |it: &&DynamicObject| {
            let text = serde_json::to_string(it).unwrap();
            PASSWORD.iter().any(|word| text.contains(word))
        };
        found.extend(all.iter().filter(has).map(|it| format!("{kind:?} {}", it.name_any())));
    }
    found
}

/// What the webhook was told that is not of the one Microservice that names it, or has other parameters than that gives.
pub async fn misled(ground: &Ground) -> Vec<String> {
    let told = eventually(|| async { Some(Ground::told()).filter(|told| !told.is_empty()) }).await;
    let marked = ground.space.microservices().get("marked").await.unwrap();
    let parameters = json!(marked.spec.rollout.unwrap().webhooks[0].parameters);
    let wanted = json!([marked.metadata.name, ground.space.name, parameters]);
    let is_so = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        json!([body["microservice"], body["namespace"], body["parameters"]]) == wanted
    };
    told.expect("the webhook is told of events").into_iter().filter(|body| !is_so(body)).collect()
}

/// Lines of the operator's log that do not begin as its lines do, and texts that steer a terminal.
pub async fn forged(ground: &Ground) -> Vec<String> {
    let log = ground.operator.text();
    let begins = |line: &str| line.split_whitespace().next().is_some_and(|it| it.parse::<jiff::Timestamp>().is_ok());
    let mut found: Vec<String> = log.lines().filter(|line| !begins(line)).map(|it| format!("log: {it:?}")).collect();
    found.extend(
        log.lines().filter(|line| line.contains("INFO forged") && line.starts_with("2026-01-01")).map(str::to_owned),
    );
    let events: Vec<Event> = ground.space.api().list(&ListParams::default()).await.unwrap().items;
    let notes: Vec<String> = events.into_iter().filter_map(|event| event.note).collect();
    assert!(notes.iter().any(|note| note.contains(r"\u{1b}")), "no event tells of what was tried");
    let names: Vec<String> = ground
        .space
        .microservices()
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(|it| it.name_any())
        .collect();
    let mut shown = vec![plugin(ground, &["get"]), plugin(ground, &["history", "staffed"])];
    shown.extend(names.iter().map(|name| plugin(ground, &["why", name])));
    let texts = notes.iter().map(String::as_str).chain(shown.iter().flat_map(|text| text.lines()));
    found.extend(texts.chain(log.lines()).filter(|text| text.contains(char::is_control)).map(|it| format!("{it:?}")));
    found
}

fn plugin(ground: &Ground, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-ms"));
    command.args(args).args(["--namespace", &ground.space.name]).env("KUBECONFIG", cluster().kubeconfig_path());
    String::from_utf8(command.env("NO_COLOR", "1").output().unwrap().stdout).unwrap()
}

/// Writes of the operator outside of the tenant's namespace, but for its lease, and for what it says of whom else it serves.
pub async fn strayed(ground: &Ground, since: AuditMark) -> Vec<String> {
    cluster().settled_mark().await.unwrap();
    let user = format!("system:serviceaccount:ops:{CHART}");
    let own = |namespace: &str, resource: &str| {
        namespace == ground.space.name || (namespace == "ops" && resource == "leases")
    };
    let said = |event: &AuditEvent| {
        let about = (event.resource.as_str(), event.subresource.as_str());
        event.namespace == ground.victim.name && [("microservices", "status"), ("events", "")].contains(&about)
    };
    let events = cluster().audit().unwrap().since(since, |event| event.user == user).unwrap();
    let stray = |event: &&AuditEvent| {
        let strays = event.is_write() && !own(&event.namespace, &event.resource) && !said(event);
        strays || event.code == 403
    };
    events.iter().filter(stray).map(|event| format!("{} {}: {}", event.verb, event.request_uri, event.code)).collect()
}
