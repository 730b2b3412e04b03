//! Campaign 2: for the length of a rollout, a part of all requests and watches goes wrong, in every way there is or in one of
//! them.

use std::time::Duration;

use devcluster::faults::Faults;

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::run,
};

/// How long things go wrong, if the rollout does not end before: several times what it takes in a clean run.
pub const FAULTY: Duration = Duration::from_secs(45);
const SEEDS: u64 = 500;
/// Of the few requests that can go wrong in some ways, such as writes with a conflict, by chance none does.
const ONE_IN_A_THOUSAND: f64 = 1e-3;

/// What goes wrong by a seed: of each ten seeds five have all ways, and the other five the same one.
fn faults(seed: u64) -> Faults {
    let (ten, nth) = (seed / 10, seed % 10);
    if nth < 5 { Faults::mixed(seed) } else { Faults::alone(5 * ten + nth - 5) }
}

/// A rollout while things go wrong, by an operator that starts in the midst of that.
async fn disturbed(seed: u64) {
    let mut stage = Stage::new("disturbed").await;
    let promoted = stage.is_before(Chapter::Rollout).await;
    let faults = faults(seed);
    let before = stage.proxy.journal().len();
    stage.proxy.goes_wrong(faults.clone());
    stage.restart();
    story::begin(&stage.space, Chapter::Rollout).await;
    let _ended_or_not = tokio::time::timeout(FAULTY, story::end(&stage.space, Chapter::Rollout)).await;
    let asked = stage.proxy.journal().split_off(before);
    stage.proxy.goes_wrong(Faults::default());
    let about = format!("faults by CAMPAIGN_SEED={seed}");
    story::end(&stage.space, Chapter::Rollout).await;
    stage.rests_at(promoted, &about).await;
    let hit = asked.iter().filter(|entry| entry.went_wrong()).count();
    let luck: f64 = asked.iter().map(|entry| 1.0 - faults.chance(&entry.asked)).product();
    assert!(hit > 0 || luck > ONE_IN_A_THOUSAND, "{about}: nothing went wrong of {} requests", asked.len());
    println!(
        "{about}: {hit} requests and watches went wrong, at a rate of {}: {:?} {:?}",
        faults.requests, faults.answers, faults.events
    );
}

#[test]
fn a_rollout_among_faults_of_the_api_server_ends_as_a_clean_run() {
    run(async {
        campaign::run("2, faults of the API server", campaign::seeds(SEEDS, 5), disturbed).await;
    });
}
