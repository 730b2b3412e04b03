//! What is kept in memory of each watched object: no more than decisions need.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry};
use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, DynamicObject},
};
use serde_json::Value;

use crate::{
    api::{GROUP, MANAGER, Microservice, MicroserviceAction, MicroserviceActionSpec, Port, conditions, labels},
    observe::{Controller, PodFacts},
    plan::{object::Kind, rollout::orders::Order},
    validate::{model::host, references::references, syntax::printable},
};

use super::{cache::View, facts::Facts, packed::Packed, pods};

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
    /// The value of its `version` label.
    pub version: Option<String>,
    pub created: Option<Timestamp>,
    /// What it says of itself; none for somebody else's.
    pub facts: Option<Arc<Facts>>,
    /// The object as it would be written; null for somebody else's.
    pub object: Packed,
    /// Hosts that a VirtualService routes in the mesh, fully qualified.
    pub hosts: Vec<String>,
    /// Ports of a Service.
    pub ports: Vec<i32>,
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

    fn reduce(kind: Kind, object: &DynamicObject, served: bool) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        let owner = owner_of(object);
        let ours = served && matches!(owner, Owner::Microservice { .. });
        let mut content = if ours { content(kind, object) } else { Value::Null };
        let scaled_by = scaled_by(object).filter(|_| kind == Kind::Deployment);
        let facts = ours.then(|| Facts::of(kind, &content, scaled_by).map(Arc::new)).flatten();
        if let Some(fields) = content.as_object_mut() {
            fields.remove("status");
        }
        Self {
            kind,
            facts,
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            adoptable_by: object.annotations().get(labels::ADOPT).cloned(),
            deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            hosts: if kind == Kind::VirtualService { mesh_hosts(&object.data, &namespace) } else { Vec::new() },
            ports: if kind == Kind::Service { ports(&object.data) } else { Vec::new() },
            version: object.labels().get(labels::VERSION).filter(|_| ours).cloned(),
            created: object.metadata.creation_timestamp.as_ref().map(|at| at.0),
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

    /// Most changes are of a status: what is written stays as it was found.
    fn inherit(&mut self, before: &Self) {
        if self.object == before.object {
            self.object = before.object.clone();
        }
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

/// Finds the Microservices whose revisions may be made of a ConfigMap.
pub fn config_map_term(namespace: &str, name: &str) -> String {
    format!("configmap:{namespace}/{name}")
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

/// A MicroserviceAction.
#[derive(Clone, Debug)]
pub struct ActionView {
    pub uid: String,
    pub resource_version: String,
    pub created: Timestamp,
    /// The Microservice that it is about, as `namespace/name`.
    pub about: String,
    /// uid of that Microservice; None for whichever has the name.
    pub about_uid: Option<String>,
    /// What is asked, until it is answered.
    pub order: Option<Order>,
}

impl ActionView {
    /// Reduces an action to what is kept.
    pub fn of(object: &DeserializeGuard<MicroserviceAction>) -> Self {
        let uid = object.uid().unwrap_or_default();
        let known = object.0.as_ref().ok();
        let order = |action: &MicroserviceAction| {
            let MicroserviceActionSpec { microservice: _, verb, uid: _, target, step, revision, expires, actor } =
                action.spec.clone();
            let expires = expires.map(|time| time.0);
            let actor = actor.map(|actor| printable(&actor).into_owned());
            Order { uid: uid.clone(), name: action.name_any(), verb, target, step, revision, expires, actor }
        };
        let namespace = object.namespace().unwrap_or_default();
        Self {
            resource_version: object.resource_version().unwrap_or_default(),
            created: object.meta().creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
            about: known.map(|action| owner_term(&namespace, &action.spec.microservice)).unwrap_or_default(),
            about_uid: known.and_then(|action| action.spec.uid.clone()),
            order: known.filter(|action| action.status.is_none()).map(order),
            uid,
        }
    }
}

impl View for ActionView {
    fn terms(&self) -> Vec<String> {
        vec![self.about.clone()]
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
    /// ConfigMaps whose content its revisions may be made of, as terms.
    pub config_maps: Vec<String>,
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
            config_maps: known.map(|known| config_maps(known, &namespace)).unwrap_or_default(),
            ports: known.map(|known| known.spec.ports.clone()).unwrap_or_default(),
            available: status.is_some_and(|status| {
                let mut conditions = status.conditions.iter();
                conditions.any(|condition| condition.type_ == conditions::AVAILABLE && condition.status == "True")
            }),
            message: status.and_then(|status| status.message.clone()),
        }
    }

    /// Reduces one that is not served to what those that depend on it need.
    pub fn elsewhere(object: &DeserializeGuard<Microservice>) -> Self {
        Self { calls: Vec::new(), config_maps: Vec::new(), ..Self::of(object) }
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

fn config_maps(microservice: &Microservice, namespace: &str) -> Vec<String> {
    let spec = &microservice.spec;
    let copied = spec.image.is_some() && spec.config_revisions != Some(false);
    let names = if copied { references(&spec.pod) } else { BTreeMap::new() };
    names.into_keys().map(|name| config_map_term(namespace, &name)).collect()
}

impl View for Peer {
    fn terms(&self) -> Vec<String> {
        [self.calls.as_slice(), self.config_maps.as_slice()].concat()
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}
