//! Real nodes live side by side, and leave no process, cgroup or folder, however they end. Linux and root only.

mod state;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devcluster::images::{self, Image};
use devcluster::record::Processes;
use devcluster::{Cluster, Nodes, Options};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use state::State;
use tokio::time::timeout;

type Outcome = Result<(), Box<dyn Error>>;

const CURL: &str = "devcluster.test/curl:1";
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn two_run_side_by_side_with_the_same_addresses_and_leave_nothing() -> Outcome {
    let before = interfaces()?;
    let taken = prometheus_port_is_taken();
    let options =
        || Options { nodes: Nodes::Real, mesh: true, prometheus: true, gateway_crds: false, ..Options::default() };
    let (one, two) = tokio::try_join!(Cluster::start(options()), Cluster::start(options()))?;
    let mut addresses = Vec::new();
    for cluster in [&one, &two] {
        addresses.push(run_pod(cluster).await?);
        assert!(!containers(cluster.name())?.is_empty(), "{} runs no container", cluster.name());
        ask_prometheus(cluster).await?;
    }
    assert_eq!(addresses.first(), addresses.get(1), "each has a network of its own");
    assert_eq!(interfaces()?, before, "this machine's network was touched");
    assert_eq!(prometheus_port_is_taken(), taken, "Prometheus listens on this machine's own addresses");
    let clusters = [&one, &two].map(|cluster| (cluster.name().to_owned(), cluster.kubeconfig_path().to_owned()));
    drop((one, two));
    for (name, kubeconfig) in clusters {
        assert_gone(&name, folder_of(&kubeconfig)?)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_end_when_the_supervisor_is_killed_and_down_removes_the_rest() -> Outcome {
    let state = State::new()?;
    let name = format!("killed-{}", std::process::id());
    let mut up = state
        .devcluster(&["up", "--nodes", "real", "--mesh", "--prometheus", "--name", &name])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(up.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    assert!(up.wait()?.success());
    let kubeconfig = PathBuf::from(line.trim().trim_start_matches("KUBECONFIG="));
    run_pod(&Cluster::external(kubeconfig.clone()).await?).await?;
    assert!(!containers(&name)?.is_empty());

    let folder = folder_of(&kubeconfig)?;
    let of_prometheus = |program: &String| program.contains("--web.listen-address");
    assert!(programs(folder)?.iter().any(of_prometheus), "no Prometheus runs: {:#?}", programs(folder)?);
    Processes::read(folder)?.ok_or("no record")?.supervisor.signal(Signal::SIGKILL)?;
    assert!(eventually(|| containers(&name).is_ok_and(|left| left.is_empty())), "{:?} are left", containers(&name)?);
    assert!(state.devcluster(&["down", "--name", &name]).status()?.success());
    assert!(!folder.exists());
    assert_gone(&name, folder)
}

#[test]
fn a_mesh_without_real_nodes_is_refused() -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_devcluster")).args(["up", "--mesh", "--name", "none"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("use `--nodes real`"), "{text}");
    Ok(())
}

#[test]
fn prometheus_without_a_mesh_is_refused() -> Outcome {
    let arguments = ["up", "--nodes", "real", "--prometheus", "--name", "none"];
    let output = Command::new(env!("CARGO_BIN_EXE_devcluster")).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("--mesh"), "{text}");
    Ok(())
}

/// Runs a pod and answers its address.
async fn run_pod(cluster: &Cluster) -> Result<Option<String>, Box<dyn Error>> {
    let pod = run_to(cluster, "Running", "one", json!({"name": "app", "image": images::PAUSE})).await?;
    Ok(pod.status.and_then(|status| status.pod_ip))
}

/// Lets a pod ask Prometheus by the name of its Service.
async fn ask_prometheus(cluster: &Cluster) -> Outcome {
    let curl = Image {
        references: vec![CURL.to_owned()],
        program: "/usr/bin/curl".into(),
        arguments: Vec::new(),
        environment: Vec::new(),
    };
    cluster.load_images(&[curl])?;
    let arguments = ["--fail", "--silent", "--show-error", "http://prometheus.monitoring.svc:9090/-/ready"];
    run_to(cluster, "Succeeded", "ask", json!({"name": "curl", "image": CURL, "args": arguments})).await.map(drop)
}

/// Runs a pod of this container until it is in the phase.
async fn run_to(cluster: &Cluster, phase: &str, name: &str, container: Value) -> Result<Pod, Box<dyn Error>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let pod = json!({"metadata": {"name": name}, "spec": {"restartPolicy": "OnFailure", "containers": [container]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let reached = |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()).is_some_and(|reached| reached == phase)
    };
    timeout(SOON, await_condition(pods.clone(), name, reached)).await??;
    Ok(pods.get(name).await?)
}

fn folder_of(kubeconfig: &Path) -> Result<&Path, Box<dyn Error>> {
    Ok(kubeconfig.parent().ok_or("a kubeconfig without a folder")?)
}

/// The command lines of the programs that work with a cluster's folder.
fn programs(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let folder = folder.display().to_string();
    // One that ends meanwhile has none.
    let lines = fs::read_dir("/proc")?.flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    Ok(lines.filter(|line| line.contains(&folder)).collect())
}

fn prometheus_port_is_taken() -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9090)).is_err()
}

/// Processes in the cgroups of a cluster's node.
fn containers(cluster: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let group = format!("/devcluster-{cluster}/");
    let of_cluster = |path: &Path| fs::read_to_string(path.join("cgroup")).is_ok_and(|groups| groups.contains(&group));
    let processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).filter(|path| of_cluster(path));
    Ok(processes.map(|path| path.display().to_string()).collect())
}

fn assert_gone(cluster: &str, folder: &Path) -> Outcome {
    assert!(eventually(|| programs(folder).is_ok_and(|left| left.is_empty())), "{:#?} are left", programs(folder)?);
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
