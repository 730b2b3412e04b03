//! What a rollout's steps give a version beside its weight, in a world made of data.

use microservice_operator::{
    api::{RolloutState, Verb},
    plan::object::Kind,
};
use serde_json::Value;

use crate::{
    read::{service_of, weights_of},
    world::{Pods, World},
};

/// A service with three pods a version: `v1=90 v2=10`.
fn service(versions: &str, rollout: &str) -> String {
    service_of(versions, 3, rollout)
}

const MATCH: &str = "{match: [{headers: {x-beta: {exact: '1'}}}]}";

fn steps(steps: &[&str]) -> String {
    format!("{{steps: [{}]}}", steps.join(", "))
}

/// A service that has long been at `v1=100` and is now led to `versions`.
fn led_to(versions: &str, rollout: &str) -> World {
    let mut world = World::new(&service("v1=100", rollout));
    world.settle();
    world.pass(600);
    world.edit(&service(versions, rollout));
    world.settle();
    world.pass(5);
    world
}

fn http_route(world: &World, name: &str) -> Option<Value> {
    let routes = world.object(Kind::VirtualService, "order-service")["spec"]["http"].as_array().unwrap();
    routes.iter().find(|route| route["name"] == name).cloned()
}

/// The weights of the requests that the steps match, such as `v2=100`.
fn matched(world: &World) -> Option<String> {
    http_route(world, "rollout.match").map(|route| weights_of(&route))
}

/// Which version gets copies of requests, and of how many percent, such as `v2 10`.
fn mirrored(world: &World) -> Option<String> {
    let route = http_route(world, "default").unwrap();
    let subset = route["mirror"]["subset"].as_str()?;
    Some(format!("{subset} {}", route["mirrorPercentage"]["value"]))
}

fn cookie_set(world: &World, version: &str) -> Option<String> {
    let route = http_route(world, "default").unwrap();
    let to = route["route"].as_array().unwrap().iter().find(|to| to["destination"]["subset"] == version)?.clone();
    to["headers"]["response"]["add"]["set-cookie"].as_str().map(str::to_owned)
}

/// Whether a request with this header goes to the version because it brings the cookie.
fn stays(world: &World, version: &str, header: &str) -> bool {
    let Some(route) = http_route(world, &format!("rollout.cookie.{version}")) else { return false };
    assert_eq!(weights_of(&route), format!("{version}=100"));
    let regex = route["match"][0]["headers"]["cookie"]["regex"].as_str().unwrap();
    regex::Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(header)
}

fn state(world: &World) -> RolloutState {
    world.status().rollout.as_ref().unwrap().state
}

#[test]
fn requests_that_match_go_to_the_new_version_before_its_weight_does() {
    let mut world = led_to("v1=0 v2=100", &steps(&[MATCH, "{pause: {}}", "{weight: 50}", "{pause: {}}"]));
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(matched(&world).as_deref(), Some("v2=100"));
    assert_eq!(world.route_names(), ["rollout.match", "default"]);
    assert_eq!(world.status().rollout.as_ref().unwrap().progress.as_deref(), Some("1/4"));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!((world.routed().as_str(), matched(&world).as_deref()), ("v1=50 v2=50", Some("v2=100")));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!((world.routed().as_str(), matched(&world)), ("v2=100", None));
    assert_eq!(state(&world), RolloutState::Completed);
}

#[test]
fn the_routes_of_the_spec_are_tried_before_those_of_the_rollout() {
    let policy = steps(&[MATCH, "{pause: {}}"]);
    let routes = "routes: [{name: premium, match: [{path: {prefix: /premium}}], version: v1}], rollout";
    let mut world = led_to("v1=0 v2=100", &policy);
    world.edit(&service("v1=0 v2=100", &policy).replace("rollout", routes));
    world.settle();
    assert_eq!(world.route_names(), ["premium", "rollout.match", "default"]);
}

#[test]
fn matches_of_several_steps_add_up() {
    let later = "{match: [{path: {prefix: /beta}}]}";
    let mut world = led_to("v1=0 v2=100", &steps(&[MATCH, "{pause: {}}", later, "{pause: {}}"]));
    let entries = |world: &World| http_route(world, "rollout.match").unwrap()["match"].as_array().unwrap().len();
    assert_eq!(entries(&world), 1);
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(entries(&world), 2);
}

#[test]
fn several_new_versions_share_what_matches_as_they_share_the_weights() {
    let world = led_to("v1=40 v2=45 v3=15", &steps(&[MATCH, "{pause: {}}"]));
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(matched(&world).as_deref(), Some("v2=75 v3=25"));
}

#[test]
fn what_matches_waits_for_all_pods_and_for_the_mesh() {
    let policy = steps(&[MATCH, "{pause: {}}"]);
    let mut world = World::new(&service("v1=100", &policy));
    world.settle();
    world.pass(600);
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.edit(&service("v1=0 v2=100", &policy));
    world.settle();
    world.pass(30);
    assert_eq!(matched(&world), None, "v2 is not complete");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!(matched(&world).as_deref(), Some("v2=100"));
}

#[test]
fn an_abort_takes_what_matches_away_and_the_version_drains() {
    let policy = steps(&[MATCH, "{pause: {}}"]);
    let mut world = led_to("v1=0 v2=100", &policy);
    assert_eq!(world.traffic("v2").unreferenced_since, None, "it has no weight, but requests");
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(matched(&world), None);
    assert_eq!(world.traffic("v2").unreferenced_since.as_ref().unwrap().0, world.now);
    world.edit(&service("v1=100", &policy));
    world.settle();
    world.pass(29);
    assert!(world.subsets().contains(&"v2".to_owned()), "requests are still on their way");
    world.pass(6);
    assert!(!world.has(Kind::Deployment, "order-service-v2"));
}

#[test]
fn another_version_on_the_way_takes_what_matches_over() {
    let policy = steps(&[MATCH, "{pause: {}}"]);
    let mut world = led_to("v1=0 v2=100", &policy);
    world.edit(&service("v1=0 v2=0 v3=100", &policy));
    world.settle();
    assert_eq!(matched(&world), None, "v3 is not known to the mesh yet, and v2 is no longer wanted");
    world.pass(5);
    assert_eq!(matched(&world).as_deref(), Some("v3=100"));
}

#[test]
fn a_version_that_cannot_serve_loses_what_matches_at_once() {
    for policy in ["{onFailure: Rollback, ", "{onFailure: Pause, "] {
        let policy = steps(&[MATCH, "{pause: {}}"]).replacen('{', policy, 1);
        let mut world = led_to("v1=0 v2=100", &policy);
        assert_eq!(matched(&world).as_deref(), Some("v2=100"));
        world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
        world.settle();
        assert_eq!(matched(&world), None, "{policy}");
        assert_eq!(world.routed(), "v1=100");
    }
}

#[test]
fn copies_of_requests_go_to_the_new_version_until_it_has_weight() {
    let mirror = "{mirror: {percent: 10}}";
    let mut world = led_to("v1=0 v2=100", &steps(&[mirror, "{pause: {}}", "{weight: 5}", "{pause: {}}"]));
    assert_eq!((world.routed().as_str(), mirrored(&world).as_deref()), ("v1=100", Some("v2 10")));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!((world.routed().as_str(), mirrored(&world)), ("v1=95 v2=5", None));
}

#[test]
fn copies_of_requests_end_when_a_step_or_the_rollout_says_so() {
    let (more, none) = ("{mirror: {percent: 50}}", "{mirror: {percent: 0}}");
    let all = ["{weight: 5}", more, "{pause: {}}", none, "{pause: {}}", more, "{pause: {}}"];
    let mut world = led_to("v1=0 v2=100", &steps(&all));
    assert_eq!((world.routed().as_str(), mirrored(&world).as_deref()), ("v1=95 v2=5", Some("v2 50")));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(mirrored(&world), None);
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(mirrored(&world).as_deref(), Some("v2 50"));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!((world.routed().as_str(), mirrored(&world)), ("v2=100", None));
}

#[test]
fn of_several_new_versions_the_largest_gets_the_copies() {
    let world = led_to("v1=40 v2=15 v3=45", &steps(&["{mirror: {percent: 1}}", "{pause: {}}"]));
    assert_eq!(mirrored(&world).as_deref(), Some("v3 1"));
}

#[test]
fn a_version_that_gets_copies_drains_after_the_last_one() {
    let policy = steps(&["{mirror: {percent: 100}}", "{pause: {}}"]);
    let mut world = led_to("v1=0 v2=100", &policy);
    assert_eq!(world.traffic("v2").unreferenced_since, None);
    world.edit(&service("v1=100", &policy));
    world.settle();
    assert_eq!(mirrored(&world), None);
    world.pass(29);
    assert!(world.subsets().contains(&"v2".to_owned()), "copies are still on their way");
    world.pass(6);
    assert!(!world.has(Kind::Deployment, "order-service-v2"));
}

#[test]
fn a_version_that_cannot_serve_gets_no_copies() {
    let policy = "{onFailure: Pause, steps: [{mirror: {percent: 100}}, {pause: {}}]}";
    let mut world = led_to("v1=0 v2=100", policy);
    assert_eq!(mirrored(&world).as_deref(), Some("v2 100"));
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.settle();
    assert_eq!(mirrored(&world).as_deref(), Some("v2 100"), "what is left of it can serve");
    world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!(mirrored(&world), None);
}

const STICKY: &str = "{sessionAffinity: {cookie: {name: my.trial, maxAge: 1h}}, steps: [{weight: 5}, {pause: {}}, \
                      {weight: 50}, {pause: {}}]}";

/// The cookie that answers of v2 set now, without its attributes.
fn given(world: &World, version: &str) -> String {
    cookie_set(world, version).unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn a_client_that_the_new_version_served_stays_with_it() {
    let mut world = led_to("v1=0 v2=100", STICKY);
    assert_eq!(world.route_names(), ["rollout.cookie.v2", "default"]);
    assert_eq!(cookie_set(&world, "v1"), None);
    let set = cookie_set(&world, "v2").unwrap();
    assert!(set.starts_with("my.trial=") && set.ends_with("; Max-Age=3600; Path=/; HttpOnly"), "{set}");
    let cookie = given(&world, "v2");
    for header in [cookie.clone(), format!("a=b; {cookie}"), format!("{cookie}; c=d"), format!("a=b;{cookie};c=d")] {
        assert!(stays(&world, "v2", &header), "{header}");
    }
    for header in [format!("x{cookie}"), format!("{cookie}x"), cookie.replace('.', "x"), format!("a=x{cookie}")] {
        assert!(!stays(&world, "v2", &header), "{header}");
    }
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50");
    assert!(stays(&world, "v2", &cookie), "the next step is the same rollout");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!((world.routed().as_str(), world.route_names()), ("v2=100", vec!["default".to_owned()]));
    assert_eq!(cookie_set(&world, "v2"), None);
}

#[test]
fn nobody_stays_with_a_version_after_its_rollout() {
    let mut world = led_to("v1=0 v2=100", STICKY);
    let first = given(&world, "v2");
    assert!(world.ask(Verb::Abort).is_ok());
    assert!(!stays(&world, "v2", &first));
    world.pass(1);
    assert!(world.ask(Verb::Retry).is_ok());
    let second = given(&world, "v2");
    assert!(stays(&world, "v2", &second) && !stays(&world, "v2", &first), "a further try is another rollout");
    world.edit(&service("v1=0 v2=0 v3=100", STICKY));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=95 v3=5");
    assert!(!stays(&world, "v2", &second) && stays(&world, "v3", &given(&world, "v3")));
}

#[test]
fn of_several_new_versions_a_client_stays_with_its_own() {
    let world = led_to("v1=40 v2=30 v3=30", STICKY);
    let (two, three) = (given(&world, "v2"), given(&world, "v3"));
    assert!(stays(&world, "v2", &two) && !stays(&world, "v2", &three));
    assert!(stays(&world, "v3", &three) && !stays(&world, "v3", &two));
}

#[test]
fn clients_of_a_version_that_cannot_serve_go_by_the_weights() {
    let mut world = led_to("v1=0 v2=100", &STICKY.replacen('{', "{onFailure: Pause, ", 1));
    let cookie = given(&world, "v2");
    world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert!(!stays(&world, "v2", &cookie));
    assert_eq!(world.routed(), "v1=100");
}
