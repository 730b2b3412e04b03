//! The cluster, what may be installed in it, and the images that run there.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use devcluster::{Cluster, images::Image};
use tokio::{
    runtime::Runtime,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    ground::{self, Ground},
    support,
};

/// The operator's release, its namespace, and the name of its Deployment.
pub const RELEASE: &str = "microservice-operator";
pub const NAMESPACE: &str = "microservice-operator-system";
const CHART: &str = "charts/microservice-operator";
const OPERATOR_IMAGE: &str = "registry.example/platform/microservice-operator";

/// The test service's image; its tags are as good as different programs, as `x-image` tells.
pub const SERVICE_IMAGE: &str = "registry.example/service";
pub const TAGS: [&str; 3] = ["1", "2", "3"];

pub struct Stage {
    pub cluster: Cluster,
    pub ground: Box<dyn Ground>,
    /// Its tasks send requests to the mesh's client.
    pub inside: Runtime,
    /// Tests that disturb the operator or the mesh are alone.
    quiet: RwLock<()>,
}

/// The one cluster of this test binary.
pub fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| std::thread::spawn(Stage::set).join().expect("the cluster starts"))
}

impl Stage {
    fn set() -> Self {
        let (cluster, ground) = ground::start(images);
        let inside = ground.runtime();
        let stage = Self { cluster, ground, inside, quiet: RwLock::default() };
        crate::furnish(&stage);
        stage
    }

    /// Installs the operator from its chart, or upgrades it, and waits until it is ready; answers the notes.
    pub fn install(&self, settings: &[&str]) -> String {
        let image = format!("image.repository={OPERATOR_IMAGE}");
        let base = ["upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--create-namespace"];
        let wait = ["--wait", "--timeout", "2m", "--set", &image];
        let settings = settings.iter().flat_map(|setting| ["--set", *setting]);
        self.helm(&base.into_iter().chain(wait).chain(settings).collect::<Vec<_>>())
    }

    pub fn helm(&self, args: &[&str]) -> String {
        support::helm(&self.cluster, args)
    }

    pub fn kubectl(&self, args: &[&str]) -> String {
        support::kubectl(&self.cluster, args)
    }

    /// Runs a program in the cluster's network.
    pub fn inside(&self, program: &str, args: &[&str]) -> String {
        support::printed(self.ground.inside().arg(program).args(args))
    }

    /// For tests that leave the operator and the mesh alone.
    pub async fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.quiet.read().await
    }

    /// For tests that do not.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.quiet.write().await
    }
}

fn images() -> Vec<Image> {
    let release = release();
    let service = |tag: &str| Image {
        references: vec![format!("{SERVICE_IMAGE}:{tag}")],
        program: release.join("workload"),
        arguments: Vec::new(),
        environment: vec![format!("IMAGE_TAG={tag}")],
    };
    let operator = Image {
        references: vec![format!("{OPERATOR_IMAGE}:{}", env!("CARGO_PKG_VERSION"))],
        program: release.join("microservice-operator"),
        arguments: Vec::new(),
        environment: Vec::new(),
    };
    TAGS.map(service).into_iter().chain([operator]).collect()
}

/// Where Cargo has built the programs that run in pods, as they are shipped.
fn release() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--locked", "--quiet", "--workspace"]);
    build.args(["--bin", "microservice-operator", "--bin", "workload"]).current_dir(support::root());
    assert!(build.status().unwrap().success(), "{build:?} failed");
    target().join("release")
}

/// The target folder, two levels above this very program's.
fn target() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(3).map(Path::to_owned).unwrap()
}
