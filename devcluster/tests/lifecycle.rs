//! A cluster lives, works, and leaves nothing, however its owner ends.
//!
//! The first run on a machine builds the cluster's programs, which takes long.

mod state;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use devcluster::process::ProcessId;
use devcluster::record::Processes;
use devcluster::{AuditEvent, BEHAVIOR, Cluster, Component, Options, Progress};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client, Resource};
use nix::sys::signal::Signal;
use serde_json::json;
use state::State;
use tokio::time::timeout;

type Outcome = Result<(), Box<dyn Error>>;

const SOON: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_cluster_become_what_they_are_asked_to_be() -> Outcome {
    let cluster = Cluster::start(Options { progress: Progress::Builds, ..Options::default() }).await?;
    let folder = folder_of(cluster.kubeconfig_path())?;
    let processes = processes(&folder)?;

    deployments_become_available(&cluster).await?;
    misbehaviour_shows_and_ends(&cluster).await?;
    a_status_patched_by_hand_stays(&cluster).await?;
    users_are_who_they_are(&cluster).await?;
    the_api_server_can_fail(&cluster).await?;

    drop(cluster);
    assert_gone(&processes, &folder);
    Ok(())
}

async fn deployments_become_available(cluster: &Cluster) -> Outcome {
    let mark = cluster.settled_mark().await?;
    let api: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    api.create(&PostParams::default(), &deployment("web", 3, "ready")?).await?;
    wait(api.clone(), "web", available(3)).await?;

    let end = cluster.settled_mark().await?;
    assert!(mark < end);
    let creations = cluster.audit()?.since(mark, |event| event.verb == "create" && event.resource == "deployments")?;
    let [creation] = creations.as_slice() else { return Err(format!("{creations:?}").into()) };
    assert_eq!((creation.user.as_str(), creation.name.as_str(), creation.code), ("admin", "web", 201));
    let replicas =
        |event: &AuditEvent| event.resource == "replicasets" && event.user.ends_with("deployment-controller");
    assert!(!cluster.audit()?.since(mark, replicas)?.is_empty());
    assert!(cluster.audit()?.since(end, AuditEvent::is_write)?.iter().all(|event| event.resource != "deployments"));

    api.delete("web", &DeleteParams::foreground()).await?;
    wait(api, "web", |deployment: Option<&Deployment>| deployment.is_none()).await
}

async fn misbehaviour_shows_and_ends(cluster: &Cluster) -> Outcome {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let expected = [
        ("crash-loop", Some("CrashLoopBackOff"), 3),
        ("image-pull-error", Some("ImagePullBackOff"), 0),
        ("crash-config", Some("CreateContainerConfigError"), 0),
        ("never-ready", None, 0),
    ];
    for (behavior, reason, restarts) in expected {
        deployments.create(&PostParams::default(), &deployment(behavior, 1, behavior)?).await?;
        let pod = pod_of(&deployments, &pods, behavior).await?;
        wait(pods.clone(), &pod, shows(reason, restarts)).await?;
        let began = started(&pods.get(&pod).await?);
        if began.is_some() {
            // Times of containers have whole seconds.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        let none = json!({"metadata": {"annotations": {BEHAVIOR: null}}});
        pods.patch(&pod, &PatchParams::default(), &Patch::Merge(none)).await?;
        wait(pods.clone(), &pod, is_ready()).await?;
        if began.is_some() {
            assert_eq!(
                started(&pods.get(&pod).await?),
                began,
                "{behavior}: a container that goes on running keeps its start"
            );
        }
        deployments.delete(behavior, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// When the first container began to run, if it does.
fn started(pod: &Pod) -> Option<Time> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    container.state.as_ref()?.running.as_ref()?.started_at.clone()
}

async fn a_status_patched_by_hand_stays(cluster: &Cluster) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let pod = json!({"metadata": {"name": "lone"}, "spec": {"containers": [{"name": "app", "image": "x"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    wait(pods.clone(), "lone", is_ready()).await?;
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "ByHand"}]}});
    pods.patch_status("lone", &PatchParams::default(), &Patch::Strategic(unready)).await?;
    // What was put in is not undone when the pod changes again, which is when simulated pods are looked at.
    let label = json!({"metadata": {"labels": {"looked-at": "again"}}});
    let mark = cluster.settled_mark().await?;
    pods.patch("lone", &PatchParams::default(), &Patch::Merge(label)).await?;
    let audit = cluster.audit()?;
    let undone = |event: &AuditEvent| event.user == "kwok" && event.name == "lone";
    assert!(audit.wait_for(mark, Duration::from_secs(2), undone).await.is_err());
    assert!(!is_ready().matches_object(Some(&pods.get("lone").await?)));
    pods.delete("lone", &DeleteParams::default()).await?;
    wait(pods, "lone", |pod: Option<&Pod>| pod.is_none()).await
}

async fn users_are_who_they_are(cluster: &Cluster) -> Outcome {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), "default");
    let account = serde_json::from_value(json!({"metadata": {"name": "operator"}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let operator = cluster.client_for_service_account("default", "operator").await?;
    let clients = [
        (operator, "system:serviceaccount:default:operator"),
        (cluster.client_for_tenant(3).await?, "tenant-3"),
        (cluster.client_as("eve", &["people"]).await?, "eve"),
    ];
    for (client, user) in clients {
        let mark = cluster.settled_mark().await?;
        assert!(is_forbidden(client).await, "{user} has rights that nobody gave");
        let audit = cluster.audit()?;
        let event = audit.wait_for(mark, SOON, |event| event.user == user && event.resource == "nodes").await?;
        assert_eq!((event.verb.as_str(), event.code), ("list", 403));
    }
    assert!(cluster.kubeconfig_for_tenant(10).is_err());
    Ok(())
}

async fn is_forbidden(client: Client) -> bool {
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client);
    matches!(nodes.list(&ListParams::default()).await, Err(kube::Error::Api(status)) if status.code == 403)
}

async fn the_api_server_can_fail(cluster: &Cluster) -> Outcome {
    cluster.pause(Component::ApiServer)?;
    let answer = timeout(Duration::from_secs(1), cluster.client().apiserver_version()).await;
    cluster.resume(Component::ApiServer)?;
    assert!(answer.is_err(), "a paused API server answered");
    timeout(SOON, cluster.client().apiserver_version()).await??;

    cluster.kill_component(Component::ApiServer)?;
    assert!(cluster.client().apiserver_version().await.is_err());
    cluster.start_component(Component::ApiServer).await?;
    cluster.client().apiserver_version().await?;
    Ok(())
}

#[test]
fn a_cluster_goes_when_its_owner_is_killed() -> Outcome {
    let state = State::new()?;
    let mut owner = state.devcluster(&["hold", "--name", "owned"]).stdout(Stdio::piped()).spawn()?;
    let folder = folder_of(&kubeconfig_printed_by(&mut owner)?)?;
    let processes = processes(&folder)?;
    assert!(processes.iter().all(ProcessId::is_alive));

    owner.kill()?;
    owner.wait()?;

    assert_gone(&processes, &folder);
    assert_empty(&state)
}

#[test]
fn programs_go_when_their_supervisor_is_killed_and_down_removes_the_rest() -> Outcome {
    let state = State::new()?;
    let mut up = state.devcluster(&["up", "--name", "one", "--nodes", "none"]).stdout(Stdio::piped()).spawn()?;
    let folder = folder_of(&kubeconfig_printed_by(&mut up)?)?;
    assert!(up.wait()?.success());
    let processes = processes(&folder)?;
    assert!(processes.iter().all(ProcessId::is_alive), "`up` took the cluster with it");

    let again = state.devcluster(&["up", "--name", "one"]).output()?;
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("runs already"));
    let env = state.devcluster(&["env", "--name", "one"]).output()?;
    assert_eq!(String::from_utf8(env.stdout)?, format!("KUBECONFIG={}\n", folder.join("kubeconfig").display()));

    Processes::read(&folder)?.ok_or("no record")?.supervisor.signal(Signal::SIGKILL)?;
    for process in &processes {
        assert!(process.wait_gone(SOON), "{process:?} outlives its supervisor");
    }
    assert!(!state.devcluster(&["env", "--name", "one"]).output()?.status.success());
    assert!(state.devcluster(&["down", "--name", "one"]).status()?.success());
    assert!(!folder.exists());
    assert_empty(&state)
}

fn kubeconfig_printed_by(process: &mut Child) -> Result<PathBuf, Box<dyn Error>> {
    let stdout = process.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim().strip_prefix("KUBECONFIG=").ok_or("no kubeconfig was printed")?.into())
}

fn folder_of(kubeconfig: &Path) -> Result<PathBuf, Box<dyn Error>> {
    Ok(kubeconfig.parent().ok_or("a kubeconfig without a folder")?.to_owned())
}

/// Every process of the cluster in this folder, its supervisor too.
fn processes(folder: &Path) -> Result<Vec<ProcessId>, Box<dyn Error>> {
    let Processes { supervisor, components } = Processes::read(folder)?.ok_or("no record of processes")?;
    let mut processes: Vec<_> = components.into_iter().filter_map(|component| component.process).collect();
    assert!(processes.len() >= 4, "{processes:?}");
    processes.push(supervisor);
    Ok(processes)
}

fn assert_gone(processes: &[ProcessId], folder: &Path) {
    for process in processes {
        assert!(process.wait_gone(SOON), "{process:?} is left");
    }
    assert!(!folder.exists(), "{} is left", folder.display());
}

/// Nothing is left of any cluster but the file that guards their names.
fn assert_empty(state: &State) -> Outcome {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(state.folder.join("clusters"))? {
        left.push(entry?.file_name());
    }
    assert_eq!(left, [".lock"]);
    Ok(())
}

fn deployment(name: &str, replicas: u32, behavior: &str) -> Result<Deployment, serde_json::Error> {
    let init =
        [json!({"name": "setup", "image": "x"}), json!({"name": "log", "image": "x", "restartPolicy": "Always"})];
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {BEHAVIOR: behavior}},
                "spec": {"initContainers": init, "containers": [{"name": "app", "image": "registry.example/app:1"}]},
            },
        },
    }))
}

fn available(replicas: i32) -> impl Condition<Deployment> {
    move |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.is_some_and(|status| status.available_replicas == Some(replicas))
    }
}

fn is_ready() -> impl Condition<Pod> {
    |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|conditions| conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    }
}

/// The pod is not ready, and its container waits for this reason after so many restarts.
fn shows(reason: Option<&'static str>, restarts: i32) -> impl Condition<Pod> {
    move |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        statuses.and_then(|statuses| statuses.first()).is_some_and(|status| {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            let shown = waiting.and_then(|waiting| waiting.reason.as_deref());
            !status.ready && shown == reason && status.restart_count == restarts
        })
    }
}

/// The name of the one pod of a deployment, once it is there.
async fn pod_of(deployments: &Api<Deployment>, pods: &Api<Pod>, name: &str) -> Result<String, Box<dyn Error>> {
    wait(deployments.clone(), name, |deployment: Option<&Deployment>| {
        deployment.and_then(|deployment| deployment.status.as_ref()?.replicas) == Some(1)
    })
    .await?;
    let list = pods.list(&ListParams::default().labels(&format!("app={name}"))).await?;
    let pod = list.items.into_iter().find_map(|pod| pod.metadata.name);
    Ok(pod.ok_or("a deployment that counts one replica has none")?)
}

async fn wait<K>(api: Api<K>, name: &str, condition: impl Condition<K>) -> Outcome
where
    K: Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + Resource + 'static,
{
    timeout(SOON, await_condition(api, name, condition)).await.map_err(|_| format!("{name} is not as expected"))??;
    Ok(())
}
