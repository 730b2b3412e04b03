//! Rights: what roles grant, and what requests use.

use devcluster::AuditEvent;
use serde_json::Value;

/// Group, resource with subresource, verb.
pub type Right = (String, String, String);

/// Used by an admission plugin that the clusters of the tests do not have on, and that asks on the operator's behalf.
pub fn by_admission() -> Right {
    right("microservice-operator.dev", "microservices/finalizers", "update")
}

pub fn right(group: &str, resource: &str, verb: &str) -> Right {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

/// What a Role or a ClusterRole grants, whatever the names of the objects.
pub fn granted_by(role: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let words = |field: &str| -> Vec<String> {
            rule[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        for group in words("apiGroups") {
            for resource in words("resources") {
                rights.extend(words("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    rights
}

/// What a request for an object uses. A server-side apply that makes an object needs the right to create it, too.
pub fn used_by(event: &AuditEvent) -> Vec<Right> {
    let resource = match event.subresource.as_str() {
        "" => event.resource.clone(),
        subresource => format!("{}/{subresource}", event.resource),
    };
    let used = |verb: &str| right(&event.group, &resource, verb);
    let created = (event.verb == "patch" && event.code == 201).then(|| used("create"));
    [used(&event.verb)].into_iter().chain(created).collect()
}
