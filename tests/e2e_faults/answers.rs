//! Campaign 2: for the length of a rollout, a part of all requests and watches goes wrong in every way there is.

use std::time::Duration;

use devcluster::faults::{Fault, Faults, WatchFault};

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::run,
};

/// How long things go wrong, if the rollout does not end before: several times what it takes in a clean run.
pub const FAULTY: Duration = Duration::from_secs(45);
const SEEDS: u64 = 500;

/// Which part of all goes wrong, by the seed.
fn rate(seed: u64) -> f64 {
    [0.1, 0.2, 0.3, 0.4, 0.5][usize::try_from(seed % 5).unwrap()]
}

/// Everything goes wrong at a rate of 10 to 50 %, by the seed.
pub fn faults(seed: u64) -> Faults {
    let part = rate(seed);
    Faults {
        seed,
        requests: part,
        answers: Fault::ALL.to_vec(),
        watches: part,
        events: WatchFault::ALL.to_vec(),
        longest: Duration::from_secs(3),
        of: Vec::new(),
    }
}

/// A rollout while things go wrong, by an operator that starts in the midst of that.
async fn disturbed(seed: u64) {
    let mut stage = Stage::new("disturbed").await;
    let promoted = stage.is_before(Chapter::Rollout).await;
    stage.proxy.goes_wrong(faults(seed));
    stage.restart();
    story::begin(&stage.space, Chapter::Rollout).await;
    let _ended_or_not = tokio::time::timeout(FAULTY, story::end(&stage.space, Chapter::Rollout)).await;
    stage.proxy.goes_wrong(Faults::default());
    let about = format!("faults by CAMPAIGN_SEED={seed}");
    story::end(&stage.space, Chapter::Rollout).await;
    stage.comes_to(promoted, &about).await;
    stage.is_silent(&about).await;
    let hit = stage.proxy.journal().iter().filter(|entry| entry.fault.is_some()).count();
    // A rollout makes some 20 requests beside its watches: of a tenth of them there may be none.
    assert!(hit > 0 || rate(seed) < 0.2, "{about}: nothing went wrong");
    println!("{about}: {hit} requests went wrong");
}

#[test]
fn a_rollout_among_faults_of_the_api_server_ends_as_a_clean_run() {
    run(async {
        campaign::run("2, faults of the API server", campaign::seeds(SEEDS, 5), disturbed).await;
    });
}
