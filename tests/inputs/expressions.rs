//! Regular expressions that proxies are to match with: what is taken is one to another reader, too, and none of it is
//! repeated more often than it may be.

use devcluster::Dice;
use microservice_operator::validate::{re2, syntax::printable};
use regex_syntax::hir::{Hir, HirKind};

use crate::mutate::{lines, runs, text};

/// How often RE2 copies something at most.
const COPIES: u64 = 1_000;

/// How often the most repeated part of an expression is copied.
fn copies(of: &Hir) -> u64 {
    match of.kind() {
        HirKind::Repetition(it) => u64::from(it.max.unwrap_or(it.min)).max(1).saturating_mul(copies(&it.sub)),
        HirKind::Capture(it) => copies(&it.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().map(copies).max().unwrap_or(1),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => 1,
    }
}

#[test]
fn what_is_taken_for_an_expression_is_one_and_the_rest_is_refused_in_a_line() {
    let all = lines("expressions.txt");
    let (mut taken, mut refused) = (0, 0);
    for seed in runs(2_000) {
        let given = text(&all, &mut Dice::of(("expression", seed)));
        let about = format!("CAMPAIGN_SEED={seed}: {given:?}");
        let told = re2::problem(&given);
        assert_eq!(told, re2::problem(&given), "{about}");
        if let Some(reason) = told {
            refused += 1;
            assert!(!reason.is_empty() && printable(&reason) == reason, "{about}: {reason:?}");
            continue;
        }
        taken += 1;
        // Halves of characters are a category of RE2's, which no text here has.
        if !given.contains("{Cs}") {
            let parsed = regex_syntax::parse(&given).unwrap_or_else(|error| panic!("{about}: {error}"));
            assert!(copies(&parsed) <= COPIES, "{about}");
        }
    }
    assert!(taken > 200 && refused > 200, "{taken} were taken, {refused} refused");
}
