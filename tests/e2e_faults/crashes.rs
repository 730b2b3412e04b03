//! Campaign 1: the operator is killed at every write of the story, just before it is forwarded, or once it is done but
//! nobody knows.

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

/// Kills the operator at one write of each chapter.
async fn killed(nth: usize, moment: Moment, clean: &[Clean]) {
    let mut stage = Stage::new("killed").await;
    for Clean { chapter, outcome, writes } in clean {
        let chapter = *chapter;
        let about = format!("killed {moment:?} write {nth} of {writes} of {chapter:?}");
        stage.proxy.stop_at(nth, moment);
        story::begin(&stage.space, chapter).await;
        let stopped = tokio::select! {
            () = stage.proxy.stopped() => true,
            () = story::end(&stage.space, chapter) => false,
        };
        if stopped {
            stage.restart();
            story::end(&stage.space, chapter).await;
        } else {
            stage.proxy.go_on();
        }
        stage.comes_to(outcome, &about).await;
        if [Chapter::Rollback, Chapter::Delete].contains(&chapter) {
            stage.is_silent(&about).await;
        }
    }
}

/// Kills the operator at a write of a chapter while things go wrong, both by the seed; what follows is disturbed, too. A
/// deletion has no write.
async fn killed_among_faults(seed: u64) {
    let mut dice = Dice::of(seed);
    let chapter = Chapter::ALL[dice.below(Chapter::ALL.len() - 1)];
    let moment = [Moment::Before, Moment::After][dice.below(2)];
    let nth = 1 + dice.below(10);
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
    stage.comes_to(outcome, &about).await;
    stage.is_silent(&about).await;
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
        campaign::run("1, a crash at every write", cases, |(nth, moment)| killed(nth, moment, clean)).await;
    });
}
