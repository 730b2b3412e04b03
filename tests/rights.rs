//! Over all suites on clusters: the operator uses every right that it is given, and no other one. `make e2e` and
//! `make e2e-mesh` keep the audit logs of their clusters, and `make rights` reads them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, path::Path};

use devcluster::{AuditLog, AuditMark};
use serde_json::Value;
use support::{
    rights::{Right, by_admission, granted_by, right, used_by},
    root,
};

fn granted() -> Vec<Right> {
    let files = ["role.yaml", "lease_role.yaml"].map(|name| root().join("config/rbac").join(name));
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap());
    let objects = texts.iter().flat_map(|text| serde_yaml::from_multiple::<Value>(text).unwrap());
    let roles = objects.filter(|object| object["rules"].is_array());
    // What the chart grants for the Secrets that an administrator lists, and the manifests do not.
    let listed_secrets = right("", "secrets", "get");
    roles.flat_map(|role| granted_by(&role)).chain([listed_secrets]).collect()
}

/// Each right that the operator used, with one of its requests.
fn used(folder: &Path) -> BTreeMap<Right, String> {
    let logs = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut used = BTreeMap::new();
    for log in logs {
        let operators = |event: &devcluster::AuditEvent| {
            event.user_agent.starts_with("microservice-operator/") && !event.resource.is_empty()
        };
        for event in AuditLog::at(log).since(AuditMark::START, operators).unwrap() {
            for right in used_by(&event) {
                used.entry(right).or_insert_with(|| format!("{} {}", event.verb, event.request_uri));
            }
        }
    }
    used
}

#[test]
fn what_is_granted_is_used_and_nothing_else() {
    let folder = root().join("target/audit");
    let used = used(&folder);
    assert!(!used.is_empty(), "{} has no logs of the operator's requests: run `make e2e` first", folder.display());
    let granted = granted();
    let missing: BTreeMap<_, _> = used.iter().filter(|(right, _)| !granted.contains(right)).collect();
    assert!(missing.is_empty(), "used, and not granted: {missing:#?}");
    let unused: Vec<_> = granted.into_iter().filter(|right| !used.contains_key(right)).collect();
    assert_eq!(unused, [by_admission()], "granted, and not used");
    println!("{} rights used over all suites, none beside those that are granted", used.len());
}
