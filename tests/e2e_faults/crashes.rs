//! Campaign 1: the operator is killed at every write of the story, just before it is forwarded, or once it is done but
//! nobody knows.

use std::sync::atomic::{AtomicUsize, Ordering};

use devcluster::{
    Dice,
    faults::{Faults, Moment},
};

use crate::{
    answers, campaign,
    stage::{Clean, Stage, clean},
    story::{self, Chapter},
    support::run,
};

/// Seeds of crashes while faults last.
const SEEDS: u64 = 60;
/// Of so many kills one may fall out: two changes that come together are one write less than in the clean run.
const SPARED: usize = 20;

/// How many chapters had the write at which the operator was to be killed in a clean run, and in how many it was killed.
#[derive(Default)]
struct Kills {
    due: AtomicUsize,
    done: AtomicUsize,
}

/// Kills the operator at one write of each chapter that has so many; writes that follow the chapter's end are its own, too.
async fn killed(nth: usize, moment: Moment, clean: &[Clean], kills: &Kills) {
    let mut stage = Stage::new("killed").await;
    for Clean { chapter, outcome, writes } in clean {
        let chapter = *chapter;
        let about = format!("killed {moment:?} write {nth} of {writes} of {chapter:?}");
        let due = nth <= *writes;
        if due {
            stage.proxy.stop_at(nth, moment);
            kills.due.fetch_add(1, Ordering::Relaxed);
        }
        story::begin(&stage.space, chapter).await;
        let over = async {
            story::end(&stage.space, chapter).await;
            if due {
                stage.settles().await;
            }
        };
        let stopped = tokio::select! {
            () = stage.proxy.stopped() => true,
            () = over => false,
        };
        if stopped {
            kills.done.fetch_add(1, Ordering::Relaxed);
            stage.restart();
            story::end(&stage.space, chapter).await;
        } else {
            stage.proxy.go_on();
        }
        if [Chapter::Rollback, Chapter::Delete].contains(&chapter) {
            stage.rests_at(outcome, &about).await;
        } else {
            stage.comes_to(outcome, &about).await;
        }
    }
}

/// Kills the operator at a write of a chapter while things go wrong, both by the seed; what follows is disturbed, too. A
/// deletion has no write.
async fn killed_among_faults(seed: u64) {
    let mut dice = Dice::of(seed);
    let chapter = Chapter::ALL[dice.below(Chapter::ALL.len() - 1)];
    let moment = [Moment::Before, Moment::After][dice.below(2)];
    let writes = clean().await.iter().find(|clean| clean.chapter == chapter).map_or(0, |clean| clean.writes);
    let nth = (1 + dice.below(10)).min(writes);
    let mut stage = Stage::new("killed").await;
    let outcome = stage.is_before(chapter).await;
    stage.proxy.goes_wrong(Faults::mixed(seed));
    stage.proxy.stop_at(nth, moment);
    story::begin(&stage.space, chapter).await;
    let stopped = tokio::time::timeout(answers::FAULTY, stage.proxy.stopped()).await.is_ok();
    if stopped {
        stage.restart();
        let _ended_or_not = tokio::time::timeout(answers::FAULTY, story::end(&stage.space, chapter)).await;
    } else {
        stage.proxy.go_on();
    }
    stage.proxy.goes_wrong(Faults::default());
    story::end(&stage.space, chapter).await;
    let about = format!("killed {moment:?} write {nth} of {chapter:?} among faults by CAMPAIGN_SEED={seed}");
    stage.rests_at(outcome, &about).await;
    println!("{about}: {}", if stopped { "it was" } else { "there were fewer writes" });
}

#[test]
fn a_crash_among_faults_ends_as_a_clean_run() {
    run(async {
        campaign::run("1 and 2, crashes among faults", campaign::seeds(SEEDS, 2), killed_among_faults).await;
    });
}

#[test]
fn a_crash_at_any_write_ends_as_a_clean_run() {
    run(async {
        let clean = clean().await;
        let writes: Vec<_> = clean.iter().map(|it| (it.chapter, it.writes)).collect();
        println!("writes of a clean run: {writes:?}");
        let most = writes.iter().map(|(_, writes)| *writes).max().unwrap_or_default();
        let all = (1..=most).flat_map(|nth| [(nth, Moment::Before), (nth, Moment::After)]);
        let cases = campaign::part(all.collect(), 6);
        let kills = Kills::default();
        campaign::run("1, a crash at every write", cases, |(nth, moment)| killed(nth, moment, clean, &kills)).await;
        let (due, done) = (kills.due.into_inner(), kills.done.into_inner());
        println!("campaign 1: killed {done} times, of the {due} that a clean run has a write for");
        assert!(due - done <= due.div_ceil(SPARED), "killed {done} times, of {due}");
    });
}
