//! What could not be written, and whether requests go where they should all the same.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::plan::object::{Kind, Object};

use super::Error;

/// Writes that failed.
#[derive(Debug)]
pub struct Failure {
    /// The one that is told, and decides when to try again.
    pub first: Error,
    /// Those that were met after it.
    others: Vec<Error>,
    /// The routes are as they were planned, so that what the plan says of weights, rollout and versions is so.
    pub routed: bool,
}

impl Failure {
    /// Nothing after it was written.
    pub fn stopped(first: Error) -> Self {
        Self { first, others: Vec::new(), routed: false }
    }

    /// All else was written; None if nothing failed.
    pub fn beside(errors: Vec<Error>) -> Option<Self> {
        let mut errors = errors.into_iter();
        Some(Self { first: errors.next()?, others: errors.collect(), routed: true })
    }

    /// What kept an object of this kind from being written.
    pub fn of(&self, kind: Kind) -> Option<&Error> {
        self.all().find(|error| error.kind() == Some(kind))
    }

    /// What kept an object from being written that says where requests go.
    pub fn of_traffic(&self) -> Option<&Error> {
        self.all().find(|error| error.kind().is_some_and(Kind::guards_traffic))
    }

    fn all(&self) -> impl Iterator<Item = &Error> {
        [&self.first].into_iter().chain(&self.others)
    }
}

/// Whether requests go where they are planned to go though one of the planned objects could not be written: the error is
/// about it alone, or no answer came, and it does not say so; or what is `live` of it, and the Microservice's own, does for the
/// planned routes.
pub fn spares_routes(
    error: &Error,
    refused: &Object,
    planned: &[Object],
    live: impl FnOnce() -> Option<Value>,
) -> bool {
    let unheard = error.is_unanswered() && !refused.kind.guards_traffic();
    if !error.is_of_one() && !unheard {
        return false;
    }
    let routes = || planned.iter().find(|object| object.kind == Kind::VirtualService);
    match refused.kind {
        Kind::VirtualService => false,
        Kind::DestinationRule => {
            routes().zip(live()).is_some_and(|(routes, live)| leads_within(&routes.value, &refused.value, &live))
        }
        Kind::Service => routes().is_some() && live().is_some(),
        Kind::ControllerRevision
        | Kind::ServiceAccount
        | Kind::ConfigMap
        | Kind::PodDisruptionBudget
        | Kind::Deployment => true,
    }
}

/// Whether a child goes although these were refused. That is decided by what is seen, and what is in the way of others may be
/// just what is to go, as with a quota. No older spec goes, with its configuration, before the newest one is kept; and where no
/// answer came, only what says where requests go is worth to wait for another one.
pub fn spares_removal(refused: &[Error], child: Kind) -> bool {
    let keeps = |kind: Kind| match kind {
        Kind::ControllerRevision => matches!(child, Kind::ControllerRevision | Kind::ConfigMap),
        kind => kind.guards_traffic(),
    };
    let silent = refused.iter().any(Error::is_unanswered);
    (!silent || child.guards_traffic()) && !refused.iter().filter_map(Error::kind).any(keeps)
}

/// Whether the routes lead to nothing but subsets that the live DestinationRule has as they are planned.
fn leads_within(routes: &Value, planned: &Value, live: &Value) -> bool {
    let mut named = BTreeSet::new();
    note_subsets(&routes["spec"], &mut named);
    let subset = |rule: &Value, name: &str| {
        let subsets = rule["spec"]["subsets"].as_array().into_iter().flatten();
        subsets.filter(|subset| subset["name"] == name).map(|subset| subset["labels"].clone()).next()
    };
    let stands = |name: &&str| subset(live, name).is_some_and(|labels| Some(labels) == subset(planned, name));
    live["spec"]["host"] == planned["spec"]["host"] && named.iter().all(stands)
}

/// Notes all subsets that are named anywhere in the value.
fn note_subsets<'a>(value: &'a Value, named: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            named.extend(fields.get("subset").and_then(Value::as_str));
            fields.values().for_each(|value| note_subsets(value, named));
        }
        Value::Array(entries) => entries.iter().for_each(|value| note_subsets(value, named)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_answered_spares_the_routes_and_what_goes_with_them() {
        let error = |kind| {
            let status = kube::core::Status { code: 504, ..kube::core::Status::default() };
            Error::write(kind, "a", kube::Error::Api(Box::new(status)))
        };
        for kind in Kind::ALL {
            let object = Object { kind, name: "a".to_owned(), value: json!({}) };
            let spared = spares_routes(&error(kind), &object, std::slice::from_ref(&object), || Some(json!({})));
            assert_eq!(spared, !kind.guards_traffic(), "{kind:?}");
            assert_eq!(spares_removal(&[error(Kind::Deployment)], kind), kind.guards_traffic(), "{kind:?}");
        }
    }

    #[test]
    fn routes_lead_within_what_the_live_rule_has_as_it_was_planned() {
        let rule = |host: &str, subsets: &[(&str, &str)]| {
            let subsets = subsets.iter().map(|(name, version)| json!({"name": name, "labels": {"version": version}}));
            json!({"spec": {"host": host, "subsets": subsets.collect::<Vec<_>>()}})
        };
        let to = |subset: &str| json!({"destination": {"host": "a", "subset": subset}});
        let routes =
            json!({"spec": {"http": [{"route": [to("v1"), to("v2")], "mirror": {"host": "a", "subset": "v3"}}]}});
        let planned = rule("a", &[("v1", "v1"), ("v2", "v2"), ("v3", "v3")]);
        for (live, expected, why) in [
            (rule("a", &[("v3", "v3"), ("v2", "v2"), ("v1", "v1"), ("v0", "v0")]), true, "all are there"),
            (rule("a", &[("v1", "v1"), ("v2", "v2")]), false, "the mirror's is not"),
            (rule("a", &[("v1", "v1"), ("v2", "v1"), ("v3", "v3")]), false, "one selects other pods"),
            (rule("b", &[("v1", "v1"), ("v2", "v2"), ("v3", "v3")]), false, "they are another host's"),
        ] {
            assert_eq!(leads_within(&routes, &planned, &live), expected, "{why}");
        }
    }
}
