//! Campaign 6: every single field that the operator sets on every child is changed by somebody else, one of each child at a
//! time, and is put back.

use std::collections::BTreeSet;

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, PostParams},
};
use microservice_operator::{api::MANAGER, plan::object::Kind};
use serde_json::{Map, Value};

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::{Space, cluster, run},
};

/// The address of a field within an object, as a JSON pointer.
type Field = String;

/// All fields within a value that are no lists or objects of others.
fn scalars(at: &str, value: &Value, into: &mut BTreeSet<Field>) {
    match value {
        Value::Object(all) if !all.is_empty() => {
            all.iter().for_each(|(key, value)| scalars(&below(at, key), value, into));
        }
        Value::Array(all) if !all.is_empty() => {
            all.iter().enumerate().for_each(|(index, value)| scalars(&below(at, &index.to_string()), value, into));
        }
        _ => drop(into.insert(at.to_owned())),
    }
}

fn below(at: &str, key: &str) -> Field {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Fields by what server-side apply notes of a manager (`FieldsV1`), but for what items of lists are told apart by: whoever
/// changes that adds an item of their own. Ports have a name beside it, so that there can be no other one.
fn owned(at: &str, fields: &Value, value: &Value, into: &mut BTreeSet<Field>) {
    let Some(fields) = fields.as_object().filter(|fields| !fields.is_empty()) else {
        return scalars(at, value, into);
    };
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
        if let Some(key) = found
            && let Some(value) = value.pointer(&below("", &key))
        {
            owned(&below(at, &key), &fields, value, into);
        }
    }
}

/// What the operator sets, but for whose the object is.
fn fields(object: &DynamicObject) -> Vec<Field> {
    let value = serde_json::to_value(object).unwrap();
    let mut all = BTreeSet::new();
    for entry in object.managed_fields().iter().filter(|entry| entry.manager.as_deref() == Some(MANAGER)) {
        let fields = serde_json::to_value(&entry.fields_v1).unwrap();
        owned("", &fields, &value, &mut all);
    }
    all.into_iter().filter(|field| !field.starts_with("/metadata/ownerReferences")).collect()
}

fn changed(value: &Value) -> Value {
    match value {
        Value::Bool(it) => Value::Bool(!it),
        Value::Number(it) => (it.as_i64().unwrap_or_default() + 1).into(),
        Value::String(it) => format!("{it}x").into(),
        _ => Value::Null,
    }
}

/// Changes a field of an object; answers whether the API server took it.
async fn drift(api: &Api<DynamicObject>, name: &str, field: &str) -> bool {
    loop {
        let mut value = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
        let Some(found) = value.pointer_mut(field) else {
            panic!("{}/{name}{field} is not there any more", api.resource_url());
        };
        *found = changed(found);
        let object: DynamicObject = serde_json::from_value(value).unwrap();
        match api
            .replace(name, &PostParams { field_manager: Some("somebody".into()), ..PostParams::default() }, &object)
            .await
        {
            Ok(_) => return true,
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) if [400, 403, 422].contains(&status.code) => return false,
            Err(error) => panic!("{name} {field}: {error}"),
        }
    }
}

#[test]
fn every_field_that_somebody_changes_is_put_back() {
    run(async {
        let stage = Stage::within(Space::unwatched(cluster(), "drift").await).await;
        story::begin(&stage.space, Chapter::Create).await;
        story::end(&stage.space, Chapter::Create).await;
        stage.settles().await;
        let clean = stage.space.snapshot().await;
        let mut children = Vec::new();
        for kind in Kind::ALL {
            let api = stage.space.children(kind);
            for object in api.list(&ListParams::default()).await.unwrap().items {
                if object.owner_references().iter().any(|owner| owner.kind == "Microservice") {
                    children.push((api.clone(), object.name_any(), campaign::part(fields(&object), 4)));
                }
            }
        }
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for round in 0..children.iter().map(|(_, _, fields)| fields.len()).max().unwrap_or_default() {
            for (api, name, fields) in &children {
                let Some(field) = fields.get(round) else { continue };
                let told = format!("{}/{name}{field}", api.resource_url());
                if drift(api, name, field).await { taken.push(told) } else { refused.push(told) }
            }
            stage
                .puts_back(
                    &clean,
                    &format!("round {round}: {:?}", taken.iter().rev().take(children.len()).collect::<Vec<_>>()),
                )
                .await;
        }
        assert!(taken.len() > refused.len(), "refused by the API server: {refused:#?}");
        stage.is_silent("what was put back").await;
        println!(
            "campaign 6, drift: {} fields of {} children put back, {} may not be changed",
            taken.len(),
            children.len(),
            refused.len()
        );
    });
}
