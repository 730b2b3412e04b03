//! How much of a campaign runs, and what it prints.

use std::future::Future;

use futures::{StreamExt, stream};

/// Runs of a campaign at a time.
const ABREAST: usize = 6;

/// Whether the whole of each campaign is to run.
pub fn whole() -> bool {
    std::env::var("CAMPAIGN").is_ok_and(|it| it == "whole")
}

/// What the choice of a short campaign, and its faults, depend on.
pub fn seed() -> u64 {
    let text = std::env::var("CAMPAIGN_SEED").unwrap_or_else(|_| "1".to_owned());
    text.parse().unwrap_or_else(|_| panic!("CAMPAIGN_SEED is no number: {text}"))
}

/// All of the cases, or so many that the seed picks.
pub fn part<T>(cases: Vec<T>, short: usize) -> Vec<T> {
    if whole() {
        return cases;
    }
    let step = (cases.len() / short).max(1);
    let first = usize::try_from(seed()).unwrap() % step;
    cases.into_iter().skip(first).step_by(step).take(short).collect()
}

/// Runs the cases, some at a time, and prints how many there were.
pub async fn run<T, F: Future<Output = ()>>(name: &str, cases: Vec<T>, case: impl Fn(T) -> F) {
    let count = cases.len();
    stream::iter(cases).map(case).buffer_unordered(ABREAST).collect::<()>().await;
    let part = if whole() { "the whole".to_owned() } else { format!("a part, CAMPAIGN_SEED={}", seed()) };
    println!("campaign {name}: {count} runs ({part}), each ended as a clean run does");
}
