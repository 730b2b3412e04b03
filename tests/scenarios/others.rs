//! What happens where a Microservice meets objects, names and sizes that somebody else has a hand in, in a world made of
//! data.

use jiff::SignedDuration;

use crate::{
    read::{target_port, told, with_port},
    two,
    world::{Pods, World},
};
use microservice_operator::{
    api::{Phase, RouteMarks},
    plan::object::Kind,
};
use serde_json::{Value, json};

pub const NAME: &str = "order-service";

/// One version of that name alone.
fn only(version: &str) -> String {
    two(90, 10).replace("{name: v1, image: 'x:1', weight: 90}, ", "").replace("v2", version)
}

/// An object of somebody else's, with this controller and these annotations.
pub fn theirs(owner: Value, annotations: Value) -> Value {
    let mut object = json!({"metadata": {"annotations": annotations}, "spec": {"selector": {"theirs": "yes"}}});
    if !owner.is_null() {
        object["metadata"]["ownerReferences"] = json!([owner]);
    }
    object
}

fn controller(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": "their-uid", "controller": true})
}

fn clash(kind: Kind, name: &str, object: Value) -> String {
    let mut world = World::new(&two(90, 10));
    world.put_foreign(kind, name, object);
    world.settle();
    let (value, reason, message) = world.condition("Stalled");
    assert_eq!((value.as_str(), reason.as_str()), ("True", "NameClash"));
    message
}

#[test]
fn a_service_of_somebody_else_makes_it_unavailable() {
    let mut world = World::new(&two(90, 10));
    world.put_foreign(Kind::Service, NAME, theirs(Value::Null, json!({})));
    world.settle();
    world.pass(10);
    let (available, reason, message) = world.condition("Available");
    assert_eq!((available.as_str(), reason.as_str()), ("False", "NameClash"));
    assert_eq!(message, "requests to order-service.shop.svc.cluster.local go to somebody else's Service");
}

#[test]
fn a_clash_with_an_object_that_nobody_controls_suggests_to_take_it_over() {
    assert_eq!(
        clash(Kind::Service, NAME, theirs(Value::Null, json!({}))),
        "a Service named order-service exists and belongs to somebody else: delete or rename it, rename this \
         Microservice, or let the operator take it over with the annotation microservice-operator.dev/adopt: order-service"
    );
}

/// Whoever writes a Microservice gives its pods no account that was not given to them.
#[test]
fn no_pod_runs_as_an_account_that_is_somebody_elses() {
    let mut world = World::new(&two(90, 10));
    world.put_foreign(Kind::ServiceAccount, NAME, theirs(Value::Null, json!({})));
    world.settle();
    let (value, reason, message) = world.condition("Stalled");
    assert_eq!((value.as_str(), reason.as_str()), ("True", "NameClash"));
    assert!(message.contains("name the account in serviceAccountName if its pods are to run as it"), "{message}");
    for version in ["v1", "v2"] {
        assert!(!world.has(Kind::Deployment, &format!("{NAME}-{version}")), "{version} runs as it");
    }
    let named = two(90, 10).replacen('{', &format!("{{serviceAccountName: {NAME}, "), 1);
    let mut world = World::new(&named);
    world.put_foreign(Kind::ServiceAccount, NAME, theirs(Value::Null, json!({})));
    world.settle();
    assert!(world.has(Kind::Deployment, "order-service-v1"), "it was named, and policies say who may");
}

#[test]
fn a_clash_with_an_object_of_another_controller_names_it_and_suggests_no_adoption() {
    let other = controller("microservice-operator.dev/v1alpha1", "Microservice", "order");
    assert_eq!(
        clash(Kind::PodDisruptionBudget, "order-service-v1", theirs(other, json!({}))),
        "a PodDisruptionBudget named order-service-v1 exists and is controlled by the Microservice order: rename the \
         version or this Microservice, or let go of the object there"
    );
    let adopt = json!({"microservice-operator.dev/adopt": NAME});
    let gateway = controller("example.com/v1", "Gateway", "edge");
    assert_eq!(
        clash(Kind::Service, NAME, theirs(gateway, adopt)),
        "a Service named order-service exists and is controlled by the Gateway edge: rename this Microservice, or let \
         go of the object there"
    );
}

#[test]
fn only_a_deployment_that_selects_the_versions_pods_may_be_taken_over() {
    let name = "order-service-v1";
    for annotations in [json!({}), json!({"microservice-operator.dev/adopt": NAME})] {
        assert_eq!(
            clash(Kind::Deployment, name, theirs(Value::Null, annotations)),
            "a Deployment named order-service-v1 exists and belongs to somebody else, and cannot be taken over, since its \
             selector, which nobody can change, selects other pods: delete it, or rename the version or this Microservice"
        );
    }
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(10);
    for annotations in [json!({}), json!({"microservice-operator.dev/adopt": NAME})] {
        let free = annotations == json!({});
        world.meddle(Kind::Deployment, name, |deployment| {
            let metadata = deployment["metadata"].as_object_mut().unwrap();
            metadata.remove("ownerReferences");
            metadata.insert("annotations".into(), annotations);
            true
        });
        world.settle();
        let (stalled, _, message) = world.condition("Stalled");
        assert_eq!(stalled == "True", free, "{message}");
        assert_eq!(
            message.ends_with("take it over with the annotation microservice-operator.dev/adopt: order-service"),
            free
        );
        assert_eq!(world.object(Kind::Deployment, name)["metadata"]["ownerReferences"].is_array(), !free);
    }
}

#[test]
fn what_is_offered_and_being_deleted_is_waited_for_while_all_else_goes_on() {
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(10);
    for (kind, name) in [(Kind::Deployment, "order-service-v2"), (Kind::ServiceAccount, NAME)] {
        world.meddle(kind, name, |object| {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("ownerReferences");
            metadata.insert("annotations".into(), json!({"microservice-operator.dev/adopt": NAME}));
            metadata.insert("deletionTimestamp".into(), json!("2026-01-01T00:00:00Z"));
            metadata.insert("finalizers".into(), json!(["foregroundDeletion"]));
            true
        });
    }
    world.edit(&two(100, 0));
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    let (_, _, message) = world.condition("Ready");
    assert!(message.contains("is being deleted") && message.contains("foregroundDeletion"), "{message}");
    assert!(world.object(Kind::ServiceAccount, NAME)["metadata"].get("ownerReferences").is_none());
}

#[test]
fn a_clash_with_what_an_earlier_microservice_of_this_name_left_says_that_it_goes() {
    let earlier = theirs(controller("microservice-operator.dev/v1alpha1", "Microservice", NAME), json!({}));
    let mut world = World::new(&two(90, 10));
    world.put_foreign(Kind::Service, NAME, earlier.clone());
    world.settle();
    assert_eq!((world.condition("Stalled").0.as_str(), world.status().phase), ("False", Some(Phase::Progressing)));
    assert_eq!(
        world.condition("Ready").2,
        "a Service named order-service exists and belongs to an earlier Microservice of this name: it is made anew as \
         soon as the cluster has removed it; if that does not happen, delete it"
    );
}

/// While it waits for what an earlier one left, its status has weights that no route ever had: pods of the earlier one do not
/// give them a meaning.
#[test]
fn the_first_route_leads_to_no_version_that_only_an_earlier_microservice_of_this_name_ran() {
    let mut world = World::new(&only("v1"));
    world.settle();
    for kind in [Kind::ServiceAccount, Kind::Service, Kind::DestinationRule, Kind::VirtualService] {
        world.remove(kind, NAME);
    }
    world.microservice.metadata.uid = Some("uid-2".into());
    world.microservice.status.as_mut().unwrap().routes = RouteMarks::default();
    world.edit(&only("v2"));
    world.reconcile();
    assert_eq!(world.routed(), "v2=100");
}

/// Its Deployment never came, as that of an earlier one was in the way; the mesh is given its time before the routes leave it.
#[test]
fn a_version_that_was_routed_and_never_ran_is_left_for_one_that_the_mesh_knows() {
    let mut world = World::new(&only("v1"));
    let earlier = controller("microservice-operator.dev/v1alpha1", "Microservice", NAME);
    let mut left = theirs(earlier, json!({}));
    left["spec"] = json!({"replicas": 0});
    world.put_foreign(Kind::Deployment, "order-service-v1", left);
    world.settle();
    world.edit(&only("v2"));
    world.settle();
    assert_eq!(world.routed(), "v1=100", "the mesh has only heard of v2");
    world.pass(5);
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn routes_of_somebody_elses_stand_in_the_way_under_a_mesh_only() {
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        let mut world = World::new(&two(90, 10));
        world.put_foreign(kind, NAME, theirs(Value::Null, json!({})));
        world.settle();
        let (value, reason, message) = world.condition("RoutesReady");
        assert_eq!((value.as_str(), reason.as_str()), ("False", "NameClash"), "{kind:?}");
        assert_eq!(
            message,
            format!("the {kind:?} order-service is somebody else's, so routes and weights do not stand")
        );
        assert_eq!(
            world.has(Kind::VirtualService, NAME),
            kind == Kind::VirtualService,
            "no route to subsets of others"
        );
        world.edit(&two(100, 0).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
        world.settle();
        world.pass(20);
        assert_eq!(world.condition("RoutesReady").0, "True", "{kind:?}");
        assert_eq!(world.condition("Stalled").0, "False", "{kind:?}");
    }
}

#[test]
fn a_service_that_lost_its_owner_while_the_mesh_routes_to_it_is_only_taken_back() {
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(10);
    world.meddle(Kind::Service, NAME, |service| {
        let metadata = service["metadata"].as_object_mut().unwrap();
        metadata.remove("ownerReferences");
        metadata.insert("annotations".into(), json!({"microservice-operator.dev/adopt": NAME}));
        true
    });
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10", "the routes stay");
    assert_eq!(world.pinned(), None, "both versions are selected");
    assert!(world.object(Kind::Service, NAME)["metadata"]["ownerReferences"].is_array());
}

/// What is dated anew at each look is written, looked at, and dated anew.
#[test]
fn nothing_is_written_while_the_subsets_are_somebody_elses_or_refused() {
    let foreign = || {
        let mut world = World::new(&two(90, 10));
        world.put_foreign(Kind::DestinationRule, NAME, theirs(Value::Null, json!({})));
        world
    };
    let refused = || {
        let mut world = World::new(&two(90, 10));
        world.refused.push(Kind::DestinationRule);
        world
    };
    let refused_later = || {
        let mut world = World::new(&only("v1"));
        world.settle();
        world.pass(600);
        world.refused.push(Kind::DestinationRule);
        world.edit(&two(90, 10));
        world
    };
    for (what, mut world) in [("foreign", foreign()), ("refused", refused()), ("refused later", refused_later())] {
        world.settle();
        world.pass(600);
        for _ in 0..3 {
            world.now = world.now.checked_add(SignedDuration::from_secs(1)).unwrap();
            assert!(!world.reconcile(), "{what}: {:?}", world.status().traffic);
        }
    }
}

/// Lets somebody else set the size of v1, as the API server notes it.
fn scale(world: &mut World, replicas: i64, by: &str, with_operator: bool) {
    let size = json!({"f:spec": {"f:replicas": {}}});
    let rest = json!({"f:spec": {"f:template": {}}});
    world.meddle(Kind::Deployment, "order-service-v1", |object| {
        let meta = object["metadata"].as_object_mut().unwrap();
        let generation = meta["generation"].as_i64().unwrap() + 1;
        meta.insert("generation".into(), generation.into());
        let own = if with_operator { &size } else { &rest };
        let managers = json!([
            {"manager": "microservice-operator", "operation": "Apply", "fieldsV1": own},
            {"manager": by, "operation": "Update", "subresource": "scale", "fieldsV1": size},
        ]);
        meta.insert("managedFields".into(), managers);
        object["spec"]["replicas"] = replicas.into();
        true
    });
    world.settle();
}

#[test]
fn an_autoscaler_on_a_child_is_told_once_for_as_long_as_it_goes_on() {
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(10);
    assert_eq!(world.condition("SizesReady").1, "SizesKept");
    for _ in 0..60 {
        scale(&mut world, 5, "kube-controller-manager", false);
        assert_eq!(world.replicas("v1"), 3);
        assert_eq!(world.condition("Ready").0, "True");
        world.pass(15);
    }
    let (value, reason, message) = world.condition("SizesReady");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "ChildScaled"));
    assert_eq!(
        message,
        "a HorizontalPodAutoscaler (kube-controller-manager) scaled the Deployment order-service-v1, which the operator \
         puts back: scale the Microservice instead, an autoscaler with scaleTargetRef: {apiVersion: \
         microservice-operator.dev/v1alpha1, kind: Microservice, name: order-service}"
    );
    assert_eq!(told(&world, "ChildScaled"), 1);
    assert_eq!(told(&world, "BecameReady"), 1, "each time that the size is put back");
    world.pass(600);
    assert_eq!(world.condition("SizesReady").0, "True");
    assert!(world.traffic("v1").scaled.is_none());
}

#[test]
fn who_sets_the_size_that_the_operator_has_set_disturbs_nobody() {
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(5);
    scale(&mut world, 3, "kubectl", true);
    assert_eq!(world.condition("SizesReady").0, "True");
    world.edit(&two(90, 10).replace("replicas: 3", "replicas: 4"));
    world.settle();
    assert_eq!(world.replicas("v1"), 4);
    assert_eq!(told(&world, "ChildScaled"), 0);
}

/// Its pods run as it, and no other can be made without it.
#[test]
fn an_account_stays_until_no_pod_runs_as_it() {
    let own = two(90, 10).replacen('{', "{automountServiceAccountToken: true, ", 1);
    let mut world = World::new(&own);
    world.settle();
    assert!(world.has(Kind::ServiceAccount, NAME));
    world.pods.insert("v2".into(), Pods::Ready(0));
    world.edit(&own.replacen('{', "{serviceAccountName: orders, ", 1));
    world.settle();
    world.pass(600);
    assert!(world.has(Kind::ServiceAccount, NAME), "v2 cannot start as the other one");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert!(!world.has(Kind::ServiceAccount, NAME));
}

#[test]
fn a_port_that_is_renamed_in_place_leads_to_its_number_while_pods_are_replaced() {
    let named = |name: &str, number: i32| with_port(&two(90, 10), name, number);
    let mut world = crate::running();
    world.pods.insert("v2".into(), Pods::Ready(0));
    world.edit(&named("web", 3000));
    world.settle();
    world.pass(60);
    assert_eq!(target_port(&world), 3000);
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(target_port(&world), "web");
    world.edit(&named("web", 4000));
    world.settle();
    assert_eq!(target_port(&world), "web", "each pod has its own number for it");
}

#[test]
fn a_port_is_not_given_another_name_and_number_at_once_while_pods_take_requests() {
    let named = |name: &str, number: i32| with_port(&two(90, 10), name, number);
    let container = |world: &World| {
        let pods = &world.object(Kind::Deployment, "order-service-v1")["spec"]["template"]["spec"];
        pods["containers"][0]["ports"][0]["containerPort"].clone()
    };
    let mut world = crate::running();
    world.edit(&named("web", 4000));
    world.settle();
    let (value, reason, message) = world.condition("Stalled");
    assert_eq!((value.as_str(), reason.as_str()), ("True", "InvalidSpec"), "{message}");
    assert!(message.contains("spec.ports[web]: port 80 of the Service leads to http of the pods"), "{message}");
    assert_eq!(
        (target_port(&world), container(&world)),
        (json!("http"), json!(3000)),
        "the spec before stays in force"
    );

    world.pods.insert("v2".into(), Pods::Replacing);
    world.edit(&named("web", 3000));
    world.settle();
    assert_eq!((target_port(&world), world.condition("Stalled").0.as_str()), (json!(3000), "False"));
    world.edit(&named("web", 4000));
    world.settle();
    assert_eq!(
        (target_port(&world), container(&world)),
        (json!(3000), json!(3000)),
        "some pods are of before the first edit"
    );
    assert_eq!(
        (world.condition("Stalled").0.as_str(), world.condition("Ready").1.as_str()),
        ("False", "PortsChanging")
    );
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!((target_port(&world), container(&world)), (json!("web"), json!(4000)), "both edits have arrived");
    assert_eq!(world.condition("Stalled").0, "False");

    for version in ["v1", "v2"] {
        world.pods.insert(version.into(), Pods::Ready(0));
    }
    world.settle();
    world.edit(&named("http", 5000));
    world.settle();
    assert_eq!(
        (target_port(&world), container(&world)),
        (json!("http"), json!(5000)),
        "no pod takes requests that it could lose"
    );
}

#[test]
fn the_account_of_its_own_that_is_named_stays() {
    let own = two(90, 10).replacen('{', "{automountServiceAccountToken: true, ", 1);
    let mut world = World::new(&own);
    world.settle();
    world.edit(&own.replacen('{', &format!("{{serviceAccountName: {NAME}, "), 1));
    world.settle();
    world.pass(600);
    assert!(world.has(Kind::ServiceAccount, NAME), "pods run as it");
}
