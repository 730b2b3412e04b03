//! Starting and ending clusters.

use std::path::PathBuf;

use jiff::Timestamp;
use tokio::task;

use crate::client;
use crate::components::{Component, Program};
use crate::control_plane::{self, ControlPlane};
use crate::error::Error;
use crate::files;
use crate::kind;
use crate::options::{Nodes, Options};
use crate::process::ProcessId;
use crate::record::{ClusterRecord, Found, Provider, Registry};
use crate::{bootstrap, prerequisites, tools, users};

/// What [`up`] found or made.
#[derive(Debug, Clone)]
pub struct Up {
    /// The cluster's name.
    pub name: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Whether it ran already.
    pub already: bool,
}

/// Starts a cluster that lives until [`down`]; one of that name that is running already is left as it is.
pub async fn up(options: Options, provider: Provider) -> Result<Up, Error> {
    let name = options.name.clone().unwrap_or_else(random_name);
    let registry = Registry::open()?;
    if let Some(found) = registry.find(&name)?.filter(|found| found.is_alive() && found.record.ready) {
        return Ok(Up { name, kubeconfig: users::admin_kubeconfig(&found.folder), already: true });
    }
    let folder = match provider {
        Provider::Embedded => {
            let (folder, plane) = start_embedded(&options, name.clone(), false).await?;
            plane.supervisor.detach()?;
            folder
        }
        Provider::Kind => start_kind(&options, name.clone()).await?,
    };
    Ok(Up { name, kubeconfig: users::admin_kubeconfig(&folder), already: false })
}

/// The administrator's kubeconfig of a running cluster.
pub fn kubeconfig_of(name: &str) -> Result<PathBuf, Error> {
    Ok(users::admin_kubeconfig(&running(name)?.folder))
}

/// The running cluster of that name.
pub(crate) fn running(name: &str) -> Result<Found, Error> {
    Registry::open()?
        .find(name)?
        .filter(|found| found.is_alive() && found.record.ready)
        .ok_or_else(|| Error::NotFound(name.to_owned()))
}

/// Ends a cluster and everything it has started; nothing of it is left.
pub fn down(cluster: &Found) -> Result<(), Error> {
    if cluster.record.provider == Provider::Kind {
        kind::delete(&cluster.record.name)?;
    }
    Ok(Registry::open()?.remove(cluster)?)
}

/// A name for a cluster that nobody will ask for by name.
pub(crate) fn random_name() -> String {
    let mut bytes = [0_u8; 4];
    // Without randomness the time has to do: a clash is an error that says so.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = Timestamp::now().subsec_nanosecond().to_le_bytes();
    }
    format!("c{}-{:08x}", std::process::id(), u32::from_le_bytes(bytes))
}

/// Starts an embedded cluster, which ends with the supervisor that is returned.
pub(crate) async fn start_embedded(
    options: &Options,
    name: String,
    owned: bool,
) -> Result<(PathBuf, ControlPlane), Error> {
    options.progress.step("looking for the programs");
    let (programs, definitions) = provide(options.clone()).await?;
    let mut claim = Claim::new(record(name, Provider::Embedded, owned))?;
    let plane = control_plane::start(&claim.folder, options, programs, &definitions).await?;
    claim.record.server = Some(plane.server.clone());
    Ok((claim.keep()?, plane))
}

async fn start_kind(options: &Options, name: String) -> Result<PathBuf, Error> {
    kind::check()?;
    let definitions = definitions(options)?;
    let claim = Claim::new(record(name.clone(), Provider::Kind, false))?;
    let kubeconfig = users::admin_kubeconfig(&claim.folder);
    options.progress.step("kind creates a cluster");
    let (of, path) = (name.clone(), kubeconfig.clone());
    task::spawn_blocking(move || kind::create(&of, &path)).await??;
    options.progress.step("defining resources");
    let defined = async {
        Ok::<_, Error>(bootstrap::define_resources(&client::from_kubeconfig(&kubeconfig).await?, &definitions).await?)
    };
    if let Err(error) = defined.await {
        // Nobody would know of it; what is to be told is why it is of no use.
        let _ = kind::delete(&name);
        return Err(error);
    }
    claim.keep()
}

fn record(name: String, provider: Provider, owned: bool) -> ClusterRecord {
    ClusterRecord {
        name,
        provider,
        starter: ProcessId::current(),
        owned,
        created: Timestamp::now(),
        server: None,
        ready: false,
    }
}

/// A cluster's folder, which goes again unless the cluster becomes ready.
struct Claim {
    record: ClusterRecord,
    folder: PathBuf,
    kept: bool,
}

impl Claim {
    fn new(record: ClusterRecord) -> Result<Self, Error> {
        let folder = Registry::open()?.claim(&record)?;
        Ok(Self { record, folder, kept: false })
    }

    fn keep(mut self) -> Result<PathBuf, Error> {
        self.record.ready = true;
        self.record.write(&self.folder)?;
        self.kept = true;
        Ok(self.folder.clone())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            // The next cluster's start removes what can't be removed now.
            let _ = files::remove_dir(&self.folder);
        }
    }
}

type Provided = (Vec<(Component, PathBuf)>, Vec<PathBuf>);

/// The programs and manifests that a cluster needs, built and downloaded if need be.
async fn provide(options: Options) -> Result<Provided, Error> {
    task::spawn_blocking(move || {
        match options.nodes {
            Nodes::Real => prerequisites::ensure()?,
            _ if options.mesh => {
                let reason = "nothing would carry its requests: use `--nodes real`";
                return Err(Error::Unsupported { what: "a mesh without real nodes", reason });
            }
            Nodes::None | Nodes::Simulated { .. } => {}
        }
        if options.prometheus && !options.mesh {
            let reason = "there would be nothing to count: use `--mesh`";
            return Err(Error::Unsupported { what: "Prometheus without a mesh", reason });
        }
        let tool_of = |component: Component| match component.program() {
            Program::Tool(tool) => Some((component, tool)),
            Program::System(_) | Program::Own => None,
        };
        let components = control_plane::components_of(&options);
        let (components, wanted): (Vec<_>, Vec<_>) = components.into_iter().filter_map(tool_of).unzip();
        let mut programs: Vec<_> = components.into_iter().zip(tools::tools(&wanted)?).collect();
        if options.prometheus {
            programs.push((Component::Prometheus, prerequisites::prometheus()?));
        }
        Ok((programs, definitions(&options)?))
    })
    .await?
}

fn definitions(options: &Options) -> Result<Vec<PathBuf>, Error> {
    let mut files = options.crds.clone();
    if options.istio_crds {
        files.extend(tools::istio_crds()?);
    }
    if options.gateway_crds {
        files.extend(tools::gateway_crds()?);
    }
    Ok(files)
}
