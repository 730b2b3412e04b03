//! How much of a campaign runs, and what it prints.

use std::{fmt::Debug, future::Future, panic::AssertUnwindSafe};

use devcluster::Dice;
use futures::{FutureExt, StreamExt, stream};

/// Runs of a campaign at a time: `CAMPAIGN_ABREAST`, or so many.
pub fn abreast(otherwise: usize) -> usize {
    number("CAMPAIGN_ABREAST", otherwise)
}

/// A number of the environment.
fn number<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let Ok(text) = std::env::var(name) else { return otherwise };
    text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}"))
}

/// Whether the whole of each campaign is to run.
pub fn whole() -> bool {
    std::env::var("CAMPAIGN").is_ok_and(|it| it == "whole")
}

/// What the choice of a short campaign, and its faults, depend on.
pub fn seed() -> u64 {
    number("CAMPAIGN_SEED", 1)
}

/// Seeds of a campaign that has so many in the whole, and so many in `make test`: those that `CAMPAIGN_SEEDS` names, such as
/// `27,81-90`, or all from `CAMPAIGN_SEED` on.
pub fn seeds(all: u64, short: u64) -> Vec<u64> {
    let Ok(named) = std::env::var("CAMPAIGN_SEEDS") else {
        return (seed()..).take(usize::try_from(if whole() { all } else { short }).unwrap()).collect();
    };
    let number = |text: &str| -> u64 {
        text.parse().unwrap_or_else(|_| panic!("CAMPAIGN_SEEDS are numbers and ranges of them: {named}"))
    };
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(text)..=number(text),
    };
    let seeds: Vec<u64> = named.split(',').flat_map(range).collect();
    assert!(!seeds.is_empty(), "CAMPAIGN_SEEDS has no seed: {named}");
    seeds
}

/// All of the cases, or so many from all over them, which the seed picks.
pub fn part<T: Clone>(cases: Vec<T>, short: usize) -> Vec<T> {
    if whole() {
        return cases;
    }
    let short = short.min(cases.len());
    let stretches = (0..short).map(|nth| (nth, &cases[nth * cases.len() / short..(nth + 1) * cases.len() / short]));
    stretches.map(|(nth, stretch)| stretch[Dice::of((seed(), nth)).below(stretch.len())].clone()).collect()
}

/// Whether `CAMPAIGN_ONLY`, if there is one, is in the name of a case, as a failed run prints it.
fn is_asked_for<T: Debug>(case: &T) -> bool {
    std::env::var("CAMPAIGN_ONLY").map_or(true, |text| format!("{case:?}").contains(&text))
}

/// Runs the cases, some at a time, and prints how many there were. One that fails does not end the others.
pub async fn run<T: Clone + Debug, F: Future<Output = ()>>(name: &str, mut cases: Vec<T>, case: impl Fn(T) -> F) {
    assert!(!cases.is_empty(), "campaign {name} has no case");
    cases.retain(is_asked_for);
    let count = cases.len();
    if count == 0 {
        return println!("campaign {name}: NOT RUN, as CAMPAIGN_ONLY is in the name of none of its cases");
    }
    let run = |it: T| {
        let ran = AssertUnwindSafe(case(it.clone())).catch_unwind();
        async move {
            let failed = ran.await.is_err();
            if whole() {
                println!("campaign {name}: {it:?} {}", if failed { "FAILED" } else { "ended as a clean run does" });
            }
            failed.then(|| format!("{it:?}"))
        }
    };
    let failed: Vec<String> =
        stream::iter(cases).map(run).buffer_unordered(abreast(6)).filter_map(std::future::ready).collect().await;
    let part = if whole() { "the whole".to_owned() } else { format!("a part, CAMPAIGN_SEED={}", seed()) };
    println!("campaign {name}: {count} runs ({part}), {} ended as a clean run does", count - failed.len());
    assert!(failed.is_empty(), "campaign {name}: {} of {count} runs failed, see above: {failed:?}", failed.len());
}
