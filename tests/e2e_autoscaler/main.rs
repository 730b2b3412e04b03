//! A HorizontalPodAutoscaler on the Microservice, with the cluster's own autoscaler, through a rollout: it reads the usage
//! of pods from a metrics API that divides one load by the effective weights, as a mesh would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod metrics;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{
    Api, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use microservice_operator::api::{Microservice, RolloutState};
use serde_json::json;
use support::{Operator, RUNTIME, Space, cluster, run};

/// Sizes in the order in which they were, by name.
type Sizes = Arc<Mutex<BTreeMap<String, Vec<i32>>>>;

/// Notes each size that the Deployments and the Microservice itself are given.
fn record(space: &Space) -> Sizes {
    let sizes = Sizes::default();
    let note = |sizes: &Sizes, name: String, size: i32| {
        let mut sizes = sizes.lock().unwrap();
        let seen = sizes.entry(name).or_default();
        if seen.last() != Some(&size) {
            seen.push(size);
        }
    };
    let deployments = watcher(space.api::<Deployment>(), watcher::Config::default()).applied_objects();
    let services = watcher(space.api::<Microservice>(), watcher::Config::default()).applied_objects();
    let (of_deployments, of_services) = (sizes.clone(), sizes.clone());
    RUNTIME.spawn(deployments.for_each(move |it| {
        if let Ok(it) = it {
            note(&of_deployments, it.name_any(), it.spec.replicas.unwrap_or(1));
        }
        std::future::ready(())
    }));
    RUNTIME.spawn(services.for_each(move |it| {
        if let Ok(it) = it {
            note(&of_services, "spec".into(), it.spec.replicas);
        }
        std::future::ready(())
    }));
    sizes
}

fn newest(of: &Microservice) -> String {
    of.status.as_ref().and_then(|status| status.revision.clone()).unwrap_or_default()
}

fn at_step(step: i32) -> impl Fn(&Microservice) -> bool {
    move |it| it.status.as_ref().and_then(|status| status.rollout.as_ref()).is_some_and(|it| it.step == step)
}

#[test]
fn sizes_follow_the_load_at_every_step_and_never_oscillate() {
    run(async {
        let space = Space::with_propagation(cluster(), "scaled", Duration::from_secs(1)).await;
        let args = ["--namespace", &space.name, "--leader-election", "false", "--mesh-propagation", "1s"];
        let _operator = Operator::start(cluster().kubeconfig_path(), &args);
        // Each pod is to use 50m: three pods.
        let load = metrics::serve(&space, 150).await;
        // Without `replicas`, which are the autoscaler's; at each weight, it looks at the pods a few times.
        let spec = |tag: i32| {
            format!(
                "{{ports: [{{name: http, port: 80}}], drain: 2s, image: 'registry.example/a:{tag}', \
                 resources: {{requests: {{cpu: 100m}}}}, rollout: {{steps: [{{weight: 25}}, {{pause: {{duration: 35s}}}}, \
                 {{weight: 50}}, {{pause: {{duration: 60s}}}}]}}}}"
            )
        };
        let one = {
            space.apply("a", &spec(1)).await;
            newest(&space.ready("a").await)
        };
        let sizes = record(&space);
        let both = || async { (sizes.lock().unwrap().len() == 2).then_some(()) };
        support::eventually(both).await.expect("the sizes before the autoscaler are seen");
        let autoscaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "name": "a",
                },
                "minReplicas": 1, "maxReplicas": 5,
                "metrics": [{"type": "Resource", "resource":
                    {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
            },
        });
        let autoscalers: Api<HorizontalPodAutoscaler> = space.api();
        autoscalers.create(&PostParams::default(), &serde_json::from_value(autoscaler).unwrap()).await.unwrap();
        let size = |size: i32| move |it: &Microservice| it.spec.replicas == size;
        space.until("a", "the size of its load", size(3)).await;
        space.ready("a").await;

        space.apply("a", &spec(2)).await;
        let two = newest(&space.until("a", "its first pause", at_step(1)).await);
        space.until("a", "its second pause", at_step(3)).await;
        load.set(600);
        space.until("a", "more pods on the way", size(5)).await;
        let completed = |it: &Microservice| {
            let rollout = it.status.as_ref().and_then(|status| status.rollout.as_ref());
            newest(it) == two && rollout.is_some_and(|it| it.state == RolloutState::Completed)
        };
        space.until("a", "the promotion", completed).await;
        let (one, two) = (format!("a-{one}"), format!("a-{two}"));
        space.gone(microservice_operator::plan::object::Kind::Deployment, &one).await;
        space.ready("a").await;
        let asked = load.asked();
        support::eventually(|| async { (load.asked() > asked + 1).then_some(()) }).await.expect("it looks again");
        let sizes = sizes.lock().unwrap().clone();
        assert_eq!(sizes["spec"], [1, 3, 5], "{sizes:?}");
        assert_eq!(sizes[&one], [1, 3, 5], "{sizes:?}");
        assert_eq!(sizes[&two], [3, 5], "it starts at the present size, and is promoted at it: {sizes:?}");
    });
}
