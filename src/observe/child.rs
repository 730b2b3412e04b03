//! A child of a Microservice as it is kept in memory: no more than decisions need.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    api::{GROUP, MANAGER, labels},
    observe::Controller,
    plan::{object::Kind, resources},
    validate::model::host,
};

use super::{
    cache::View,
    facts::{Facts, typed},
    packed::Packed,
    views::{host_term, owner_term},
};

/// The kind that this operator serves.
pub const MICROSERVICE: &str = "Microservice";

/// Who controls an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A Microservice, by name and uid.
    Microservice {
        name: String,
        uid: String,
    },
    /// An object of another kind.
    Other(Controller),
    Nobody,
}

impl Owner {
    /// The controller, whatever its kind.
    pub fn controller(&self) -> Option<Controller> {
        match self {
            Self::Microservice { name, .. } => Some(Controller { kind: MICROSERVICE.to_owned(), name: name.clone() }),
            Self::Other(controller) => Some(controller.clone()),
            Self::Nobody => None,
        }
    }
}

/// An object of a kind that Microservices have as children; somebody else's are kept without their content, unless they are
/// offered to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    pub kind: Kind,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub owner: Owner,
    /// The Microservice that may take the object over.
    pub adoptable_by: Option<String>,
    /// The Microservice whose version a Deployment's selector, which cannot change, selects.
    pub selects: Option<String>,
    pub deleting: bool,
    /// What holds its deletion up.
    pub finalizers: Vec<String>,
    /// The value of its `version` label.
    pub version: Option<String>,
    /// What it says of itself; none for somebody else's.
    pub facts: Option<Arc<Facts>>,
    /// The object as it would be written; null for somebody else's that is offered to nobody.
    pub object: Packed,
    /// Hosts that a VirtualService routes in the mesh, or somebody else's DestinationRule is about, fully qualified.
    pub hosts: Vec<String>,
    /// Names of the subsets of somebody else's DestinationRule.
    pub subsets: BTreeSet<String>,
    /// Ports of a Service.
    pub ports: Vec<i32>,
    /// The one port of a Service that has no name.
    pub nameless: Option<i32>,
    /// The labels by which somebody else's Service selects pods.
    pub selector: BTreeMap<String, String>,
    /// A Service without an address of its own: headless, or another name of something else.
    pub headless: bool,
}

impl Child {
    /// Reduces an object to what is kept.
    pub fn of(kind: Kind, object: &DynamicObject) -> Self {
        Self::reduce(kind, object, true)
    }

    /// Reduces an object to what is kept if no Microservice that is served may own it.
    pub fn elsewhere(kind: Kind, object: &DynamicObject) -> Self {
        Self::reduce(kind, object, false)
    }

    /// Whether a decision could come out otherwise. The content of a ConfigMap is not kept: its version tells of it.
    pub fn differs(before: Option<&Self>, after: Option<&Self>) -> bool {
        let (Some(before), Some(after)) = (before, after) else { return before.is_some() || after.is_some() };
        let resource_version =
            if after.kind == Kind::ConfigMap { &before.resource_version } else { &after.resource_version };
        Self { resource_version: resource_version.clone(), ..before.clone() } != *after
    }

    fn reduce(kind: Kind, object: &DynamicObject, served: bool) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        let owner = owner_of(object);
        let foreign_rule = kind == Kind::DestinationRule && !matches!(owner, Owner::Microservice { .. });
        let ours = served && matches!(owner, Owner::Microservice { .. });
        // A copy of a ConfigMap is named after its content, which nobody else's object is known to have.
        let adoptable_by = object.annotations().get(labels::ADOPT).filter(|_| kind != Kind::ConfigMap).cloned();
        // What is there of somebody else's must be seen to be taken away when the object is taken over.
        let offered = served && owner == Owner::Nobody && adoptable_by.is_some();
        let mut content = if ours || offered { content(kind, object) } else { Value::Null };
        let scaled_by = if kind == Kind::Deployment { scaled_by(object) } else { None };
        let facts = ours.then(|| Facts::of(kind, &content, scaled_by).map(Arc::new)).flatten();
        if let Some(fields) = content.as_object_mut() {
            fields.remove("status");
        }
        Self {
            kind,
            facts,
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            adoptable_by,
            selects: if kind == Kind::Deployment { selects(object) } else { None },
            deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            hosts: match kind {
                Kind::VirtualService => mesh_hosts(&object.data, &namespace),
                Kind::DestinationRule if foreign_rule => rule_host(&object.data, &namespace).into_iter().collect(),
                _ => Vec::new(),
            },
            subsets: if foreign_rule { subsets(&object.data) } else { BTreeSet::new() },
            ports: if kind == Kind::Service { ports(&object.data) } else { Vec::new() },
            nameless: if offered && kind == Kind::Service { nameless(&object.data) } else { None },
            selector: if served && kind == Kind::Service && !ours { selector(&object.data) } else { BTreeMap::new() },
            headless: kind == Kind::Service && is_headless(&object.data),
            version: version_of(kind, object).filter(|_| ours),
            object: Packed::of(&content),
            namespace,
            owner,
        }
    }
}

fn owner_of(object: &DynamicObject) -> Owner {
    let Some(owner) = object.owner_references().iter().find(|owner| owner.controller == Some(true)) else {
        return Owner::Nobody;
    };
    if owner.kind == MICROSERVICE && owner.api_version.split('/').next() == Some(GROUP) {
        return Owner::Microservice { name: owner.name.clone(), uid: owner.uid.clone() };
    }
    Owner::Other(Controller { kind: owner.kind.clone(), name: owner.name.clone() })
}

/// The version whose pods it makes: by what it selects, as nobody can change that, while its labels are anybody's.
fn version_of(kind: Kind, object: &DynamicObject) -> Option<String> {
    let selected =
        object.data.pointer("/spec/selector/matchLabels").and_then(|labels| labels.get(labels::VERSION)?.as_str());
    let selected = selected.filter(|_| kind == Kind::Deployment).map(str::to_owned);
    selected.or_else(|| object.labels().get(labels::VERSION).cloned())
}

fn selects(object: &DynamicObject) -> Option<String> {
    let selector = object.data.pointer("/spec/selector")?;
    let label = |key: &str| selector.get("matchLabels")?.get(key)?.as_str();
    let (service, version) = (label(labels::SERVICE)?, label(labels::VERSION)?);
    let ours = json!({"matchLabels": resources::labels::selector(service, Some(version))});
    let named = object.metadata.name.as_deref() == Some(resources::child_name(service, version).as_str());
    (named && *selector == ours).then(|| service.to_owned())
}

/// The size has another owner and is no longer the operator's. Who sets what the operator has set owns it too, and
/// disturbs nobody.
fn scaled_by(object: &DynamicObject) -> Option<String> {
    let sizes = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| fields.pointer("/f:spec/f:replicas").is_some())
    };
    let owners = object.metadata.managed_fields.iter().flatten().filter(sizes);
    let mut names = owners.filter_map(|entry| entry.manager.as_deref()).peekable();
    let first = names.peek().map(|name| (*name).to_owned());
    first.filter(|_| names.all(|name| name != MANAGER))
}

/// The object as it would be written. Items of a listing lack their apiVersion and kind.
fn content(kind: Kind, object: &DynamicObject) -> Value {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    object.metadata.resource_version = None;
    let mut content = serde_json::to_value(object).unwrap_or_default();
    let resource = kind.api_resource();
    content["apiVersion"] = resource.api_version.into();
    content["kind"] = resource.kind.into();
    content
}

/// Istio's name for all sidecars among the gateways of a VirtualService.
const MESH: &str = "mesh";

/// What a VirtualService does at other gateways alone is no business of the mesh; with none named, it is bound to the mesh.
fn mesh_hosts(data: &Value, namespace: &str) -> Vec<String> {
    let gateways = data.pointer("/spec/gateways").and_then(Value::as_array);
    if gateways.is_some_and(|gateways| !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == MESH)) {
        return Vec::new();
    }
    let hosts = data.pointer("/spec/hosts").and_then(Value::as_array).into_iter().flatten();
    hosts.filter_map(Value::as_str).map(|name| qualified(name, namespace)).collect()
}

fn rule_host(data: &Value, namespace: &str) -> Option<String> {
    Some(qualified(data.pointer("/spec/host")?.as_str()?, namespace))
}

/// Istio reads a name without dots in the namespace of the object that has it.
fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') { name.to_owned() } else { host(name, namespace) }
}

fn ports(data: &Value) -> Vec<i32> {
    let ports = data.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    ports.filter_map(|port| i32::try_from(port.get("port")?.as_i64()?).ok()).collect()
}

fn subsets(data: &Value) -> BTreeSet<String> {
    let all = data.pointer("/spec/subsets").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|subset| Some(subset.get("name")?.as_str()?.to_owned())).collect()
}

fn selector(data: &Value) -> BTreeMap<String, String> {
    data.pointer("/spec/selector").and_then(typed).unwrap_or_default()
}

fn nameless(data: &Value) -> Option<i32> {
    let port = data.pointer("/spec/ports/0").filter(|port| port.get("name").is_none())?;
    i32::try_from(port.get("port")?.as_i64()?).ok()
}

fn is_headless(data: &Value) -> bool {
    let is = |path: &str, value: &str| data.pointer(path).and_then(Value::as_str) == Some(value);
    is("/spec/clusterIP", "None") || is("/spec/type", "ExternalName")
}

impl View for Child {
    fn terms(&self) -> Vec<String> {
        let mut terms: Vec<String> = self.hosts.iter().map(|host| host_term(host)).collect();
        if let Owner::Microservice { name, .. } = &self.owner {
            terms.push(owner_term(&self.namespace, name));
        }
        terms
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }

    fn deleting(&self) -> bool {
        self.deleting
    }

    /// Most changes are of a status: what is written stays as it was found.
    fn inherit(&mut self, before: &Self) {
        if self.object == before.object {
            self.object = before.object.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(version: &str, changed: &Value) -> Child {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "reviews-v1", "namespace": "shop", "uid": "1", "generation": 1, "resourceVersion": version,
                "labels": {"version": "v1"},
                "ownerReferences": [{"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
                                     "name": "reviews", "uid": "2", "controller": true}],
            },
            "spec": {"replicas": 2},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
        });
        json_patch(&mut object, changed);
        Child::of(Kind::Deployment, &serde_json::from_value(object).unwrap())
    }

    fn json_patch(object: &mut Value, changed: &Value) {
        match (object, changed) {
            (Value::Object(fields), Value::Object(changes)) => {
                changes.iter().for_each(|(field, change)| json_patch(&mut fields[field], change));
            }
            (object, changed) => *object = changed.clone(),
        }
    }

    #[test]
    fn what_no_decision_asks_for_is_no_difference() {
        let before = deployment("1", &json!({}));
        let differs = |changed: Value| Child::differs(Some(&before), Some(&deployment("2", &changed)));
        assert!(!differs(json!({})));
        assert!(!differs(json!({"status": {"updatedReplicas": 1}})), "it is as incomplete as it was");
        assert!(differs(json!({"status": {"availableReplicas": 2}})), "it is complete");
        assert!(differs(json!({"spec": {"replicas": 3}})));
        assert!(differs(json!({"metadata": {"uid": "3"}})));
        assert!(Child::differs(None, Some(&before)) && Child::differs(Some(&before), None));
        let config_map = |version: &str| {
            let object = json!({"metadata": {"name": "a", "namespace": "shop", "resourceVersion": version}});
            Child::of(Kind::ConfigMap, &serde_json::from_value(object).unwrap())
        };
        assert!(Child::differs(Some(&config_map("1")), Some(&config_map("2"))), "its content may be another");
        assert!(!Child::differs(Some(&config_map("1")), Some(&config_map("1"))));
    }

    #[test]
    fn a_status_leaves_the_rest_as_it_was_found() {
        let before = deployment("1", &json!({}));
        assert!(before.object.is_as(7, |_| true));
        let found = |changed: Value| {
            let mut after = deployment("2", &changed);
            after.inherit(&before);
            after.object.is_as(7, |_| false)
        };
        assert!(found(json!({"status": {"availableReplicas": 2}})));
        assert!(!found(json!({"spec": {"replicas": 3}})), "what changed is looked at again");
    }
}
