//! What stands against an apply: fields of somebody else's that a kind does not admit, or that the API server refuses beside
//! ours. Server-side apply leaves them where they are, so a patch has to take them away. Each patch has what is ours in their
//! place: an object is never without either, which a validation may refuse, and pods may be made of.

use serde_json::{Map, Value, json};

use super::diff::{counterpart, identity_of};

/// Kinds whose spec admits no foreign fields: each could change where requests go.
const EXACT_SPECS: &[&str] = &["VirtualService", "DestinationRule"];

/// Fields of which an object may have one alone: values and sources of variables, bounds of budgets, handlers of probes and
/// hooks, and sources of volumes that a Microservice can name. What a field is replaced by may leave its defaults behind,
/// which nobody owns.
const ONE_OF: &[&[&str]] = &[
    &["value", "valueFrom"],
    &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"],
    &["minAvailable", "maxUnavailable"],
    &["exec", "httpGet", "tcpSocket", "grpc", "sleep"],
    &["emptyDir", "configMap", "secret", "downwardAPI", "projected", "persistentVolumeClaim"],
];

/// Takes away what stands against what is applied.
#[derive(Debug, PartialEq)]
pub enum Strip {
    Merge(Value),
    /// Of a kind whose lists the API server merges by their entries' keys.
    Strategic(Value),
}

/// What the API server may have refused beside what is applied.
pub fn strip(live: &Value, desired: &Value) -> Option<Strip> {
    let foreign = || foreign_fields(live, desired).map(|spec| Strip::Merge(json!({"spec": spec})));
    foreign().or_else(|| namesakes(live, desired).map(Strip::Strategic))
}

/// Whether an object is of a kind whose spec admits no foreign fields.
pub fn is_exact(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| EXACT_SPECS.contains(&kind))
}

/// What somebody else put into a spec that does not admit it, as a merge patch that leaves what is ours.
pub fn foreign_fields(live: &Value, desired: &Value) -> Option<Value> {
    let kind = desired.get("kind")?.as_str()?;
    let (live, desired) = (live.get("spec")?, desired.get("spec")?);
    match kind {
        "Service" => foreign_ports(live, desired),
        _ if EXACT_SPECS.contains(&kind) => {
            let mut patch = additions(live, desired)?;
            merge(&mut patch, desired);
            Some(patch)
        }
        _ => None,
    }
}

/// The ports of a Service without those that took a name of ours, with ours instead. What is applied is merged by number
/// and protocol, so that there would be two of one name, which the API server refuses; and it refuses a Service without any.
fn foreign_ports(live: &Value, desired: &Value) -> Option<Value> {
    let (live, ours) = (live.get("ports")?.as_array()?, desired.get("ports")?.as_array()?);
    let took = |port: &Value| took_a_name(port, ours, "port");
    if !live.iter().any(took) {
        return None;
    }
    let is_ours = |port: &Value| ours.iter().any(|wanted| same_port(port, wanted, "port"));
    let others = live.iter().filter(|port| !took(port) && !is_ours(port));
    Some(json!({"ports": ours.iter().chain(others).collect::<Vec<_>>()}))
}

/// Whether a port has a name of ours, and another number or protocol.
fn took_a_name(port: &Value, ours: &[Value], number: &str) -> bool {
    let namesake = ours.iter().find(|wanted| !wanted["name"].is_null() && wanted["name"] == port["name"]);
    namesake.is_some_and(|wanted| !same_port(port, wanted, number))
}

fn same_port(one: &Value, other: &Value, number: &str) -> bool {
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    one[number] == other[number] && protocol(one) == protocol(other)
}

fn additions(live: &Value, desired: &Value) -> Option<Value> {
    let (Value::Object(live), Value::Object(desired)) = (live, desired) else { return None };
    let added: Map<_, _> = live
        .iter()
        .filter_map(|(key, value)| match desired.get(key) {
            Some(wanted) => Some((key.clone(), additions(value, wanted)?)),
            None => Some((key.clone(), Value::Null)),
        })
        .collect();
    (!added.is_empty()).then_some(Value::Object(added))
}

fn merge(patch: &mut Value, desired: &Value) {
    match (patch, desired) {
        (Value::Object(patch), Value::Object(desired)) => {
            for (key, wanted) in desired {
                merge(patch.entry(key.clone()).or_insert(Value::Null), wanted);
            }
        }
        (patch, desired) => patch.clone_from(desired),
    }
}

/// Of fields that exclude each other, ours instead of those that are not.
fn excluded(live: &Map<String, Value>, desired: &Map<String, Value>) -> Vec<(String, Value)> {
    let has = |fields: &Map<String, Value>, key: &str| fields.get(key).is_some_and(|value| !value.is_null());
    let mut fields = Vec::new();
    for group in ONE_OF {
        let Some(ours) = group.iter().find(|field| has(desired, field)) else { continue };
        let others = group.iter().filter(|field| *field != ours && has(live, field));
        let gone: Vec<_> = others.map(|field| ((*field).to_owned(), Value::Null)).collect();
        if !gone.is_empty() {
            fields.push(((*ours).to_owned(), desired[*ours].clone()));
            fields.extend(gone);
        }
    }
    fields
}

/// Ports of containers that have a name of ours and another number or protocol, and fields that exclude ours, as a strategic
/// merge patch that has ours instead. What is applied is merged with these, which the API server refuses.
pub fn namesakes(live: &Value, desired: &Value) -> Option<Value> {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let fields = desired.iter().filter_map(|(key, wanted)| match (key.as_str(), live.get(key)?, wanted) {
                ("ports", Value::Array(live), Value::Array(wanted)) => Some((key.clone(), displaced(live, wanted)?)),
                (_, live, wanted) => Some((key.clone(), namesakes(live, wanted)?)),
            });
            let fields: Map<_, _> = fields.chain(excluded(live, desired)).collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        (Value::Array(live), Value::Array(desired)) => {
            let identity = identity_of(desired)?;
            let entries = desired.iter().filter_map(|wanted| {
                let mut patch = namesakes(counterpart(live, wanted, Some(identity))?, wanted)?;
                patch[identity] = wanted[identity].clone();
                Some(patch)
            });
            let entries: Vec<_> = entries.collect();
            (!entries.is_empty()).then_some(Value::Array(entries))
        }
        _ => None,
    }
}

fn displaced(live: &[Value], ours: &[Value]) -> Option<Value> {
    let taken = live.iter().filter(|port| took_a_name(port, ours, "containerPort"));
    let gone: Vec<_> = taken.map(|port| json!({"containerPort": port["containerPort"], "$patch": "delete"})).collect();
    (!gone.is_empty()).then(|| gone.into_iter().chain(ours.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::{
        super::diff::{covers, is_as},
        *,
    };

    #[test]
    fn a_port_of_a_service_that_took_a_name_of_ours_gives_way() {
        let service = |ports: Value| json!({"kind": "Service", "spec": {"ports": ports}});
        let ours = service(json!([{"name": "http", "port": 80}]));
        let theirs = json!({"name": "theirs", "port": 82});
        let strip = |ports: Value| Some(json!({"ports": ports}));
        for (live, expected) in [
            (json!([{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}]), None),
            (json!([{"name": "http", "port": 80}, theirs]), None),
            (json!([{"name": "http", "port": 81, "protocol": "TCP"}]), strip(json!([{"name": "http", "port": 80}]))),
            (json!([{"name": "http", "port": 80, "protocol": "UDP"}]), strip(json!([{"name": "http", "port": 80}]))),
            (json!([{"name": "http", "port": 81}, theirs]), strip(json!([{"name": "http", "port": 80}, theirs]))),
        ] {
            let live = service(live);
            assert_eq!(foreign_fields(&live, &ours), expected, "{live}");
            assert_eq!(is_as(&live, &ours), expected.is_none(), "{live}");
        }
    }

    #[test]
    fn a_port_of_a_container_that_took_a_name_of_ours_is_taken_away() {
        let pods = |port: i32| {
            let app = json!({"name": "app", "image": "a", "ports": [{"name": "http", "containerPort": port}]});
            json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers": [app]}}}})
        };
        let ports = json!([{"containerPort": 81, "$patch": "delete"}, {"name": "http", "containerPort": 80}]);
        let app = json!([{"name": "app", "ports": ports}]);
        let strip = json!({"spec": {"template": {"spec": {"containers": app}}}});
        assert_eq!(namesakes(&pods(81), &pods(80)), Some(strip));
        assert_eq!(namesakes(&pods(80), &pods(80)), None);
    }

    #[test]
    fn what_excludes_a_field_of_ours_is_taken_away_first() {
        let pods =
            |env: Value| json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [env]}]}}}});
        let (text, other) =
            (json!({"name": "A", "value": "x"}), json!({"name": "A", "valueFrom": {"secretKeyRef": {}}}));
        for (live, ours, gone) in [(&text, &other, "value"), (&other, &text, "valueFrom")] {
            let mut instead = ours.clone();
            instead[gone] = Value::Null;
            let strip = pods(instead);
            assert_eq!(namesakes(&pods(live.clone()), &pods(ours.clone())), Some(strip));
            assert!(!covers(&pods(live.clone()), &pods(ours.clone())));
        }
        assert_eq!(namesakes(&pods(text.clone()), &pods(text)), None);
        let budget = |field: &str| json!({"spec": {field: 1}});
        let strip = json!({"spec": {"minAvailable": null, "maxUnavailable": 1}});
        assert_eq!(namesakes(&budget("minAvailable"), &budget("maxUnavailable")), Some(strip));
    }
}
