//! The rules of the house that a reader can check with a search: which folders are pure.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// Folders and files that may use no clock, client, randomness or async, and write nothing.
const PURE: &[&str] = &[
    "src/api",
    "src/foreign",
    "src/validate",
    "src/plan",
    "src/offline",
    "src/lint/warnings",
    "src/status/compute.rs",
    "src/status/events.rs",
    "src/observe/model.rs",
    "src/observe/pods.rs",
    "src/observe/deployments.rs",
    "src/observe/facts.rs",
    "src/outside/query.rs",
    "src/controller/accept.rs",
    "src/kubeconfig/proxy.rs",
    "src/render.rs",
    "src/plugin/view.rs",
    "src/plugin/tree.rs",
    "src/plugin/explain.rs",
    "src/plugin/measurements.rs",
    "src/plugin/relapses.rs",
    "src/plugin/weights.rs",
    "src/plugin/revisions.rs",
];

/// What gives an impure file away.
const IMPURE: &[&str] = &[
    "async fn",
    "async {",
    ".await",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime",
    "Instant::",
    "kube::Client",
    "Client,",
    "Api<",
    "Api::",
    "tokio::",
    "RandomState",
    "rand::",
    "std::fs",
    "std::env",
];

/// Steps that may not know of later ones: a folder, and what its files may not import.
const DIRECTIONS: &[(&str, &[&str])] = &[
    (
        "src/api",
        &["crate::observe", "crate::validate", "crate::plan", "crate::apply", "crate::status", "crate::controller"],
    ),
    ("src/validate", &["crate::observe", "crate::plan", "crate::apply", "crate::status", "crate::controller"]),
    ("src/plan", &["crate::outside", "crate::apply", "crate::status", "crate::controller", "crate::runtime"]),
    ("src/observe", &["crate::outside", "crate::apply", "crate::status", "crate::controller", "crate::runtime"]),
    ("src/outside", &["crate::apply", "crate::status", "crate::controller", "crate::runtime"]),
    ("src/apply", &["crate::status", "crate::controller", "crate::runtime"]),
    ("src/status", &["crate::controller", "crate::runtime"]),
    (
        "src/kubeconfig",
        &["crate::observe", "crate::plan", "crate::apply", "crate::controller", "crate::runtime", "crate::plugin"],
    ),
    ("src/plugin", &["crate::apply", "crate::status", "crate::controller", "crate::runtime"]),
];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries
        .flat_map(|entry| sources(&entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .collect()
}

/// The code of a file without its tests and comments, line by line.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = body.lines().enumerate().map(|(number, line)| (number + 1, line.to_owned()));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

fn found(folder: &str, words: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for path in sources(&root.join(folder)) {
        if path.file_stem().is_some_and(|name| name == "tests" || name == "testing") {
            continue;
        }
        for (number, line) in code(&path) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    found
}

#[test]
fn pure_steps_use_no_clock_client_randomness_or_async() {
    let all: Vec<String> = PURE.iter().flat_map(|folder| found(folder, IMPURE)).collect();
    assert_eq!(all, Vec::<String>::new());
}

#[test]
fn steps_know_only_of_those_before_them() {
    let all: Vec<String> = DIRECTIONS.iter().flat_map(|(folder, words)| found(folder, words)).collect();
    assert_eq!(all, Vec::<String>::new());
}

/// The clock itself, and the name of a process.
const OWN_TIME: &[&str] = &["src/observe/clock.rs", "src/commands.rs"];

#[test]
fn everything_else_is_by_the_clock_of_the_api_server() {
    let all = found("src", &["Timestamp::now", "Zoned::now", "SystemTime"]);
    let ours = |it: &&String| !OWN_TIME.iter().any(|file| it.starts_with(file));
    assert_eq!(all.iter().filter(ours).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(all.iter().any(|it| it.starts_with("src/observe/clock.rs")), "{all:?}");
}

#[test]
fn the_search_finds_what_it_looks_for() {
    assert!(!found("src/controller", IMPURE).is_empty());
    assert!(!found("src/apply", &["crate::plan"]).is_empty());
}

/// Cargo reads the manifests of all members, and looks for what each of them builds.
#[test]
fn the_image_is_built_from_all_members() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let (manifest, context) = (read("Cargo.toml"), read(".dockerignore"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).unwrap().trim_end_matches(']');
    let members: Vec<&str> = members.split(", ").map(|member| member.trim_matches('"')).collect();
    assert!(members.len() > 1 && members[0] == ".", "{members:?}");
    let prefixes = members.iter().map(|member| if *member == "." { String::new() } else { format!("{member}/") });
    for prefix in prefixes {
        for part in ["Cargo.toml", "src"] {
            let line = format!("!{prefix}{part}");
            assert!(context.lines().any(|it| it == line), "{line} is not in .dockerignore");
        }
    }
}
