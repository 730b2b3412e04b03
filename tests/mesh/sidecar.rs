//! Sidecars share volumes with the service, start before it and end after it.

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, LogParams},
    runtime::{WatchStreamExt, watcher},
};

use crate::{
    calls::{load, send},
    service::{Version, known, pods, ready_at, spec, version},
    stage::{SERVICE_IMAGE, stage},
    support::{Space, eventually, run},
};

#[test]
fn a_native_sidecar_gets_the_log_lines_starts_before_the_service_and_ends_after_it() {
    run(async {
        let _shared = stage().shared().await;
        let space = Space::new(&stage().cluster, "sidecar").await;
        let logging = format!(
            "volumes: [{{name: logs, emptyDir: {{}}}}], mounts: [{{volume: logs, path: /logs}}], \
             sidecars: [{{name: logging, image: '{SERVICE_IMAGE}:1', args: [tail, --file, /logs/app.log], \
                          mounts: [{{volume: logs, path: /logs}}]}}]"
        );
        let only =
            Version { replicas: 1, more: "env: [{name: LOG_FILE, value: /logs/app.log}]".into(), ..version("v1", 100) };
        space.apply("web", &spec(&[only], &logging)).await;
        ready_at(&space, "web", "v1=100").await;
        known(&space, "web", "v1", 1).await;
        let report = send(load(&space, "web", devcluster::load::Protocol::Http2, 50), 25).await;
        assert!(report.is_clean(), "{report}");

        let pod = pods(&space, "web", "v1").await.pop().unwrap();
        let api: Api<Pod> = space.api();
        let params = LogParams { container: Some("logging".into()), ..LogParams::default() };
        let lines = || async {
            let text = api.logs(&pod.name_any(), &params).await.ok()?;
            let lines = text.lines().filter(|line| line.starts_with("log: web v1 GET /")).count();
            (lines == 25).then_some(())
        };
        eventually(lines).await.unwrap_or_else(|| panic!("the sidecar did not get 25 lines"));

        let (sidecar, app) = (started(&pod, "logging"), started(&pod, "app"));
        assert!(sidecar <= app, "the sidecar started at {sidecar:?}, after the service at {app:?}");
        let (sidecar, app) = ends(&api, &pod).await;
        assert!(sidecar >= app, "the sidecar ended at {sidecar:?}, before the service at {app:?}");
    });
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &k8s_openapi::api::core::v1::ContainerStatus> {
    let status = pod.status.as_ref().unwrap();
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn started(pod: &Pod, container: &str) -> jiff::Timestamp {
    let status = statuses(pod).find(|status| status.name == container).unwrap();
    status.state.as_ref().and_then(|state| state.running.as_ref()?.started_at.as_ref()).expect("it runs").0
}

/// When the containers ended, as the pod's last statuses tell while it is deleted.
async fn ends(api: &Api<Pod>, pod: &Pod) -> (jiff::Timestamp, jiff::Timestamp) {
    let one = watcher::Config::default().fields(&format!("metadata.name={}", pod.name_any()));
    let changes = watcher(api.clone(), one).default_backoff().applied_objects();
    futures::pin_mut!(changes);
    api.delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
    let watching = async {
        while let Some(now) = changes.try_next().await.unwrap() {
            let ended = |name: &str| {
                let status = statuses(&now).find(|status| status.name == name)?;
                Some(status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
            };
            if let (Some(sidecar), Some(app)) = (ended("logging"), ended("app")) {
                return (sidecar, app);
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(crate::support::PATIENCE, watching).await.expect("both containers end")
}
