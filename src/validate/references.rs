//! Which ConfigMaps the pods of a version refer to, wherever that may be written.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use crate::api::{PodSettings, Volume};

/// The cluster's own ConfigMap in every namespace. It follows the cluster and is no part of anybody's configuration.
pub const CLUSTERS_OWN: &str = "kube-root-ca.crt";

/// How one ConfigMap is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Whether pods cannot start without it.
    pub required: bool,
    /// Where the first reference stands that requires it, else the first one, such as `spec.envFrom`.
    pub place: String,
}

/// The ConfigMaps that pods refer to, by name.
pub fn references(pod: &PodSettings) -> BTreeMap<String, Reference> {
    let mut found: BTreeMap<String, Reference> = BTreeMap::new();
    visit(&mut pod.clone(), &mut |name, optional, place| {
        let required = optional != Some(true);
        let reference = || Reference { required, place: format!("spec.{place}") };
        match found.get_mut(name) {
            Some(known) if required && !known.required => *known = reference(),
            Some(_) => {}
            None => drop(found.insert(name.clone(), reference())),
        }
    });
    found
}

/// The same settings with references to other ConfigMaps; what `names` does not have stays.
pub fn renamed(pod: &PodSettings, names: &BTreeMap<String, String>) -> PodSettings {
    let mut pod = pod.clone();
    visit(&mut pod, &mut |name, _, _| {
        if let Some(other) = names.get(name) {
            name.clone_from(other);
        }
    });
    pod
}

/// Is told the name, whether it is optional, and where it stands.
type Visitor<'a> = dyn FnMut(&mut String, Option<bool>, &str) + 'a;

fn visit(pod: &mut PodSettings, visitor: &mut Visitor<'_>) {
    // A reference without a name is the API server's to refuse.
    let mut visitor = |name: &mut String, optional: Option<bool>, place: &str| {
        if !name.is_empty() && name != CLUSTERS_OWN {
            visitor(name, optional, place);
        }
    };
    of_container("", &mut pod.env, &mut pod.env_from, &mut visitor);
    pod.volumes.iter_mut().for_each(|volume| of_volume(volume, &mut visitor));
    for sidecar in &mut pod.sidecars {
        let container = &mut sidecar.container;
        let place = format!("sidecars[{}].", container.name);
        of_container(&place, &mut container.env, &mut container.env_from, &mut visitor);
    }
    for init in &mut pod.init_containers {
        let container = &mut init.container;
        let place = format!("initContainers[{}].", container.name);
        of_container(&place, &mut container.env, &mut container.env_from, &mut visitor);
    }
}

fn of_container(
    place: &str,
    env: &mut [core::EnvVar],
    env_from: &mut [core::EnvFromSource],
    visitor: &mut Visitor<'_>,
) {
    for variable in env {
        let place = format!("{place}env[{}]", variable.name);
        if let Some(source) = variable.value_from.as_mut().and_then(|from| from.config_map_key_ref.as_mut()) {
            visitor(&mut source.name, source.optional, &place);
        }
    }
    for source in env_from.iter_mut().filter_map(|from| from.config_map_ref.as_mut()) {
        visitor(&mut source.name, source.optional, &format!("{place}envFrom"));
    }
}

fn of_volume(volume: &mut Volume, visitor: &mut Visitor<'_>) {
    let place = format!("volumes[{}]", volume.name);
    if let Some(source) = &mut volume.config_map {
        visitor(&mut source.name, source.optional, &place);
    }
    let projected = volume.projected.iter_mut().flat_map(|projected| projected.sources.iter_mut().flatten());
    for source in projected.filter_map(|source| source.config_map.as_mut()) {
        visitor(&mut source.name, source.optional, &place);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn everywhere() -> PodSettings {
        serde_json::from_value(json!({
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "a", "optional": true}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "one", "key": "a"}}}, {"name": "C"}],
            "envFrom": [{"configMapRef": {"name": "two"}}, {"secretRef": {"name": "two"}}],
            "volumes": [{"name": "v", "configMap": {"name": "three", "optional": true}},
                        {"name": "w", "projected": {"sources": [{"configMap": {"name": "four"}},
                                                                {"configMap": {"name": "kube-root-ca.crt"}},
                                                                {"secret": {"name": "four"}}]}}],
            "sidecars": [{"name": "s", "image": "x", "envFrom": [{"configMapRef": {"name": "five"}}]}],
            "initContainers": [{"name": "i", "image": "x",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "b"}}}]}],
        }))
        .unwrap()
    }

    #[test]
    fn all_references_are_found_and_the_one_that_requires_it_counts() {
        let found = references(&everywhere());
        let told: Vec<_> = found.iter().map(|(name, it)| (name.as_str(), it.required, it.place.as_str())).collect();
        assert_eq!(
            told,
            [
                ("five", true, "spec.sidecars[s].envFrom"),
                ("four", true, "spec.volumes[w]"),
                ("one", true, "spec.initContainers[i].env[A]"),
                ("three", false, "spec.volumes[v]"),
                ("two", true, "spec.envFrom"),
            ]
        );
    }

    #[test]
    fn all_of_them_are_renamed_and_secrets_are_not() {
        let names: BTreeMap<_, _> =
            references(&everywhere()).into_keys().map(|name| (name.clone(), name + "-1")).collect();
        let renamed = renamed(&everywhere(), &names);
        let mut expected: Vec<_> = names.into_values().collect();
        expected.sort();
        assert_eq!(references(&renamed).into_keys().collect::<Vec<_>>(), expected);
        let text = serde_json::to_string(&renamed).unwrap();
        assert_eq!(text.matches("\"one-1\"").count(), 2);
        for kept in [r#""secretKeyRef":{"key":"a","name":"one"}"#, r#""secretRef":{"name":"two"}"#] {
            assert!(text.contains(kept), "{text}");
        }
    }
}
