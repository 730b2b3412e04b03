//! Every field of the schema is met by the generator: with a valid value, or where there is none, with a refusal.

use std::collections::BTreeSet;

use devcluster::Dice;
use microservice_operator::{api::Provider, offline::Checker};

use crate::{
    campaign,
    generator::{Schema, breakages, edit, given, never},
};

/// Fields of which one is set, or broken, in the short part.
const SHORT: usize = 30;

/// The fields that there is a valid value for, or a part of them.
fn some(schema: &Schema) -> Vec<&str> {
    campaign::part(schema.fields().filter(|path| !never(path) && *path != "spec").collect(), SHORT)
}

#[test]
fn every_field_has_a_valid_value() {
    let (schema, checker) = (Schema::new(), Checker::new().unwrap());
    let beginnings = edit::beginnings();
    let mut met = BTreeSet::new();
    let mut missed = Vec::new();
    for path in some(&schema) {
        let mut dice = Dice::of(path);
        let before = edit::manifest("order-service", "shop", beginnings[dice.below(2)].clone());
        match edit::set(&schema, &checker, &before, path, &mut dice) {
            Some((after, _)) => given(&after["spec"], "spec", &schema, &mut met),
            None => {
                let (after, _) = edit::attempt(&schema, &before, path, &mut dice);
                let verdict = checker.check(&after, Provider::Istio);
                let why = verdict.problems().map(ToString::to_string).collect::<Vec<_>>();
                missed.push(format!("{path}: {why:?}\n   {}", after["spec"]));
            }
        }
    }
    assert!(missed.is_empty(), "{} fields without a valid value:\n{}", missed.len(), missed.join("\n"));
    if campaign::whole() {
        let unmet: Vec<_> = schema.fields().filter(|path| !never(path) && !met.contains(*path)).collect();
        assert!(unmet.is_empty(), "{unmet:?}");
    }
}

#[test]
fn whatever_breaks_a_field_is_refused_where_it_is() {
    let (schema, checker) = (Schema::new(), Checker::new().unwrap());
    let beginnings = edit::beginnings();
    let mut wrong = Vec::new();
    for path in some(&schema) {
        for how in breakages(&schema, path) {
            let mut dice = Dice::of(path);
            let before = edit::manifest("order-service", "shop", beginnings[dice.below(2)].clone());
            let Some((after, at)) = edit::broken(&schema, &before, path, &how, &mut dice) else { continue };
            let refused = checker.check(&after, Provider::Istio).refused;
            if !refused.iter().any(|problem| problem.path.starts_with(&at) || problem.message.contains(&at)) {
                wrong.push(format!("{at}, {how}: {refused:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are not refused:\n{}", wrong.len(), wrong.join("\n"));
}
