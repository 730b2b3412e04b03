//! What is kept in memory of each watched object: no more than decisions need.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt, core::DeserializeGuard};

use crate::{
    api::{Microservice, MicroserviceAction, MicroserviceActionSpec, Phase, Port, conditions, labels},
    observe::PodFacts,
    plan::rollout::orders::Order,
    validate::{references::references, syntax::printable},
};

use super::{cache::View, pods};

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
    /// It is being deleted, or has ended for good.
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
            deleting: pods::is_leaving(pod),
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
            let created = action.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let actor = actor.map(|actor| printable(&actor).into_owned());
            Order { uid: uid.clone(), name: action.name_any(), verb, target, step, revision, created, expires, actor }
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
    /// None before the operator has told of it, or when it cannot be read.
    pub phase: Option<Phase>,
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
            phase: status.and_then(|status| status.phase),
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
