//! Over all suites on clusters: the operator uses every right that it is given, and no other one. `make e2e` and
//! `make e2e-mesh` keep the audit logs of their clusters, and `make rights` reads them: each has to have left one, but the
//! latter where it cannot run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use devcluster::{AuditEvent, AuditLog, AuditMark};
use serde_json::Value;
use support::{
    rights::{Right, by_admission, granted_by, needed_by, right, to_any, used_by},
    root,
};

/// How long a suite's log is waited for: it is kept once its cluster is taken down, a moment after the tests have ended.
const KEPT_WITHIN: Duration = Duration::from_secs(30);

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

/// Why `make e2e-mesh` cannot run here, as the Makefile says; none where it can.
fn why_no_mesh() -> Option<String> {
    std::env::var("E2E_MESH_LEFT_OUT").ok().filter(|why| !why.is_empty())
}

/// The targets of the suites that run here, with the logs that each has left.
fn suites() -> Vec<(&'static str, Vec<PathBuf>)> {
    let mesh = why_no_mesh().is_none().then_some("e2e-mesh");
    ["e2e"].into_iter().chain(mesh).map(|suite| (suite, logs(suite))).collect()
}

fn logs(suite: &str) -> Vec<PathBuf> {
    let folder = root().join("target/audit").join(suite);
    let deadline = Instant::now() + KEPT_WITHIN;
    loop {
        let files = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let logs: Vec<_> = files.filter(|file| file.extension().is_some_and(|it| it == "log")).collect();
        if logs.iter().any(|log| !requests(log).is_empty()) {
            return logs;
        }
        let place = folder.display();
        assert!(Instant::now() < deadline, "{place} has no log of the operator's requests: run `make {suite}` first");
        sleep(Duration::from_secs(1));
    }
}

/// The operator's requests in a log.
fn requests(log: &Path) -> Vec<AuditEvent> {
    AuditLog::at(log.to_owned()).since(AuditMark::START, is_the_operators).unwrap()
}

fn is_the_operators(event: &AuditEvent) -> bool {
    event.user_agent.starts_with("microservice-operator/") && !event.resource.is_empty()
}

/// What the operator asked for.
#[derive(Default)]
struct Asked {
    /// What it is not granted, with a request of each.
    missing: BTreeMap<Right, String>,
    /// What it was let use.
    used: BTreeSet<Right>,
}

impl Asked {
    /// Adds what is in a log; answers how many requests these are.
    fn read(&mut self, log: &Path, granted: &[Right]) -> usize {
        let is_granted =
            |right: &Right| granted.contains(right) || granted.contains(&to_any(right)) || is_to_a_shards_lease(right);
        let requests = requests(log);
        for event in &requests {
            for right in needed_by(event).into_iter().filter(|right| !is_granted(right)) {
                let request = || format!("{} {}: {}", event.verb, event.request_uri, event.code);
                self.missing.entry(right).or_insert_with(request);
            }
            self.used.extend(used_by(event));
        }
        requests.len()
    }
}

#[test]
fn no_list_may_be_answered_as_it_was_earlier() {
    let (mut lists, mut others) = (0, Vec::new());
    for log in suites().into_iter().flat_map(|(_, logs)| logs) {
        for event in requests(&log).into_iter().filter(|event| event.verb == "list") {
            lists += 1;
            let newest = !event.request_uri.contains("resourceVersion=");
            others.extend((!newest).then_some(event.request_uri));
        }
    }
    assert!(lists > 0, "the logs have no lists");
    assert!(others.is_empty(), "an API server may answer these from what it knew earlier: {others:#?}");
}

#[test]
fn what_is_granted_is_used_and_nothing_else() {
    let (granted, mut asked) = (granted(), Asked::default());
    for (suite, logs) in suites() {
        let requests: usize = logs.iter().map(|log| asked.read(log, &granted)).sum();
        println!("read: {} logs of `make {suite}`, with {requests} requests of the operator", logs.len());
    }
    if let Some(why) = why_no_mesh() {
        println!("NOT READ: logs of `make e2e-mesh`, which does not run here, as {why}");
    }
    let Asked { missing, used } = asked;
    assert!(missing.is_empty(), "used, and not granted: {missing:#?}");
    let unused: Vec<_> = granted.iter().filter(|right| !used.contains(*right)).collect();
    assert_eq!(unused, [&by_admission()], "granted, and not used");
    println!("{} rights granted, all used over these suites but {}, and none beside them", granted.len(), unused.len());
}
