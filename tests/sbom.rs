//! The SBOM that `make sbom` writes is complete: it lists what the operator is built from, as Cargo.lock pins it, and nothing
//! else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

/// Where `make sbom` writes it.
const SBOM: &str = "target/sbom/microservice-operator.cdx.json";

/// A package with its version.
type Package = (String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The packages of Cargo.lock that come from elsewhere, with their checksums.
fn locked() -> BTreeMap<Package, String> {
    let text = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.and_then(|rest| rest.strip_suffix('"')).map(str::to_owned)
    };
    let blocks = text.split("[[package]]").skip(1);
    let package = |block| Some(((field(block, "name")?, field(block, "version")?), field(block, "checksum")?));
    blocks.filter_map(package).collect()
}

/// What the operator is built from: everything that is reached without dependencies of tests.
fn built_from() -> BTreeSet<Package> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version=1", "--locked"]).current_dir(root());
    let metadata: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (node["id"].as_str().unwrap().to_owned(), node))
        .collect();
    let mut reached = BTreeSet::new();
    let mut ahead = vec![metadata["resolve"]["root"].as_str().unwrap().to_owned()];
    while let Some(id) = ahead.pop() {
        let for_more_than_tests = |it: &Value| list(&it["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
        let dependencies = list(&nodes[&id]["deps"]).into_iter().filter(for_more_than_tests);
        let new = dependencies.map(|it| it["pkg"].as_str().unwrap().to_owned()).filter(|it| !reached.contains(it));
        ahead.extend(new.collect::<Vec<_>>());
        reached.insert(id);
    }
    let text = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
    let own = env!("CARGO_PKG_NAME");
    list(&metadata["packages"])
        .iter()
        .filter(|package| reached.contains(&text(package, "id")) && package["name"] != own)
        .map(|package| (text(package, "name"), text(package, "version")))
        .collect()
}

#[test]
fn the_sbom_lists_what_the_operator_is_built_from() {
    let text = fs::read_to_string(root().join(SBOM)).expect("`make sbom` writes it");
    let sbom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&sbom["bomFormat"], &sbom["metadata"]["component"]["name"]),
        (&"CycloneDX".into(), &env!("CARGO_PKG_NAME").into())
    );
    let locked = locked();
    let mut listed = BTreeSet::new();
    for component in sbom["components"].as_array().unwrap() {
        let field = |name: &str| component[name].as_str().unwrap_or_default().to_owned();
        let package = (field("name"), field("version"));
        let hash = component.pointer("/hashes/0/content").and_then(Value::as_str);
        assert_eq!(hash, locked.get(&package).map(String::as_str), "{package:?} has another checksum in Cargo.lock");
        assert!(component.pointer("/licenses/0").is_some(), "{package:?} has no licence");
        listed.insert(package);
    }
    let built_from = built_from();
    let missing: Vec<_> = built_from.difference(&listed).collect();
    let surplus: Vec<_> = listed.difference(&built_from).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:?}; not built from: {surplus:?}");
    println!("{} packages of {} in Cargo.lock; the rest is for tests and for devcluster", listed.len(), locked.len());
}
