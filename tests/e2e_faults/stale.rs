//! Campaign 3: what the operator sees is old. The watches of a kind, or of all, are held back while it works; or it is killed
//! and the next one is told the past by its lists, and nothing by its watches. Then all comes late, or is missed.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use devcluster::faults::{Fault, Faults, Moment, Release};
use microservice_operator::plan::object::Kind;

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::{eventually, run},
};

/// How long what is seen is old.
const LENGTH: Duration = Duration::from_secs(5);

/// How the operator comes to see what is old.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Its watches are held back while it runs.
    Held,
    /// It is killed, and the next one is told what was before the chapter began.
    Travelled,
}

/// What is old, and from which write of a chapter on.
#[derive(Clone, Debug)]
struct Case {
    chapter: Chapter,
    nth: usize,
    way: Way,
    resources: Vec<String>,
    release: Release,
}

/// Writes of a chapter from which on what is seen is old: early and late in a rollout, and after an order has come.
const FROM: [(Chapter, usize); 3] = [(Chapter::Rollout, 4), (Chapter::Rollout, 10), (Chapter::Undo, 2)];

/// Every kind that the operator decides by.
pub fn all() -> Vec<String> {
    let children = Kind::ALL.map(|kind| kind.api_resource().plural);
    ["microservices", "pods", "microserviceactions"].map(str::to_owned).into_iter().chain(children).collect()
}

/// Each kind alone, and all of them.
fn resources() -> Vec<Vec<String>> {
    let all = all();
    all.iter().map(|one| vec![one.clone()]).chain([all.clone()]).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for resources in resources() {
        for (chapter, nth) in FROM {
            for way in [Way::Held, Way::Travelled] {
                for release in [Release::Late, Release::Missed] {
                    cases.push(Case { chapter, nth, way, resources: resources.clone(), release });
                }
            }
        }
    }
    cases
}

/// Begins the chapter; from the write on the operator sees what is old.
async fn begins(stage: &mut Stage, case: &Case) {
    match case.way {
        Way::Held => {
            let from = stage.proxy.writes() + case.nth;
            stage.proxy.holds_from(case.nth, &case.resources);
            story::begin(&stage.space, case.chapter).await;
            let come = eventually(|| async { (stage.proxy.writes() >= from).then_some(()) });
            come.await.expect("as many writes as in a clean run");
        }
        Way::Travelled => {
            stage.proxy.remembers().await.unwrap();
            stage.proxy.stop_at(case.nth, Moment::After);
            story::begin(&stage.space, case.chapter).await;
            stage.proxy.stopped().await;
            stage.travels(&case.resources).await;
        }
    }
}

async fn misled(case: Case, old: &AtomicUsize) {
    let mut stage = Stage::new("stale").await;
    let outcome = stage.is_before(case.chapter).await;
    begins(&mut stage, &case).await;
    tokio::time::sleep(LENGTH).await;
    stage.proxy.goes_wrong(Faults::default());
    stage.proxy.releases(case.release);
    story::end(&stage.space, case.chapter).await;
    let about = format!("{case:?}");
    let lists = stage.proxy.journal().iter().filter(|entry| entry.fault == Some(Fault::Stale)).count();
    match case.way {
        Way::Travelled => assert!(lists > 0, "{about}: no list was old"),
        // No pod, and no object of some kinds, changes in that time.
        Way::Held if case.resources.len() > 1 => assert!(stage.proxy.held() > 0, "{about}: nothing was held back"),
        Way::Held => {}
    }
    old.fetch_add(usize::from(lists + stage.proxy.held() > 0), Ordering::Relaxed);
    stage.rests_at(outcome, &about).await;
}

#[test]
fn whoever_sees_what_is_old_ends_as_a_clean_run() {
    run(async {
        let old = AtomicUsize::new(0);
        campaign::run("3, what is seen is old", campaign::part(cases(), 6), |case| misled(case, &old)).await;
        let old = old.into_inner();
        println!("campaign 3: lists were old, or events held back, in {old} runs");
        assert!(old > 0 || std::env::var("CAMPAIGN_ONLY").is_ok(), "nothing was old");
    });
}
