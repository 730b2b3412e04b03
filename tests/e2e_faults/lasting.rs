//! Campaign 4, too: one thing cannot be written until there is nothing else to do. Nothing calls the operator back to it then
//! but itself.

use devcluster::faults::{Fault, Faults};

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::run,
};

/// What is not written, how it goes wrong, and a chapter of which it is the last.
const CASES: [(&str, Fault, Chapter); 4] = [
    ("microservices/status", Fault::Conflict, Chapter::Edit),
    ("microserviceactions/status", Fault::InternalError, Chapter::Undo),
    ("microserviceactions/status", Fault::Conflict, Chapter::Undo),
    ("microservices/status", Fault::Conflict, Chapter::Undo),
];

async fn lasting((resource, fault, chapter): (&'static str, Fault, Chapter)) {
    let stage = Stage::new("lasting").await;
    let outcome = stage.is_before(chapter).await;
    let of = vec![resource.to_owned()];
    stage.proxy.goes_wrong(Faults { requests: 1.0, answers: vec![fault], of, ..Faults::default() });
    story::begin(&stage.space, chapter).await;
    stage.settles().await;
    stage.proxy.goes_wrong(Faults::default());
    let about = format!("{fault:?} of {resource} in {chapter:?}");
    story::end(&stage.space, chapter).await;
    stage.comes_to(outcome, &about).await;
    stage.is_silent(&about).await;
}

#[test]
fn what_could_not_be_written_is_written_when_there_is_nothing_else_to_do() {
    run(async {
        campaign::run("4, a write that fails for long", campaign::part(CASES.to_vec(), 2), lasting).await;
    });
}
