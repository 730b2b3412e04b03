//! Files of manifests: what is read of them, what the linter says, and what they become.

use std::{collections::BTreeSet, fs, path::PathBuf};

use devcluster::Dice;
use jiff::SignedDuration;
use microservice_operator::{
    api::Provider,
    input,
    lint::{Defaults, lint},
    offline::Checker,
    plan::{Settings, resources::Stamp},
    render::render,
};
use serde_json::Value;

use crate::mutate::{runs, text, value};

/// The texts of the manifests in folders of the repository.
fn texts(folders: &[&str]) -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|it| it == "yaml") {
                all.push(fs::read_to_string(&entry).unwrap());
            }
        }
    }
    all.sort();
    all
}

fn read(text: &str) -> input::Input {
    input::read(&[PathBuf::from("-")], &mut text.as_bytes())
}

#[test]
fn files_are_read_the_same_each_time_and_errors_name_the_place() {
    let all = texts(&["tests/manifests", "examples", "tests/inputs/corpus/manifests"]);
    let mut documents = 0;
    for seed in runs(600) {
        let given = text(&all, &mut Dice::of(("manifest", seed)));
        let about = format!("CAMPAIGN_SEED={seed}: {given}");
        let (first, again) = (read(&given), read(&given));
        let values = |input: &input::Input| input.documents.iter().map(|it| it.value.clone()).collect::<Vec<_>>();
        assert_eq!(values(&first), values(&again), "{about}");
        for error in &first.errors {
            assert!(error.to_string().starts_with("<stdin>"), "{about}: {error}");
        }
        // What was read means the same when it is written and read once more.
        for value in values(&first) {
            documents += 1;
            let written = read(&serde_yaml::to_string(&value).unwrap());
            assert_eq!(values(&written), [value], "{about}");
        }
    }
    assert!(documents > 150, "only {documents} manifests were read");
}

/// Manifests of the corpus with values changed in a few places.
fn changed(all: &[Value], seed: u64) -> Value {
    let mut dice = Dice::of(("value", seed));
    let mut manifest = all[dice.below(all.len())].clone();
    value(&mut manifest["spec"], &mut dice);
    manifest
}

/// The Microservices among the manifests that are valid.
pub fn microservices() -> Vec<Value> {
    let documents = texts(&["tests/manifests/accepted", "examples"]).into_iter().flat_map(|text| read(&text).documents);
    documents
        .map(|document| document.value)
        .filter(|it| it["kind"] == "Microservice" && it["spec"].is_object())
        .collect()
}

#[test]
fn the_linter_names_the_place_and_what_it_takes_can_be_rendered() {
    let (all, checker) = (microservices(), Checker::new().unwrap());
    let settings = Settings {
        provider: Provider::Istio,
        propagation: SignedDuration::from_secs(5),
        stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
    };
    let defaults = Defaults { namespace: "shop".into(), provider: Provider::Istio };
    let (mut valid, mut places) = (0, BTreeSet::new());
    for seed in runs(400) {
        let manifest = changed(&all, seed);
        let about = format!("CAMPAIGN_SEED={seed}: {manifest}");
        let input = read(&serde_yaml::to_string(&manifest).unwrap());
        let report = lint(&input, &checker, &defaults);
        for finding in &report.findings {
            assert!(!finding.path.is_empty() && !finding.message.is_empty(), "{about}: {finding:?}");
            places.insert(finding.path.clone());
        }
        let verdict = checker.check(&manifest, Provider::Istio);
        if verdict.problems().next().is_some() {
            continue;
        }
        valid += 1;
        // With its defaults, and without what means nothing.
        let (microservice, _) = verdict.read.unwrap();
        let objects = render(&microservice, &settings).unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_eq!(render(&microservice, &settings).unwrap(), objects, "{about}");
        let names: BTreeSet<_> =
            objects.iter().map(|it| format!("{}/{}", it["kind"], it["metadata"]["name"])).collect();
        assert_eq!(names.len(), objects.len(), "{about}: two objects have the same name");
    }
    assert!(valid > 10 && places.len() > 30, "{valid} were valid, problems were at {} places", places.len());
}
