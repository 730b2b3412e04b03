//! The kinds of objects that belong to a Microservice, and one object as it is to be applied.

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, core::ApiResource};
use serde::Serialize;
use serde_json::Value;

use crate::foreign::istio::{DestinationRule, VirtualService};

/// A kind of child, in the order in which children are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ControllerRevision,
    ServiceAccount,
    ConfigMap,
    PodDisruptionBudget,
    Deployment,
    DestinationRule,
    VirtualService,
    Service,
}

impl Kind {
    /// All kinds, in the order in which children are applied.
    pub const ALL: [Self; 8] = [
        Self::ControllerRevision,
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::PodDisruptionBudget,
        Self::Deployment,
        Self::DestinationRule,
        Self::VirtualService,
        Self::Service,
    ];

    /// Group, version and plural of the kind.
    pub fn api_resource(self) -> ApiResource {
        match self {
            Self::ControllerRevision => ApiResource::erase::<ControllerRevision>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::DestinationRule => ApiResource::erase::<DestinationRule>(&()),
            Self::VirtualService => ApiResource::erase::<VirtualService>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
        }
    }

    /// Whether the kind comes with a mesh and may be absent from the cluster.
    pub fn of_mesh(self) -> bool {
        matches!(self, Self::DestinationRule | Self::VirtualService)
    }

    /// Whether only the metadata is watched: the content is immutable, and there may be much of it.
    pub fn by_metadata(self) -> bool {
        self == Self::ConfigMap
    }

    /// Whether Microservices of other namespaces are told by objects of the kind: by the hosts or ports that these have.
    pub fn is_known_elsewhere(self) -> bool {
        matches!(self, Self::VirtualService | Self::DestinationRule | Self::Service)
    }

    /// Whether a write must fail when the object changed since it was read: the kinds that decide where requests go.
    pub fn guards_traffic(self) -> bool {
        matches!(self, Self::DestinationRule | Self::VirtualService | Self::Service)
    }
}

/// An object as it is to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub kind: Kind,
    pub name: String,
    /// The whole object, with `apiVersion` and `kind`.
    pub value: Value,
}

impl Object {
    /// Wraps a typed object.
    pub fn new<K>(kind: Kind, object: &K) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let meta: &ObjectMeta = object.meta();
        let mut value = serde_json::to_value(object).unwrap_or_default();
        let resource = kind.api_resource();
        value["apiVersion"] = resource.api_version.into();
        value["kind"] = resource.kind.into();
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        Self { kind, name: meta.name.clone().unwrap_or_default(), value }
    }

    /// Whether it says only what is to be so of one that exists, as copies of ConfigMaps do, which are immutable.
    pub fn is_without_content(&self) -> bool {
        self.kind.by_metadata() && self.value["immutable"].is_null()
    }
}
