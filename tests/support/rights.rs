//! Rights: what roles grant, and what requests use.

use devcluster::{AuditEvent, AuditMark, Cluster};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::eventually;

/// Group, resource with subresource, verb, and the object's name; an empty one stands for any.
pub type Right = (String, String, String, String);

/// Asked for by the admission plugin OwnerReferencesPermissionEnforcement when a child is made: no request tells of it.
/// `e2e_rights` shows that it is needed.
pub fn by_admission() -> Right {
    right("microservice-operator.dev", "microservices/finalizers", "update")
}

/// The right to objects of any name.
pub fn right(group: &str, resource: &str, verb: &str) -> Right {
    (group.to_owned(), resource.to_owned(), verb.to_owned(), String::new())
}

/// The same to objects of any name.
pub fn to_any((group, resource, verb, _): &Right) -> Right {
    right(group, resource, verb)
}

/// What a Role or a ClusterRole grants.
pub fn granted_by(role: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let words = |field: &str| -> Vec<String> {
            rule[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let names = if rule["resourceNames"].is_null() { vec![String::new()] } else { words("resourceNames") };
        assert!(!names.is_empty(), "Kubernetes takes no names for all names: {rule}");
        for group in words("apiGroups") {
            for resource in words("resources") {
                for verb in words("verbs") {
                    let named = |name: &String| (group.clone(), resource.clone(), verb.clone(), name.clone());
                    rights.extend(names.iter().map(named));
                }
            }
        }
    }
    rights
}

/// What a request needs, to the object that it names. A server-side apply that makes an object needs the right to create it,
/// too.
pub fn needed_by(event: &AuditEvent) -> Vec<Right> {
    let resource = match event.subresource.as_str() {
        "" => event.resource.clone(),
        subresource => format!("{}/{subresource}", event.resource),
    };
    let needed = |verb: &str| (event.group.clone(), resource.clone(), verb.to_owned(), event.name.clone());
    let created = (event.verb == "patch" && event.code == 201).then(|| needed("create"));
    [needed(&event.verb)].into_iter().chain(created).collect()
}

/// What a request uses, whether it is granted by the name of the object or for all names. One that was refused uses nothing.
pub fn used_by(event: &AuditEvent) -> Vec<Right> {
    let needed = if event.code == 403 { Vec::new() } else { needed_by(event) };
    needed.into_iter().flat_map(|right| [to_any(&right), right]).collect()
}

/// Until an operator that has just been installed may own children by a kind that has just been defined: the admission plugin
/// OwnerReferencesPermissionEnforcement looks for kinds every 30 s, and refuses a child by one that it has never heard of.
/// What comes after is after the returned mark.
pub async fn may_own(cluster: &Cluster, within: &str, (namespace, account): (&str, &str)) -> AuditMark {
    let owner = json!({"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "name": "a", "uid": "a",
                       "blockOwnerDeletion": true});
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": [owner]}});
    let owned: ServiceAccount = serde_json::from_value(owned).unwrap();
    let api = Api::namespaced(cluster.client_for_service_account(namespace, account).await.unwrap(), within);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually(|| async { api.create(&dry, &owned).await.ok() }).await.expect("the operator may own children");
    cluster.settled_mark().await.unwrap()
}
