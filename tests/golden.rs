//! What Microservices become, for each pair `tests/golden/*.in.yaml` → `*.out.yaml`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes the outputs anew; read the difference before you commit it. A
//! difference in a pod template restarts the pods of everyone who upgrades: it needs a further set of defaults.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::SignedDuration;
use microservice_operator::{
    api::{self, Provider},
    input,
    plan::{Settings, resources::Stamp},
    render::render_documents,
};
use serde_json::Value;

const IN: &str = ".in.yaml";
const OUT: &str = ".out.yaml";

fn files(end: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    files
}

fn output_of(input: &Path) -> PathBuf {
    PathBuf::from(input.to_string_lossy().replace(IN, OUT))
}

fn objects(path: &Path) -> Vec<Value> {
    let settings = Settings {
        provider: Provider::Istio,
        propagation: SignedDuration::from_secs(5),
        stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: Some("microservice-operator-0.0.0".to_owned()) },
    };
    let input = input::read(&[path.to_owned()], &mut io::empty());
    assert!(input.errors.is_empty(), "{}: {:?}", path.display(), input.errors);
    match render_documents(&input.documents, "default", &settings) {
        Ok(objects) => objects,
        Err(error) => panic!("{error}"),
    }
}

fn yaml(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{}", serde_yaml::to_string(object).unwrap())).collect()
}

#[test]
fn microservices_become_what_they_became() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let inputs = files(IN);
    assert!(!inputs.is_empty());
    for input in &inputs {
        let built = yaml(&objects(input));
        let output = output_of(input);
        if update {
            fs::write(&output, &built).unwrap();
        }
        let golden = fs::read_to_string(&output).unwrap_or_default();
        let differing = golden.lines().zip(built.lines()).position(|(golden, built)| golden != built);
        let line = differing.unwrap_or_else(|| golden.lines().count().min(built.lines().count()));
        assert!(
            golden == built,
            "{}:{}: was {:?}, is {:?}; UPDATE_GOLDEN=1 writes it anew",
            output.display(),
            line + 1,
            golden.lines().nth(line).unwrap_or("the end"),
            built.lines().nth(line).unwrap_or("the end"),
        );
    }
    let known: BTreeSet<_> = inputs.iter().map(|input| output_of(input)).collect();
    let stray: Vec<_> = files(OUT).into_iter().filter(|output| !known.contains(output)).collect();
    assert!(stray.is_empty(), "outputs without an input: {stray:?}");
}

#[test]
fn the_definitions_are_what_the_code_makes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (plural, crd) in api::crds().unwrap() {
        let made = serde_yaml::to_string(&crd).unwrap();
        for folder in ["crds", "charts/microservice-operator/files", "config/crd"] {
            let kept = fs::read_to_string(root.join(folder).join(format!("{plural}.yaml"))).unwrap_or_default();
            assert!(kept == made, "{folder}/{plural}.yaml is not what the code makes: run `make generate`");
        }
    }
}

#[test]
fn outputs_read_back_as_the_same_objects() {
    for input in files(IN) {
        let objects = objects(&input);
        let text = yaml(&objects);
        let read: Vec<Value> = serde_yaml::read(&mut text.as_bytes()).map(|document| document.unwrap()).collect();
        assert_eq!(read, objects, "{}", input.display());
    }
}

/// What the API server would drop makes an object differ from itself for ever.
#[test]
fn objects_hold_nothing_that_the_cluster_drops() {
    fn look(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Null => found.push(path.to_owned()),
            Value::Array(entries) if entries.is_empty() => found.push(path.to_owned()),
            Value::String(text) if text.is_empty() && !path.contains("/args/") => found.push(path.to_owned()),
            Value::Object(fields) if fields.is_empty() && !path.ends_with("/emptyDir") => found.push(path.to_owned()),
            Value::Array(entries) => {
                entries.iter().enumerate().for_each(|(index, entry)| look(entry, &format!("{path}/{index}"), found));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(key, field)| look(field, &format!("{path}/{key}"), found));
            }
            _ => {}
        }
    }
    for input in files(IN) {
        // What a ControllerRevision keeps is the user's own text.
        for object in objects(&input).iter().filter(|object| object["kind"] != "ControllerRevision") {
            let mut found = Vec::new();
            look(object, "", &mut found);
            assert!(
                found.is_empty(),
                "{}: {} {}: {found:?}",
                input.display(),
                object["kind"],
                object["metadata"]["name"]
            );
        }
    }
}
