//! Over all suites on clusters: the operator uses every right that it is given, and no other one. `make e2e` and
//! `make e2e-mesh` keep the audit logs of their clusters, and `make rights` reads them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use devcluster::{AuditEvent, AuditLog, AuditMark};
use serde_json::Value;
use support::{
    rights::{Right, by_admission, granted_by, needed_by, right, to_any, used_by},
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

/// Whether a right is to the lease of a shard: the chart grants as many as there are, and the manifests have one shard.
fn is_to_a_shards_lease(right: &Right) -> bool {
    let (group, resource, verb, name) = right;
    let number = |text: &str| text.parse::<u16>().ok();
    let place = name.strip_prefix("microservice-operator-").and_then(|place| place.split_once("-of-"));
    let place = place.and_then(|(nth, count)| Some((number(nth)?, number(count)?)));
    let lease = (group.as_str(), resource.as_str(), verb.as_str()) == ("coordination.k8s.io", "leases", "patch");
    lease && place.is_some_and(|(nth, count)| (1..=count).contains(&nth) && count > 1)
}

fn logs(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path())
}

fn is_the_operators(event: &AuditEvent) -> bool {
    event.user_agent.starts_with("microservice-operator/") && !event.resource.is_empty()
}

/// What the operator asked for and is not granted, with a request of each; and what it was let use.
fn asked(folder: &Path, granted: &[Right]) -> (BTreeMap<Right, String>, BTreeSet<Right>) {
    let is_granted =
        |right: &Right| granted.contains(right) || granted.contains(&to_any(right)) || is_to_a_shards_lease(right);
    let (mut missing, mut used) = (BTreeMap::new(), BTreeSet::new());
    for log in logs(folder) {
        for event in AuditLog::at(log).since(AuditMark::START, is_the_operators).unwrap() {
            for right in needed_by(&event).into_iter().filter(|right| !is_granted(right)) {
                missing.entry(right).or_insert_with(|| format!("{} {}: {}", event.verb, event.request_uri, event.code));
            }
            used.extend(used_by(&event));
        }
    }
    (missing, used)
}

#[test]
fn no_list_may_be_answered_as_it_was_earlier() {
    let newest = |event: &AuditEvent| !event.request_uri.contains("resourceVersion=");
    let (mut lists, mut others) = (0, Vec::new());
    for log in logs(&root().join("target/audit")) {
        let listed = |event: &AuditEvent| is_the_operators(event) && event.verb == "list";
        let events = AuditLog::at(log).since(AuditMark::START, listed).unwrap();
        lists += events.len();
        others.extend(events.into_iter().filter(|event| !newest(event)).map(|event| event.request_uri));
    }
    assert!(lists > 0, "there are no logs of the operator's requests: run `make e2e` first");
    assert!(others.is_empty(), "an API server may answer these from what it knew earlier: {others:#?}");
}

#[test]
fn what_is_granted_is_used_and_nothing_else() {
    let folder = root().join("target/audit");
    let granted = granted();
    let (missing, used) = asked(&folder, &granted);
    assert!(!used.is_empty(), "{} has no logs of the operator's requests: run `make e2e` first", folder.display());
    assert!(missing.is_empty(), "used, and not granted: {missing:#?}");
    let unused: Vec<_> = granted.iter().filter(|right| !used.contains(*right)).collect();
    assert_eq!(unused, [&by_admission()], "granted, and not used");
    println!("{} rights granted, all used over all suites but {}, and none beside them", granted.len(), unused.len());
}
