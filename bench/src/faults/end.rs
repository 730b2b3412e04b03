//! What there is in the end of a story, so that it can be compared with that of another one.

use std::collections::BTreeMap;

use kube::{Client, ResourceExt, api::ListParams};
use serde_json::Value;

use crate::{
    error::Error,
    watch::{DEPLOYMENT, DESTINATION_RULE, REPLICA_SET, SERVICE, VIRTUAL_SERVICE},
};

/// The specs of all that a controller has children of, by kind and name.
pub async fn objects(client: &Client, namespace: &str) -> Result<BTreeMap<String, Value>, Error> {
    let mut all = BTreeMap::new();
    for kind in [DEPLOYMENT, REPLICA_SET, SERVICE, DESTINATION_RULE, VIRTUAL_SERVICE] {
        for object in kind.within(client, namespace).list(&ListParams::default()).await? {
            // Those of Deployments are named after templates, and are the built-in controller's.
            if kind == REPLICA_SET && object.owner_references().iter().any(|owner| owner.kind == DEPLOYMENT.kind) {
                continue;
            }
            let text = object.data["spec"].to_string().replace(namespace, "NAMESPACE");
            let mut spec: Value = serde_json::from_str(&text).unwrap_or_default();
            // Flagger's, drawn at random.
            if let Some(annotations) = spec.pointer_mut("/template/metadata/annotations") {
                annotations["flagger-id"] = "drawn".into();
            }
            for given in ["clusterIP", "clusterIPs"] {
                if spec.get(given).is_some() {
                    spec[given] = "given".into();
                }
            }
            all.insert(format!("{}/{}", kind.kind, object.name_any()), spec);
        }
    }
    Ok(all)
}

/// Names what differs.
pub fn difference(clean: &BTreeMap<String, Value>, seen: &BTreeMap<String, Value>) -> String {
    let missing = clean.keys().filter(|name| !seen.contains_key(*name)).map(|name| format!("{name} is missing"));
    let more = seen.keys().filter(|name| !clean.contains_key(*name)).map(|name| format!("{name} is left over"));
    let other = clean.iter().filter(|(name, spec)| seen.get(*name).is_some_and(|it| it != *spec));
    let other = other.map(|(name, _)| format!("{name} is another"));
    missing.chain(more).chain(other).collect::<Vec<_>>().join(", ")
}
