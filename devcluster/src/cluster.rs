//! A cluster as a test sees it.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::audit::{AuditLog, AuditMark};
use crate::bootstrap;
use crate::client;
use crate::components::{Component, apiserver};
use crate::control_plane::{self, ControlPlane};
use crate::error::Error;
use crate::images::{self, Image};
use crate::kind;
use crate::kubeconfig::{self, Identity, KubeconfigError};
use crate::lifecycle;
use crate::network::Network;
use crate::options::Options;
use crate::process::ProcessId;
use crate::record::{ClusterRecord, Processes, Provider};
use crate::sandbox::Sandbox;
use crate::users::{self, TENANTS};

/// A running cluster and its administrator's client.
pub struct Cluster {
    name: String,
    kubeconfig: PathBuf,
    client: Client,
    hold: Hold,
}

/// What this process has of the cluster.
enum Hold {
    /// It started it, and takes it down.
    Owned { folder: PathBuf, plane: Box<Mutex<ControlPlane>> },
    /// Somebody else started it with this library.
    Attached { folder: PathBuf },
    /// It is known by a kubeconfig only; other users' kubeconfigs go into the folder.
    External { folder: TempDir },
}

/// The variable that names the kubeconfig of a cluster to test with, instead of starting one.
const EXTERNAL_KUBECONFIG: &str = "E2E_KUBECONFIG";
const TOKEN_SECONDS: i64 = 10 * 24 * 3600;
const STOPS_WITHIN: Duration = Duration::from_secs(5);
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

impl Cluster {
    /// Starts a cluster that ends when this value is dropped, or when this process ends, however it ends.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let name = options.name.clone().unwrap_or_else(lifecycle::random_name);
        let (folder, plane) = lifecycle::start_embedded(&options, name.clone(), true).await?;
        let kubeconfig = users::admin_kubeconfig(&folder);
        let client = client::from_kubeconfig(&kubeconfig).await?;
        Ok(Self { name, kubeconfig, client, hold: Hold::Owned { folder, plane: Box::new(Mutex::new(plane)) } })
    }

    /// The running cluster of that name, which goes on without this value.
    pub async fn attach(name: &str) -> Result<Self, Error> {
        let found = lifecycle::running(name)?;
        let kubeconfig = users::admin_kubeconfig(&found.folder);
        let client = client::from_kubeconfig(&kubeconfig).await?;
        Ok(Self { name: name.to_owned(), kubeconfig, client, hold: Hold::Attached { folder: found.folder } })
    }

    /// A cluster that something else runs, by the kubeconfig of an administrator.
    pub async fn external(kubeconfig: PathBuf) -> Result<Self, Error> {
        let client = client::from_kubeconfig(&kubeconfig).await?;
        let folder = tempfile::tempdir().map_err(|source| KubeconfigError::File {
            action: "create a folder for",
            path: kubeconfig.clone(),
            source,
        })?;
        Ok(Self { name: "external".into(), kubeconfig, client, hold: Hold::External { folder } })
    }

    /// The cluster to test with: that of `E2E_KUBECONFIG` if it is set, else one that [`Cluster::start`] starts.
    pub async fn for_tests(options: Options) -> Result<Self, Error> {
        match env::var_os(EXTERNAL_KUBECONFIG) {
            Some(kubeconfig) => Self::external(kubeconfig.into()).await,
            None => Self::start(options).await,
        }
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// A folder for files about this cluster, which go with it, however its processes end.
    pub fn scratch(&self) -> &Path {
        match &self.hold {
            Hold::Owned { folder, .. } | Hold::Attached { folder } => folder,
            Hold::External { folder } => folder.path(),
        }
    }

    /// The administrator's client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig whose user is this service account, by a token of its own.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let answer = api.create_token_request(name, &PostParams::default(), &request).await.map_err(|source| {
            Error::Api { what: format!("get a token of the ServiceAccount {namespace}/{name}"), source: source.into() }
        })?;
        let token = answer.status.and_then(|status| status.token).unwrap_or_default();
        self.derive_kubeconfig(&format!("{namespace}-{name}"), Identity::Token(token))
    }

    /// A client whose user is this service account.
    pub async fn client_for_service_account(&self, namespace: &str, name: &str) -> Result<Client, Error> {
        Ok(client::from_kubeconfig(&self.kubeconfig_for_service_account(namespace, name).await?).await?)
    }

    /// The kubeconfig of the user `tenant-N` of the group `tenants`, who has no rights but those a test gives.
    pub fn kubeconfig_for_tenant(&self, number: usize) -> Result<PathBuf, Error> {
        if number >= TENANTS {
            return Err(Error::Unsupported { what: "such a tenant", reason: "there are `TENANTS`, numbered from 0" });
        }
        let user = users::tenant(number);
        match &self.hold {
            Hold::Owned { folder, .. } | Hold::Attached { folder } => Ok(users::user_kubeconfig(folder, &user)),
            Hold::External { .. } => self.kubeconfig_as(&user, &["tenants"]),
        }
    }

    /// The client of the user `tenant-N`.
    pub async fn client_for_tenant(&self, number: usize) -> Result<Client, Error> {
        Ok(client::from_kubeconfig(&self.kubeconfig_for_tenant(number)?).await?)
    }

    /// A kubeconfig with which the administrator acts as any other user.
    pub fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let file = format!("as-{}", user.replace(['/', ':'], "-"));
        self.derive_kubeconfig(&file, Identity::Impersonated { user: user.to_owned(), groups })
    }

    /// A client with which the administrator acts as any other user.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client, Error> {
        Ok(client::from_kubeconfig(&self.kubeconfig_as(user, groups)?).await?)
    }

    fn derive_kubeconfig(&self, file: &str, identity: Identity) -> Result<PathBuf, Error> {
        let path = match &self.hold {
            Hold::Owned { folder, .. } | Hold::Attached { folder } => users::user_kubeconfig(folder, file),
            Hold::External { folder } => folder.path().join(file),
        };
        let own = kubeconfig::read(&self.kubeconfig)?;
        let config = kubeconfig::with_identity(own, identity).ok_or_else(|| KubeconfigError::Malformed {
            path: self.kubeconfig.clone(),
            message: "its current context has no user".into(),
        })?;
        kubeconfig::write(&path, &config)?;
        Ok(path)
    }

    /// The network of its real node.
    pub fn network(&self) -> Result<Network, Error> {
        Ok(Network::of(self.sandbox()?))
    }

    /// Loads images into its real node, or into that of kind.
    pub fn load_images(&self, images: &[Image]) -> Result<(), Error> {
        if self.is_of_kind()? {
            return Ok(kind::load(&self.name, &images::pack(images)?)?);
        }
        Ok(images::load(self.sandbox()?.holder(), &images::pack(images)?)?)
    }

    fn is_of_kind(&self) -> Result<bool, Error> {
        let record = ClusterRecord::read(self.folder("loading images")?)?;
        Ok(record.is_some_and(|record| record.provider == Provider::Kind))
    }

    fn sandbox(&self) -> Result<Sandbox, Error> {
        let none = Error::Unsupported { what: "real pods", reason: "this cluster has no real node of devcluster's" };
        Ok(Sandbox::of(self.process(Component::Node)?.ok_or(none)?.pid))
    }

    /// The log of every request.
    pub fn audit(&self) -> Result<AuditLog, Error> {
        Ok(AuditLog::at(apiserver::audit_log(self.folder("the audit log")?)))
    }

    /// A place in the audit log behind every request that has been answered by now.
    pub async fn settled_mark(&self) -> Result<AuditMark, Error> {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        let audit = self.audit()?;
        let mark = audit.mark()?;
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let path = format!("/livez/ping?settled={}-{number}", std::process::id());
        bootstrap::get_path(&self.client, &path)
            .await
            .map_err(|source| Error::Api { what: "ask the API server for a sign".into(), source: source.into() })?;
        audit.wait_for(mark, SETTLE_WITHIN, |event| event.request_uri == path).await?;
        Ok(audit.mark()?)
    }

    /// Stops a component in its tracks (SIGSTOP), until [`Cluster::resume`].
    pub fn pause(&self, component: Component) -> Result<(), Error> {
        let process = self.signal("pause", component, Signal::SIGSTOP)?;
        if process.wait_stopped(STOPS_WITHIN) {
            return Ok(());
        }
        Err(Error::Component { action: "pause", component, reason: "it goes on after SIGSTOP".into() })
    }

    /// Lets a paused component go on.
    pub fn resume(&self, component: Component) -> Result<(), Error> {
        self.signal("resume", component, Signal::SIGCONT).map(drop)
    }

    /// Kills a component (SIGKILL), until [`Cluster::start_component`]. Only for a cluster that this process started.
    pub fn kill_component(&self, component: Component) -> Result<(), Error> {
        let mut plane = self.plane()?.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(plane.supervisor.stop(component.name())?)
    }

    /// Starts a killed component again, and waits until it is ready if it is the API server.
    pub async fn start_component(&self, component: Component) -> Result<(), Error> {
        self.run_again(component)?;
        if component == Component::ApiServer {
            control_plane::wait_until_ready(self.folder("its folder")?, &self.client).await?;
        }
        Ok(())
    }

    fn run_again(&self, component: Component) -> Result<(), Error> {
        let mut plane = self.plane()?.lock().unwrap_or_else(PoisonError::into_inner);
        let command = plane.commands.iter().find(|(c, _)| *c == component).map(|(_, command)| command.clone());
        let command = command.ok_or_else(|| not_run("start", component))?;
        Ok(plane.supervisor.run(command)?)
    }

    fn signal(&self, action: &'static str, component: Component, signal: Signal) -> Result<ProcessId, Error> {
        let process = self.process(component)?.ok_or_else(|| not_run(action, component))?;
        process.signal(signal).map_err(|error| Error::Component { action, component, reason: error.to_string() })?;
        Ok(process)
    }

    fn process(&self, component: Component) -> Result<Option<ProcessId>, Error> {
        let processes = Processes::read(self.folder("control of components")?)?;
        let records = processes.into_iter().flat_map(|processes| processes.components);
        Ok(records.filter(|record| record.exit.is_none()).find(|r| r.name == component.name()).and_then(|r| r.process))
    }

    fn plane(&self) -> Result<&Mutex<ControlPlane>, Error> {
        match &self.hold {
            Hold::Owned { plane, .. } => Ok(plane),
            Hold::Attached { .. } | Hold::External { .. } => Err(Error::Unsupported {
                what: "restarting a component",
                reason: "another process started the cluster",
            }),
        }
    }

    fn folder(&self, what: &'static str) -> Result<&Path, Error> {
        match &self.hold {
            Hold::Owned { folder, .. } | Hold::Attached { folder } => Ok(folder),
            Hold::External { .. } => {
                Err(Error::Unsupported { what, reason: "it is known by a kubeconfig only (E2E_KUBECONFIG)" })
            }
        }
    }
}

fn not_run(action: &'static str, component: Component) -> Error {
    Error::Component { action, component, reason: "this cluster does not run it".into() }
}
