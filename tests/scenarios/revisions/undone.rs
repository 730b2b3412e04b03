//! Back to a revision of before: by an abort, an edit, an order, or within the window of rollback.

use microservice_operator::{
    api::{RolloutState, Verb},
    observe::Weights,
    plan::object::Kind,
};

use super::{STEPS, deployment, edit, newest, promoting, running, service};
use crate::{
    read::told,
    world::{Pods, World},
};

#[test]
fn an_abort_goes_back_and_stays_whatever_the_size() {
    let (mut world, one, two) = promoting();
    world.crashes.insert(two.clone(), world.now);
    world.settle();
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.condition("Promoted").1, "RolloutAborted");
    world.pass(3_600);
    world.edit(&service("2", STEPS).replace("replicas: 3", "replicas: 6"));
    world.settle();
    world.pass(60);
    assert_eq!(world.status().rollout.as_ref().unwrap().state, RolloutState::Aborted);
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.replicas(&one), 6, "what serves follows the size");
    world.edit(&service("2", STEPS).replace("replicas: 3", "replicas: 2"));
    world.settle();
    assert_eq!(world.replicas(&one), 2, "down, too");
    world.edit(&service("2", STEPS));
    world.settle();
    assert_eq!(told(&world, "RolloutAborted"), 1);
    let three = edit(&mut world, &service("3", STEPS));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{three}=5 {one}=95"), "another image is another rollout");
}

#[test]
fn the_image_of_before_is_back_at_once() {
    for seconds in [0, 60] {
        let (mut world, one, two) = promoting();
        world.pass(seconds);
        assert_eq!(edit(&mut world, &service("1", STEPS)), one);
        world.settle();
        assert_eq!(world.routed(), format!("{one}=100"), "after {seconds} s");
        world.pass(40);
        assert!(!world.has(Kind::Deployment, &deployment(&two)));
        assert_eq!(world.condition("Ready").0, "True");
    }
}

#[test]
fn after_the_promotion_too_as_long_as_it_still_runs() {
    for seconds in [1, 29, 32] {
        let (mut world, one, two) = promoting();
        assert!(world.ask(Verb::PromoteFull).is_ok());
        assert_eq!(world.routed(), format!("{two}=100"));
        world.pass(seconds);
        let uid = world.object(Kind::Deployment, &deployment(&one))["metadata"]["uid"].clone();
        let template = world.object(Kind::Deployment, &deployment(&one))["spec"]["template"].clone();
        assert_eq!(edit(&mut world, &service("1", STEPS)), one);
        world.settle();
        // One whose subset went has to make itself known to the mesh again.
        world.pass(if seconds > 30 { 5 } else { 0 });
        assert_eq!(world.routed(), format!("{one}=100"), "after {seconds} s");
        assert_eq!(world.object(Kind::Deployment, &deployment(&one))["metadata"]["uid"], uid);
        assert_eq!(world.object(Kind::Deployment, &deployment(&one))["spec"]["template"], template);
        world.edit(&service("2", STEPS));
        world.settle();
        world.pass(5);
        assert_eq!(world.routed(), format!("{two}=5 {one}=95"), "the way there is walked again");
    }
}

#[test]
fn a_revision_is_kept_as_long_as_the_policy_wants_to_go_back_to_it() {
    let more = STEPS.replace("{steps", "{scaleDownDelay: 10m, steps");
    let (mut world, one) = running(&more);
    let two = edit(&mut world, &service("2", &more));
    world.settle();
    world.pass(5);
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(500);
    assert_eq!(world.condition("Ready").0, "True", "it stands by, and holds nothing up");
    assert_eq!(world.ask(Verb::Undo), Ok("the weights go back to those before the rollout".into()));
    assert_eq!(world.routed(), format!("{one}=100"));
    assert!(world.ask(Verb::Retry).is_ok());
    assert!(world.ask(Verb::PromoteFull).is_ok());
    assert_eq!(world.routed(), format!("{two}=100"));
    world.pass(599);
    assert!(world.has(Kind::Deployment, &deployment(&one)));
    world.pass(10);
    assert!(!world.has(Kind::Deployment, &deployment(&one)));
    assert_eq!(world.condition("Ready").0, "True");
}

/// The spec says one thing, and a person another: the person's holds until the spec says something new.
#[test]
fn a_person_goes_back_to_any_kept_revision_until_the_spec_asks_for_another() {
    let (mut world, names) = promoted_over(&["1", "2", "3"], STEPS);
    let [one, two, three] = names.as_slice() else { panic!("{names:?}") };
    let before = told(&world, "RolloutAborted");
    world.pods.insert(one.clone(), Pods::Ready(1));
    let answer = world.undo_to(one).unwrap();
    assert!(answer.starts_with(&format!("{one} gets all requests as soon as its pods are ready")), "{answer}");
    world.pass(30);
    assert_eq!(world.routed(), format!("{three}=100"), "it is not complete");
    world.pods.insert(one.clone(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{one}=100"), "without steps");
    let (stalled, reason, message) = world.condition("Stalled");
    assert_eq!((stalled.as_str(), reason.as_str()), ("True", "RolloutAborted"));
    assert_eq!(
        message,
        format!(
            "rolled back: undone by mia to {one}; traffic stays at {one} 100; change the spec, or: kubectl ms retry \
             order-service --namespace shop"
        )
    );
    assert_eq!(told(&world, "RolloutAborted"), before + 1);

    // Neither time nor size ends it, and the history does not forget it.
    world.pass(3_600);
    for timeout in 1..15 {
        let more = format!("{STEPS}, revisionHistoryLimit: 1, traffic: {{timeout: {timeout}s}}");
        world.edit(&service("3", &more).replace("replicas: 3", "replicas: 4"));
        world.settle();
        world.pass(10);
    }
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.replicas(one), 4);
    let refused = world.undo_to(two).unwrap_err();
    assert!(refused.starts_with(&format!("no revision {two} is kept; these are: ")), "{refused}");
    assert!(world.undo_to(three).unwrap_err().contains("is what the spec asks for: retry"));

    // Whoever retries walks to what the spec asks for; whoever changes the spec, to that.
    assert!(world.ask(Verb::Retry).is_ok());
    world.pass(5);
    assert_eq!(world.routed(), format!("{three}=5 {one}=95"));
    assert!(world.undo_to(one).is_ok(), "from the middle of a rollout, too");
    assert_eq!(world.routed(), format!("{one}=100"));
    let four = edit(&mut world, &service("4", STEPS));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{four}=5 {one}=95"));
    assert_eq!(world.status().rollout.as_ref().unwrap().state, RolloutState::Progressing);
}

#[test]
fn versions_have_no_revision_to_go_back_to() {
    let mut world =
        World::new(&format!("{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'x:1'}}]{STEPS}}}"));
    world.settle();
    assert!(world.undo_to("r-0123456789").unwrap_err().starts_with("only a service with an image has revisions"));
}

/// A service that was promoted from image to image, the last of which is at its first step; with their revisions.
fn promoted_over(images: &[&str], more: &str) -> (World, Vec<String>) {
    let mut world = World::new(&service(images[0], more));
    world.settle();
    let mut names = vec![newest(&world)];
    for image in &images[1..] {
        world.pass(600);
        names.push(edit(&mut world, &service(image, more)));
        world.settle();
        world.pass(5);
        assert!(world.ask(Verb::PromoteFull).is_ok());
    }
    world.pass(600);
    assert_eq!(world.routed(), format!("{}=100", names.last().unwrap()));
    (world, names)
}

#[test]
fn what_served_within_the_window_is_back_without_steps_as_soon_as_it_is_ready() {
    let windowed = |window: &str| STEPS.replace("{steps", &format!("{{rollbackWindow: {window}, steps"));
    for (window, image, skips) in [
        ("{revisions: 2}", 2, true),
        ("{revisions: 2}", 1, true),
        ("{revisions: 2}", 0, false),
        ("{duration: 15m}", 2, true),
        ("{duration: 15m}", 1, false),
        ("{revisions: 3, duration: 15m}", 1, false),
        ("{revisions: 1, duration: 2h}", 1, false),
    ] {
        let more = windowed(window);
        let (mut world, names) = promoted_over(&["1", "2", "3", "4"], &more);
        let back = names[image].clone();
        assert!(!world.has(Kind::Deployment, &deployment(&back)));
        world.pods.insert(back.clone(), Pods::Ready(2));
        assert_eq!(edit(&mut world, &service(&format!("{}", image + 1), &more)), back);
        world.settle();
        world.pass(30);
        assert_eq!(world.routed(), format!("{}=100", names[3]), "{window}: {image} is not complete");
        world.pods.insert(back.clone(), Pods::Healthy);
        world.settle();
        world.pass(5);
        let stepwise = format!("{back}=5 {}=95", names[3]);
        assert_eq!(world.routed(), if skips { format!("{back}=100") } else { stepwise }, "{window}: {image}");
    }
}

#[test]
fn the_window_counts_what_served_and_forgets_what_was_never_promoted() {
    let more = STEPS.replace("{steps", "{rollbackWindow: {revisions: 1}, steps");
    let (mut world, names) = promoted_over(&["1", "2"], &more);
    let three = edit(&mut world, &service("3", &more));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{three}=5 {}=95", names[1]));
    let served = |world: &World| -> Vec<String> {
        world.status().rollout.as_ref().unwrap().served.iter().map(|it| it.revision.clone()).collect()
    };
    assert_eq!(served(&world), [names[0].as_str()], "the second serves still");
    // From the middle of a rollout, too.
    world.edit(&service("1", &more));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{}=100", names[0]));
    assert_eq!(served(&world), [names[1].as_str()]);
    world.pass(60);
    world.edit(&service("3", &more));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{three}=5 {}=95", names[0]), "it never served");
}

/// The share of the one that was on its way does not wait for the pods of the one that is known to be good.
#[test]
fn back_to_a_revision_that_is_not_ready_the_abandoned_one_loses_its_weight_at_once() {
    let more = STEPS.replace("{steps", "{rollbackWindow: {revisions: 3}, steps");
    for by_person in [false, true] {
        let (mut world, names) = promoted_over(&["1", "2"], &more);
        let [one, two] = names.as_slice() else { panic!("{names:?}") };
        let three = edit(&mut world, &service("3", &more));
        world.settle();
        world.pass(65);
        assert_eq!(world.routed(), format!("{three}=50 {two}=50"));
        world.pods.insert(one.clone(), Pods::Ready(0));
        if by_person {
            assert!(world.undo_to(one).is_ok());
        } else {
            assert_eq!(edit(&mut world, &service("1", &more)), *one);
        }
        world.settle();
        assert_eq!(world.routed(), format!("{two}=100"), "by a person: {by_person}");
        world.pass(60);
        assert_eq!(world.routed(), format!("{two}=100"), "by a person: {by_person}");
        world.pods.insert(one.clone(), Pods::Healthy);
        world.settle();
        world.pass(5);
        assert_eq!(world.routed(), format!("{one}=100"), "without steps; by a person: {by_person}");
    }
}

/// A third image is given up halfway, and all requests go back to what served.
fn the_next_is_aborted(world: &mut World, policy: &str, serving: &str) {
    let three = edit(world, &service("3", policy));
    world.settle();
    world.pass(65);
    assert_eq!(world.routed(), format!("{three}=50 {serving}=50"));
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), format!("{serving}=100"), "not what was aborted, until the one before starts");
}

#[test]
fn what_serves_meanwhile_is_gone_back_to_when_what_was_gone_back_to_never_came_up() {
    let (mut world, names) = promoted_over(&["1", "2"], STEPS);
    let [one, two] = names.as_slice() else { panic!("{names:?}") };
    world.pods.insert(one.clone(), Pods::Broken("ImagePullBackOff"));
    assert!(world.undo_to(one).is_ok());
    world.pass(60);
    assert_eq!(world.routed(), format!("{two}=100"));
    the_next_is_aborted(&mut world, STEPS, two);
}

/// As with an undo: to the one before at once, or to one of the window.
#[test]
fn what_serves_meanwhile_is_gone_back_to_when_what_the_spec_went_back_to_never_came_up() {
    let more = STEPS.replace("{steps", "{rollbackWindow: {revisions: 3}, steps");
    for policy in [STEPS, &more] {
        let (mut world, names) = promoted_over(&["1", "2"], policy);
        let [one, two] = names.as_slice() else { panic!("{names:?}") };
        world.pods.insert(one.clone(), Pods::Broken("ImagePullBackOff"));
        assert_eq!(edit(&mut world, &service("1", policy)), *one);
        world.settle();
        world.pass(60);
        assert_eq!(world.routed(), format!("{two}=100"));
        the_next_is_aborted(&mut world, policy, two);
        let rollout = world.status().rollout.clone().unwrap();
        assert_eq!(rollout.stable, Weights::from([(two.clone(), 100)]), "and for good");
    }
}

#[test]
fn a_revision_that_never_came_up_has_not_served() {
    let more = STEPS.replace("{steps", "{rollbackWindow: {revisions: 3}, steps");
    let (mut world, names) = promoted_over(&["1", "2"], &more);
    let [one, two] = names.as_slice() else { panic!("{names:?}") };
    let three = edit(&mut world, &service("3", &more));
    world.settle();
    world.pass(5);
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(edit(&mut world, &service("2", &more)), *two);
    world.settle();
    world.pass(600);
    world.pods.insert(three.clone(), Pods::Broken("ImagePullBackOff"));
    assert!(world.undo_to(&three).is_ok());
    world.pass(60);
    assert!(world.ask(Verb::Retry).is_ok());
    world.pass(600);
    let rollout = world.status().rollout.clone().unwrap();
    assert_eq!((world.routed(), rollout.state), (format!("{two}=100"), RolloutState::Completed));
    assert!(rollout.served.iter().all(|served| served.revision != three), "{:?}", rollout.served);
    assert!(!rollout.previous.contains_key(&three), "nor is it gone back to: {:?}", rollout.previous);
    assert_eq!(rollout.served.iter().filter(|served| served.revision == *one).count(), 1);
    world.pods.insert(three.clone(), Pods::Healthy);
    assert_eq!(edit(&mut world, &service("3", &more)), three);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{three}=5 {two}=95"), "with all steps");
}

#[test]
fn a_revision_that_is_gone_is_named_with_the_way_back_to_it() {
    let (mut world, one, _) = promoting();
    world.ask(Verb::PromoteFull).unwrap();
    world.pass(120);
    let told = world.ask(Verb::Undo).unwrap_err();
    let way = format!(
        "{one} served before and is gone: kubectl ms undo order-service --namespace shop --to-revision {one} makes it anew"
    );
    assert_eq!(told, way);
}

/// Nobody has pods for what comes up anew: the limit would never give it any.
#[test]
fn a_limit_of_pods_keeps_no_revision_from_being_gone_back_to() {
    let limited = STEPS.replace("{steps", "{maxSurge: 1, steps");
    let (mut world, names) = promoted_over(&["1", "2"], &limited);
    let [one, two] = names.as_slice() else { panic!("{names:?}") };
    world.undo_to(one).unwrap();
    world.pass(60);
    assert_eq!(world.routed(), format!("{one}=100"));

    assert!(world.ask(Verb::Retry).is_ok());
    world.pass(90);
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(600);
    assert_eq!(world.routed(), format!("{two}=100"));
    let three = edit(&mut world, &service("3", &limited));
    world.settle();
    world.pass(180);
    assert_eq!(world.routed(), format!("{three}=50 {two}=50"));
    world.pods.insert(one.clone(), Pods::Ready(0));
    world.undo_to(one).unwrap();
    world.pass(60);
    assert_eq!(world.routed(), format!("{two}=100"), "what served before it takes all while the other comes up");
    world.pods.insert(one.clone(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), format!("{one}=100"));
}

#[test]
fn what_serves_meanwhile_gets_back_what_its_pods_carry() {
    let (mut world, names) = promoted_over(&["1", "2"], STEPS);
    let [one, two] = names.as_slice() else { panic!("{names:?}") };
    let three = edit(&mut world, &service("3", STEPS));
    world.settle();
    world.pass(90);
    assert_eq!(world.routed(), format!("{three}=50 {two}=50"));
    world.pods.extend([(one.clone(), Pods::Ready(0)), (two.clone(), Pods::Ready(2))]);
    world.settle();
    world.undo_to(one).unwrap();
    world.pass(10);
    assert_eq!(world.routed(), format!("{three}=34 {two}=66"));
}

#[test]
fn what_is_gone_back_to_is_told_until_it_is_there() {
    let (mut world, names) = promoted_over(&["1", "2"], STEPS);
    let [one, two] = names.as_slice() else { panic!("{names:?}") };
    world.pods.insert(one.clone(), Pods::Ready(0));
    world.undo_to(one).unwrap();
    world.pass(30);
    assert_eq!((world.condition("Stalled").0.as_str(), world.routed()), ("False", format!("{two}=100")));
    let (_, _, message) = world.condition("Ready");
    let waits = format!("rolling back: undone by mia to {one}; waits until {one} can take its requests");
    assert!(message.starts_with(&waits), "{message}");
    world.pods.insert(one.clone(), Pods::Broken("ImagePullBackOff"));
    world.settle();
    assert!(world.condition("Ready").2.contains("ImagePullBackOff"), "{}", world.condition("Ready").2);
    assert_eq!(world.traffic(one).limited_by, None, "it does not drain");
}

#[test]
fn a_rollout_that_fails_takes_nothing_from_what_could_be_undone() {
    let more = STEPS.replace("{steps", "{scaleDownDelay: 1h, steps");
    let (mut world, names) = promoted_over(&["1", "2"], &more);
    let [one, _] = names.as_slice() else { panic!("{names:?}") };
    edit(&mut world, &service("3", &more));
    world.settle();
    world.pass(10);
    assert!(world.ask(Verb::Abort).is_ok());
    world.edit(&service("2", &more));
    world.settle();
    world.pass(60);
    assert!(world.has(Kind::Deployment, &deployment(one)));
    assert_eq!(world.ask(Verb::Undo), Ok("the weights go back to those before the rollout".into()));
    assert_eq!(world.routed(), format!("{one}=100"));
}

#[test]
fn an_abort_while_the_revision_is_awaited_that_the_spec_went_back_to_is_told_so() {
    let more = STEPS.replace("{steps", "{rollbackWindow: {revisions: 3}, steps");
    let (mut world, names) = promoted_over(&["1", "2"], &more);
    let [one, two] = names.as_slice() else { panic!("{names:?}") };
    world.pods.insert(one.clone(), Pods::Ready(0));
    edit(&mut world, &service("1", &more));
    world.settle();
    assert_eq!(world.routed(), format!("{two}=100"));
    assert_eq!(
        world.ask(Verb::Abort),
        Err(format!(
            "no rollout is under way: {one} gets all requests, without steps, as soon as its pods are ready; to leave them \
             where they are, change the spec back"
        ))
    );
    world.pods.insert(one.clone(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.ask(Verb::Abort), Err("no rollout is under way: the requested weights are in force".to_owned()));
}
