//! The manifests of `tests/manifests`, each of which breaks one rule.

use microservice_operator::input;
use serde_json::Value;

use crate::support::root;

/// Specs that are refused, by whom, and the name of the file that each is of.
pub struct Corpus {
    pub refused: Vec<(String, Value)>,
    pub stalled: Vec<(String, Value)>,
}

impl Corpus {
    pub fn read() -> Self {
        Self { refused: specs("refused"), stalled: specs("stalled") }
    }
}

fn specs(folder: &str) -> Vec<(String, Value)> {
    let input = input::read(&[root().join("tests/manifests").join(folder)], &mut std::io::empty());
    assert!(input.errors.is_empty(), "{:?}", input.errors);
    let of_spec =
        input.documents.into_iter().filter(|it| it.value["kind"] == "Microservice" && it.value["spec"].is_object());
    of_spec
        .map(|document| (document.origin.file.rsplit('/').next().unwrap().to_owned(), document.value["spec"].clone()))
        .collect()
}
