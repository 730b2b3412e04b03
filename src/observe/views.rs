//! What is kept in memory of each watched object: no more than decisions need.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    core::{DeserializeGuard, DynamicObject},
};
use serde_json::Value;

use crate::{
    api::{GROUP, Microservice, Port, conditions, labels},
    observe::PodFacts,
    plan::object::Kind,
    validate::model::host,
};

use super::{cache::View, pods};

/// Who controls an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A Microservice, by name and uid.
    Microservice { name: String, uid: String },
    /// Somebody else, or nobody.
    Other,
}

/// An object of a kind that Microservices have as children; somebody else's are kept without their content.
#[derive(Clone, Debug)]
pub struct Child {
    pub kind: Kind,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub owner: Owner,
    /// The Microservice that may take the object over.
    pub adoptable_by: Option<String>,
    pub deleting: bool,
    /// What holds its deletion up.
    pub finalizers: Vec<String>,
    /// The whole object without managed fields; null for somebody else's.
    pub object: Arc<Value>,
    /// A manager other than the operator that set the size through the scale subresource.
    pub scaled_by: Option<String>,
    /// Hosts that a VirtualService routes in the mesh, fully qualified.
    pub hosts: Vec<String>,
    /// Ports of a Service.
    pub ports: Vec<i32>,
}

impl Child {
    /// Reduces an object to what is kept.
    pub fn of(kind: Kind, object: &DynamicObject) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        let owner = owner_of(object);
        let ours = matches!(owner, Owner::Microservice { .. });
        Self {
            kind,
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            adoptable_by: object.annotations().get(labels::ADOPT).cloned(),
            deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            scaled_by: scaled_by(object),
            hosts: if kind == Kind::VirtualService { mesh_hosts(&object.data, &namespace) } else { Vec::new() },
            ports: if kind == Kind::Service { ports(&object.data) } else { Vec::new() },
            object: Arc::new(if ours { content(kind, object) } else { Value::Null }),
            namespace,
            owner,
        }
    }

    /// The value of its `version` label.
    pub fn version(&self) -> Option<String> {
        self.object.pointer("/metadata/labels/version").and_then(Value::as_str).map(str::to_owned)
    }
}

fn owner_of(object: &DynamicObject) -> Owner {
    object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
        .filter(|owner| owner.kind == "Microservice" && owner.api_version.split('/').next() == Some(GROUP))
        .map_or(Owner::Other, |owner| Owner::Microservice { name: owner.name.clone(), uid: owner.uid.clone() })
}

fn scaled_by(object: &DynamicObject) -> Option<String> {
    let managers = object.metadata.managed_fields.as_ref()?;
    managers.iter().find(|entry| entry.subresource.as_deref() == Some("scale"))?.manager.clone()
}

/// The object as it would be written. Items of a listing lack their apiVersion and kind.
fn content(kind: Kind, object: &DynamicObject) -> Value {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
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

/// Istio reads a name without dots in the namespace of the object that has it.
fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') { name.to_owned() } else { host(name, namespace) }
}

fn ports(data: &Value) -> Vec<i32> {
    let ports = data.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    ports.filter_map(|port| i32::try_from(port.get("port")?.as_i64()?).ok()).collect()
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
}

/// Finds the children of a Microservice.
pub fn owner_term(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// Finds the VirtualServices of a host.
pub fn host_term(host: &str) -> String {
    format!("host:{host}")
}

/// A pod of a Microservice.
#[derive(Clone, Debug)]
pub struct PodView {
    pub namespace: String,
    pub service: String,
    pub version: String,
    pub uid: String,
    pub resource_version: String,
    pub deleting: bool,
    pub facts: PodFacts,
}

impl PodView {
    /// Reduces a pod to what is kept.
    pub fn of(pod: &Pod) -> Self {
        let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            service: label(labels::SERVICE),
            version: label(labels::VERSION),
            uid: pod.uid().unwrap_or_default(),
            resource_version: pod.resource_version().unwrap_or_default(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            facts: pods::facts(pod),
        }
    }
}

impl View for PodView {
    fn terms(&self) -> Vec<String> {
        vec![owner_term(&self.namespace, &self.service)]
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// A Microservice as those that depend on it see it.
#[derive(Clone, Debug)]
pub struct Peer {
    pub uid: String,
    pub resource_version: String,
    /// Services that it calls, as `namespace/name`.
    pub calls: Vec<String>,
    pub ports: Vec<Port>,
    pub available: bool,
    pub message: Option<String>,
}

impl Peer {
    /// Reduces a Microservice to what is kept.
    pub fn of(object: &DeserializeGuard<Microservice>) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        let known = object.0.as_ref().ok();
        let status = known.and_then(|known| known.status.as_ref());
        Self {
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            calls: known.map(|known| calls(known, &namespace)).unwrap_or_default(),
            ports: known.map(|known| known.spec.ports.clone()).unwrap_or_default(),
            available: status.is_some_and(|status| {
                let mut conditions = status.conditions.iter();
                conditions.any(|condition| condition.type_ == conditions::AVAILABLE && condition.status == "True")
            }),
            message: status.and_then(|status| status.message.clone()),
        }
    }

    /// Whether those that depend on it would see a difference.
    pub fn differs(before: Option<&Self>, after: Option<&Self>) -> bool {
        let face = |peer: Option<&Self>| peer.map(|peer| (peer.available, peer.ports.clone()));
        face(before) != face(after)
    }
}

fn calls(microservice: &Microservice, namespace: &str) -> Vec<String> {
    let dependencies = microservice.spec.dependencies.iter();
    dependencies.map(|to| owner_term(to.namespace.as_deref().unwrap_or(namespace), &to.name)).collect()
}

impl View for Peer {
    fn terms(&self) -> Vec<String> {
        self.calls.clone()
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}
