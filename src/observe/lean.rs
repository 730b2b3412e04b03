//! Objects as they are read from the API server: without what nobody asks for, which is most of them. Who wrote which field
//! (`managedFields`) is as large as all the rest, and a page of trees of it is what a restart needed most memory for.

use std::{borrow::Cow, fmt, marker::PhantomData};

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta},
};
use kube::{
    Resource,
    core::{DeserializeGuard, DynamicObject, PartialObjectMeta, TypeMeta, error_boundary::InvalidObject},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, json};

use crate::api::MANAGER;

/// An object that is read leanly: `managedFields` have no more than the entries of those who set `spec.replicas`, and, with no
/// fields, one of what the operator wrote without applying it.
#[derive(Clone, Debug)]
pub struct Lean<K>(pub K);

/// What can be read leanly.
pub trait Wire: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// It is not of that kind.
    fn read<'de, D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error>;
}

impl<'de, K: Wire> Deserialize<'de> for Lean<K> {
    fn deserialize<D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        K::read(wire).map(Self)
    }
}

impl<K: Resource> Resource for Lean<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

impl Wire for DynamicObject {
    fn read<'de, D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        let Parts { api_version, kind, metadata, data } = Parts::deserialize(wire)?;
        let types = api_version.zip(kind).map(|(api_version, kind)| TypeMeta { api_version, kind });
        Ok(Self { types, metadata: metadata.0, data: Value::Object(data) })
    }
}

/// As kube's own reading of a guarded object, which copies all of it on the way.
impl<K: Resource + DeserializeOwned> Wire for DeserializeGuard<K> {
    fn read<'de, D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        let Parts { api_version, kind, metadata, mut data } = Parts::deserialize(wire)?;
        let types = [("apiVersion", api_version), ("kind", kind)];
        data.insert("metadata".into(), json!({}));
        data.extend(types.into_iter().filter_map(|(field, text)| Some((field.to_owned(), text?.into()))));
        let whole = Value::Object(data);
        Ok(Self(match K::deserialize(&whole) {
            Ok(mut object) => {
                *object.meta_mut() = metadata.0;
                Ok(object)
            }
            Err(error) => Err(InvalidObject { error: error.to_string(), metadata: metadata.0 }),
        }))
    }
}

impl Wire for Pod {
    fn read<'de, D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        let SeenPod { metadata, spec, status } = SeenPod::deserialize(wire)?;
        let init_containers = spec.init_containers.map(|all| {
            let seen =
                |SeenContainer { name, restart_policy }| Container { name, restart_policy, ..Container::default() };
            all.into_iter().map(seen).collect()
        });
        let spec = PodSpec { init_containers, ..PodSpec::default() };
        Ok(Self { metadata: metadata.0, spec: Some(spec), status })
    }
}

impl<K> Wire for PartialObjectMeta<K> {
    fn read<'de, D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        let OnlyMetadata { metadata } = OnlyMetadata::deserialize(wire)?;
        Ok(Self { types: None, metadata: metadata.0, _phantom: PhantomData })
    }
}

#[derive(Deserialize)]
struct OnlyMetadata {
    #[serde(default)]
    metadata: Metadata,
}

/// What is asked of a pod.
#[derive(Deserialize)]
struct SeenPod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: SeenPodSpec,
    status: Option<PodStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenPodSpec {
    init_containers: Option<Vec<SeenContainer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenContainer {
    name: String,
    restart_policy: Option<String>,
}

#[derive(Default)]
struct Metadata(ObjectMeta);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the metadata of an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let (mut fields, mut writers) = (Map::new(), Vec::new());
                while let Some(field) = map.next_key::<String>()? {
                    if field == "managedFields" {
                        writers = map.next_value::<Option<Vec<Writer>>>()?.unwrap_or_default();
                    } else {
                        fields.insert(field, map.next_value()?);
                    }
                }
                let mut metadata = ObjectMeta::deserialize(Value::Object(fields)).map_err(A::Error::custom)?;
                let kept: Vec<_> = writers.into_iter().filter_map(Writer::kept).collect();
                metadata.managed_fields = Some(kept).filter(|kept| !kept.is_empty());
                Ok(Metadata(metadata))
            }
        }
        wire.deserialize_map(Fields)
    }
}

/// Who wrote fields, as far as it is asked for.
#[derive(Deserialize)]
struct Writer {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    #[serde(rename = "fieldsV1")]
    fields: Option<WrittenFields>,
}

#[derive(Deserialize)]
struct WrittenFields {
    #[serde(rename = "f:spec")]
    spec: Option<WrittenSpec>,
}

#[derive(Deserialize)]
struct WrittenSpec {
    #[serde(rename = "f:replicas")]
    replicas: Option<IgnoredAny>,
}

impl Writer {
    fn kept(self) -> Option<ManagedFieldsEntry> {
        let replicas = self.fields.and_then(|fields| fields.spec).and_then(|spec| spec.replicas);
        let fields_v1 = replicas.map(|_| FieldsV1(json!({"f:spec": {"f:replicas": {}}})));
        let (manager, operation, subresource) = (self.manager, self.operation, self.subresource);
        let entry = ManagedFieldsEntry { manager, operation, subresource, ..ManagedFieldsEntry::default() };
        let updates = is_own(&entry, UPDATE);
        let kept = fields_v1.is_some() || updates;
        let operation = entry.operation.filter(|_| updates);
        kept.then_some(ManagedFieldsEntry { operation, subresource: None, fields_v1, ..entry })
    }
}

/// How a manager writes that does not apply.
pub const UPDATE: &str = "Update";

/// Whether an entry is of what the operator wrote in this way, to the object itself.
pub fn is_own(entry: &ManagedFieldsEntry, operation: &str) -> bool {
    let itself = entry.subresource.as_deref().unwrap_or_default().is_empty();
    itself && entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some(operation)
}

/// An object of any kind.
struct Parts {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Metadata,
    /// All the rest.
    data: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(wire: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Parts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
                let (mut api_version, mut kind) = (None, None);
                let (mut metadata, mut data) = (Metadata::default(), Map::new());
                while let Some(field) = map.next_key::<String>()? {
                    match field.as_str() {
                        "apiVersion" => api_version = map.next_value()?,
                        "kind" => kind = map.next_value()?,
                        "metadata" => metadata = map.next_value()?,
                        _ => drop(data.insert(field, map.next_value()?)),
                    }
                }
                Ok(Parts { api_version, kind, metadata, data })
            }
        }
        wire.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::{api::Microservice, observe::pods};

    fn read<K: Wire>(object: &Value) -> K {
        let Lean(read) = serde_json::from_str(&object.to_string()).unwrap();
        read
    }

    /// As the API server tells it, with who wrote it.
    fn object(kind: &str, rest: &Value) -> Value {
        let writer =
            |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let mut object = json!({
            "apiVersion": "example/v1", "kind": kind,
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}, "annotations": {"c": "d"},
                "finalizers": ["e"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "B", "name": "b", "uid": "2", "controller": true}],
                "managedFields": [
                    writer("one", json!({"f:metadata": {"f:labels": {}}, "f:spec": {"f:template": {}}})),
                    writer("two", json!({"f:spec": {"f:replicas": {}, "f:template": {}}})),
                    {"manager": "three", "operation": "Update"},
                    {"manager": MANAGER, "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
                    {"manager": MANAGER, "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
                ],
            },
        });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    }

    /// The same, read by kube and with what is kept of who wrote it.
    fn as_kube_reads<K: Resource + DeserializeOwned>(object: &Value) -> K {
        let mut read: K = serde_json::from_value(object.clone()).unwrap();
        let fields_v1 = Some(FieldsV1(json!({"f:spec": {"f:replicas": {}}})));
        let sizing = ManagedFieldsEntry { manager: Some("two".into()), fields_v1, ..ManagedFieldsEntry::default() };
        let updating = ManagedFieldsEntry {
            manager: Some(MANAGER.into()),
            operation: Some("Update".into()),
            ..ManagedFieldsEntry::default()
        };
        read.meta_mut().managed_fields = Some(vec![sizing, updating]);
        read
    }

    #[test]
    fn an_object_is_as_it_was_but_for_who_wrote_it() {
        let object = object("A", &json!({"spec": {"replicas": 2, "nested": [{"x": 1.5}]}, "status": {"y": null}}));
        assert_eq!(read::<DynamicObject>(&object), as_kube_reads::<DynamicObject>(&object));
        let item: DynamicObject = read(&json!({"metadata": {"name": "a", "managedFields": null}}));
        assert_eq!((item.types, item.metadata.name.as_deref(), item.data), (None, Some("a"), json!({})));
    }

    #[test]
    fn only_the_metadata_of_others_are_read() {
        let object = object("ConfigMap", &json!({"data": {"a": "b"}}));
        let read: PartialObjectMeta<ConfigMap> = read(&object);
        assert_eq!(read.metadata, as_kube_reads::<PartialObjectMeta<ConfigMap>>(&object).metadata);
    }

    #[test]
    fn a_pod_says_what_it_did() {
        let state = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:05Z"}});
        let status = |name: &str| json!([{"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": state}]);
        let object = object(
            "Pod",
            &json!({
                "apiVersion": "v1",
                "spec": {"containers": [{"name": "app"}], "initContainers": [
                    {"name": "proxy", "image": "i", "restartPolicy": "Always"}, {"name": "setup"},
                ]},
                "status": {"phase": "Running", "initContainerStatuses": status("proxy"), "conditions": [
                    {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:09Z"},
                ]},
            }),
        );
        let (lean, whole): (Pod, Pod) = (read(&object), as_kube_reads(&object));
        assert_eq!((&lean.metadata, &lean.status), (&whole.metadata, &whole.status));
        assert!(pods::facts(&lean).restarted_at.is_some());
        assert_eq!(pods::facts(&lean), pods::facts(&whole));
    }

    #[test]
    fn a_microservice_is_read_or_told_why_not() {
        let microservice = |spec: Value| -> DeserializeGuard<Microservice> {
            read(&object("Microservice", &json!({"spec": spec, "status": {"phase": "Ready"}})))
        };
        let valid = json!({"image": "a:1", "ports": [{"name": "http", "port": 80}]});
        let read = microservice(valid.clone()).0.unwrap();
        let whole = object("Microservice", &json!({"spec": valid, "status": {"phase": "Ready"}}));
        let whole: Microservice = as_kube_reads(&whole);
        assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(whole).unwrap());
        let invalid = microservice(json!({"image": 7})).0.unwrap_err();
        assert!(invalid.error.contains("expected a string"), "{}", invalid.error);
        assert_eq!(invalid.metadata.uid.as_deref(), Some("1"));
    }
}
