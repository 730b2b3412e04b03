//! What `kubectl ms` shows, for each `tests/plugin/*.in.yaml` of a Microservice with its pods, events and actions.
//!
//! `UPDATE_GOLDEN=1 cargo test --test plugin` writes the texts anew; read the difference before you commit it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use microservice_operator::{
    api::{Microservice, MicroserviceAction},
    plugin::{
        explain::{explain, told},
        history,
        output::Paint,
        tree::{line, tree},
        view::view,
    },
};
use serde_json::Value;

const NOW: &str = "2026-01-01T12:00:00Z";

/// What one file describes.
struct Scene {
    microservice: Microservice,
    pods: Vec<Pod>,
    events: Vec<Event>,
    actions: Vec<MicroserviceAction>,
}

impl Scene {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut microservice = None;
        let (mut pods, mut events, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        for document in serde_yaml::read::<_, Value>(&mut text.as_bytes()) {
            let document = document.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            match document["kind"].as_str() {
                Some("Microservice") => microservice = Some(serde_json::from_value(document).unwrap()),
                Some("Pod") => pods.push(serde_json::from_value(document).unwrap()),
                Some("Event") => events.push(serde_json::from_value(document).unwrap()),
                Some("MicroserviceAction") => actions.push(serde_json::from_value(document).unwrap()),
                kind => panic!("{}: {kind:?}", path.display()),
            }
        }
        Self { microservice: microservice.unwrap(), pods, events, actions }
    }

    /// What each command shows, by the end of its file's name.
    fn shown(&self) -> Vec<(&'static str, String)> {
        let now: Timestamp = NOW.parse().unwrap();
        let view = view(&self.microservice, &self.pods);
        let why = explain("--namespace shop", &self.microservice, &self.pods, &self.events, now);
        let name = self.microservice.metadata.name.as_deref().unwrap();
        let entries = history::entries(name, &self.actions, &self.events, now);
        let mut shown = vec![
            ("get.txt", tree(&view, now, Paint(false))),
            ("watch.txt", format!("{}\n", line(&view))),
            ("why.txt", told(&why, now, Paint(false))),
        ];
        if !entries.is_empty() {
            shown.push(("history.txt", history::shown(&entries, now)));
            shown.push(("get.colour.txt", tree(&view, now, Paint(true)).replace('\u{1b}', "^[")));
            shown.push(("get.json", format!("{}\n", serde_json::to_string_pretty(&view).unwrap())));
            shown.push(("why.json", format!("{}\n", serde_json::to_string_pretty(&why).unwrap())));
            shown.push(("history.json", format!("{}\n", serde_json::to_string_pretty(&entries).unwrap())));
        }
        shown
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugin");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_is_shown_is_what_was_shown() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let is_input = |path: &PathBuf| path.to_string_lossy().ends_with(".in.yaml");
    let mut known = BTreeSet::new();
    for input in files().into_iter().filter(is_input) {
        for (end, text) in Scene::read(&input).shown() {
            let output = PathBuf::from(input.to_string_lossy().replace("in.yaml", end));
            if update {
                fs::write(&output, &text).unwrap();
            }
            let golden = fs::read_to_string(&output).unwrap_or_default();
            assert_eq!(text, golden, "{}; UPDATE_GOLDEN=1 writes it anew", output.display());
            known.insert(output);
        }
    }
    assert!(!known.is_empty());
    let stray: Vec<_> = files().into_iter().filter(|path| !is_input(path) && !known.contains(path)).collect();
    assert!(stray.is_empty(), "texts without an input: {stray:?}");
}
