//! What led to a violation, for people: the revisions right before it, a line each.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::SignedDuration;

use super::model::{Change, Fields, Kind, Object, Revision};
use super::rules::{Violation, words};

/// How long before a violation what led to it may have begun.
const BEFORE: SignedDuration = SignedDuration::from_secs(10);

/// Tells what happened in the last seconds before a violation: what is as it was is left out.
pub fn account(revisions: &[Revision], violation: &Violation) -> String {
    let mut told: BTreeMap<(Kind, String), String> = BTreeMap::new();
    let mut text = String::new();
    for revision in revisions.iter().take_while(|it| it.version <= violation.version) {
        let (kind, name, now) = match &revision.change {
            Change::Found(object) | Change::Set(object) => {
                (object.fields.kind(), object.name.clone(), describe(object))
            }
            Change::Gone(kind, name) => (*kind, name.clone(), "gone".to_owned()),
        };
        let line = format!("{} {kind:?} {name}: {now}", revision.at.strftime("%H:%M:%S%.3f"));
        let same = told.insert((kind, name), now.clone()).is_some_and(|before| before == now);
        if !same && violation.at.duration_since(revision.at) <= BEFORE {
            let _never_fails = writeln!(text, "    {line}");
        }
    }
    text
}

fn describe(object: &Object) -> String {
    let fields = match &object.fields {
        Fields::Namespace | Fields::Order => String::new(),
        Fields::Owner { aborted, leads_to, begins, behind, .. } => {
            let behind = if *behind { ", its status is behind" } else { "" };
            let aborted = if *aborted { ", aborted" } else { "" };
            format!("generation {}{behind}, leads to {leads_to:?} from {begins:?}{aborted}", object.generation)
        }
        Fields::VirtualService { routes } => {
            let routes = routes.iter().map(|route| format!("{} {}", route.key, words(&route.weights())));
            routes.collect::<Vec<_>>().join(", ")
        }
        Fields::DestinationRule { subsets, .. } => format!("{:?}", subsets.keys().collect::<Vec<_>>()),
        Fields::Service { selector } => format!("{selector:?}"),
        Fields::Deployment { replicas, total, updated, available, .. } => {
            format!("{available} available, {updated} updated, {total} pods of {replicas}")
        }
        Fields::Pod { ready, last_end, .. } => {
            let ended = last_end.map(|at| format!(", ended at {at}")).unwrap_or_default();
            format!("{}{ended}", if *ready { "ready" } else { "not ready" })
        }
        Fields::EndpointSlice { ready, .. } => format!("{ready:?}"),
    };
    if object.deleting { format!("{fields}, being deleted") } else { fields }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::invariants::{Rule, reduce};

    #[test]
    fn what_changed_right_before_is_told_once_and_in_order() {
        let at = |second: i64| jiff::Timestamp::from_second(second).unwrap();
        let pod = |ready: &str| {
            let conditions = json!([{"type": "Ready", "status": ready}]);
            reduce(Kind::Pod, &json!({"metadata": {"name": "a-1"}, "status": {"conditions": conditions}}), "shop")
        };
        let route = |subset: &str| {
            let route = json!({"route": [{"destination": {"host": "a", "subset": subset}}]});
            reduce(Kind::VirtualService, &json!({"metadata": {"name": "a"}, "spec": {"http": [route]}}), "shop")
        };
        let changes = [
            (100, Change::Set(route("v1"))),
            (115, Change::Set(pod("True"))),
            (116, Change::Set(pod("True"))),
            (117, Change::Gone(Kind::Pod, "a-1".into())),
            (118, Change::Set(route("v2"))),
            (119, Change::Set(pod("False"))),
        ];
        let revisions: Vec<Revision> = (1..)
            .zip(changes)
            .map(|(version, (second, change))| Revision { version, at: at(second), change })
            .collect();
        let (object, before, after, why) = Default::default();
        let violation = Violation { rule: Rule::Oscillated, object, version: 5, at: at(118), before, after, why };
        let expected = "    00:01:55.000 Pod a-1: ready\n    00:01:57.000 Pod a-1: gone\n    \
                        00:01:58.000 VirtualService a: http #0 a/v2=100\n";
        assert_eq!(account(&revisions, &violation), expected);
    }
}
