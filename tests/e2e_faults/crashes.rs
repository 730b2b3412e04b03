//! Campaign 1: the operator is killed at every write of the story, just before it is forwarded, or once it is done but
//! nobody knows.

use devcluster::faults::Moment;

use crate::{
    campaign,
    stage::{Clean, Stage, clean},
    story::{self, Chapter},
    support::run,
};

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
        if chapter == Chapter::Rollback {
            stage.is_silent(&about).await;
        }
    }
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
