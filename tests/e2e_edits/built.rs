//! What the API server takes as a Microservice, and the operator as a spec, becomes objects that the API server takes.

use devcluster::Dice;
use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use microservice_operator::{
    api::{Microservice, Provider},
    offline::Checker,
    plan::{Settings, object::Kind, resources::Stamp},
    render::render,
};
use serde_json::{Value, json};

use crate::{
    campaign,
    generator::{Schema, edit, never},
    sequence::NAME,
    support::{Space, cluster, run},
};

/// One field of so many is set in the short part.
const SHORT: usize = 60;

/// Why the API server refuses what a Microservice becomes.
async fn refused(space: &Space, manifest: &Value, settings: &Settings) -> Vec<String> {
    let microservice: Microservice = serde_json::from_value(manifest.clone()).unwrap();
    let mut all = Vec::new();
    for object in render(&microservice, settings).unwrap() {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let kind = Kind::ALL.into_iter().find(|known| known.api_resource().kind == kind).unwrap();
        let params = PatchParams::apply("test").force().dry_run().validation_strict();
        if let Err(error) = space.children(kind).patch(name, &params, &Patch::Apply(&object)).await {
            all.push(error.to_string());
        }
    }
    all
}

/// What Istio refuses is refused here, too, or nothing was shown of routes.
#[test]
fn istio_is_asked_about_its_resources() {
    run(async {
        let space = Space::unwatched(cluster(), "judged").await;
        let rule = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "a"},
            "spec": {"host": "a", "trafficPolicy": {"connectionPool": {}}},
        });
        let params = PatchParams::apply("test").dry_run();
        let refused =
            space.children(Kind::DestinationRule).patch("a", &params, &Patch::Apply(&rule)).await.unwrap_err();
        assert!(refused.to_string().contains("validation.istio.io"), "{refused}");
    });
}

#[test]
fn whatever_is_valid_can_be_built() {
    run(async {
        let (schema, checker) = (Schema::new(), Checker::new().unwrap());
        let space = Space::unwatched(cluster(), "built").await;
        let settings = Settings {
            provider: Provider::Istio,
            propagation: SignedDuration::from_secs(1),
            stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
        };
        let beginnings = edit::beginnings();
        let fields: Vec<&str> = schema.fields().filter(|path| !never(path) && *path != "spec").collect();
        let fields = campaign::part(fields, SHORT);
        let mut wrong = Vec::new();
        for path in &fields {
            let mut dice = Dice::of((*path, campaign::seed()));
            let before = edit::manifest(NAME, &space.name, beginnings[dice.below(2)].clone());
            let (after, placed) = edit::set(&schema, &checker, &before, path, &mut dice)
                .unwrap_or_else(|| panic!("no valid value is known of {path}: tell one in tests/generator/values.rs"));
            let all = refused(&space, &after, &settings).await;
            wrong.extend(
                all.into_iter()
                    .map(|why| format!("{} {}: {why}", placed.path, after.pointer(&placed.pointer).unwrap())),
            );
        }
        println!("campaign 7, edits: {} fields set, each made objects that the API server takes", fields.len());
        assert!(
            wrong.is_empty(),
            "{} of {} fields make objects that are refused:\n{}",
            wrong.len(),
            fields.len(),
            wrong.join("\n")
        );
    });
}
