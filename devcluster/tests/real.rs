//! Real nodes live side by side, and leave no process, cgroup or folder, however they end. Linux and root only.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devcluster::record::Processes;
use devcluster::{Cluster, Nodes, Options, images};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::timeout;

type Outcome = Result<(), Box<dyn Error>>;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn two_run_side_by_side_with_the_same_addresses_and_leave_nothing() -> Outcome {
    let before = interfaces()?;
    let options = || Options { nodes: Nodes::Real, istio_crds: false, gateway_crds: false, ..Options::default() };
    let (one, two) = tokio::try_join!(Cluster::start(options()), Cluster::start(options()))?;
    let mut addresses = Vec::new();
    for cluster in [&one, &two] {
        addresses.push(run_pod(cluster).await?);
        assert!(!containers(cluster.name())?.is_empty(), "{} runs no container", cluster.name());
    }
    assert_eq!(addresses.first(), addresses.get(1), "each has a network of its own");
    assert_eq!(interfaces()?, before, "this machine's network was touched");
    let names = [one.name().to_owned(), two.name().to_owned()];
    drop((one, two));
    for name in names {
        assert_gone(&name)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_end_when_the_supervisor_is_killed_and_down_removes_the_rest() -> Outcome {
    let state = tempfile::tempdir()?;
    let devcluster = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devcluster"));
        command.args(arguments).env("MSO_STATE_DIR", state.path());
        command
    };
    let name = format!("killed-{}", std::process::id());
    let mut up = devcluster(&["up", "--nodes", "real", "--name", &name]).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(up.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    assert!(up.wait()?.success());
    let kubeconfig = PathBuf::from(line.trim().trim_start_matches("KUBECONFIG="));
    run_pod(&Cluster::external(kubeconfig.clone()).await?).await?;
    assert!(!containers(&name)?.is_empty());

    let folder = kubeconfig.parent().ok_or("a kubeconfig without a folder")?;
    Processes::read(folder)?.ok_or("no record")?.supervisor.signal(Signal::SIGKILL)?;
    assert!(eventually(|| containers(&name).is_ok_and(|left| left.is_empty())), "{:?} are left", containers(&name)?);
    assert!(devcluster(&["down", "--name", &name]).status()?.success());
    assert!(!folder.exists());
    assert_gone(&name)
}

#[test]
fn a_mesh_without_real_nodes_is_refused() -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_devcluster")).args(["up", "--mesh", "--name", "none"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("use `--nodes real`"), "{text}");
    Ok(())
}

/// Runs a pod and answers its address.
async fn run_pod(cluster: &Cluster) -> Result<Option<String>, Box<dyn Error>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let pod = json!({"metadata": {"name": "one"}, "spec": {"containers": [{"name": "app", "image": images::PAUSE}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let running = |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()).is_some_and(|phase| phase == "Running")
    };
    timeout(SOON, await_condition(pods.clone(), "one", running)).await??;
    Ok(pods.get("one").await?.status.and_then(|status| status.pod_ip))
}

/// Processes in the cgroups of a cluster's node.
fn containers(cluster: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let group = format!("/devcluster-{cluster}/");
    let of_cluster = |path: &Path| fs::read_to_string(path.join("cgroup")).is_ok_and(|groups| groups.contains(&group));
    let processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).filter(|path| of_cluster(path));
    Ok(processes.map(|path| path.display().to_string()).collect())
}

fn assert_gone(cluster: &str) -> Outcome {
    assert_eq!(containers(cluster)?, Vec::<String>::new());
    for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
        let group = hierarchy.path().join(format!("devcluster-{cluster}"));
        assert!(!group.exists(), "{} is left", group.display());
    }
    Ok(())
}

fn interfaces() -> Result<Vec<String>, Box<dyn Error>> {
    let entries = fs::read_dir("/sys/class/net")?.flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn eventually(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
