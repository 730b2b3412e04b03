//! What tests read of the world, and the specs that they write into it.

use microservice_operator::{
    api::{MicroserviceStatus, RolloutStatus, VersionTraffic},
    plan::object::Kind,
};
use serde_json::Value;

use crate::world::World;

impl World {
    pub fn status(&self) -> &MicroserviceStatus {
        self.microservice.status.as_ref().expect("a status was written")
    }

    pub fn traffic(&self, version: &str) -> &VersionTraffic {
        let found = self.status().traffic.iter().find(|entry| entry.version == version);
        found.unwrap_or_else(|| panic!("{version} is not in {:?}", self.status().traffic))
    }

    pub fn condition(&self, type_: &str) -> (String, String, String) {
        let found = self.status().conditions.iter().find(|condition| condition.type_ == type_);
        let found = found.unwrap_or_else(|| panic!("no condition {type_}"));
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }

    /// Effective weights as the VirtualService carries them, such as `v1=90 v2=10`.
    pub fn routed(&self) -> String {
        let route =
            self.object(Kind::VirtualService, "order-service")["spec"]["http"].as_array().unwrap().last().cloned();
        weights_of(&route.unwrap())
    }

    /// The names of the http routes, in their order.
    pub fn route_names(&self) -> Vec<String> {
        let routes = &self.object(Kind::VirtualService, "order-service")["spec"]["http"];
        routes.as_array().unwrap().iter().map(|route| route["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn subsets(&self) -> Vec<String> {
        let subsets = &self.object(Kind::DestinationRule, "order-service")["spec"]["subsets"];
        subsets.as_array().unwrap().iter().map(|subset| subset["name"].as_str().unwrap().to_owned()).collect()
    }

    /// What the Service selects: a version, or all of them.
    pub fn pinned(&self) -> Option<String> {
        let selector = &self.object(Kind::Service, "order-service")["spec"]["selector"];
        selector["version"].as_str().map(str::to_owned)
    }

    pub fn replicas(&self, version: &str) -> i64 {
        self.object(Kind::Deployment, &format!("order-service-{version}"))["spec"]["replicas"].as_i64().unwrap()
    }
}

pub fn weights_of(route: &Value) -> String {
    let destinations = route["route"].as_array().unwrap();
    let parts = destinations.iter().map(|to| {
        let weight = to["weight"].as_i64().unwrap_or(100);
        format!("{}={weight}", to["destination"]["subset"].as_str().unwrap())
    });
    parts.collect::<Vec<_>>().join(" ")
}

pub fn rollout(world: &World) -> &RolloutStatus {
    world.status().rollout.as_ref().expect("a rollout in the status")
}

pub fn message(world: &World) -> &str {
    world.status().message.as_deref().unwrap_or_default()
}

/// How many events have this reason.
pub fn told(world: &World, reason: &str) -> usize {
    world.notices.iter().filter(|notice| notice.reason == reason).count()
}

/// A service with as many pods a version, whose versions are written as `v1=90 v2=10`.
pub fn service_of(versions: &str, replicas: i32, rollout: &str) -> String {
    let versions: Vec<String> = versions
        .split_whitespace()
        .map(|version| {
            let (name, weight) = version.split_once('=').unwrap();
            format!("{{name: {name}, image: 'x:{name}', weight: {weight}}}")
        })
        .collect();
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: {replicas}, versions: [{}], rollout: {rollout}}}",
        versions.join(", ")
    )
}

/// The same, with its port called so and on that number of the pods.
pub fn with_port(yaml: &str, name: &str, number: i32) -> String {
    let from = "name: http, port: 80, targetPort: 3000";
    assert!(yaml.contains(from), "{yaml}");
    yaml.replace(from, &format!("name: {name}, port: 80, targetPort: {number}"))
}

/// What the first port of the Service leads to.
pub fn target_port(world: &World) -> Value {
    world.object(Kind::Service, "order-service")["spec"]["ports"][0]["targetPort"].clone()
}
