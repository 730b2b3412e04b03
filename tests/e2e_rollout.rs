//! Rollouts on a real API server: weights travel by steps, and people's actions are carried out once and answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use microservice_operator::api::{
    ActionResult, Microservice, MicroserviceAction, MicroserviceActionSpec, RolloutState, RolloutStatus, Verb,
};
use serde_json::json;
use support::{Operator, Space, cluster, condition, eventually, message, run, told};

/// Settings of the operator under test.
const PROPAGATION: Duration = Duration::from_secs(1);

fn two(v1: i32, v2: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: 2, versions: [\
         {{name: v1, image: 'registry.example/a:1', weight: {v1}}}, \
         {{name: v2, image: 'registry.example/a:2', weight: {v2}}}], \
         rollout: {{steps: [{{weight: 10}}, {{pause: {{duration: 2s}}}}, {{weight: 50}}, {{pause: {{}}}}]}}}}"
    )
}

fn operator(space: &Space) -> Operator {
    let args = ["--namespace", &space.name, "--leader-election", "false", "--mesh-propagation", "1s"];
    Operator::start(cluster().kubeconfig_path(), &args)
}

fn rollout(microservice: &Microservice) -> &RolloutStatus {
    microservice.status.as_ref().and_then(|status| status.rollout.as_ref()).expect("a rollout in the status")
}

/// A service at `v1=100` with v2 at its side, that is then asked for v2.
async fn at_the_second_pause(space: &Space) -> Microservice {
    space.apply("a", &two(100, 0)).await;
    space.ready("a").await;
    space.apply("a", &two(0, 100)).await;
    space.weights("a", "v1=90 v2=10").await;
    space.weights("a", "v1=50 v2=50").await;
    space.until("a", "Paused", |it| condition(it, "Paused") == "True").await
}

async fn create(space: &Space, verb: Verb, of: &Microservice, step: Option<i32>) -> MicroserviceAction {
    let spec = MicroserviceActionSpec {
        microservice: of.name_any(),
        verb,
        uid: of.uid(),
        target: Some(rollout(of).target.clone()),
        step,
        revision: None,
        expires: None,
        actor: Some("mia".into()),
    };
    let mut action = MicroserviceAction::new("", spec);
    action.metadata.generate_name = Some("a-".into());
    space.api().create(&PostParams::default(), &action).await.unwrap()
}

/// Asks, and waits for the answer.
async fn ask(space: &Space, verb: Verb, of: &Microservice) -> (ActionResult, String) {
    let action = create(space, verb, of, Some(rollout(of).step)).await;
    let api = space.api::<MicroserviceAction>();
    let answered = eventually(|| async { api.get(&action.name_any()).await.ok()?.status }).await;
    let status = answered.unwrap_or_else(|| panic!("{verb:?} was not answered"));
    (status.result, status.message.unwrap_or_default())
}

#[test]
fn a_rollout_walks_its_steps_and_waits_for_a_person() {
    run(async {
        let space = Space::with_propagation(cluster(), "walk", PROPAGATION).await;
        let _operator = operator(&space);
        let paused = at_the_second_pause(&space).await;
        assert_eq!(rollout(&paused).progress.as_deref(), Some("3/4"));
        assert!(message(&paused).contains("go on with: kubectl ms promote a"), "{}", message(&paused));
        assert_eq!(ask(&space, Verb::Promote, &paused).await, (ActionResult::Done, "the rollout goes on".into()));
        space.weights("a", "v1=0 v2=100").await;
        let done = space.ready("a").await;
        assert_eq!(condition(&done, "Promoted"), "True");
        let (result, why) = ask(&space, Verb::Promote, &done).await;
        assert_eq!(
            (result, why.as_str()),
            (ActionResult::Refused, "no rollout is under way: the requested weights are in force")
        );
        assert_eq!(ask(&space, Verb::Undo, &done).await.0, ActionResult::Done);
        space.weights("a", "v1=100 v2=0").await;
        let undone = space.until("a", "aborted", |it| told(it, "Promoted").0 == "RolloutAborted").await;
        assert_eq!(told(&undone, "Promoted").1, "undone by mia");
    });
}

#[test]
fn an_abort_is_about_the_step_that_was_seen_and_needs_a_retry() {
    run(async {
        let space = Space::with_propagation(cluster(), "abort", PROPAGATION).await;
        let _operator = operator(&space);
        let paused = at_the_second_pause(&space).await;
        let late = create(&space, Verb::Abort, &paused, Some(1)).await;
        let api = space.api::<MicroserviceAction>();
        let refused = eventually(|| async { api.get(&late.name_any()).await.ok()?.status }).await.unwrap();
        assert_eq!(refused.result, ActionResult::Refused);
        assert_eq!(condition(&space.microservices().get("a").await.unwrap(), "Paused"), "True");
        assert_eq!(ask(&space, Verb::Abort, &paused).await.0, ActionResult::Done);
        space.weights("a", "v1=100 v2=0").await;
        let aborted = space.until("a", "Stalled", |it| condition(it, "Stalled") == "True").await;
        assert!(message(&aborted).starts_with("rolled back: aborted by mia"), "{}", message(&aborted));
        assert_eq!(condition(&aborted, "Available"), "True");
        assert_eq!(ask(&space, Verb::Retry, &aborted).await.0, ActionResult::Done);
        space.weights("a", "v1=90 v2=10").await;
    });
}

#[test]
fn a_restart_at_any_step_goes_on_where_it_was() {
    run(async {
        let space = Space::with_propagation(cluster(), "again", PROPAGATION).await;
        let mut running = operator(&space);
        space.apply("a", &two(100, 0)).await;
        space.ready("a").await;
        space.apply("a", &two(0, 100)).await;
        for weights in ["v1=90 v2=10", "v1=50 v2=50"] {
            let before = space.weights("a", weights).await;
            running.kill();
            running = operator(&space);
            let same = |it: &Microservice| {
                let now = it.status.as_ref().and_then(|status| status.rollout.as_ref());
                now.is_some_and(|now| now.target == rollout(&before).target && now.step >= rollout(&before).step)
            };
            space.until("a", "the same rollout", same).await;
        }
        let paused = space.until("a", "Paused", |it| condition(it, "Paused") == "True").await;
        running.kill();
        let action = create(&space, Verb::Promote, &paused, None).await;
        let _running = operator(&space);
        space.weights("a", "v1=0 v2=100").await;
        let done = space.ready("a").await;
        assert_eq!(rollout(&done).state, RolloutState::Completed);
        let api = space.api::<MicroserviceAction>();
        let answered = eventually(|| async { api.get(&action.name_any()).await.ok()?.status }).await;
        assert_eq!(answered.map(|status| status.result), Some(ActionResult::Done));
    });
}

#[test]
fn actions_cannot_be_changed_and_the_oldest_are_cleared() {
    run(async {
        let space = Space::with_propagation(cluster(), "record", PROPAGATION).await;
        let _operator = operator(&space);
        space.apply("a", &two(100, 0)).await;
        let ready = space.ready("a").await;
        let first = create(&space, Verb::Retry, &ready, None).await;
        let api = space.api::<MicroserviceAction>();
        let change = json!({"spec": {"verb": "Abort"}});
        let refused = api.patch(&first.name_any(), &PatchParams::default(), &Patch::Merge(&change)).await.unwrap_err();
        assert!(refused.to_string().contains("an action cannot be changed: create another one"), "{refused}");
        // The API server dates creations to the second, and those of one second have no order.
        let next = first.metadata.creation_timestamp.clone().unwrap().0 + jiff::SignedDuration::from_secs(1);
        let passed = eventually(|| async { (jiff::Timestamp::now() >= next).then_some(()) });
        passed.await.expect("the second passes");
        for _ in 0..22 {
            assert_eq!(ask(&space, Verb::Retry, &ready).await.0, ActionResult::Refused);
        }
        let left = eventually(|| async {
            let left = api.list(&ListParams::default()).await.ok()?.items;
            (left.len() <= 20).then_some(left)
        });
        let left = left.await.expect("old actions are cleared");
        assert_eq!(left.len(), 20);
        assert!(left.iter().all(|action| action.name_any() != first.name_any()), "the oldest goes first");
    });
}

#[test]
fn without_a_policy_there_is_nothing_to_ask_for() {
    run(async {
        let space = Space::with_propagation(cluster(), "plain", PROPAGATION).await;
        let _operator = operator(&space);
        space
            .apply("a", "{ports: [{name: http, port: 80}], versions: [{name: v1, image: 'registry.example/a:1'}]}")
            .await;
        let ready = space.ready("a").await;
        assert_eq!(condition(&ready, "Promoted"), "True");
        let spec = MicroserviceActionSpec {
            microservice: "a".into(),
            verb: Verb::Promote,
            uid: None,
            target: None,
            step: None,
            revision: None,
            expires: None,
            actor: None,
        };
        let api = space.api::<MicroserviceAction>();
        api.create(&PostParams::default(), &MicroserviceAction::new("ask", spec)).await.unwrap();
        let answered = eventually(|| async { api.get("ask").await.ok()?.status }).await.expect("an answer");
        assert_eq!(answered.result, ActionResult::Refused);
        let why = "the service has no rollout policy: its weights travel at once, as the spec asks for them";
        assert_eq!(answered.message.as_deref(), Some(why));
    });
}
