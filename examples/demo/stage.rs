//! Where the demo plays: a cluster of its own, the operator as a process of its own, and the services in it.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use devcluster::{Bound, Cluster, Options};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use microservice_operator::{
    api::{MANAGER, Microservice, labels},
    input,
    plan::object::Kind,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What went wrong, in words.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How long one step may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(180);
/// Namespaces of the two applications.
pub const NAMESPACES: [&str; 2] = ["shop", "bookinfo"];

/// The cluster and the operator; both end with this value.
pub struct Stage {
    pub client: Client,
    pub log: PathBuf,
    _operator: Bound,
    cluster: Cluster,
    _folder: TempDir,
}

impl Stage {
    /// Starts the cluster, then the operator.
    pub async fn set() -> Result<Self, Failure> {
        let crds = vec![root().join("crds")];
        let cluster = Cluster::start(Options { crds, ..Options::default() }).await?;
        let client = cluster.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in NAMESPACES {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            namespaces.create(&PostParams::default(), &namespace).await?;
        }
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("operator.log");
        let _operator = start_operator(cluster.kubeconfig_path(), &log)?;
        Ok(Self { client, log, _operator, cluster, _folder: folder })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.cluster.kubeconfig_path()
    }

    /// Applies the Microservices of a folder of the repository; answers their names.
    pub async fn apply(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let input = input::read(&[root().join(folder)], &mut std::io::empty());
        if let Some(error) = input.errors.into_iter().next() {
            return Err(error.into());
        }
        let mut names = Vec::new();
        for document in input.documents {
            let wanted: Microservice = serde_json::from_value(document.value)?;
            let name = wanted.name_any();
            let services = self.services(&wanted.namespace().unwrap_or_default());
            services.patch(&name, &PatchParams::apply("demo"), &Patch::Apply(&wanted)).await?;
            names.push(name);
        }
        Ok(names)
    }

    pub fn services(&self, namespace: &str) -> Api<Microservice> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Changes fields of a Microservice, as `kubectl patch` does.
    pub async fn patch(&self, namespace: &str, name: &str, changes: &Value) -> Result<(), kube::Error> {
        let patch: json_patch::Patch = serde_json::from_value(changes.clone()).map_err(kube::Error::SerdeError)?;
        let params = PatchParams::default();
        self.services(namespace).patch(name, &params, &Patch::Json::<()>(patch)).await.map(drop)
    }

    /// A child of a Microservice.
    pub async fn child(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<DynamicObject>, Failure> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind.api_resource());
        Ok(api.get_opt(name).await?)
    }

    /// Lets every pod of a version misbehave from now on.
    pub async fn misbehave(&self, namespace: &str, service: &str, version: &str, how: &str) -> Result<(), Failure> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let of_version =
            ListParams::default().labels(&format!("{}={service},{}={version}", labels::SERVICE, labels::VERSION));
        let change = json!({"metadata": {"annotations": {devcluster::BEHAVIOR: how}}});
        for pod in pods.list(&of_version).await? {
            pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&change)).await?;
        }
        Ok(())
    }

    /// Waits until the operator's objects in a namespace are gone; answers how many are left.
    pub async fn children_left(&self, namespace: &str) -> Result<usize, Failure> {
        let ours = ListParams::default().labels(&format!("{}={MANAGER}", labels::APP_MANAGED_BY));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut left = 0;
            for kind in Kind::ALL {
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.client.clone(), namespace, &kind.api_resource());
                left += api.list_metadata(&ours).await?.items.len();
            }
            if left == 0 || Instant::now() >= deadline {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Watches the Microservices of all namespaces until `seen` answers; each change is handed to it.
    pub async fn watch<T>(&self, what: &str, mut seen: impl FnMut(&Microservice) -> Option<T>) -> Result<T, Failure> {
        let api: Api<Microservice> = Api::all(self.client.clone());
        let stream = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
        futures::pin_mut!(stream);
        let watching = async {
            while let Some(microservice) = stream.try_next().await? {
                if let Some(answer) = seen(&microservice) {
                    return Ok(answer);
                }
            }
            Err::<T, Failure>("the watch ended".into())
        };
        match tokio::time::timeout(PATIENCE, watching).await {
            Ok(answer) => answer,
            Err(_) => Err(format!(
                "{what} did not happen within {} s; the operator's log ends with:\n{}",
                PATIENCE.as_secs(),
                last_lines(&self.log)
            )
            .into()),
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The operator's program was built beside this one.
fn start_operator(kubeconfig: &Path, log: &Path) -> Result<Bound, Failure> {
    let demo = std::env::current_exe()?;
    let built = demo.ancestors().nth(2).unwrap_or(Path::new("."));
    let program = built.join("microservice-operator");
    if !program.exists() {
        return Err(format!("{} is missing: run `make demo`, which builds it", program.display()).into());
    }
    let mut command = Command::new(program);
    command.args(["run", "--leader-election", "false", "--listen", "127.0.0.1:0"]);
    command.env("KUBECONFIG", kubeconfig).env("NO_COLOR", "1");
    Ok(Bound::start(&command, log).map_err(|error| format!("cannot start the operator: {error}"))?)
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
}
