//! Analyses along a rollout: what they hold, what ends them, and what they say, in a world made of data.

use jiff::SignedDuration;

use crate::{
    read::{message, rollout, service_of},
    world::{Pods, World},
};
use microservice_operator::{
    api::{MeasurementResult, RolloutState, Verb},
    plan::inquiry::{Asked, Measure, Reading},
};

/// With one analysis all along the way.
fn policy(analysis: &str) -> String {
    format!("{{steps: [{{weight: 5}}, {{weight: 50}}], analysis: {{interval: 30s, {analysis}}}}}")
}

fn service((v1, v2): (i32, i32), rollout: &str) -> String {
    service_of(&format!("v1={v1} v2={v2}"), 3, rollout)
}

const SUCCESS: &str = "metrics: [{name: success-rate, kind: SuccessRate, min: 99}]";

/// A service whose v2 has just got its first weight.
fn promoting(rollout: &str, provider: fn(&Measure) -> Result<Reading, String>) -> World {
    let mut world = World::new(&service((100, 0), rollout));
    world.provider = provider;
    world.settle();
    world.pass(600);
    world.edit(&service((0, 100), rollout));
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    world
}

fn notes(world: &World, reason: &str) -> Vec<String> {
    world.notices.iter().filter(|notice| notice.reason == reason).map(|notice| notice.note.clone()).collect()
}

fn of(value: f64) -> Result<Reading, String> {
    Ok(Reading { value: Some(value), baseline: None, requests: Some(500.0) })
}

#[test]
fn the_weights_go_up_only_after_each_metric_has_passed_at_the_present_ones() {
    let mut world = promoting(&policy(SUCCESS), |measure| {
        assert_eq!((measure.version.as_str(), measure.provider.as_str()), ("v2", "default"));
        assert_eq!(measure.window.to_string(), "30s");
        of(99.9)
    });
    assert_eq!(
        message(&world),
        "step 2 of 2 of the rollout waits for its analysis: success-rate of v2 is yet to be measured; traffic stays at \
         v1 95, v2 5"
    );
    world.pass(29);
    assert_eq!(world.routed(), "v1=95 v2=5", "half a minute must be looked back on");
    world.pass(1);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.pass(29);
    assert_eq!(world.routed(), "v1=50 v2=50", "what passed at 5 says nothing of 50");
    assert!(
        message(&world).starts_with("the last raise of the rollout waits for its analysis: "),
        "{}",
        message(&world)
    );
    world.pass(1);
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(rollout(&world).state, RolloutState::Completed);
    assert_eq!((&rollout(&world).analysis, world.condition("Promoted").0.as_str()), (&None, "True"));
    world.pass(600);
}

#[test]
fn a_raise_outlives_an_operator_that_is_killed_before_it_writes_the_status() {
    let mut world = promoting(&policy(SUCCESS), |_| of(99.9));
    let raises: usize = (0..2).map(|_| world.pass_among_crashes(30)).sum();
    assert_eq!((raises, world.routed().as_str()), (2, "v2=100"));
}

#[test]
fn a_verdict_outlives_an_operator_that_is_killed_before_it_writes_the_status() {
    let mut world = promoting(&policy(SUCCESS), |_| of(97.1));
    assert_eq!(world.pass_among_crashes(30), 1, "v2 loses its weight");
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Aborted));
    assert!(rollout(&world).message.as_ref().is_some_and(|why| why.starts_with("v2 fails its analysis: ")));
    assert_eq!(rollout(&world).verdict, None);
}

#[test]
fn numbers_that_come_late_are_waited_for_at_new_weights() {
    let mut world = promoting(&policy(&format!("delay: 15s, {SUCCESS}")), |_| of(99.9));
    world.pass(44);
    assert_eq!(world.routed(), "v1=95 v2=5", "its numbers may be those of the weights before");
    assert_eq!(rollout(&world).analysis.as_ref().map(|run| run.metrics.len()), Some(0));
    world.pass(1);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.pass(44);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.pass(1);
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn a_delay_is_waited_for_once() {
    let steps = "{steps: [{weight: 5}, {analysis: {interval: 10s, delay: 15s, count: 3, metrics: [{name: orders, query: \
                 'orders', min: 1}]}}]}";
    let mut world = promoting(steps, |_| of(2.0));
    world.pass(25 + 10);
    assert_eq!(rollout(&world).step_analysis.as_ref().map(|run| run.metrics[0].taken), Some(2));
    world.pass(10);
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn the_last_raise_is_measured_while_it_waits_for_pods() {
    let steps = "steps: [{scale: {replicas: 1}}, {weight: 25}, {pause: {duration: 2m}}]";
    let policy = policy(SUCCESS).replace("steps: [{weight: 5}, {weight: 50}]", steps);
    let mut world = World::new(&service((100, 0), &policy));
    world.provider = |_| of(99.9);
    world.settle();
    world.pass(600);
    world.edit(&service((0, 100), &policy));
    world.settle();
    assert_eq!(world.routed(), "v1=75 v2=25");
    world.pods.insert("v2".into(), Pods::Ready(1));
    world.pass(150);
    assert_eq!((world.routed().as_str(), rollout(&world).step), ("v1=75 v2=25", 3), "all steps are done");
    world.provider = |_| of(50.0);
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Aborted));
}

#[test]
fn a_failed_measurement_rolls_back_and_the_message_has_the_value() {
    let mut world = promoting(&policy(SUCCESS), |_| of(97.1));
    world.pass(30);
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    let why = "v2 fails its analysis: success-rate 97.1 % < 99 % (1 of 1 measurements; query: Ready(SuccessRate))";
    assert_eq!(rollout(&world).message.as_deref(), Some(why));
    assert_eq!(
        message(&world),
        format!(
            "rolled back: {why}; traffic stays at v1 100; change the spec, or: kubectl ms retry order-service --namespace shop"
        )
    );
    assert_eq!(notes(&world, "RolloutAborted"), [format!("{why}; effective weights: v1=100 v2=0")]);
    world.pass(600);
    assert_eq!(notes(&world, "RolloutAborted").len(), 1);
    world.provider = |_| of(100.0);
    world.ask(Verb::Retry).unwrap();
    assert_eq!(world.routed(), "v1=95 v2=5", "the measurements before the retry count no more");
    world.pass(60);
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn failures_are_forgiven_up_to_the_limit() {
    let mut world = promoting(&policy(&format!("failureLimit: 2, {SUCCESS}")), |_| of(98.996));
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5");
    let run = rollout(&world).analysis.clone().unwrap();
    let metric = &run.metrics[0];
    assert_eq!((metric.taken, metric.failed, metric.passed), (2, 2, 0));
    assert_eq!(metric.message, "98.996 % < 99 %", "as many digits as tell the two apart");
    world.pass(30);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    assert!(message(&world).contains("(3 of 3 measurements"), "{}", message(&world));
}

#[test]
fn a_failure_that_pauses_can_be_overruled_and_is_measured_anew() {
    let with = format!("{{steps: [{{weight: 5}}], onFailure: Pause, analysis: {{interval: 30s, {SUCCESS}}}}}");
    let mut world = promoting(&with, |_| of(90.0));
    world.pass(30);
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Paused, "v1=95 v2=5"));
    world.provider = |_| of(99.5);
    world.ask(Verb::Promote).unwrap();
    assert_eq!(world.routed(), "v1=95 v2=5", "to go on is not to skip the analysis");
    world.pass(30);
    assert_eq!(world.routed(), "v2=100");
    let mut world = promoting(&with, |_| of(90.0));
    world.pass(30);
    world.ask(Verb::PromoteFull).unwrap();
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn a_provider_that_is_gone_holds_the_weights_and_never_promotes() {
    let mut world = promoting(&policy(SUCCESS), |_| Err("http://prometheus:9090 cannot be reached".into()));
    world.pass(4 * 30);
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Progressing, "v1=95 v2=5"));
    assert_eq!(
        message(&world),
        "step 2 of 2 of the rollout waits for its analysis: success-rate of v2: http://prometheus:9090 cannot be \
         reached; traffic stays at v1 95, v2 5"
    );
    world.provider = |_| of(100.0);
    world.pass(30);
    assert_eq!(world.routed(), "v1=50 v2=50", "it goes on by itself once the provider is back");
    world.provider = |_| Err("gone".into());
    world.pass(5 * 30);
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Paused, "v1=50 v2=50"));
    assert!(message(&world).contains("cannot be measured: gone (5 times in a row"), "{}", message(&world));
    world.pass(3_600);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.provider = |_| of(100.0);
    world.ask(Verb::Promote).unwrap();
    world.pass(30);
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn what_no_data_means_is_the_policys_to_say() {
    let nothing: fn(&Measure) -> _ = |_| Ok(Reading { value: None, baseline: None, requests: Some(0.0) });
    let mut world = promoting(&policy(SUCCESS), nothing);
    world.pass(3_600);
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert!(message(&world).contains("success-rate of v2: no data: v2 got 0 requests in 30s;"), "{}", message(&world));
    assert_eq!(rollout(&world).analysis.as_ref().unwrap().metrics[0].result, MeasurementResult::Inconclusive);

    let mut world = promoting(&policy(&format!("onNoData: Fail, {SUCCESS}")), nothing);
    world.pass(30);
    assert_eq!(world.routed(), "v1=100");
    assert!(message(&world).contains("no data: v2 got 0 requests in 30s, which fails by onNoData"));

    let mut world = promoting(&policy(&format!("onNoData: Pass, {SUCCESS}")), nothing);
    world.pass(60);
    assert_eq!(world.routed(), "v2=100");

    let few: fn(&Measure) -> _ = |_| Ok(Reading { value: Some(50.0), baseline: None, requests: Some(19.0) });
    let mut world = promoting(&policy(&format!("minRequests: 20, {SUCCESS}")), few);
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5", "19 requests say nothing");
    assert!(
        message(&world).contains("no data: v2 got 19 requests in 30s, and 20 are asked for"),
        "{}",
        message(&world)
    );
}

#[test]
fn a_version_is_compared_with_the_one_that_served_before() {
    let slower = "metrics: [{name: p99, kind: LatencyP99, max: 500, baseline: {maxIncrease: 50}}]";
    let mut world = promoting(&policy(slower), |measure| {
        assert_eq!(measure.baseline.as_deref(), Some("v1"));
        Ok(Reading { value: Some(180.0), baseline: Some(100.0), requests: Some(500.0) })
    });
    world.pass(30);
    assert_eq!(world.routed(), "v1=100");
    assert!(
        message(&world).contains("p99 180 ms is over 50 ms more than the 100 ms of v1 (1 of 1 measurements"),
        "{}",
        message(&world)
    );
    let mut world =
        promoting(&policy(slower), |_| Ok(Reading { value: Some(180.0), baseline: None, requests: Some(500.0) }));
    world.pass(300);
    assert_eq!(world.routed(), "v1=95 v2=5", "without the other's numbers nothing is known");
    assert!(message(&world).contains("no data of v1 to compare with"), "{}", message(&world));
    for (on_no_data, expected) in [("Pass", "v2=100"), ("Fail", "v1=100")] {
        let policy = policy(slower).replace("interval:", &format!("onNoData: {on_no_data}, interval:"));
        let mut world =
            promoting(&policy, |_| Ok(Reading { value: Some(180.0), baseline: None, requests: Some(500.0) }));
        world.pass(60);
        assert_eq!(world.routed(), expected, "{on_no_data}: {}", message(&world));
    }
}

#[test]
fn a_version_that_gets_no_requests_is_nothing_to_compare_with() {
    let compared = "metrics: [{name: p99, kind: LatencyP99, baseline: {maxIncrease: 50}}]";
    let steps = "steps: [{weight: 5}, {weight: 100}, {pause: {duration: 5m}}]";
    let mut world = promoting(&format!("{{{steps}, analysis: {{interval: 30s, {compared}}}}}"), |measure| {
        assert_eq!(measure.baseline.as_deref(), Some("v1"));
        Ok(Reading { value: Some(120.0), baseline: Some(100.0), requests: Some(500.0) })
    });
    world.pass(31);
    assert_eq!(world.routed(), "v2=100");
    world.provider = |measure| {
        assert_eq!(measure.baseline, None);
        Ok(Reading { value: Some(120.0), baseline: None, requests: Some(500.0) })
    };
    world.pass(400);
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Completed, "v2=100"));
}

#[test]
fn an_analysis_that_is_a_step_counts_its_measurements() {
    let steps = "{steps: [{weight: 5}, {analysis: {interval: 10s, count: 3, metrics: [{name: orders, query: 'orders', \
                 min: 1}]}}, {weight: 50}, {pause: {}}]}";
    let mut world = promoting(steps, |measure| {
        assert_eq!(measure.metric, Asked::Query("orders".into()));
        of(2.0)
    });
    world.pass(29);
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert!(message(&world).contains("step 2 of 4 of the rollout waits for its analysis: orders of v2"));
    world.pass(1);
    assert_eq!(world.routed(), "v1=50 v2=50");
    let mut world = promoting(steps, |_| of(0.0));
    world.pass(10);
    assert_eq!(world.routed(), "v1=100");
    assert!(
        message(&world).contains("v2 fails its analysis: orders 0 < 1 (1 of 1 measurements"),
        "{}",
        message(&world)
    );
}

#[test]
fn a_person_is_waited_for_and_a_failure_is_not() {
    let steps = format!("{{steps: [{{weight: 5}}, {{pause: {{}}}}], analysis: {{interval: 30s, {SUCCESS}}}}}");
    let mut world = promoting(&steps, |_| of(99.5));
    world.pass(600);
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Paused, "v1=95 v2=5"));
    world.provider = |_| of(10.0);
    world.pass(30);
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Aborted, "v1=100"));
}

#[test]
fn an_analysis_that_is_added_on_the_way_holds_the_next_weight() {
    let steps = "steps: [{weight: 5}, {pause: {}}, {weight: 50}, {pause: {}}]";
    let mut world = promoting(&format!("{{{steps}}}"), |_| Err("it is down".into()));
    world.pass(60);
    world.edit(&service((0, 100), &format!("{{{steps}, analysis: {{interval: 30s, {SUCCESS}}}}}")));
    world.settle();
    assert!(world.ask(Verb::Promote).is_ok());
    world.pass(5);
    assert_eq!(world.routed(), "v1=95 v2=5", "nothing was measured");
    world.provider = |_| of(99.9);
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
}

#[test]
fn what_was_asked_before_an_edit_of_the_query_says_nothing_of_the_new_one() {
    let asking = |query: &str| policy(&format!("metrics: [{{name: success-rate, query: '{query}', min: 99}}]"));
    let mut world = promoting(&asking("before"), |measure| {
        of(if measure.metric == Asked::Query("before".into()) { 10.0 } else { 99.9 })
    });
    world.now = world.now.checked_add(SignedDuration::from_secs(30)).unwrap();
    world.reconcile();
    assert_eq!(world.replies.len(), 1, "it is answered, and nobody has read it yet");
    world.edit(&service((0, 100), &asking("after")));
    world.settle();
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Progressing, "v1=50 v2=50"));
}

#[test]
fn what_passed_before_an_edit_of_its_metric_promotes_nothing() {
    let steps = "steps: [{weight: 5}, {pause: {}}, {weight: 50}, {pause: {}}]";
    let asking =
        |metric: &str| format!("{{{steps}, analysis: {{interval: 30s, metrics: [{{name: success-rate, {metric}}}]}}}}");
    for edited in ["query: after, min: 99", "query: before, min: 99.95"] {
        let mut world = promoting(&asking("query: before, min: 99"), |measure| {
            of(if measure.metric == Asked::Query("before".into()) { 99.9 } else { 10.0 })
        });
        world.pass(120);
        assert_eq!((rollout(&world).state, rollout(&world).step), (RolloutState::Paused, 1), "{edited}");
        world.edit(&service((0, 100), &asking(edited)));
        assert!(world.ask(Verb::Promote).is_ok());
        assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Aborted, "v1=100"), "{edited}");
        assert!(!world.notices.iter().any(|notice| notice.note.contains("v1=50 v2=50")), "{edited}");
        assert_eq!(rollout(&world).analysis.as_ref().map(|run| run.metrics[0].taken), Some(1), "{edited}");
    }
}

/// The way is another one, and begins anew: what has requests is measured before it gets more.
#[test]
fn steps_or_weights_edited_on_the_way_raise_nothing_that_is_not_measured() {
    let walking = |weight: i32| {
        let steps = format!("steps: [{{weight: {weight}}}, {{pause: {{}}}}, {{weight: 80}}, {{pause: {{}}}}]");
        format!("{{{steps}, analysis: {{interval: 30s, {SUCCESS}}}}}")
    };
    for (edited, first) in [((0, 100), "v1=67 v2=33"), ((40, 60), "v1=92 v2=8")] {
        let begun = || {
            let mut world = promoting(&walking(5), |_| Err("it is down".into()));
            world.pass(60);
            let weight = if edited.0 == 0 { 30 } else { 5 };
            world.edit(&service(edited, &walking(weight)));
            world.settle();
            world.pass(60);
            assert_eq!(world.routed(), "v1=95 v2=5", "nothing was measured");
            let waits = "step 1 of 4 of the rollout waits for its analysis: success-rate of v2: ";
            assert!(message(&world).starts_with(waits), "{}", message(&world));
            world
        };
        let mut world = begun();
        world.provider = |_| of(99.9);
        world.pass(60);
        assert_eq!(world.routed(), first);
        let mut world = begun();
        world.provider = |_| of(10.0);
        world.pass(60);
        assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Aborted, "v1=100"));
        let mut world = begun();
        assert!(world.ask(Verb::PromoteFull).is_ok());
        world.pass(60);
        assert_eq!(rollout(&world).state, RolloutState::Completed, "whoever promotes fully waits for nothing");
    }
}

/// It has no requests to be measured by.
#[test]
fn a_version_that_joins_on_the_way_is_not_measured_before_it_serves() {
    let policy = policy(SUCCESS);
    let mut world = promoting(&policy, |measure| {
        assert_eq!(measure.version, "v2", "the other one has no requests");
        of(99.9)
    });
    world.provider = |_| of(99.9);
    world.edit(&service_of("v1=0 v2=50 v3=50", 3, &policy));
    world.settle();
    world.pass(10);
    assert!(world.routed().contains("v3="), "{}", world.routed());
    world.pass(600);
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Completed, "v2=50 v3=50"));
}

#[test]
fn a_pause_that_becomes_an_analysis_is_measured() {
    let steps = |second: &str| format!("{{steps: [{{weight: 5}}, {second}, {{weight: 50}}, {{pause: {{}}}}]}}");
    let mut world = promoting(&steps("{pause: {}}"), |_| Err("it is down".into()));
    world.pass(60);
    world.edit(&service((0, 100), &steps(&format!("{{analysis: {{interval: 30s, {SUCCESS}}}}}"))));
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5", "nothing was measured");
    world.provider = |_| of(99.9);
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
}
