//! The operator's own routes and rules, as somebody else may have changed them: what is found to be as it was planned
//! is so to the letter.

use devcluster::Dice;
use jiff::SignedDuration;
use microservice_operator::{
    api::Provider,
    apply::diff::is_as,
    offline::Checker,
    plan::{Settings, resources::Stamp},
    render::render,
};
use serde_json::{Value, json};

use crate::{
    manifests::microservices,
    mutate::{pointers, runs, value},
};

/// A service whose routes match texts that look like amounts, by headers that are named like fields of amounts.
fn with_numbers() -> Value {
    let headers = json!({"x-version": {"exact": "1.10"}, "limits": {"exact": "1.0"}, "divisor": {"prefix": "1000"}});
    json!({
        "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
        "metadata": {"name": "numbers", "namespace": "shop"},
        "spec": {
            "ports": [{"name": "http", "port": 80}],
            "versions": [
                {"name": "v1", "image": "registry.example/numbers:1", "weight": 100},
                {"name": "v2", "image": "registry.example/numbers:2", "weight": 0},
            ],
            "routes": [{"name": "beta", "match": [{"headers": headers}], "version": "v2"}],
        },
    })
}

/// The VirtualServices and DestinationRules of the Microservices of the repository, and of one more.
fn planned() -> Vec<Value> {
    let checker = Checker::new().unwrap();
    let settings = Settings {
        provider: Provider::Istio,
        propagation: SignedDuration::from_secs(5),
        stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
    };
    let all = microservices().into_iter().chain([with_numbers()]);
    let read = all.filter_map(|manifest| checker.check(&manifest, Provider::Istio).read);
    let objects = read.flat_map(|(microservice, _)| render(&microservice, &settings).unwrap_or_default());
    objects.filter(|it| it["kind"] == "VirtualService" || it["kind"] == "DestinationRule").collect()
}

/// Whether nothing is there but what is wanted, and all of that. Numbers are written in one way or another, and what is
/// empty is left out.
fn alike(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let absent = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            live.keys().all(|key| wanted.contains_key(key))
                && wanted.iter().all(|(key, wanted)| match live.get(key) {
                    Some(live) => alike(live, wanted),
                    None => absent(wanted),
                })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| alike(live, wanted))
        }
        (Value::Number(live), Value::Number(wanted)) => live == wanted || live.as_f64() == wanted.as_f64(),
        (live, wanted) => live == wanted,
    }
}

#[test]
fn whatever_is_added_to_routes_is_noticed() {
    let mut unnoticed = Vec::new();
    for wanted in planned() {
        let mut places = Vec::new();
        pointers(&wanted["spec"], String::new(), &mut places);
        for place in places {
            let mut live = wanted.clone();
            match live["spec"].pointer_mut(&place) {
                Some(Value::Object(fields)) => drop(fields.insert("theirs".to_owned(), json!({}))),
                Some(Value::Array(items)) if !items.is_empty() => items.push(items[items.len() - 1].clone()),
                _ => continue,
            }
            if is_as(&live, &wanted) {
                unnoticed.push(format!("{} {}: /spec{place}", wanted["kind"], wanted["metadata"]["name"]));
            }
        }
    }
    assert!(unnoticed.is_empty(), "what is added there stays: {unnoticed:#?}");
}

#[test]
fn a_number_that_is_written_otherwise_is_noticed() {
    let (mut met, mut unnoticed) = (0, Vec::new());
    for wanted in planned() {
        let mut places = Vec::new();
        pointers(&wanted["spec"], String::new(), &mut places);
        for place in places {
            let mut live = wanted.clone();
            let Some(Value::String(text)) = live["spec"].pointer_mut(&place) else { continue };
            if text.parse::<f64>().is_err() {
                continue;
            }
            text.push_str(if text.contains('.') { "0" } else { ".0" });
            met += 1;
            if is_as(&live, &wanted) {
                unnoticed.push(format!("{} {}: /spec{place}", wanted["kind"], wanted["metadata"]["name"]));
            }
        }
    }
    assert!(met >= 3 && unnoticed.is_empty(), "of {met} texts these are not told apart: {unnoticed:#?}");
}

#[test]
fn routes_that_are_as_they_were_planned_are_so_to_the_letter() {
    let planned = planned();
    assert!(planned.iter().all(|it| is_as(it, it)), "what is planned is not as itself");
    let (mut same, mut other) = (0, 0);
    for seed in runs(5_000) {
        let mut dice = Dice::of(("routes", seed));
        let wanted = &planned[dice.below(planned.len())];
        let mut live = wanted.clone();
        value(&mut live["spec"], &mut dice);
        let about = format!("CAMPAIGN_SEED={seed}: {} instead of {}", live["spec"], wanted["spec"]);
        let found = is_as(&live, wanted);
        assert_eq!(found, is_as(&live, wanted), "{about}");
        assert!(!found || alike(&live["spec"], &wanted["spec"]), "{about}: nobody would put it back");
        if found {
            same += 1;
        } else {
            other += 1;
        }
    }
    assert!(other > 1_000, "{same} were as planned, {other} not");
}
