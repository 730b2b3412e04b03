//! A newer operator restarts nobody: pods keep the defaults that they were made with.

use microservice_operator::{api::labels, plan::object::Kind};
use serde_json::json;

use crate::{
    two,
    world::{Pods, World},
};

const DEPLOYMENT: &str = "order-service-v1";

/// How often the startup probe may fail, and the set of defaults that said so.
fn startup(world: &World) -> (i64, String) {
    let deployment = world.object(Kind::Deployment, DEPLOYMENT);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let id = deployment["metadata"]["annotations"][labels::TEMPLATE].as_str().unwrap();
    let (set, _) = id.split_once('-').unwrap();
    (container["startupProbe"]["failureThreshold"].as_i64().unwrap(), set.to_owned())
}

#[test]
fn pods_get_newer_defaults_with_their_next_edit() {
    let spec = two(100, 0).replace("replicas: 3,", "replicas: 3, health: {startupSeconds: 60},");
    let mut world = World::new(&spec);
    world.settle();
    assert_eq!(startup(&world), (13, "2".to_owned()));
    world.meddle(Kind::Deployment, DEPLOYMENT, |object| {
        let id = object["metadata"]["annotations"][labels::TEMPLATE].as_str().unwrap().replacen('2', "1", 1);
        object["metadata"]["annotations"][labels::TEMPLATE] = json!(id);
        object["spec"]["template"]["spec"]["containers"][0]["startupProbe"]["failureThreshold"] = json!(12);
        true
    });
    world.settle();
    world.pass(600);
    assert_eq!(startup(&world), (12, "1".to_owned()), "as the operator of before made them");
    world.edit(&spec.replace("replicas: 3,", "replicas: 5, traffic: {timeout: 3s},"));
    world.settle();
    assert_eq!(startup(&world), (12, "1".to_owned()), "nothing of the pods was edited");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.edit(&spec.replace("x:1", "x:3"));
    world.settle();
    assert_eq!(startup(&world), (13, "2".to_owned()));
}
