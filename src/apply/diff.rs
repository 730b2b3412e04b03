//! Whether a live object is as it should be: all that the operator applied is there, and nothing it applied before
//! and no longer wants.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{api::labels, observe::Key, plan::object::Kind, validate::quantity::Quantity};

use super::{
    applied_mark,
    rivals::{foreign_fields, is_exact},
};

/// Fields by which the entries of a list are told apart, in the order in which they are tried.
const IDENTITIES: &[&str] = &["uid", "mountPath", "containerPort", "topologyKey", "name", "port"];

/// Lists whose order and whole content mean something: they are replaced, never merged.
const ATOMIC: &[&str] =
    &["http", "tcp", "subsets", "portLevelSettings", "hosts", "command", "args", "envFrom", "tolerations", "items"];

/// Maps that admit no foreign entries: they would change what is selected, or go with the next write all the same.
const EXACT: &[&str] = &["selector", "matchLabels", "nodeSelector"];

/// The names of a field, of what it is in, and of what that is in, the field's own last.
type Place<'a> = [&'a str; 3];

const NOWHERE: Place<'static> = [""; 3];

/// Objects whose live form still differed right after they were applied: the cluster rewrites them (an admission
/// webhook, a default), and to apply them again would never end.
#[derive(Default)]
pub struct Settled {
    /// By Microservice, as their children are forgotten with them.
    rewritten: Mutex<HashMap<Key, HashMap<Name, Rewritten>>>,
}

/// A child of a Microservice.
type Name = (Kind, String);

struct Rewritten {
    mark: String,
    /// Digest of the live values of the fields that were applied, and of all where nothing else is admitted.
    live: u64,
}

impl Settled {
    /// Whether `live` needs no write to be as `desired`.
    pub fn is_so(&self, of: &Key, name: &Name, desired: &Value, live: &Value) -> bool {
        let mark = applied_mark(desired);
        if mark.is_none() || applied_mark(live) != mark {
            return false;
        }
        if is_as(live, desired) {
            return true;
        }
        let rewritten = self.rewritten();
        let known = rewritten.get(of).and_then(|children| children.get(name));
        known.is_some_and(|known| Some(known.mark.as_str()) == mark && known.live == digest(&project(live, desired)))
    }

    /// Notes how the cluster answered a write.
    pub fn note(&self, of: &Key, name: &Name, desired: &Value, answer: &Value) {
        if is_as(answer, desired) {
            self.keep(of, |other| other != name);
        } else {
            let mark = applied_mark(desired).unwrap_or_default().to_owned();
            let live = digest(&project(answer, desired));
            self.rewritten().entry(of.clone()).or_default().insert(name.clone(), Rewritten { mark, live });
        }
    }

    /// Forgets the children of a Microservice that it no longer has, whoever deleted them.
    pub fn keep(&self, of: &Key, has: impl Fn(&Name) -> bool) {
        let mut rewritten = self.rewritten();
        let Some(children) = rewritten.get_mut(of) else { return };
        children.retain(|name, _| has(name));
        if children.is_empty() {
            rewritten.remove(of);
        }
    }

    /// Forgets a Microservice that is gone; its children are deleted by the cluster.
    pub fn forget(&self, of: &Key) {
        self.rewritten().remove(of);
    }

    fn rewritten(&self) -> MutexGuard<'_, HashMap<Key, HashMap<Name, Rewritten>>> {
        self.rewritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The object with its digest as an annotation, so that a field which is no longer wanted is noticed too.
pub fn stamped(object: &Value, digest: u64) -> Value {
    let mut stamped = object.clone();
    stamped["metadata"]["annotations"][labels::APPLIED] = format!("{digest:016x}").into();
    stamped
}

/// What tells a value apart from others.
pub fn digest(value: &Value) -> u64 {
    let hash = Sha256::digest(value.to_string().as_bytes());
    hash.iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}

pub fn is_as(live: &Value, desired: &Value) -> bool {
    covers(live, desired) && foreign_fields(live, desired).is_none()
}

/// Whether everything in `desired` is in `live`.
pub fn covers(live: &Value, desired: &Value) -> bool {
    covers_at(live, desired, NOWHERE)
}

fn covers_at(live: &Value, desired: &Value, place: Place<'_>) -> bool {
    let [.., name] = place;
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let exact = !EXACT.contains(&name) || live.len() == desired.len();
            exact && desired.iter().all(|(key, wanted)| field_covers(live.get(key), wanted, within(place, key)))
        }
        (Value::Array(live), Value::Array(desired)) => list_covers(live, desired, place),
        (Value::String(live), Value::String(desired)) => {
            live == desired || (is_quantity(place) && same_quantity(live, desired))
        }
        (Value::Number(live), Value::Number(desired)) => live == desired || live.as_f64() == desired.as_f64(),
        (live, desired) => live == desired,
    }
}

fn within<'a>([_, outer, name]: Place<'a>, field: &'a str) -> Place<'a> {
    [outer, name, field]
}

/// Whether Kubernetes has a quantity there. Elsewhere `1.10` and `1.1` are two texts: names of labels and headers are anybody's.
fn is_quantity(place: Place<'_>) -> bool {
    matches!(
        place,
        ["resources", "limits" | "requests", _] | [_, "emptyDir", "sizeLimit"] | [_, "resourceFieldRef", "divisor"]
    )
}

/// The API server writes quantities in one form: `1000m` comes back as `1`.
fn same_quantity(live: &str, desired: &str) -> bool {
    matches!((live.parse::<Quantity>(), desired.parse::<Quantity>()), (Ok(live), Ok(desired)) if live == desired)
}

/// An empty value is as good as an absent one: the API server drops it.
fn field_covers(live: Option<&Value>, desired: &Value, place: Place<'_>) -> bool {
    match (live, desired) {
        (Some(live), desired) => covers_at(live, desired, place),
        (None, Value::Null) => true,
        (None, Value::Array(entries)) => entries.is_empty(),
        (None, _) => false,
    }
}

fn list_covers(live: &[Value], desired: &[Value], place: Place<'_>) -> bool {
    let [.., name] = place;
    let identity = identity_of(desired);
    if ATOMIC.contains(&name) || identity.is_none() {
        return same_entries(live, desired);
    }
    desired.iter().all(|wanted| counterpart(live, wanted, identity).is_some_and(|live| covers(live, wanted)))
}

fn same_entries(live: &[Value], desired: &[Value]) -> bool {
    live.len() == desired.len() && live.iter().zip(desired).all(|(live, wanted)| same(live, wanted, NOWHERE))
}

/// Within a replaced list, an entry with more in it than was applied is another entry.
fn same(live: &Value, desired: &Value, place: Place<'_>) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let is_there = |(key, wanted): (&String, &Value)| {
                live.get(key).is_some_and(|live| same(live, wanted, within(place, key)))
            };
            live.len() == desired.len() && desired.iter().all(is_there)
        }
        (Value::Array(live), Value::Array(desired)) => same_entries(live, desired),
        (live, desired) => covers_at(live, desired, place),
    }
}

pub fn identity_of(list: &[Value]) -> Option<&'static str> {
    IDENTITIES.iter().copied().find(|key| !list.is_empty() && list.iter().all(|entry| entry.get(key).is_some()))
}

pub fn counterpart<'a>(live: &'a [Value], wanted: &Value, identity: Option<&str>) -> Option<&'a Value> {
    let key = identity?;
    live.iter().find(|entry| entry.get(key) == wanted.get(key))
}

/// The part of `live` that [`is_as`] looks at: what `desired` speaks of, and all that is live where nothing else is
/// admitted.
fn project(live: &Value, desired: &Value) -> Value {
    let mut seen = part(live, desired, "");
    if let Some(seen) = seen.as_object_mut().filter(|_| is_exact(desired)) {
        seen.insert("spec".to_owned(), live["spec"].clone());
    }
    seen
}

/// The part of a field that [`covers`] looks at.
fn part(live: &Value, desired: &Value, name: &str) -> Value {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) if !EXACT.contains(&name) => {
            let fields =
                desired.iter().filter_map(|(key, wanted)| Some((key.clone(), part(live.get(key)?, wanted, key))));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        (Value::Array(live), Value::Array(desired)) if !ATOMIC.contains(&name) && identity_of(desired).is_some() => {
            let identity = identity_of(desired);
            let entries =
                desired.iter().filter_map(|wanted| Some(part(counterpart(live, wanted, identity)?, wanted, "")));
            Value::Array(entries.collect())
        }
        (live, _) => live.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stamped(object: &Value) -> Value {
        super::stamped(object, digest(object))
    }

    fn child() -> (Key, Name) {
        (Key::new("shop", "a"), (Kind::Deployment, "a-v1".to_owned()))
    }

    #[test]
    fn drift_is_an_applied_field_that_changed() {
        let desired = json!({"spec": {"replicas": 3, "template": {"containers": [
            {"name": "app", "image": "a:1", "resources": {"limits": {"cpu": "1000m"}}, "env": [{"name": "A", "value": "1"}]}
        ]}}});
        let base = json!({"spec": {"replicas": 3, "paused": false, "template": {"containers": [
            {"name": "injected", "image": "proxy"},
            {"name": "app", "image": "a:1", "imagePullPolicy": "Always", "resources": {"limits": {"cpu": "1"}},
             "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}
        ]}}});
        assert!(covers(&base, &desired), "what others added stays");
        for (pointer, value) in [
            ("/spec/replicas", json!(4)),
            ("/spec/template/containers/1/image", json!("a:2")),
            ("/spec/template/containers/1/env/1/value", json!("x")),
            ("/spec/template/containers/1/resources/limits/cpu", json!("2")),
        ] {
            let mut live = base.clone();
            *live.pointer_mut(pointer).unwrap() = value;
            assert!(!covers(&live, &desired), "{pointer}");
        }
    }

    #[test]
    fn amounts_are_told_by_what_they_come_to_and_texts_to_the_letter() {
        let amounts = |text: &str| {
            let divided = json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": text}});
            [
                json!({"containers": [{"name": "app", "resources": {"limits": {"cpu": text}, "requests": {"cpu": text}}}]}),
                json!({"volumes": [{"name": "files", "emptyDir": {"sizeLimit": text}}]}),
                json!({"env": [{"name": "A", "valueFrom": divided}]}),
                json!({"downwardAPI": {"items": [divided]}}),
                json!({"projected": {"sources": [{"downwardAPI": {"items": [divided]}}]}}),
            ]
        };
        let texts = |text: &str| {
            [
                json!({"env": [{"name": "A", "value": text}]}),
                json!({"command": [text]}),
                json!({"args": ["--version", text]}),
                json!({"annotations": {"sizeLimit": text}}),
                json!({"labels": {"limits": text}}),
                json!({"matchLabels": {"divisor": text}}),
                json!({"http": [{"match": [{"headers": {"limits": {"exact": text}}}]}]}),
                json!({"http": [{"headers": {"request": {"set": {"requests": text}}}}]}),
            ]
        };
        for (live, wanted) in [("1", "1000m"), ("1", "1.0"), ("1Gi", "1024Mi"), ("1k", "1000"), ("1Pi", "1024Ti")] {
            for (live, wanted) in amounts(live).iter().zip(amounts(wanted)) {
                assert!(covers(live, &wanted), "{live} is {wanted}");
            }
        }
        for (live, wanted) in [("1.1", "1.10"), ("1", "1.0"), ("1000", "1k"), ("1", "2")] {
            for (live, wanted) in texts(live).iter().zip(texts(wanted)) {
                assert!(!covers(live, &wanted), "{live} is not {wanted}");
            }
        }
        for (live, wanted) in amounts("1").iter().zip(amounts("2")) {
            assert!(!covers(live, &wanted), "{live} is not {wanted}");
        }
    }

    #[test]
    fn routes_and_selectors_admit_nothing_foreign() {
        let desired =
            json!({"spec": {"selector": {"a": "b"}, "http": [{"name": "default", "route": [{"weight": 90}]}]}});
        assert!(covers(&desired, &desired));
        let mut live = desired.clone();
        live["spec"]["selector"]["c"] = json!("d");
        assert!(!covers(&live, &desired));
        let nodes = |nodes: Value| json!({"spec": {"nodeSelector": nodes}});
        assert!(!covers(&nodes(json!({"disk": "ssd", "zone": "a"})), &nodes(json!({"disk": "ssd"}))));
        let mut live = desired.clone();
        live["spec"]["http"][0]["fault"] = json!({"abort": {}});
        assert!(!covers(&live, &desired));
        let mut live = desired.clone();
        live["spec"]["http"].as_array_mut().unwrap().push(json!({"name": "more"}));
        assert!(!covers(&live, &desired));
    }

    #[test]
    fn specs_of_routes_admit_no_foreign_fields() {
        let (of, name) = child();
        let desired = stamped(&json!({"kind": "DestinationRule", "metadata": {"name": "x"},
            "spec": {"host": "a", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 1}}}}}));
        let mut live = desired.clone();
        assert_eq!(foreign_fields(&live, &desired), None);
        assert!(Settled::default().is_so(&of, &name, &desired, &live));
        live["spec"]["exportTo"] = json!(["."]);
        live["spec"]["trafficPolicy"]["tls"] = json!({"mode": "DISABLE"});
        live["metadata"]["labels"] = json!({"theirs": "stays"});
        let ours = json!({"tcp": {"maxConnections": 1}});
        let expected = json!({"host": "a", "exportTo": null, "trafficPolicy": {"connectionPool": ours, "tls": null}});
        assert_eq!(foreign_fields(&live, &desired), Some(expected));
        assert!(!Settled::default().is_so(&of, &name, &desired, &live));
        let of_service = json!({"kind": "Service", "spec": {}});
        assert_eq!(foreign_fields(&json!({"spec": {"type": "ClusterIP"}}), &of_service), None);
    }

    #[test]
    fn what_the_cluster_rewrites_is_applied_once() {
        let (of, name) = child();
        let settled = Settled::default();
        let desired = stamped(&json!({"metadata": {"name": "x"}, "spec": {"image": "a:1"}}));
        let mut live = desired.clone();
        live["spec"]["image"] = json!("mirror/a:1");
        assert!(!settled.is_so(&of, &name, &desired, &live));
        settled.note(&of, &name, &desired, &live);
        assert!(settled.is_so(&of, &name, &desired, &live));
        live["spec"]["image"] = json!("evil");
        assert!(!settled.is_so(&of, &name, &desired, &live));
    }

    /// As the cluster rewrote it, with this spec.
    fn rewritten(desired: &Value, spec: &Value) -> Value {
        let mut live = desired.clone();
        live["metadata"]["labels"]["team"] = json!("rewritten");
        live["spec"] = spec.clone();
        live
    }

    #[test]
    fn what_is_put_into_an_object_that_the_cluster_rewrites_is_noticed_where_nothing_foreign_is_admitted() {
        let (of, name) = child();
        for (why, kind, spec, drift) in [
            (
                "a field of a route",
                "Any",
                json!({"http": [{"name": "a", "route": []}]}),
                json!({"http": [{"name": "a", "route": [], "fault": {"abort": {}}}]}),
            ),
            ("a route", "Any", json!({"http": [{"name": "a"}]}), json!({"http": [{"name": "fault"}, {"name": "a"}]})),
            (
                "a subset",
                "Any",
                json!({"subsets": [{"name": "a"}]}),
                json!({"subsets": [{"name": "a"}, {"name": "b"}]}),
            ),
            ("what is selected", "Service", json!({"selector": {"a": "b"}}), json!({"selector": {"a": "b", "c": "d"}})),
            (
                "whose pods these are",
                "Deployment",
                json!({"selector": {"matchLabels": {"a": "b"}}}),
                json!({"selector": {"matchLabels": {"a": "b", "c": "d"}}}),
            ),
            (
                "where pods run",
                "Deployment",
                json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}}),
                json!({"template": {"spec": {"nodeSelector": {"a": "b", "c": "d"}}}}),
            ),
            (
                "a field of a spec",
                "VirtualService",
                json!({"hosts": ["a"]}),
                json!({"hosts": ["a"], "gateways": ["edge"]}),
            ),
            (
                "a field within a spec",
                "DestinationRule",
                json!({"trafficPolicy": {"connectionPool": {}}}),
                json!({"trafficPolicy": {"connectionPool": {}, "tls": {"mode": "DISABLE"}}}),
            ),
        ] {
            let settled = Settled::default();
            let meta = json!({"name": "x", "labels": {"team": "a"}});
            let desired = stamped(&json!({"kind": kind, "metadata": meta, "spec": spec}));
            settled.note(&of, &name, &desired, &rewritten(&desired, &spec));
            let is_so = |spec: &Value| settled.is_so(&of, &name, &desired, &rewritten(&desired, spec));
            assert!(is_so(&spec), "{why}: it is as it was answered");
            assert!(!is_so(&drift), "{why}");
        }
    }

    #[test]
    fn what_a_webhook_adds_is_settled_wherever_it_is() {
        let (of, name) = child();
        for (kind, spec, answered) in [
            ("VirtualService", json!({"hosts": ["a"]}), json!({"hosts": ["a"], "exportTo": ["."]})),
            ("Any", json!({"http": [{"name": "a"}]}), json!({"http": [{"name": "a", "headers": {}}, {"name": "b"}]})),
            ("Deployment", json!({"nodeSelector": {"a": "b"}}), json!({"nodeSelector": {"a": "b", "zone": "c"}})),
            (
                "Deployment",
                json!({"containers": [{"name": "app", "image": "a:1"}]}),
                json!({"containers": [{"name": "proxy"}, {"name": "app", "image": "mirror/a:1", "tty": true}]}),
            ),
        ] {
            let settled = Settled::default();
            let desired = stamped(&json!({"kind": kind, "metadata": {"name": "x"}, "spec": spec}));
            let mut live = desired.clone();
            live["spec"] = answered;
            assert!(!settled.is_so(&of, &name, &desired, &live), "{live}");
            settled.note(&of, &name, &desired, &live);
            live["metadata"]["labels"] = json!({"theirs": "stays"});
            live["status"] = json!({"replicas": 1});
            assert!(settled.is_so(&of, &name, &desired, &live), "{live}");
        }
    }

    #[test]
    fn only_planned_children_of_living_microservices_are_remembered() {
        let settled = Settled::default();
        let (a, b) = (Key::new("shop", "a"), Key::new("shop", "b"));
        let desired = stamped(&json!({"metadata": {"name": "x"}, "spec": {"image": "a:1"}}));
        let rewritten = json!({"metadata": desired["metadata"], "spec": {"image": "mirror/a:1"}});
        let child = |name: &str| (Kind::Deployment, name.to_owned());
        for (of, name) in [(&a, "a-v1"), (&a, "a-v2"), (&b, "b-v1")] {
            settled.note(of, &child(name), &desired, &rewritten);
        }
        settled.keep(&a, |(_, name)| name == "a-v2");
        let is_so = |of, name| settled.is_so(of, &child(name), &desired, &rewritten);
        assert_eq!([is_so(&a, "a-v1"), is_so(&a, "a-v2"), is_so(&b, "b-v1")], [false, true, true]);
        settled.forget(&b);
        assert!(!is_so(&b, "b-v1"));
        settled.keep(&a, |_| false);
        assert!(settled.rewritten.lock().unwrap().is_empty());
    }

    #[test]
    fn a_field_no_longer_wanted_is_noticed() {
        let (of, name) = child();
        let settled = Settled::default();
        let before = stamped(&json!({"metadata": {"name": "x"}, "spec": {"a": 1, "b": 2}}));
        let after = stamped(&json!({"metadata": {"name": "x"}, "spec": {"a": 1}}));
        assert!(settled.is_so(&of, &name, &before, &before));
        assert!(!settled.is_so(&of, &name, &after, &before));
    }
}
