//! Who owns what the operator wrote. The API server tells what a manager applied from what it wrote by other patches:
//! what is applied no more stays where anything else owns it, be it the same manager. See client-go's `csaupgrade`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value, json};

use crate::observe::lean::{UPDATE, is_own};

const APPLY: &str = "Apply";

/// Who owns the fields of an object, with the operator as one who only applies.
#[derive(Debug, PartialEq)]
pub struct Owners {
    pub entries: Vec<ManagedFieldsEntry>,
    /// The operator owns more than it applied last: what it does not want of that goes with the next apply.
    pub more: bool,
}

/// Whether the operator owns fields by other patches than those that it applied.
pub fn writes_otherwise(entries: &[ManagedFieldsEntry]) -> bool {
    entries.iter().any(|entry| is_own(entry, UPDATE))
}

/// The owners, with what the operator wrote by other patches as if it was applied; None if there is no such thing. To
/// let go of that is not enough: what is applied without it by now would be nobody's, and stay for ever.
pub fn applied_alone(entries: &[ManagedFieldsEntry]) -> Option<Owners> {
    let update = entries.iter().find(|entry| is_own(entry, UPDATE))?;
    let applied = entries.iter().find(|entry| is_own(entry, APPLY));
    let as_applied = || ManagedFieldsEntry { operation: Some(APPLY.to_owned()), ..update.clone() };
    let mut ours = applied.cloned().unwrap_or_else(as_applied);
    let (own, others): (Vec<_>, Vec<_>) =
        entries.iter().cloned().partition(|entry| is_own(entry, APPLY) || is_own(entry, UPDATE));
    // Fields of another version may have other names.
    let own = own.into_iter().filter(|entry| entry.api_version == ours.api_version);
    let fields = own.filter_map(|entry| entry.fields_v1).reduce(|FieldsV1(mut fields), FieldsV1(more)| {
        unite(&mut fields, &more);
        FieldsV1(fields)
    });
    ours.fields_v1 = fields;
    let more = applied.is_none_or(|applied| applied.fields_v1 != ours.fields_v1);
    Some(Owners { entries: others.into_iter().chain([ours]).collect(), more })
}

/// The owners of an object that was handed over, with what the operator applies as nobody else's; None if that is so. Whoever
/// wrote the same before would keep it there when it is applied no more.
pub fn taken_over(entries: &[ManagedFieldsEntry]) -> Option<Owners> {
    let ours = entries.iter().find(|entry| is_own(entry, APPLY))?;
    let left: Vec<_> = entries.iter().filter_map(|entry| without(entry, ours)).collect();
    (left != entries).then_some(Owners { entries: left, more: false })
}

/// What is left of an entry without what the operator applies. What is written to a subresource stays, and fields of another
/// version may have other names.
fn without(entry: &ManagedFieldsEntry, ours: &ManagedFieldsEntry) -> Option<ManagedFieldsEntry> {
    let itself = entry.subresource.as_deref().unwrap_or_default().is_empty();
    let others = itself && !is_own(entry, APPLY) && entry.api_version == ours.api_version;
    match (&entry.fields_v1, &ours.fields_v1) {
        (Some(FieldsV1(fields)), Some(FieldsV1(taken))) if others => {
            let mut left = fields.clone();
            subtract(&mut left, taken);
            (!is_empty(&left)).then(|| ManagedFieldsEntry { fields_v1: Some(FieldsV1(left)), ..entry.clone() })
        }
        _ => Some(entry.clone()),
    }
}

/// Takes fields from others, as `FieldsV1` has them; see [`unite`].
fn subtract(fields: &mut Value, taken: &Value) {
    let (Value::Object(fields), Value::Object(taken)) = (fields, taken) else { return };
    if taken.is_empty() {
        fields.remove(".");
    }
    for (key, taken) in taken {
        let Some(known) = fields.get_mut(key) else { continue };
        let gone = if is_empty(known) {
            is_empty(taken) || taken.get(".").is_some()
        } else {
            subtract(known, taken);
            is_empty(known)
        };
        if gone {
            fields.remove(key);
        }
    }
}

fn is_empty(fields: &Value) -> bool {
    fields.as_object().is_some_and(Map::is_empty)
}

/// Adds fields to others, as `FieldsV1` has them: one with nothing in it is owned itself, another one if `.` is in it.
fn unite(fields: &mut Value, more: &Value) {
    let (Value::Object(fields), Value::Object(more)) = (fields, more) else { return };
    if fields.is_empty() != more.is_empty() {
        fields.insert(".".to_owned(), json!({}));
    }
    for (key, more) in more {
        match fields.get_mut(key) {
            Some(known) => unite(known, more),
            None => drop(fields.insert(key.clone(), more.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MANAGER;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            api_version: Some("apps/v1".to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    fn ours(operation: &str, fields: Value) -> ManagedFieldsEntry {
        entry(MANAGER, operation, fields)
    }

    #[test]
    fn what_the_operator_wrote_otherwise_becomes_applied() {
        let theirs = entry("theirs", UPDATE, json!({"f:spec": {"f:paused": {}}}));
        let (spec, more) = (json!({"f:spec": {"f:replicas": {}}}), json!({"f:spec": {"f:template": {}}}));
        let both = json!({"f:spec": {"f:replicas": {}, "f:template": {}}});
        let applied = ours(APPLY, spec.clone());
        assert_eq!(applied_alone(&[theirs.clone(), applied.clone()]), None);
        for (entries, expected, more) in [
            (vec![applied.clone(), ours(UPDATE, more.clone())], ours(APPLY, both), true),
            (vec![ours(UPDATE, spec.clone()), applied.clone()], applied.clone(), false),
            (vec![ours(UPDATE, more.clone())], ours(APPLY, more.clone()), true),
        ] {
            let all = [vec![theirs.clone()], entries].concat();
            assert_eq!(applied_alone(&all), Some(Owners { entries: vec![theirs.clone(), expected], more }), "{all:?}");
        }
    }

    #[test]
    fn fields_of_another_version_are_let_go() {
        let applied = ours(APPLY, json!({"f:spec": {"f:hosts": {}}}));
        let older = ManagedFieldsEntry {
            api_version: Some("apps/v1beta1".to_owned()),
            ..ours(UPDATE, json!({"f:spec": {"f:host": {}}}))
        };
        let expected = Owners { entries: vec![applied.clone()], more: false };
        assert_eq!(applied_alone(&[older, applied]), Some(expected));
    }

    #[test]
    fn what_is_written_to_a_subresource_stays() {
        let status = ManagedFieldsEntry {
            subresource: Some("status".to_owned()),
            ..ours(UPDATE, json!({"f:status": {"f:replicas": {}}}))
        };
        assert_eq!(applied_alone(&[status]), None);
    }

    #[test]
    fn what_was_handed_over_is_no_longer_of_those_who_wrote_the_same() {
        let port = |fields: Value| json!({"f:spec": {"f:ports": {"k:{\"port\":81,\"protocol\":\"TCP\"}": fields}}});
        let applied = ours(APPLY, port(json!({".": {}, "f:name": {}, "f:port": {}, "f:targetPort": {}})));
        let theirs = |operation: &str, fields: Value| entry("kubectl-client-side-apply", operation, fields);
        let same = port(json!({".": {}, "f:name": {}, "f:port": {}}));
        let mut more = same.clone();
        more["f:metadata"] = json!({"f:annotations": {".": {}, "f:microservice-operator.dev/adopt": {}}});
        more["f:spec"]["f:ports"]["."] = json!({});
        more["f:spec"]["f:type"] = json!({});
        let mut left = more.clone();
        left["f:spec"] = json!({"f:ports": {".": {}}, "f:type": {}});
        let status = ManagedFieldsEntry { subresource: Some("status".to_owned()), ..theirs(UPDATE, same.clone()) };
        let older = ManagedFieldsEntry { api_version: Some("apps/v1beta1".to_owned()), ..theirs(UPDATE, same.clone()) };
        for (entry, left) in [
            (theirs(UPDATE, same.clone()), None),
            (theirs(APPLY, same), None),
            (theirs(UPDATE, more), Some(theirs(UPDATE, left))),
            (theirs(UPDATE, port(json!({"f:nodePort": {}}))), Some(theirs(UPDATE, port(json!({"f:nodePort": {}}))))),
            (status.clone(), Some(status)),
            (older.clone(), Some(older)),
        ] {
            let expected = Owners { entries: [applied.clone()].into_iter().chain(left.clone()).collect(), more: false };
            let changes = left.as_ref() != Some(&entry);
            assert_eq!(taken_over(&[applied.clone(), entry]), Some(expected).filter(|_| changes), "{left:?}");
        }
        assert_eq!(taken_over(&[theirs(UPDATE, json!({"f:spec": {}}))]), None, "nothing is applied");
    }

    #[test]
    fn what_is_taken_of_a_field_is_the_field_itself_or_what_is_in_it() {
        let (itself, within) = (json!({"f:emptyDir": {}}), json!({"f:emptyDir": {"f:medium": {}}}));
        let (both, nothing) = (json!({"f:emptyDir": {".": {}, "f:medium": {}}}), json!({}));
        for (fields, taken, expected) in [
            (&itself, &itself, &nothing),
            (&itself, &within, &itself),
            (&itself, &both, &nothing),
            (&within, &itself, &within),
            (&within, &within, &nothing),
            (&both, &itself, &within),
            (&both, &both, &nothing),
        ] {
            let mut left = fields.clone();
            subtract(&mut left, taken);
            assert_eq!(&left, expected, "{fields} without {taken}");
        }
    }

    #[test]
    fn a_field_that_is_owned_itself_stays_so_beside_fields_of_it() {
        let (itself, within) = (json!({"f:emptyDir": {}}), json!({"f:emptyDir": {"f:medium": {}}}));
        let both = json!({"f:emptyDir": {".": {}, "f:medium": {}}});
        for (fields, more, expected) in [
            (&itself, &within, &both),
            (&within, &itself, &both),
            (&both, &within, &both),
            (&itself, &itself, &itself),
            (&within, &within, &within),
        ] {
            let mut united = fields.clone();
            unite(&mut united, more);
            assert_eq!(&united, expected, "{fields} and {more}");
        }
    }
}
