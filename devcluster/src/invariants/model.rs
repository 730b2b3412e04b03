//! Objects reduced to what the rules read. Plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

/// Labels of an object, or those that a selector asks for.
pub type Labels = BTreeMap<String, String>;

/// Percentages by what they lead to.
pub type Weights = BTreeMap<Target, i64>;

/// A kind of object that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The namespace itself, for its end.
    Namespace,
    /// What the others belong to: an edit of its spec begins a rollout, its deletion ends all.
    Owner,
    /// What people ask of a rollout: with its creation the weights may turn round.
    Order,
    VirtualService,
    DestinationRule,
    Service,
    Deployment,
    Pod,
    EndpointSlice,
}

/// One step of etcd's counter, which runs over all kinds.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The resourceVersion.
    pub version: u64,
    /// When it was there at the latest: when it arrived, or what its writer says.
    pub at: Timestamp,
    pub change: Change,
}

/// What a revision did.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The object was there when the recording began.
    Found(Object),
    Set(Object),
    Gone(Kind, String),
}

/// An object, with what all kinds have.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub name: String,
    pub uid: String,
    /// Uid of the controller that it belongs to.
    pub owner: Option<String>,
    pub generation: i64,
    pub deleting: bool,
    pub fields: Fields,
}

/// What the rules read of each kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Fields {
    Namespace,
    Owner {
        /// Its status says that a rollout was given up; the weights turn round for that.
        aborted: bool,
        /// What its status says that the rollout leads to.
        leads_to: String,
        /// Weights by subset that its status counts the rollout's steps from.
        begins: BTreeMap<String, i64>,
        /// Routes that lead to their versions whether these are ready or not, as its spec wants it.
        held: BTreeSet<String>,
        /// Its status is that of an older generation.
        behind: bool,
        /// The whole status, to see when it is written.
        status: String,
    },
    Order,
    VirtualService {
        routes: Vec<Route>,
    },
    DestinationRule {
        service: String,
        subsets: BTreeMap<String, Labels>,
    },
    Service {
        selector: Labels,
    },
    Deployment {
        replicas: i64,
        observed_generation: i64,
        total: i64,
        updated: i64,
        available: i64,
        labels: Labels,
    },
    Pod {
        labels: Labels,
        ready: bool,
        last_end: Option<Timestamp>,
    },
    EndpointSlice {
        service: String,
        ready: BTreeSet<String>,
    },
}

impl Fields {
    /// The kind of which these are the fields.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace => Kind::Namespace,
            Self::Owner { .. } => Kind::Owner,
            Self::Order => Kind::Order,
            Self::VirtualService { .. } => Kind::VirtualService,
            Self::DestinationRule { .. } => Kind::DestinationRule,
            Self::Service { .. } => Kind::Service,
            Self::Deployment { .. } => Kind::Deployment,
            Self::Pod { .. } => Kind::Pod,
            Self::EndpointSlice { .. } => Kind::EndpointSlice,
        }
    }
}

/// Where requests can be sent: a Service, or a subset of its pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Name of the Service in this namespace; the whole host if it is of no Service here.
    pub service: String,
    pub subset: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subset {
            Some(subset) => write!(f, "{}/{subset}", self.service),
            None => f.write_str(&self.service),
        }
    }
}

/// One route of a VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, or its place where it has none.
    pub key: String,
    /// It takes only some of the requests.
    pub matched: bool,
    pub shares: Vec<Share>,
    pub mirrors: Vec<Target>,
}

/// A destination with its part of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub target: Target,
    pub weight: Option<i64>,
}

impl Route {
    /// Percentages by target. A single destination without a weight gets everything.
    pub fn weights(&self) -> Weights {
        let default = if self.shares.len() == 1 { 100 } else { 0 };
        let mut weights = Weights::new();
        for share in &self.shares {
            *weights.entry(share.target.clone()).or_default() += share.weight.unwrap_or(default);
        }
        weights
    }
}

/// Reduces an object of a kind to what the rules read.
pub fn reduce(kind: Kind, object: &Value, namespace: &str) -> Object {
    let meta = &object["metadata"];
    let owners = meta["ownerReferences"].as_array().into_iter().flatten();
    let controller = owners.filter(|owner| owner["controller"] == true).map(|owner| text(&owner["uid"])).next();
    let mut fields = fields(kind, object, namespace);
    if let Fields::VirtualService { routes } = &mut fields
        && controller.is_none()
        && !in_mesh(&object["spec"])
    {
        // Somebody's own at a gateway: nobody else promises anything about it.
        routes.clear();
    }
    Object {
        name: text(&meta["name"]),
        uid: text(&meta["uid"]),
        owner: controller,
        generation: number(&meta["generation"]),
        deleting: !meta["deletionTimestamp"].is_null(),
        fields,
    }
}

/// Whether a VirtualService is bound to the mesh, as it is when it names no gateways.
fn in_mesh(spec: &Value) -> bool {
    let mut gateways = list(&spec["gateways"]).peekable();
    gateways.peek().is_none() || gateways.any(|gateway| gateway == "mesh")
}

/// Weights by subset, without those of 0.
fn weights(value: &Value) -> BTreeMap<String, i64> {
    let all = value.as_object().into_iter().flatten().map(|(subset, weight)| (subset.clone(), number(weight)));
    all.filter(|(_, weight)| *weight > 0).collect()
}

fn fields(kind: Kind, object: &Value, namespace: &str) -> Fields {
    let (spec, status) = (&object["spec"], &object["status"]);
    match kind {
        Kind::Namespace => Fields::Namespace,
        Kind::Owner => Fields::Owner {
            aborted: status["rollout"]["state"] == "Aborted",
            leads_to: text(&status["rollout"]["target"]),
            begins: weights(&status["rollout"]["from"]),
            held: list(&spec["routes"]).filter(|it| it["onUnready"] == "Hold").map(|it| text(&it["name"])).collect(),
            behind: status["observedGeneration"]
                .as_i64()
                .is_some_and(|seen| seen < number(&object["metadata"]["generation"])),
            status: status.to_string(),
        },
        Kind::Order => Fields::Order,
        Kind::VirtualService => Fields::VirtualService { routes: routes(spec, namespace) },
        Kind::DestinationRule => Fields::DestinationRule {
            service: service_of(&text(&spec["host"]), namespace),
            subsets: list(&spec["subsets"]).map(|it| (text(&it["name"]), labels(&it["labels"]))).collect(),
        },
        Kind::Service => Fields::Service { selector: labels(&spec["selector"]) },
        Kind::Deployment => Fields::Deployment {
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            observed_generation: number(&status["observedGeneration"]),
            total: number(&status["replicas"]),
            updated: number(&status["updatedReplicas"]),
            available: number(&status["availableReplicas"]),
            labels: labels(&spec["template"]["metadata"]["labels"]),
        },
        Kind::Pod => Fields::Pod {
            labels: labels(&object["metadata"]["labels"]),
            ready: list(&status["conditions"]).any(|it| it["type"] == "Ready" && it["status"] == "True"),
            last_end: last_end(object),
        },
        Kind::EndpointSlice => Fields::EndpointSlice {
            service: text(&object["metadata"]["labels"]["kubernetes.io/service-name"]),
            ready: list(&object["endpoints"])
                .filter(|it| it["conditions"]["ready"] != false)
                .map(|it| text(&it["targetRef"]["name"]))
                .collect(),
        },
    }
}

fn routes(spec: &Value, namespace: &str) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for protocol in ["http", "tcp", "tls"] {
        for (index, route) in list(&spec[protocol]).enumerate() {
            let matches: Vec<&Value> = list(&route["match"]).collect();
            let name = match (&route["name"], matches.as_slice()) {
                (Value::String(name), _) => format!("{protocol} {name}"),
                (_, [only]) if protocol == "tcp" && only["port"].is_i64() => format!("{protocol} :{}", only["port"]),
                _ => format!("{protocol} #{index}"),
            };
            let taken = routes.iter().any(|other| other.key == name);
            // A match of ports alone takes all requests of theirs.
            let partial = |it: &&Value| it.as_object().is_some_and(|fields| fields.keys().any(|key| key != "port"));
            routes.push(Route {
                key: if taken { format!("{name} #{index}") } else { name },
                matched: matches.iter().any(partial),
                shares: list(&route["route"]).map(|it| share(it, namespace)).collect(),
                mirrors: mirrors(route, namespace),
            });
        }
    }
    routes
}

fn share(value: &Value, namespace: &str) -> Share {
    Share { target: target(&value["destination"], namespace), weight: value["weight"].as_i64() }
}

fn mirrors(route: &Value, namespace: &str) -> Vec<Target> {
    let several = list(&route["mirrors"]).map(|it| &it["destination"]);
    several.chain(Some(&route["mirror"]).filter(|it| !it.is_null())).map(|it| target(it, namespace)).collect()
}

fn target(destination: &Value, namespace: &str) -> Target {
    Target {
        service: service_of(&text(&destination["host"]), namespace),
        subset: destination["subset"].as_str().map(str::to_owned),
    }
}

/// The Service of this namespace that a host is the name of.
fn service_of(host: &str, namespace: &str) -> String {
    let ours = [format!(".{namespace}.svc.cluster.local"), format!(".{namespace}.svc"), format!(".{namespace}")];
    let short = ours.iter().find_map(|suffix| host.strip_suffix(suffix.as_str()));
    short.filter(|name| !name.contains('.')).unwrap_or(host).to_owned()
}

/// When a container that should run on last ended. Init containers that run to their end are not counted.
fn last_end(pod: &Value) -> Option<Timestamp> {
    let sidecar = |name: &Value| {
        list(&pod["spec"]["initContainers"]).any(|it| it["name"] == *name && it["restartPolicy"] == "Always")
    };
    let sidecars = list(&pod["status"]["initContainerStatuses"]).filter(|it| sidecar(&it["name"]));
    list(&pod["status"]["containerStatuses"])
        .chain(sidecars)
        .flat_map(|it| [&it["lastState"], &it["state"]])
        .filter_map(|state| state["terminated"]["finishedAt"].as_str()?.parse().ok())
        .max()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn labels(value: &Value) -> Labels {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_of_all_protocols_are_read() {
        let to = |subset: &str| json!({"host": "a.shop.svc.cluster.local", "subset": subset});
        let spec = json!({"spec": {
            "http": [
                {"name": "vip", "match": [{"headers": {"user": {"exact": "vip"}}}], "route": [{"destination": to("v2")}]},
                {"match": [{"port": 80}], "route": [{"destination": to("v1"), "weight": 90}, {"destination": to("v2"), "weight": 10}],
                 "mirror": {"host": "a", "subset": "v3"}},
            ],
            "tcp": [{"match": [{"port": 5432}], "route": [{"destination": {"host": "b.other.svc"}}]}],
        }});
        let Fields::VirtualService { routes } = reduce(Kind::VirtualService, &spec, "shop").fields else { panic!() };
        let keys: Vec<_> = routes.iter().map(|it| (it.key.as_str(), it.matched)).collect();
        assert_eq!(keys, [("http vip", true), ("http #1", false), ("tcp :5432", false)]);
        let v = |subset: &str| Target { service: "a".into(), subset: Some(subset.into()) };
        assert_eq!(routes[0].weights(), Weights::from([(v("v2"), 100)]));
        assert_eq!(routes[1].weights(), Weights::from([(v("v1"), 90), (v("v2"), 10)]));
        assert_eq!(routes[1].mirrors, [v("v3")]);
        assert_eq!(routes[2].shares[0].target.to_string(), "b.other.svc");
    }

    #[test]
    fn routes_at_gateways_alone_count_when_they_have_an_owner() {
        let route = |gateways: Value, owners: Value| {
            json!({
                "metadata": {"ownerReferences": owners},
                "spec": {"gateways": gateways, "http": [{"route": [{"destination": {"host": "a"}}]}]},
            })
        };
        let owner = json!([{"controller": true, "uid": "uid-a"}]);
        for (gateways, owners, count) in [
            (json!(null), json!([]), 1),
            (json!(["public", "mesh"]), json!([]), 1),
            (json!(["public"]), json!([]), 0),
            (json!(["public"]), owner, 1),
        ] {
            let object = reduce(Kind::VirtualService, &route(gateways.clone(), owners), "shop");
            let Fields::VirtualService { routes } = object.fields else { panic!() };
            assert_eq!(routes.len(), count, "{gateways}");
        }
    }

    #[test]
    fn an_owner_tells_in_its_status_that_a_rollout_was_given_up() {
        for (status, expected) in [
            (json!({"rollout": {"state": "Aborted"}}), true),
            (json!({"rollout": {"state": "Paused"}}), false),
            (json!(null), false),
        ] {
            let Fields::Owner { aborted, status, .. } = reduce(Kind::Owner, &json!({"status": status}), "shop").fields
            else {
                panic!()
            };
            assert_eq!(aborted, expected, "{status}");
        }
    }

    #[test]
    fn ends_of_init_containers_are_no_restarts() {
        let ended = |at: &str| json!({"terminated": {"finishedAt": at}});
        let pod = json!({
            "spec": {"initContainers": [{"name": "once"}, {"name": "side", "restartPolicy": "Always"}]},
            "status": {
                "initContainerStatuses": [
                    {"name": "once", "state": ended("2026-01-01T00:00:09Z")},
                    {"name": "side", "lastState": ended("2026-01-01T00:00:02Z")},
                ],
                "containerStatuses": [{"name": "app", "lastState": ended("2026-01-01T00:00:01Z")}],
            },
        });
        let Fields::Pod { last_end, ready, .. } = reduce(Kind::Pod, &pod, "shop").fields else { panic!() };
        assert_eq!((last_end, ready), (Some("2026-01-01T00:00:02Z".parse().unwrap()), false));
    }
}
