//! Starts the programs of an embedded cluster in their order, and furnishes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, sleep};

use crate::bootstrap::{self, BootstrapError};
use crate::client::{self, ClientError};
use crate::components::{self, Component, ConfigError, Program, apiserver};
use crate::files;
use crate::images::ImageError;
use crate::kubeconfig::{self, KubeconfigError};
use crate::options::{Nodes, Options};
use crate::pki::{Pki, PkiError};
use crate::ports;
use crate::record::{Processes, RecordError};
use crate::sandbox::Sandbox;
use crate::supervisor::{Command, OWN_PROGRAM, Supervisor, SupervisorError};
use crate::tools::{self, ManifestError, ToolError};
use crate::users::{ADMIN, CONTROLLER_MANAGER, KWOK, SCHEDULER, Users, user_kubeconfig};

/// The control plane did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Manifests are missing.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No credentials.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A kubeconfig was not written.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// A configuration was not written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The record was not read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The supervisor failed.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A client could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The cluster could not be furnished.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// An image was not made or loaded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something does not come.
    #[error("{what} did not come up in time: look at {}", logs.display())]
    Late {
        /// What.
        what: &'static str,
        /// The folder of the logs.
        logs: PathBuf,
    },
    /// No port.
    #[error("cannot find a free port on 127.0.0.1: {0}")]
    Port(#[source] std::io::Error),
    /// A program ended early.
    #[error("{component} ended at once ({exit}); the end of its log:\n{log}")]
    Ended {
        /// The program.
        component: Component,
        /// How.
        exit: String,
        /// Its last words.
        log: String,
    },
    /// The API server is not ready.
    #[error("the API server was not ready in {} s ({last}); the end of its log:\n{log}", READY_WITHIN.as_secs())]
    NotReady {
        /// What it answered last.
        last: String,
        /// Its last words.
        log: String,
    },
}

const READY_WITHIN: Duration = Duration::from_secs(180);
const UP_WITHIN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);
/// Another process may take a port between the choice and its use.
const ATTEMPTS: usize = 4;
/// A running control plane, and how each of its programs is run.
pub struct ControlPlane {
    /// Owns the programs.
    pub supervisor: Supervisor,
    /// How they are run.
    pub commands: Vec<(Component, Command)>,
    /// The API server's address.
    pub server: String,
}

/// A component's log.
pub fn log_of(cluster: &Path, component: Component) -> PathBuf {
    cluster.join("logs").join(format!("{component}.log"))
}

/// The components that such a cluster has.
pub fn components_of(options: &Options) -> Vec<Component> {
    Component::ALL.into_iter().filter(|&component| needs(component, options)).collect()
}

fn needs(component: Component, options: &Options) -> bool {
    let Options { nodes, controllers, mesh, prometheus, istio_webhook, .. } = *options;
    match component {
        Component::Etcd | Component::ApiServer => true,
        Component::ControllerManager | Component::Scheduler => controllers,
        Component::Kwok => matches!(nodes, Nodes::Simulated { .. }),
        Component::Node
        | Component::Relay
        | Component::Coredns
        | Component::Containerd
        | Component::Kubelet
        | Component::KubeProxy => nodes == Nodes::Real,
        Component::Istiod => mesh || istio_webhook,
        Component::MeshClient | Component::MeshIngress => mesh,
        Component::Prometheus => prometheus,
    }
}

/// One start of a control plane.
pub(crate) struct Start<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) pki: Pki,
    users: Users,
    programs: Vec<(Component, PathBuf)>,
    supervisor: Supervisor,
    commands: Vec<(Component, Command)>,
    audit_programs: bool,
    /// Where a cluster with a real node runs.
    pub(crate) sandbox: Option<Sandbox>,
}

/// Starts a control plane in `folder`, which it then owns, with the programs of [`components_of`] that had to be provided.
pub async fn start(
    folder: &Path,
    options: &Options,
    programs: Vec<(Component, PathBuf)>,
    definitions: &[PathBuf],
) -> Result<ControlPlane, ControlPlaneError> {
    let progress = options.progress;
    let pki = Pki::below(folder);
    let users = Users::new()?;
    pki.create(&users.all())?;
    create_kubeconfig_folder(folder)?;
    let supervisor = Supervisor::start(folder)?;
    let audit_programs = options.audit_programs;
    let commands = Vec::new();
    let mut start = Start { folder, pki, users, programs, supervisor, commands, audit_programs, sandbox: None };

    if options.nodes == Nodes::Real {
        progress.step("making namespaces for the node");
        start.namespaces().await?;
    }

    progress.step("starting etcd and the API server");
    let (server, client) = start.api_server().await?;

    if options.controllers {
        progress.step("starting the controllers and the scheduler");
        start.controllers()?;
    }
    bootstrap::grant_cluster_admin(&client, ADMIN).await?;
    if let Nodes::Simulated { count } = options.nodes {
        bootstrap::grant_cluster_admin(&client, KWOK).await?;
        bootstrap::register_nodes(&client, count).await?;
        start.kwok()?;
    }
    if let Some(sandbox) = start.sandbox {
        progress.step("starting containerd, the kubelet, kube-proxy and CoreDNS");
        start.node(&client, sandbox).await?;
    }

    progress.step("defining resources, waiting for nodes");
    let nodes = async {
        match options.nodes {
            Nodes::None | Nodes::Real => Ok(()),
            Nodes::Simulated { count } => bootstrap::wait_for_nodes(&client, count).await,
        }
    };
    let service_account =
        async { if options.controllers { bootstrap::wait_for_service_account(&client).await } else { Ok(()) } };
    let furnished =
        futures::future::try_join3(bootstrap::define_resources(&client, definitions), nodes, service_account);
    tokio::select! {
        furnished = furnished => { furnished?; }
        ended = first_end(folder) => return Err(ended),
    }
    if let Some(sandbox) = start.sandbox.filter(|_| options.mesh) {
        progress.step("starting istiod and Envoy");
        start.mesh(&client, sandbox).await?;
    }
    if start.sandbox.is_none() && options.istio_webhook {
        progress.step("starting istiod's webhook");
        start.istio_webhook(&client).await?;
    }
    if let Some(sandbox) = start.sandbox.filter(|_| options.prometheus) {
        progress.step("starting Prometheus");
        start.prometheus(&client, sandbox).await?;
    }
    Ok(ControlPlane { supervisor: start.supervisor, commands: start.commands, server })
}

fn create_kubeconfig_folder(folder: &Path) -> Result<(), ControlPlaneError> {
    let path = folder.join("kubeconfigs");
    files::create_private_dir(&path).map_err(|source| KubeconfigError::File { action: "create", path, source }.into())
}

impl Start<'_> {
    /// Tries until etcd and the API server have got their ports.
    async fn api_server(&mut self) -> Result<(String, Client), ControlPlaneError> {
        let mut attempt = 1;
        loop {
            let [port, etcd, peer] = ports::free().map_err(ControlPlaneError::Port)?;
            let server = format!("https://127.0.0.1:{port}");
            self.commands.retain(|(component, _)| *component == Component::Node);
            match self.sandbox {
                Some(sandbox) => self.serve_in(sandbox, port)?,
                None => {
                    self.users.write_kubeconfigs(self.folder, &self.pki.ca_certificate(), &server, &server)?;
                    self.serve(&apiserver::Listen::Machine { port }, etcd, peer)?;
                }
            }
            let client = self.client(&server).await?;
            let outcome = tokio::select! {
                ready = wait_until_ready(self.folder, &client) => ready,
                ended = first_end(self.folder) => Err(ended),
            };
            match outcome {
                Ok(()) => return Ok((server, client)),
                Err(ControlPlaneError::Ended { log, .. }) if attempt < ATTEMPTS && lost_port(&log) => self.clear()?,
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    fn serve(&mut self, listen: &apiserver::Listen, etcd: u16, peer: u16) -> Result<(), ControlPlaneError> {
        self.run(Component::Etcd, components::etcd::arguments(self.folder, etcd, peer))?;
        self.run(Component::ApiServer, apiserver::arguments(self.folder, &self.pki, listen, etcd, self.audit_programs)?)
    }

    /// In a network of its own every port is free; one of the machine's leads there.
    fn serve_in(&mut self, sandbox: Sandbox, port: u16) -> Result<(), ControlPlaneError> {
        let inside = format!("https://127.0.0.1:{}", apiserver::NODE_PORT);
        let outside = format!("https://127.0.0.1:{port}");
        self.users.write_kubeconfigs(self.folder, &self.pki.ca_certificate(), &outside, &inside)?;
        self.serve(&apiserver::Listen::Node, 2379, 2380)?;
        self.run(Component::Relay, components::relay::arguments(port, sandbox.holder()))
    }

    fn clear(&mut self) -> Result<(), ControlPlaneError> {
        for (component, _) in self.commands.clone().into_iter().rev().filter(|(it, _)| *it != Component::Node) {
            self.supervisor.stop(component.name())?;
            // What is missing is cleared.
            let _ = fs::remove_file(log_of(self.folder, component));
        }
        let _ = fs::remove_dir_all(self.folder.join("etcd"));
        Ok(())
    }

    fn controllers(&mut self) -> Result<(), ControlPlaneError> {
        let kubeconfig = user_kubeconfig(self.folder, CONTROLLER_MANAGER);
        self.run(Component::ControllerManager, components::controller_manager::arguments(&kubeconfig, &self.pki))?;
        let kubeconfig = user_kubeconfig(self.folder, SCHEDULER);
        self.run(Component::Scheduler, components::scheduler::arguments(self.folder, &kubeconfig)?)
    }

    fn kwok(&mut self) -> Result<(), ControlPlaneError> {
        let kubeconfig = user_kubeconfig(self.folder, KWOK);
        self.run(Component::Kwok, components::kwok::arguments(self.folder, &kubeconfig)?)
    }

    /// Runs a component by its own program.
    pub(crate) fn run(&mut self, component: Component, arguments: Vec<String>) -> Result<(), ControlPlaneError> {
        let program = self.program(component)?;
        self.run_program(component, program, arguments)
    }

    /// Runs a component by a program, where it belongs.
    pub(crate) fn run_program(
        &mut self,
        component: Component,
        program: PathBuf,
        arguments: Vec<String>,
    ) -> Result<(), ControlPlaneError> {
        let command = Command { name: component.name().to_owned(), program, arguments };
        let command = match self.sandbox {
            Some(sandbox) => sandbox.place(component.place(), command),
            None => command,
        };
        self.supervisor.run(command.clone())?;
        self.commands.push((component, command));
        Ok(())
    }

    /// The path of a component's program.
    pub(crate) fn program(&self, component: Component) -> Result<PathBuf, ControlPlaneError> {
        if let Some((_, provided)) = self.programs.iter().find(|(it, _)| *it == component) {
            return Ok(provided.clone());
        }
        match component.program() {
            Program::System(name) => Ok(name.into()),
            Program::Own => Ok(OWN_PROGRAM.into()),
            Program::Tool(_) => Err(ToolError::Missing { program: component.name() }.into()),
        }
    }

    /// Waits for a condition, or for the end of a component.
    pub(crate) async fn wait_for<T>(
        &self,
        what: &'static str,
        ready: impl Fn() -> Option<T>,
    ) -> Result<T, ControlPlaneError> {
        let waiting = async {
            let deadline = Instant::now() + UP_WITHIN;
            loop {
                if let Some(found) = ready() {
                    return Ok(found);
                }
                if Instant::now() >= deadline {
                    return Err(ControlPlaneError::Late { what, logs: self.folder.join("logs") });
                }
                sleep(POLL).await;
            }
        };
        tokio::select! {
            waited = waiting => waited,
            ended = first_end(self.folder) => Err(ended),
        }
    }

    /// The pid of a running component.
    pub(crate) fn pid_of(&self, component: Component) -> Result<i32, ControlPlaneError> {
        let processes = Processes::read(self.folder)?;
        let records = processes.iter().flat_map(|processes| &processes.components);
        let process = records.filter(|record| record.name == component.name()).find_map(|r| r.process.clone());
        let late = ControlPlaneError::Late { what: component.name(), logs: self.folder.join("logs") };
        process.map(|process| process.pid).ok_or(late)
    }

    async fn client(&self, server: &str) -> Result<Client, ControlPlaneError> {
        let config = kubeconfig::render(server, &self.pki.ca_certificate(), &self.users.bootstrap.token)?;
        Ok(client::from_value(config, self.folder).await?)
    }
}

/// Waits until the API server says that it is ready.
pub async fn wait_until_ready(folder: &Path, client: &Client) -> Result<(), ControlPlaneError> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let Err(last) = bootstrap::readyz(client).await else { return Ok(()) };
        if Instant::now() >= deadline {
            let log = tools::tail(&log_of(folder, Component::ApiServer));
            return Err(ControlPlaneError::NotReady { last: last.to_string(), log });
        }
        sleep(POLL).await;
    }
}

/// Waits for a component's end, which is an error while the cluster starts.
pub(crate) async fn first_end(folder: &Path) -> ControlPlaneError {
    loop {
        match ended_component(folder) {
            Ok(None) => sleep(POLL).await,
            Ok(Some(error)) => return error,
            Err(error) => return error.into(),
        }
    }
}

fn ended_component(folder: &Path) -> Result<Option<ControlPlaneError>, RecordError> {
    let Some(processes) = Processes::read(folder)? else { return Ok(None) };
    Ok(Component::ALL.into_iter().find_map(|component| {
        let record = processes.components.iter().find(|record| record.name == component.name())?;
        let exit = record.exit.clone()?;
        Some(ControlPlaneError::Ended { component, exit, log: tools::tail(&log_of(folder, component)) })
    }))
}

fn lost_port(log: &str) -> bool {
    log.contains("address already in use")
}
