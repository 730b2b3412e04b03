//! Texts: durations, names, labels, time zones, placeholders, and the arguments of `kubectl ms`.

use std::sync::LazyLock;

use clap::Parser;
use devcluster::Dice;
use microservice_operator::{
    api::{Duration, duration},
    plugin::cli::Cli,
    validate::{quantity::Quantity, syntax, window},
};
use regex::Regex;

use crate::mutate::{lines, runs, text};

static DURATION: LazyLock<Regex> = LazyLock::new(|| Regex::new(duration::PATTERN).unwrap());

#[test]
fn durations_round_trip_and_are_those_of_the_schema() {
    let all = lines("durations.txt");
    let mut read = 0;
    for seed in runs(20_000) {
        let given = text(&all, &mut Dice::of(("duration", seed)));
        match given.parse::<Duration>() {
            Ok(parsed) => {
                read += 1;
                assert_eq!(parsed.to_string().parse(), Ok(parsed), "CAMPAIGN_SEED={seed}: {given:?}");
                let shown = serde_json::to_string(&parsed).unwrap();
                assert_eq!(
                    serde_json::from_str::<Duration>(&shown).unwrap(),
                    parsed,
                    "CAMPAIGN_SEED={seed}: {given:?}"
                );
                assert!(parsed.to_proto().ends_with('s'));
            }
            Err(error) => {
                assert!(error.to_string().contains(&format!("{given:?}")), "CAMPAIGN_SEED={seed}: {error}");
                assert!(!DURATION.is_match(&given), "CAMPAIGN_SEED={seed}: the schema takes {given:?}");
            }
        }
    }
    assert!(read > 1_000, "only {read} were durations");
}

/// What Kubernetes asks of keys and values of labels, in its own words.
static QUALIFIED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$").unwrap());
static DNS_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").unwrap());
static DNS_LABEL: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$").unwrap());

#[test]
fn names_and_labels_are_those_of_kubernetes() {
    let all = lines("names.txt");
    for seed in runs(20_000) {
        let given = text(&all, &mut Dice::of(("name", seed)));
        let about = format!("CAMPAIGN_SEED={seed}: {given:?}");
        assert_eq!(syntax::dns_label(&given).is_ok(), DNS_LABEL.is_match(&given) && !given.contains('\n'), "{about}");
        let value = given.is_empty() || (QUALIFIED.is_match(&given) && !given.contains('\n'));
        assert_eq!(syntax::label_value(&given).is_ok(), value, "{about}");
        let (prefix, name) = given.split_once('/').unwrap_or(("a", &given));
        let key = prefix.len() <= 253 && DNS_NAME.is_match(prefix) && QUALIFIED.is_match(name);
        assert_eq!(syntax::label_key(&given).is_ok(), key && !given.contains('\n'), "{about}");
        if let Some(zone) = window::zone(&given) {
            assert!(zone.iana_name().is_some_and(|name| name.eq_ignore_ascii_case(&given)), "{about}");
        }
        for found in syntax::placeholders(&given) {
            assert!(given.contains(&format!("${{{found}}}")), "{about}: {found:?}");
        }
    }
}

#[test]
fn arguments_are_taken_or_refused_with_the_reason() {
    let all = lines("arguments.txt");
    let mut taken = 0;
    for seed in runs(2_000) {
        let line = text(&all, &mut Dice::of(("arguments", seed)));
        let given: Vec<&str> = std::iter::once("kubectl-ms").chain(line.split_whitespace()).collect();
        match Cli::try_parse_from(&given) {
            Ok(first) => {
                taken += 1;
                let again = Cli::try_parse_from(&given).unwrap();
                assert_eq!(format!("{first:?}"), format!("{again:?}"), "CAMPAIGN_SEED={seed}: {line:?}");
            }
            Err(error) => {
                let told = error.to_string();
                let reason = told.starts_with("error: ") || told.contains("Usage:") || told.starts_with("kubectl-ms ");
                assert!(reason, "CAMPAIGN_SEED={seed}: {line:?}: {told:?}");
            }
        }
    }
    assert!(taken > 50, "only {taken} were arguments");
}

/// What Kubernetes says of quantities (`k8s.io/apimachinery/pkg/api/resource`), but for numbers that are too large.
static QUANTITY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\A[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(n|u|m|k|[KMGTPE]i|[MGTPE]|[eE][+-]?[0-9]{1,2})?\z").unwrap()
});

#[test]
fn quantities_are_those_of_kubernetes() {
    let all = lines("quantities.txt");
    let mut read = 0;
    for seed in runs(20_000) {
        let given = text(&all, &mut Dice::of(("quantity", seed)));
        let about = format!("CAMPAIGN_SEED={seed}: {given:?}");
        let parsed = given.parse::<Quantity>();
        // One that is too large, or has too large an exponent, is refused.
        let small = given.len() <= 12 && !given.contains(['e', 'E', 'P', 'T']);
        if QUANTITY.is_match(&given) && small {
            assert!(parsed.is_ok(), "{about} is refused");
        }
        let Ok(quantity) = parsed else { continue };
        read += 1;
        assert!(QUANTITY.is_match(&given) || given.contains(['e', 'E']), "{about} is taken");
        if !given.starts_with(['+', '-']) {
            assert!(!quantity.is_negative(), "{about}");
            let less = format!("-{given}").parse::<Quantity>().unwrap();
            assert!(less <= quantity && less.is_whole() == quantity.is_whole(), "{about}: {less:?}");
        }
    }
    assert!(read > 1_000, "only {read} were quantities");
}
