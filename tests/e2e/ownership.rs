//! Whose an object is: drift, what others added, name clashes, deletion.

use devcluster::faults::{Entry, Proxy, Release};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::DeserializeGuard,
    runtime::watcher::Event,
};
use microservice_operator::{
    api::{ActionResult, Microservice, MicroserviceAction, MicroserviceStatus, Provider},
    controller::actions,
    observe::{Caches, views::ActionView},
    plan::{object::Kind, rollout::orders::Answer},
    status,
    validate::resolve::resolve,
};
use serde_json::json;

use crate::{
    support::{self, Operator, Space, cluster, condition, eventually, run, told},
    two,
};

#[test]
fn drift_on_every_kind_of_child_is_put_back() {
    run(async {
        let space = Space::unwatched(cluster(), "drift").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        let clean = space.snapshot().await;
        let drifts = [
            (Kind::Deployment, "a-v1", json!({"spec": {"replicas": 7}})),
            (
                Kind::Deployment,
                "a-v2",
                json!({"metadata": {"labels": {"version": null, "app.kubernetes.io/managed-by": "x"}}}),
            ),
            (Kind::Service, "a", json!({"spec": {"selector": {"version": "v9"}}})),
            (
                Kind::VirtualService,
                "a",
                json!({"spec": {"http": [{"route": [{"destination": {"host": "elsewhere"}}]}]}}),
            ),
            (Kind::DestinationRule, "a", json!({"spec": {"subsets": []}})),
            (Kind::VirtualService, "a", json!({"spec": {"gateways": ["istio-system/gateway"], "exportTo": ["."]}})),
            (Kind::DestinationRule, "a", json!({"spec": {"trafficPolicy": {"tls": {"mode": "DISABLE"}}}})),
            (Kind::PodDisruptionBudget, "a-v1", json!({"spec": {"maxUnavailable": 2}})),
            (Kind::PodDisruptionBudget, "a-v1", json!({"spec": {"maxUnavailable": null, "minAvailable": 1}})),
            (Kind::ServiceAccount, "a", json!({"automountServiceAccountToken": true})),
        ];
        let env =
            json!({"name": "SERVICE_NAME", "value": null, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
        let env = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [env]}]}}}});
        let drifts = drifts.map(|(kind, name, drift)| (kind, name, Patch::Merge(drift)));
        for (kind, name, drift) in drifts.into_iter().chain([(Kind::Deployment, "a-v1", Patch::Strategic(env))]) {
            let params = PatchParams { field_manager: Some("meddler".into()), ..PatchParams::default() };
            space.children(kind).patch(name, &params, &drift).await.unwrap();
            let key = format!("{kind:?}/{name}");
            let back =
                support::eventually(|| async { (space.snapshot().await.get(&key) == clean.get(&key)).then_some(()) })
                    .await;
            let told = support::message(&space.microservices().get("a").await.unwrap()).to_owned();
            assert!(back.is_some(), "{key} was not put back ({told}): {:#}", space.snapshot().await[&key]);
        }
        for (kind, name) in [
            (Kind::Deployment, "a-v2"),
            (Kind::Service, "a"),
            (Kind::VirtualService, "a"),
            (Kind::DestinationRule, "a"),
        ] {
            let uid = space.child(kind, name).await.unwrap().uid();
            space.children(kind).delete(name, &DeleteParams::background()).await.unwrap();
            space
                .child_until(kind, name, "made anew", |it| it["metadata"]["uid"].as_str().map(str::to_owned) != uid)
                .await;
        }
        space.until("a", "Ready again", |it| condition(it, "Ready") == "True").await;
        let again = support::eventually(|| async { (space.snapshot().await == clean).then_some(()) }).await;
        assert!(again.is_some(), "not as before: {:#?}", space.snapshot().await);
    });
}

#[test]
fn what_others_added_stays() {
    run(async {
        let space = Space::new(cluster(), "others").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        let params = PatchParams { field_manager: Some("others".into()), ..PatchParams::default() };
        let theirs = json!({"metadata": {"annotations": {"team": "payments"}, "labels": {"cost": "high"}}});
        for (kind, name) in [(Kind::Deployment, "a-v1"), (Kind::Service, "a")] {
            space.children(kind).patch(name, &params, &Patch::Merge(&theirs)).await.unwrap();
        }
        space.apply("a", &two(0, 100)).await;
        space.weights("a", "v1=0 v2=100").await;
        for (kind, name) in [(Kind::Deployment, "a-v1"), (Kind::Service, "a")] {
            let child = space.child(kind, name).await.unwrap();
            assert_eq!(child.annotations().get("team").map(String::as_str), Some("payments"), "{kind:?}");
            assert_eq!(child.labels().get("cost").map(String::as_str), Some("high"), "{kind:?}");
        }
    });
}

#[test]
fn what_somebody_else_makes_before_it_is_seen_is_not_taken_over() {
    run(async {
        let space = Space::new(cluster(), "before").await;
        let proxy = Proxy::start(space.client.clone(), cluster().scratch()).await.unwrap();
        let args = ["--namespace", &space.name, "--leader-election", "false"];
        let _operator = Operator::start(proxy.kubeconfig(), &args);
        space.apply("b", &two(90, 10)).await;
        space.ready("b").await;
        proxy.holds(&["serviceaccounts"]);
        let accounts = space.children(Kind::ServiceAccount);
        let theirs = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}});
        let theirs = accounts.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        space.apply("a", &two(90, 10)).await;
        let tried = || async {
            let tried = |entry: &Entry| entry.asked.resource == "serviceaccounts" && entry.asked.name == "a";
            proxy.journal().into_iter().find(tried)?.code
        };
        assert_eq!(eventually(tried).await, Some(409));
        proxy.releases(Release::Late);
        // It may hear of it between its plan and its write, and say so at first.
        let clash = |it: &Microservice| condition(it, "Stalled") == "True" && told(it, "Stalled").0 == "NameClash";
        let (_, text) = told(&space.until("a", "NameClash", clash).await, "Stalled");
        assert!(text.contains("a ServiceAccount named a exists and belongs to somebody else"), "{text}");
        assert_eq!(accounts.get("a").await.unwrap().resource_version(), theirs.resource_version());
    });
}

#[test]
fn a_name_clash_is_a_condition_and_adoption_only_by_annotation() {
    run(async {
        let space = Space::new(cluster(), "clash").await;
        let theirs = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 80}]},
        });
        let services = space.children(Kind::Service);
        services.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        let stalled = space.until("a", "Stalled", |it| condition(it, "Stalled") == "True").await;
        let (reason, text) = told(&stalled, "Stalled");
        assert_eq!(reason, "NameClash");
        assert!(text.contains("a Service named a exists and belongs to somebody else"), "{text}");
        let untouched = serde_json::to_value(services.get("a").await.unwrap()).unwrap();
        assert_eq!(untouched["spec"]["selector"], json!({"app": "theirs"}));
        assert!(untouched["metadata"]["ownerReferences"].is_null());

        let adopt = json!({"metadata": {"annotations": {"microservice-operator.dev/adopt": "a"}}});
        services.patch("a", &PatchParams::default(), &Patch::Merge(&adopt)).await.unwrap();
        space.ready("a").await;
        let adopted = services.get("a").await.unwrap();
        assert_eq!(adopted.owner_references().first().map(|owner| owner.kind.clone()).as_deref(), Some("Microservice"));
    });
}

#[test]
fn what_is_handed_over_loses_what_stands_against_it() {
    run(async {
        let space = Space::unwatched(cluster(), "offered").await;
        let meta = json!({"name": "a", "annotations": {"microservice-operator.dev/adopt": "a"}});
        let to_theirs = json!([{"route": [{"destination": {"host": "theirs"}}]}]);
        let theirs = |kind: &str, version: &str, spec: serde_json::Value| json!({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec});
        for object in [
            theirs(
                "Service",
                "v1",
                json!({"selector": {"app": "a", "of": "them"}, "ports": [{"name": "http", "port": 8080}]}),
            ),
            theirs(
                "VirtualService",
                "networking.istio.io/v1",
                json!({"hosts": ["theirs"], "gateways": ["edge"], "exportTo": ["."], "http": to_theirs}),
            ),
            theirs(
                "DestinationRule",
                "networking.istio.io/v1",
                json!({"host": "theirs", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}),
            ),
        ] {
            space.put(&object).await;
        }
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        let spec = async |kind| serde_json::to_value(space.child(kind, "a").await.unwrap()).unwrap()["spec"].clone();
        let routes = spec(Kind::VirtualService).await;
        assert!(routes["gateways"].is_null() && routes["exportTo"].is_null(), "it is bound elsewhere: {routes}");
        let rule = spec(Kind::DestinationRule).await;
        assert!(rule.pointer("/trafficPolicy/tls").is_none(), "its connections are not of the mesh: {rule}");
        let ports = spec(Kind::Service).await["ports"].clone();
        assert_eq!(ports.as_array().map(Vec::len), Some(1), "{ports}");
        assert_eq!(ports[0]["port"], 80, "{ports}");
    });
}

#[test]
fn a_port_of_a_service_that_was_handed_over_goes_with_that_of_the_spec() {
    run(async {
        let space = Space::unwatched(cluster(), "handed").await;
        let port = |name: &str, number: i32| json!({"name": name, "port": number, "targetPort": name});
        let theirs = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "annotations": {"microservice-operator.dev/adopt": "a"}},
            "spec": {"selector": {"app": "theirs"}, "ports": [port("http", 80), port("admin", 81), port("theirs", 82)]},
        });
        let by_kubectl =
            PostParams { field_manager: Some("kubectl-client-side-apply".into()), ..PostParams::default() };
        let services = space.children(Kind::Service);
        services.create(&by_kubectl, &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let _operator = Operator::of(&space);
        let with = |ports: &str| {
            format!("{{ports: [{ports}], versions: [{{name: v1, image: 'registry.example/a:1', replicas: 2}}]}}")
        };
        let (http, admin) = ("{name: http, port: 80, targetPort: 3000}", "{name: admin, port: 81, targetPort: 3001}");
        space.apply("a", &with(&format!("{http}, {admin}"))).await;
        space.ready("a").await;
        let numbers = |service: &serde_json::Value| {
            let ports = service["spec"]["ports"].as_array().unwrap().iter();
            ports.map(|port| port["port"].as_i64().unwrap()).collect::<Vec<_>>()
        };
        let taken_over = space.child_until(Kind::Service, "a", "taken over", |it| {
            it["metadata"]["ownerReferences"][0]["kind"] == "Microservice"
        });
        assert_eq!(numbers(&taken_over.await), [80_i64, 81, 82]);
        space.apply("a", &with(http)).await;
        space.child_until(Kind::Service, "a", "without what is asked no more", |it| numbers(it) == [80_i64, 82]).await;
        space.ready("a").await;
    });
}

#[test]
fn deletion_leaves_nothing_behind_and_the_same_name_can_come_again() {
    run(async {
        let space = Space::new(cluster(), "delete").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        space.microservices().delete("a", &DeleteParams::background()).await.unwrap();
        let gone =
            support::eventually(|| async { space.microservices().get_opt("a").await.ok()?.is_none().then_some(()) })
                .await;
        assert!(gone.is_some(), "a finalizer holds it");
        space.apply("a", &two(50, 50)).await;
        space.ready("a").await;
        space.weights("a", "v1=50 v2=50").await;
        space.microservices().delete("a", &DeleteParams::background()).await.unwrap();
        let empty = support::eventually(|| async { space.snapshot().await.is_empty().then_some(()) }).await;
        assert!(empty.is_some(), "left: {:?}", space.snapshot().await.keys());
    });
}

/// The API server looks at no uid when a status is written.
#[test]
fn what_is_said_of_something_that_is_gone_is_not_said_of_another_one_of_that_name() {
    run(async {
        let space = Space::unwatched(cluster(), "later").await;
        let gone = space.apply("a", &two(90, 10)).await;
        space.microservices().delete("a", &DeleteParams::default()).await.unwrap();
        space.apply("a", &two(90, 10)).await;
        let identity = resolve(&gone, Provider::Istio).identity;
        let said = MicroserviceStatus { message: Some("of the one that is gone".into()), ..Default::default() };
        let seen = gone.resource_version().unwrap();
        let written = status::write::write(&space.client, (&identity, &seen), &said).await;
        assert!(matches!(&written, Err(kube::Error::Api(answer)) if answer.code == 409), "{written:?}");
        assert_eq!(space.microservices().get("a").await.unwrap().status, None);

        let order = json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "MicroserviceAction",
            "metadata": {"name": "order", "namespace": space.name}, "spec": {"microservice": "a", "verb": "Pause"},
        });
        space.put(&order).await;
        let orders = space.api::<MicroserviceAction>();
        let gone = orders.get("order").await.unwrap();
        orders.delete("order", &DeleteParams::default()).await.unwrap();
        space.put(&order).await;
        let caches = Caches::new(None);
        let uid = gone.uid().unwrap();
        caches.actions.take(&Event::Apply(DeserializeGuard(Ok(gone))), ActionView::of);
        let answer = Answer { uid, name: "order".into(), result: ActionResult::Done, message: "paused".into() };
        assert!(!actions::conclude(&space.client, &caches, &identity, &[answer]).await);
        assert!(orders.get("order").await.unwrap().status.is_none(), "it was not obeyed");
    });
}
