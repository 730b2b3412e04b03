//! The form with a single image: each change of what runs is a revision, and a rollout leads to the newest.

mod undone;

use crate::{
    read::{target_port, told, with_port},
    world::{Pods, World},
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use microservice_operator::{
    api::{LimitedBy, Microservice, Provider, RolloutState, Verb},
    plan::{object::Kind, resources},
    validate::resolve::resolve,
};
use serde_json::json;

const STEPS: &str = ", rollout: {steps: [{weight: 5}, {pause: {duration: 60s}}, {weight: 50}, {pause: {}}]}";

/// A service with three pods of an image.
fn service(image: &str, more: &str) -> String {
    format!("{{ports: [{{name: http, port: 80, targetPort: 3000}}], replicas: 3, image: 'x:{image}'{more}}}")
}

/// Name of the newest revision.
fn newest(world: &World) -> String {
    resolve(&world.microservice, Provider::Istio).versions[0].name.clone()
}

/// Edits the service, and answers the name of the revision that comes of it.
fn edit(world: &mut World, yaml: &str) -> String {
    world.edit(yaml);
    newest(world)
}

/// A service that has long been at its first revision, which is answered.
fn running(more: &str) -> (World, String) {
    let mut world = World::new(&service("1", more));
    world.settle();
    world.pass(600);
    let one = newest(&world);
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.condition("Ready").0, "True");
    (world, one)
}

/// The same, with a second revision at its first step.
fn promoting() -> (World, String, String) {
    let (mut world, one) = running(STEPS);
    let two = edit(&mut world, &service("2", STEPS));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    (world, one, two)
}

fn deployment(version: &str) -> String {
    format!("order-service-{version}")
}

/// Images of the accepted specs that are kept, the latest first, with their numbers.
fn kept(world: &World) -> Vec<(String, i64)> {
    let children = world.caches.of(Kind::ControllerRevision).unwrap();
    let found = children.find("shop/order-service").into_iter();
    let kept = found.map(|(_, child)| serde_json::from_value(child.object.open()).unwrap());
    let mut kept: Vec<ControllerRevision> = kept.collect();
    kept.sort_by_key(|it| std::cmp::Reverse(resources::acceptance(it)));
    kept.iter().map(|it| (it.data.0["image"].as_str().unwrap().to_owned(), it.revision.unwrap())).collect()
}

fn revisions(world: &World) -> usize {
    let children = world.caches.of(Kind::ControllerRevision).unwrap();
    children.find("shop/order-service").len()
}

#[test]
fn a_new_image_walks_the_steps_and_the_old_revision_goes() {
    let (mut world, one, two) = promoting();
    assert!(world.has(Kind::Deployment, &deployment(&one)) && world.has(Kind::Deployment, &deployment(&two)));
    assert_eq!(world.status().rollout.as_ref().unwrap().progress.as_deref(), Some("1/4"));
    world.pass(60);
    assert_eq!(world.routed(), format!("{two}=50 {one}=50"));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), format!("{two}=100"));
    assert_eq!(world.traffic(&one).limited_by, Some(LimitedBy::Draining));
    world.pass(29);
    assert!(world.has(Kind::Deployment, &deployment(&one)), "it drains");
    world.pass(10);
    assert!(!world.has(Kind::Deployment, &deployment(&one)));
    assert_eq!(world.subsets(), [two.as_str()]);
    for condition in ["Ready", "Promoted"] {
        assert_eq!(world.condition(condition).0, "True", "{condition}");
    }
    assert_eq!(world.status().traffic.len(), 1);
}

#[test]
fn without_a_policy_a_new_image_goes_at_once_when_it_is_ready() {
    let (mut world, one) = running("");
    world.edit(&service("2", ""));
    let two = newest(&world);
    world.pods.insert(two.clone(), Pods::Ready(2));
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), format!("{one}=100"));
    world.pods.insert(two.clone(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{two}=100"));
    assert_eq!(world.status().rollout, None);
}

#[test]
fn what_does_not_end_up_in_pods_makes_no_revision() {
    let (mut world, one) = running(STEPS);
    let text = service("1", STEPS);
    for changed in [
        text.replace("replicas: 3", "replicas: 5"),
        text.replace("port: 80", "port: 8080"),
        text.replace("replicas: 3", "drain: 5s, traffic: {timeout: 3s}"),
        text.replace(STEPS, ""),
    ] {
        assert_eq!(edit(&mut world, &changed), one, "{changed}");
        world.settle();
        assert_eq!(world.routed(), format!("{one}=100"));
    }
    world.settings.stamp.operator_version = "another".into();
    world.settle();
    assert_eq!(newest(&world), one);
    for changed in [text.replace("replicas: 3", "env: [{name: A}]"), text.replace("3000", "3001")] {
        assert_ne!(edit(&mut world, &changed), one, "{changed}");
    }
}

#[test]
fn a_third_image_on_the_way_starts_from_the_stable_revision() {
    let (mut world, one, two) = promoting();
    world.pass(60);
    assert_eq!(world.routed(), format!("{two}=50 {one}=50"));
    let three = edit(&mut world, &service("3", STEPS));
    world.settle();
    assert_eq!(world.routed(), format!("{one}=100"), "what the second had goes back first");
    assert_eq!(told(&world, "RolloutSuperseded"), 1);
    world.pass(5);
    assert_eq!(world.routed(), format!("{three}=5 {one}=95"));
    world.pass(40);
    assert!(!world.has(Kind::Deployment, &deployment(&two)), "nobody goes back to it");
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), format!("{one}=100"));
}

#[test]
fn the_size_reaches_all_revisions_on_the_way_and_drift_is_repaired() {
    let (mut world, one, two) = promoting();
    let before = world.status().rollout.clone();
    world.edit(&service("2", STEPS).replace("replicas: 3", "replicas: 7"));
    world.settle();
    assert_eq!((world.replicas(&one), world.replicas(&two)), (7, 7));
    assert_eq!(world.status().rollout, before, "nothing of the rollout has changed");
    world.meddle(Kind::Deployment, &deployment(&one), |object| {
        object["spec"]["replicas"] = json!(1);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:other");
        true
    });
    world.settle();
    assert_eq!(world.replicas(&one), 7);
    let container =
        world.object(Kind::Deployment, &deployment(&one))["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(container["image"], "x:1");
    world.meddle(Kind::Deployment, &deployment(&one), |_| false);
    world.settle();
    assert!(world.has(Kind::Deployment, &deployment(&one)), "what serves is made again");
}

#[test]
fn an_older_revision_keeps_its_pods_and_follows_the_rest_of_the_spec() {
    let (mut world, one) = running(STEPS);
    let before = world.object(Kind::Deployment, &deployment(&one))["spec"]["template"].clone();
    let text =
        service("2", STEPS).replace("replicas: 3", "traffic: {timeout: 3s}, dependencies: [{name: user-service}]");
    let two = edit(&mut world, &text.replace("3000", "3001"));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    assert_eq!(world.object(Kind::Deployment, &deployment(&one))["spec"]["template"], before);
    assert_eq!(world.object(Kind::VirtualService, "order-service")["spec"]["http"][0]["timeout"], "3s");
}

/// What an autoscaler reads must not go up and down, at no step of a rollout.
#[test]
fn the_scale_does_not_oscillate_on_the_way() {
    let (mut world, one, two) = promoting();
    let scale = |world: &World| (world.status().replicas, world.status().label_selector.clone().unwrap());
    let mut seen = vec![scale(&world)];
    for _ in 0..70 {
        world.pass(1);
        seen.push(scale(&world));
    }
    world.edit(&service("2", STEPS).replace("replicas: 3", "replicas: 5"));
    world.settle();
    assert_eq!(world.replicas(&two), 5, "the newest is of the present size before it is promoted");
    assert!(world.ask(Verb::Promote).is_ok());
    for _ in 0..60 {
        seen.push(scale(&world));
        world.pass(1);
    }
    seen.dedup();
    let of = |replicas: i32, version: &str| {
        (Some(replicas), format!("microservice-operator.dev/service=order-service,version={version}"))
    };
    assert_eq!(seen, [of(3, &one), of(3, &two), of(5, &two)]);
    assert_eq!(world.replicas(&two), 5);
}

/// What is left of the one before takes no part in anything, and its pods that have nothing to do are no measure.
#[test]
fn an_autoscaler_sees_the_promoted_revision_while_the_one_before_drains() {
    let limited = STEPS.replace("{steps", "{maxSurge: 1, steps");
    let mut world = World::new(&service("1", &limited));
    world.settle();
    let one = newest(&world);
    world.pass(600);
    let two = edit(&mut world, &service("2", &limited));
    world.settle();
    world.pass(5);
    assert!(world.ask(Verb::PromoteFull).is_ok());
    for _ in 0..120 {
        if world.status().rollout.as_ref().is_some_and(|it| it.state == RolloutState::Completed) {
            let selector = world.status().label_selector.clone().unwrap();
            assert!(selector.ends_with(&format!(",version={two}")), "{selector}");
        }
        world.pass(1);
    }
    assert_eq!(world.routed(), format!("{two}=100"), "and not {one}");
}

#[test]
fn the_history_is_in_the_order_in_which_specs_were_accepted_last() {
    let more = ", drain: 5s, revisionHistoryLimit: 1";
    let (mut world, _) = running(more);
    let of = |images: &[(&str, i64)]| -> Vec<(String, i64)> {
        images.iter().map(|(image, number)| (format!("x:{image}"), *number)).collect()
    };
    assert_eq!(kept(&world), of(&[("1", 1)]));
    for (image, expected) in [("2", [("2", 2), ("1", 1)]), ("1", [("1", 3), ("2", 2)]), ("3", [("3", 4), ("1", 3)])] {
        edit(&mut world, &service(image, more));
        world.settle();
        world.pass(60);
        assert_eq!(kept(&world), of(&expected));
    }
    // What was kept before there were numbers is in the order in which it was made.
    for (name, child) in world.caches.of(Kind::ControllerRevision).unwrap().find("shop/order-service") {
        let mut object = child.object.open();
        object["revision"] = json!(1);
        object["metadata"]["creationTimestamp"] = match object["data"]["image"].as_str() {
            Some("x:3") => json!("2026-01-01T00:00:02Z"),
            _ => json!("2026-01-01T00:00:01Z"),
        };
        world.meddle(Kind::ControllerRevision, &name.name, |live| {
            *live = object;
            true
        });
    }
    world.settle();
    assert_eq!(kept(&world), of(&[("3", 1), ("1", 1)]));
    edit(&mut world, &service("1", more));
    world.settle();
    world.pass(60);
    assert_eq!(kept(&world), of(&[("1", 2), ("3", 1)]));
}

#[test]
fn a_spec_that_comes_back_is_the_accepted_one_though_its_number_is_refused() {
    let (mut world, one) = running("");
    let first = world.status().accepted_revision.clone();
    let two = edit(&mut world, &service("2", ""));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{two}=100"));
    assert_ne!(world.status().accepted_revision, first);
    world.refused = vec![Kind::ControllerRevision];
    edit(&mut world, &service("1", ""));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.status().accepted_revision, first, "it is kept under its name");
    edit(&mut world, &service("3", ""));
    world.settle();
    assert_eq!(world.status().accepted_revision, first, "this one is not kept at all");
}

#[test]
fn the_history_has_a_limit_beside_what_still_runs() {
    let more = format!("{STEPS}, revisionHistoryLimit: 2");
    let (mut world, one) = running(&more);
    let two = edit(&mut world, &service("2", &more));
    world.settle();
    for timeout in 1..6 {
        world.edit(&service("2", &format!("{more}, traffic: {{timeout: {timeout}s}}")));
        world.settle();
        world.pass(1);
    }
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    assert_eq!(revisions(&world), 4, "the newest, two before it, and that of the stable revision");
    world.edit(&service("2", &more).replace("replicas: 3", "replicas: 4"));
    world.settle();
    assert_eq!(world.replicas(&one), 4, "it is still known what the stable revision is made of");
}

#[test]
fn the_history_has_a_limit_in_bytes() {
    let (mut world, _) = running(", revisionHistoryLimit: 100");
    let much = "x".repeat(300_000);
    for round in 0..8 {
        let large = format!(", revisionHistoryLimit: 100, podAnnotations: {{of: '{round}', much: '{much}'}}");
        let newest = edit(&mut world, &service("2", &large));
        world.settle();
        world.pass(60);
        assert_eq!(world.routed(), format!("{newest}=100"));
    }
    assert_eq!(revisions(&world), 1 + 3, "the newest, and 1 MiB of those before it");
    let small = edit(&mut world, &service("3", ", revisionHistoryLimit: 100"));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed(), revisions(&world)), (format!("{small}=100"), 1 + 3));
}

#[test]
fn an_older_revision_whose_spec_is_lost_is_left_as_it_is() {
    let (mut world, one, two) = promoting();
    let names: Vec<String> = world
        .caches
        .of(Kind::ControllerRevision)
        .unwrap()
        .find("shop/order-service")
        .into_iter()
        .map(|(key, _)| key.name)
        .collect();
    for name in names {
        world.remove(Kind::ControllerRevision, &name);
    }
    world.edit(&service("2", STEPS).replace("replicas: 3", "replicas: 4"));
    world.settle();
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    assert_eq!((world.replicas(&one), world.replicas(&two)), (3, 4));
    assert!(world.ask(Verb::PromoteFull).is_ok());
    assert_eq!(world.routed(), format!("{two}=100"));
}

#[test]
fn an_invalid_edit_leaves_the_rollout_as_it_is() {
    let (mut world, one, two) = promoting();
    world.edit(&service("3", STEPS).replace("replicas: 3", "mounts: [{volume: none, path: /a}]"));
    world.settle();
    world.pass(30);
    assert_eq!(world.condition("Stalled").0, "True");
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    world.pass(30);
    assert_eq!(world.routed(), format!("{two}=50 {one}=50"), "the last accepted spec is walked to");
}

#[test]
fn the_two_forms_follow_each_other_by_removal_and_addition() {
    let (mut world, one) = running(STEPS);
    let named = format!(
        "{{ports: [{{name: http, port: 80, targetPort: 3000}}], replicas: 3, versions: [{{name: v1, image: 'x:1'}}]{STEPS}}}"
    );
    world.edit(&named);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("v1=5 {one}=95"));
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(60);
    assert_eq!(world.routed(), "v1=100");
    assert!(!world.has(Kind::Deployment, &deployment(&one)));
    assert_eq!(revisions(&world), 1, "versions keep no history");
    world.edit(&service("1", STEPS));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{one}=5 v1=95"));
}

#[test]
fn a_worker_and_a_service_without_mesh_change_at_once() {
    for more in [", traffic: {provider: None}", ""] {
        let text = |image: &str| {
            let text = service(image, more);
            if more.is_empty() { text.replace("ports: [{name: http, port: 80, targetPort: 3000}], ", "") } else { text }
        };
        let mut world = World::new(&text("1"));
        world.settle();
        let one = newest(&world);
        let two = edit(&mut world, &text("2"));
        world.settle();
        world.pass(60);
        assert_eq!(world.traffic(&two).effective, 100);
        assert!(!world.has(Kind::Deployment, &deployment(&one)));
        assert_eq!(world.condition("Ready").0, "True");
    }
}

/// Two services that run the same have revisions of their own, and the names last over releases.
#[test]
fn a_revision_is_named_after_its_content() {
    let name = |microservice: &str, yaml: &str| {
        let spec = crate::world::spec(yaml);
        resolve(&Microservice::new(microservice, spec), Provider::Istio).versions[0].name.clone()
    };
    let one = name("order-service", &service("1", ""));
    assert_eq!(one, "r-35c9bc8337");
    assert_ne!(name("user-service", &service("1", "")), one);
}

/// By either name the Service would find the pods of one revision alone.
#[test]
fn a_port_that_is_renamed_leads_to_its_number_until_all_pods_have_the_name() {
    let (mut world, one) = running(STEPS);
    assert_eq!(target_port(&world), "http");
    let renamed = service("1", STEPS).replace("name: http", "name: web");
    let two = edit(&mut world, &renamed);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    assert_eq!(target_port(&world), 3000);
    assert!(world.ask(Verb::Abort).is_ok());
    world.pass(600);
    assert_eq!((world.routed(), target_port(&world)), (format!("{one}=100"), json!(3000)), "the old one serves on");
    assert!(world.ask(Verb::Retry).is_ok());
    world.pass(5);
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(600);
    assert_eq!((world.routed(), target_port(&world)), (format!("{two}=100"), json!("web")));
}

#[test]
fn pods_of_before_a_port_was_renamed_are_found_when_they_come_back() {
    let (mut world, one) = running(STEPS);
    let two = edit(&mut world, &service("1", STEPS).replace("name: http", "name: web"));
    world.settle();
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(3_600);
    assert_eq!((world.routed(), target_port(&world)), (format!("{two}=100"), json!("web")));
    assert!(world.undo_to(&one).is_ok());
    world.pass(600);
    assert_eq!(
        (world.routed(), target_port(&world)),
        (format!("{one}=100"), json!(3000)),
        "it has no port of that name"
    );
}

#[test]
fn nobody_goes_back_to_pods_that_nothing_would_find() {
    let port = |name: &str, number: i32| with_port(&service("1", STEPS), name, number);
    let (mut world, one) = running(STEPS);
    for yaml in [port("web", 3000), port("web", 4000)] {
        edit(&mut world, &yaml);
        world.settle();
        assert!(world.ask(Verb::PromoteFull).is_ok());
        world.pass(3_600);
    }
    let refused = world.undo_to(&one).unwrap_err();
    assert!(refused.contains("port 80 of the Service had another name and another targetPort then"), "{refused}");
    let two = resolve(&Microservice::new("order-service", crate::world::spec(&port("web", 3000))), Provider::Istio);
    assert!(world.undo_to(&two.versions[0].name).is_ok(), "its port has the name of now");
}

#[test]
fn a_revision_that_sleeps_is_not_cut_off_and_one_that_gets_nothing_is_not_asked() {
    let port = |name: &str, number: i32| with_port(&service("1", STEPS), name, number);
    let asleep = |yaml: String| yaml.replace("replicas: 3", "replicas: 0");
    let (mut world, one) = running(STEPS);
    world.edit(&asleep(port("http", 3000)));
    world.settle();
    world.pass(60);
    world.edit(&asleep(port("web", 4000)));
    world.settle();
    assert_eq!((world.routed(), world.condition("Ready").1), (format!("{one}=100"), "InvalidSpec".to_owned()));

    let (mut world, one) = running(STEPS);
    edit(&mut world, &port("web", 3000));
    world.settle();
    assert!(world.ask(Verb::Abort).is_ok());
    world.pass(600);
    assert_eq!(world.routed(), format!("{one}=100"));
    edit(&mut world, &port("web", 4000));
    world.settle();
    let (ready, stalled) = (world.condition("Ready").1, world.condition("Stalled").0);
    assert_eq!((ready.as_str(), stalled.as_str()), ("PortsChanging", "True"), "the one before never arrives");
    edit(&mut world, &port("http", 4000));
    world.settle();
    assert_eq!(world.condition("Stalled").0, "False", "all that get requests have a port of that name");
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(600);
    assert_eq!(world.condition("Ready").0, "True");
}
