//! What a sequence must have come to in the end.

use std::{collections::BTreeMap, time::Duration};

use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use microservice_operator::{
    api::{
        Microservice,
        labels::{APP_MANAGED_BY, TEMPLATE},
    },
    plan::object::Kind,
};
use serde_json::{Value, json};

use crate::{
    campaign,
    sequence::NAME,
    slot::{Slot, children, until},
    support::{Space, condition, current, message},
};

/// How long nothing must be written in the end: by the whole campaign, and by the part that runs by default.
const SILENCE: Duration = Duration::from_secs(60);
const SHORT_SILENCE: Duration = Duration::from_secs(4);

/// The spec is reached, and the status speaks of it.
pub fn reached(it: &Microservice) -> bool {
    current(it) && condition(it, "Ready") == "True"
}

/// What a person would ask about a service that does not come to where it should.
pub fn told(it: Option<&Microservice>) -> String {
    let Some(it) = it else { return "it does not exist".into() };
    let rollout = it.status.as_ref().and_then(|status| status.rollout.as_ref());
    let rollout = rollout.map(|it| format!("{:?} {:?} {:?}", it.state, it.progress, it.message));
    format!("Ready={} current={} {:?}, rollout {rollout:?}", condition(it, "Ready"), current(it), message(it))
}

/// Children that tell of the past, as they should: older specs, and the copies of ConfigMaps that they use.
const OF_THE_PAST: [&str; 2] = ["ControllerRevision/", "ConfigMap/"];

/// What there is now, without what differs from one namespace to another.
async fn present(space: &Space) -> BTreeMap<String, Value> {
    let mut all = space.snapshot().await;
    all.retain(|name, _| !OF_THE_PAST.iter().any(|kind| name.starts_with(kind)));
    for object in all.values_mut() {
        let text = serde_json::to_string(object).unwrap().replace(&format!("\"{}\"", space.name), "\"shop\"");
        *object = serde_json::from_str(&text).unwrap();
        if let Some(annotations) = object["metadata"].get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("example.com/seen");
            annotations.remove("microservice-operator.dev/adopt");
        }
        *object = without_empty(std::mem::take(object));
    }
    let told_apart = space.microservices().get_opt(NAME).await.ok().flatten().is_some_and(|it| {
        !it.spec.dependencies.is_empty()
            || serde_json::to_string(&it.spec).unwrap().contains(&format!("\"{}\"", space.name))
    });
    if told_apart { without_digests(&all) } else { all }
}

/// Digests of templates are those of one namespace when its name, or the address of a dependency, is in them.
fn without_digests(all: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut text = serde_json::to_string(all).unwrap();
    let ids = all.values().filter_map(|object| object["metadata"]["annotations"][TEMPLATE].as_str()?.split_once('-'));
    for (number, (_, digest)) in ids.enumerate() {
        text = text.replace(digest, &format!("digest-{number}"));
    }
    serde_json::from_str(&text).unwrap()
}

/// What somebody changes while the spec is refused is put back: the last accepted spec stays in force. It may be taken away,
/// too, if that is what is going on. Answers whether there was anything to change.
///
/// One that was written right after the Microservice was made anew may have come before any other was accepted, and the
/// accepted one may have been taken from its owner just then.
pub async fn is_in_force(slot: &Slot) -> Result<bool, String> {
    let it = slot.space.microservices().get_opt(NAME).await.map_err(|error| error.to_string())?;
    let Some(accepted) = it.and_then(|it| it.status?.accepted_revision) else { return Ok(false) };
    let all = children(&slot.space).await;
    if !all.iter().any(|(kind, it)| *kind == Kind::ControllerRevision && it.name_any() == accepted) {
        return Ok(false);
    }
    let of_now = |(kind, _): &&(Kind, DynamicObject)| !matches!(kind, Kind::ControllerRevision | Kind::ConfigMap);
    let Some((kind, child)) = all.iter().find(of_now) else { return Ok(false) };
    let (api, name) = (slot.space.children(*kind), child.name_any());
    let managed_by = |it: &DynamicObject| it.labels().get(APP_MANAGED_BY).cloned();
    let patch = Patch::Merge(json!({"metadata": {"labels": {APP_MANAGED_BY: "somebody"}}}));
    match api.patch(&name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
        changed => drop(changed.map_err(|error| format!("{kind:?} {name} cannot be changed: {error}"))?),
    }
    let back = until(|| async {
        let now = api.get_opt(&name).await.ok()?;
        now.is_none_or(|it| managed_by(&it) == managed_by(child)).then_some(())
    });
    let back = back.await.map(|()| true);
    back.ok_or_else(|| format!("{kind:?} {name} was changed while the spec was refused, and nobody put it back"))
}

/// Waits until there is what there is of a service that was made with this spec.
pub async fn comes_to_be_as_if_new(slot: &Slot) -> Result<(), String> {
    let same = until(|| async { is_as_if_new(slot).await.ok() }).await;
    if same.is_some() { Ok(()) } else { is_as_if_new(slot).await }
}

/// There is what there is of a service that was made with this spec.
pub async fn is_as_if_new(slot: &Slot) -> Result<(), String> {
    let (old, new) = (present(&slot.space).await, present(&slot.fresh).await);
    if old == new {
        return Ok(());
    }
    let mut told = String::new();
    for name in old.keys().chain(new.keys()).collect::<std::collections::BTreeSet<_>>() {
        if old.get(name) != new.get(name) {
            let text = |it: Option<&Value>| it.map(ToString::to_string).unwrap_or_else(|| "nothing".into());
            told.push_str(&format!(
                "{name} is\n  {}\nof a new service\n  {}\n",
                text(old.get(name)),
                text(new.get(name))
            ));
        }
    }
    Err(format!("it is not as a new service is: {told}"))
}

/// An empty object says what its absence says.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let all = map.into_iter().map(|(key, value)| (key, without_empty(value)));
            Value::Object(all.filter(|(_, value)| value.as_object().is_none_or(|map| !map.is_empty())).collect())
        }
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        other => other,
    }
}

async fn versions(space: &Space) -> BTreeMap<String, String> {
    let mut all: BTreeMap<_, _> = children(space)
        .await
        .into_iter()
        .map(|(kind, it)| {
            let version = it.metadata.resource_version.unwrap_or_default();
            (format!("{kind:?}/{}", it.metadata.name.unwrap_or_default()), version)
        })
        .collect();
    let microservice = space.microservices().get_opt(NAME).await.ok().flatten();
    all.insert("Microservice".into(), microservice.and_then(|it| it.metadata.resource_version).unwrap_or_default());
    all
}

/// Watches that nothing is written, once what there was to write is.
pub async fn is_silent(slot: &Slot) -> Result<(), String> {
    let silence = if campaign::whole() { SILENCE } else { SHORT_SILENCE };
    let mut seen = Vec::new();
    for _ in 0..6 {
        let before = versions(&slot.space).await;
        tokio::time::sleep(silence).await;
        let after = versions(&slot.space).await;
        if before == after {
            return Ok(());
        }
        seen.push(
            after
                .into_iter()
                .filter(|(name, version)| before.get(name) != Some(version))
                .map(|it| it.0)
                .collect::<Vec<_>>(),
        );
    }
    Err(format!("it is never silent; these were written one time after the other: {seen:?}"))
}
