//! What each kind of child says of itself, read once when it changes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::util::intstr::IntOrString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    foreign::istio::{DestinationRule, RouteDestination, VirtualService},
    plan::{object::Kind, resources, traffic::DEFAULT_ROUTE},
    validate::Copies,
};

use super::{Acceptance, DeploymentFacts, LiveRoutes, LiveService, Weights, deployments};

/// What decisions need of a child.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    Deployment(DeploymentFacts),
    VirtualService {
        routes: LiveRoutes,
        /// Of its spec; see [`mark_of`].
        mark: Option<String>,
    },
    DestinationRule {
        /// Their names.
        subsets: BTreeSet<String>,
        /// Of its spec; see [`mark_of`].
        mark: Option<String>,
    },
    Service(LiveService),
    ControllerRevision {
        /// The copies of ConfigMaps that the kept spec uses.
        copies: Copies,
        accepted: Acceptance,
    },
}

impl Facts {
    /// Reads an object; None if nothing is asked of its kind, or it cannot be read.
    pub fn of(kind: Kind, object: &Value, scaled_by: Option<String>) -> Option<Self> {
        match kind {
            Kind::Deployment => deployments::facts(object, scaled_by).map(Self::Deployment),
            Kind::VirtualService => {
                let routes = live_routes(&typed(object)?);
                Some(Self::VirtualService { routes, mark: mark_of(object) })
            }
            Kind::DestinationRule => {
                let live = typed::<DestinationRule>(object);
                let subsets = live.map(|live| live.spec.subsets).unwrap_or_default();
                let subsets = subsets.into_iter().map(|subset| subset.name).collect();
                Some(Self::DestinationRule { subsets, mark: mark_of(object) })
            }
            Kind::Service => {
                let pinned = object.pointer("/spec/selector/version").and_then(Value::as_str);
                Some(Self::Service(LiveService { pinned: pinned.map(str::to_owned), targets: targets(object) }))
            }
            Kind::ControllerRevision => {
                let kept: ControllerRevision = typed(object)?;
                let copies = resources::kept_copies(&kept.data.0);
                Some(Self::ControllerRevision { copies, accepted: resources::acceptance(&kept) })
            }
            Kind::ServiceAccount | Kind::ConfigMap | Kind::PodDisruptionBudget => None,
        }
    }
}

/// Tells a state of an object's spec apart from all earlier ones: `<uid>/<generation>`.
pub fn mark_of(object: &Value) -> Option<String> {
    let metadata = object.get("metadata")?;
    Some(format!("{}/{}", metadata.get("uid")?.as_str()?, metadata.get("generation")?.as_i64()?))
}

/// What the ports of a Service lead to.
fn targets(service: &Value) -> BTreeMap<i32, IntOrString> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let target = |port: &Value| {
        let number = i32::try_from(port.get("port")?.as_i64()?).ok()?;
        Some((number, typed(port.get("targetPort")?)?))
    };
    ports.filter_map(target).collect()
}

pub(super) fn typed<K: DeserializeOwned>(object: &Value) -> Option<K> {
    K::deserialize(object).ok()
}

fn live_routes(live: &VirtualService) -> LiveRoutes {
    let weights = |destinations: &[RouteDestination]| -> Weights {
        let alone = destinations.len() == 1;
        destinations
            .iter()
            .filter_map(|to| Some((to.destination.subset.clone()?, to.weight.unwrap_or(if alone { 100 } else { 0 }))))
            // Istio takes any number from somebody else.
            .map(|(version, weight)| (version, weight.clamp(0, 100)))
            .collect()
    };
    let mut named: BTreeMap<String, Weights> = BTreeMap::new();
    for route in &live.spec.http {
        let name = route.name.as_deref().unwrap_or_default();
        let name = name.split_once('/').map_or(name, |(name, _)| name);
        named.entry(name.to_owned()).or_insert_with(|| weights(&route.route));
    }
    let tcp = || live.spec.tcp.first().map(|route| weights(&route.route));
    LiveRoutes {
        default: named.remove(DEFAULT_ROUTE).or_else(tcp).unwrap_or_default(),
        named,
        mirrors: live.spec.http.iter().filter_map(|route| route.mirror.as_ref()?.subset.clone()).collect(),
        created: live.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
    }
}
