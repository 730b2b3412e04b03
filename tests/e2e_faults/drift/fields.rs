//! What the operator sets of an object: single fields, and the parts of it that these are in.

use std::collections::BTreeSet;

use kube::{ResourceExt, api::DynamicObject};
use microservice_operator::api::MANAGER;
use serde_json::{Map, Value};

/// The address of a field within an object, as a JSON pointer.
pub type Field = String;

/// Of whose an object is, what changes nothing about that.
const OF_ANY_OWNER: [&str; 2] = ["/apiVersion", "/blockOwnerDeletion"];

/// What the operator sets of an object.
#[derive(Default)]
pub struct Owned {
    /// Those that are no lists or objects of others.
    pub fields: BTreeSet<Field>,
    /// Lists and objects of these.
    pub parts: BTreeSet<Field>,
}

impl Owned {
    /// What there is of an object, but for whose it is, and for the number of a ControllerRevision: any will do that is
    /// greater than all others.
    pub fn of(object: &DynamicObject) -> Self {
        let value = serde_json::to_value(object).unwrap();
        let mut owned = Self::default();
        for entry in object.managed_fields().iter().filter(|entry| entry.manager.as_deref() == Some(MANAGER)) {
            let fields = serde_json::to_value(&entry.fields_v1).unwrap();
            owned.note("", &fields, &value);
        }
        let of_owner = |field: &Field| field.starts_with("/metadata/ownerReferences");
        owned.fields.retain(|field| {
            field != "/revision" && (!of_owner(field) || OF_ANY_OWNER.iter().any(|end| field.ends_with(end)))
        });
        owned.parts.retain(|part| !part.is_empty() && part != "/metadata" && !of_owner(part));
        owned
    }

    /// Notes what server-side apply notes of a manager (`FieldsV1`), but for what items of lists are told apart by:
    /// whoever changes that adds an item of their own. Ports have a name beside it, so that there can be no other one.
    fn note(&mut self, at: &str, fields: &Value, value: &Value) {
        let Some(fields) = fields.as_object().filter(|fields| !fields.is_empty()) else {
            return self.note_all(at, value);
        };
        self.parts.insert(at.to_owned());
        for (key, fields) in fields {
            let mut fields = fields.clone();
            let found = match key.split_once(':') {
                Some(("f", name)) => Some(name.to_owned()),
                Some(("k", keys)) => {
                    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap();
                    if let Some(fields) = fields.as_object_mut().filter(|_| !at.ends_with("/ports")) {
                        keys.keys().for_each(|key| drop(fields.remove(&format!("f:{key}"))));
                    }
                    let alike = |item: &Value| keys.iter().all(|(key, value)| item[key] == *value);
                    value.as_array().and_then(|all| all.iter().position(alike)).map(|index| index.to_string())
                }
                _ => None,
            };
            // Of an item that is nothing else.
            let bare = key.starts_with("k:") && fields.as_object().is_some_and(Map::is_empty);
            if let Some(key) = found
                && let Some(value) = value.pointer(&below("", &key))
            {
                let place = below(at, &key);
                if bare {
                    self.parts.insert(place);
                } else {
                    self.note(&place, &fields, value);
                }
            }
        }
    }

    /// Notes all that is within a value.
    fn note_all(&mut self, at: &str, value: &Value) {
        match value {
            Value::Object(all) if !all.is_empty() => {
                all.iter().for_each(|(key, value)| self.note_all(&below(at, key), value));
            }
            Value::Array(all) if !all.is_empty() => {
                all.iter().enumerate().for_each(|(index, value)| self.note_all(&below(at, &index.to_string()), value));
            }
            _ => {
                self.fields.insert(at.to_owned());
                return;
            }
        }
        self.parts.insert(at.to_owned());
    }
}

/// The address of what has this name, or this number, within a part.
pub fn below(part: &str, key: &str) -> Field {
    format!("{part}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Another value than that.
pub fn changed(value: &Value) -> Value {
    match value {
        Value::Bool(it) => Value::Bool(!it),
        Value::Number(it) => (it.as_i64().unwrap_or_default() + 1).into(),
        Value::String(it) => format!("{it}x").into(),
        _ => Value::Null,
    }
}

/// Takes a field out of an object.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    let (part, key) = field.rsplit_once('/')?;
    match object.pointer_mut(part)? {
        Value::Object(all) => all.remove(&key.replace("~1", "/").replace("~0", "~")),
        Value::Array(all) => Some(all.remove(key.parse().ok()?)),
        _ => None,
    }
}
