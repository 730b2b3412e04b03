//! The commands, and what they print.

mod load;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use devcluster::progress::{self, Progress};
use devcluster::record::{Found, Provider, Registry};
use devcluster::{Cluster, Nodes, Options, Tool, relay, supervisor, tools};
use jiff::Timestamp;

/// What went wrong, in words.
type Failure = Box<dyn Error + Send + Sync>;

/// The development and test cluster of microservice-operator.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster that runs until `down`, and print how to reach it.
    Up(Up),
    /// End a cluster, or all of them; nothing of it is left.
    Down(Down),
    /// Print KUBECONFIG=… of a running cluster.
    Env(Named),
    /// List the clusters, their programs, addresses and ages.
    Status,
    /// Print the path of a program, building it first if need be.
    Tool {
        /// Which one.
        tool: Tool,
    },
    /// Build every program that is not built yet.
    Build,
    /// Send requests at a rate, and account for each; fails if any was not answered with success.
    Load(load::LoadArguments),
    /// Own a cluster's programs (used by `up` and by tests).
    #[command(hide = true)]
    Supervise {
        /// The cluster's folder.
        folder: PathBuf,
    },
    /// Pass connections into a cluster's own network (run by its supervisor).
    #[command(hide = true)]
    Relay {
        /// Where to take them.
        #[arg(long)]
        from: SocketAddr,
        /// Where to pass them to.
        #[arg(long)]
        to: SocketAddr,
        /// The file of the network.
        #[arg(long)]
        network: PathBuf,
    },
    /// Print which supervisor this program has (used by tests).
    #[command(hide = true)]
    Fingerprint,
    /// Start a cluster that ends with this process, and wait (used by tests).
    #[command(hide = true)]
    Hold(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The cluster's name.
    #[arg(long, default_value = "dev")]
    name: String,
}

#[derive(Debug, Args)]
struct Up {
    #[command(flatten)]
    named: Named,
    /// What nodes it has: `simulated` ones run nothing, but their pods become ready; a `real` one runs pods, on Linux as
    /// root.
    #[arg(long, value_enum, default_value_t = NodesArgument::Simulated)]
    nodes: NodesArgument,
    /// Let a mesh carry requests: istiod, an Envoy that sends into it and one that is its ingress. Needs `--nodes real`.
    #[arg(long)]
    mesh: bool,
    /// Let Prometheus keep what the mesh's Envoys count; pods reach it at http://prometheus.monitoring.svc:9090.
    #[arg(long, requires = "mesh")]
    prometheus: bool,
    /// What runs it: `embedded` needs nothing else, `kind` needs Docker and kind, and has kind's own node.
    #[arg(long, value_enum, default_value_t = ProviderArgument::Embedded, conflicts_with = "nodes")]
    provider: ProviderArgument,
    /// A file of CustomResourceDefinitions to apply; may be given several times.
    #[arg(long = "crds", value_name = "FILE")]
    crds: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Down {
    #[command(flatten)]
    named: Named,
    /// End every cluster.
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NodesArgument {
    Simulated,
    Real,
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProviderArgument {
    Embedded,
    Kind,
}

/// Runs a command on the calling thread, which must be the process's main thread.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Supervise { folder } => Ok(supervisor::run(&folder)?),
        Command::Relay { from, to, network } => Ok(relay::run(from, to, &network)?),
        Command::Fingerprint => {
            println!("{}", supervisor::fingerprint());
            Ok(())
        }
        Command::Up(arguments) => wait_for(up(arguments)),
        Command::Hold(arguments) => wait_for(hold(arguments.name)),
        Command::Down(arguments) => down(&arguments),
        Command::Env(arguments) => env(&arguments.name),
        Command::Status => status(),
        Command::Tool { tool } => {
            println!("{}", tools::tool(tool)?.display());
            Ok(())
        }
        Command::Build => {
            tools::tools(&Tool::ALL)?;
            progress::line("every program is built");
            Ok(())
        }
        Command::Load(arguments) => load::run(arguments),
    }
}

fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

async fn up(arguments: Up) -> Result<(), Failure> {
    let Up { named: Named { name }, nodes, mesh, prometheus, provider, crds } = arguments;
    let nodes = match nodes {
        NodesArgument::Simulated => Nodes::SIMULATED,
        NodesArgument::Real => Nodes::Real,
        NodesArgument::None => Nodes::None,
    };
    let provider = match provider {
        ProviderArgument::Embedded => Provider::Embedded,
        ProviderArgument::Kind => Provider::Kind,
    };
    let options = Options { name: Some(name), nodes, mesh, prometheus, crds, ..Options::default() };
    let started = Timestamp::now();
    let up = tokio::select! {
        up = devcluster::up(options, provider) => up?,
        // Dropping the start takes down what there is of it.
        _ = tokio::signal::ctrl_c() => return Err("interrupted; the cluster is taken down again".into()),
    };
    if up.already {
        progress::line(&format!("cluster {} runs already", up.name));
    } else {
        progress::line(&format!("cluster {} is ready after {}", up.name, age(started)));
    }
    println!("KUBECONFIG={}", up.kubeconfig.display());
    Ok(())
}

async fn hold(name: String) -> Result<(), Failure> {
    let options = Options { name: Some(name), progress: Progress::Builds, ..Options::default() };
    let cluster = Cluster::start(options).await?;
    println!("KUBECONFIG={}", cluster.kubeconfig_path().display());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn down(arguments: &Down) -> Result<(), Failure> {
    let registry = Registry::open()?;
    let clusters =
        if arguments.all { registry.all()? } else { registry.find(&arguments.named.name)?.into_iter().collect() };
    if clusters.is_empty() {
        let which =
            if arguments.all { "no cluster".into() } else { format!("no cluster named {}", arguments.named.name) };
        progress::line(&format!("there is {which}"));
    }
    for cluster in clusters {
        devcluster::down(&cluster)?;
        progress::line(&format!("cluster {} is gone", cluster.record.name));
    }
    Ok(())
}

fn env(name: &str) -> Result<(), Failure> {
    println!("KUBECONFIG={}", devcluster::kubeconfig_of(name)?.display());
    Ok(())
}

fn status() -> Result<(), Failure> {
    let clusters = Registry::open()?.all()?;
    if clusters.is_empty() {
        println!("no clusters");
    }
    for cluster in &clusters {
        print_cluster(cluster);
    }
    Ok(())
}

fn print_cluster(cluster: &Found) {
    let Found { folder, record, processes } = cluster;
    let state = match (cluster.is_alive(), record.ready) {
        (true, true) => "ready",
        (true, false) => "starting",
        (false, _) => "dead: `up` or `down` removes its remains",
    };
    let server = record.server.as_deref().unwrap_or("-");
    println!("{}  {state}  {server}  age {}", record.name, age(record.created));
    println!("  folder       {}", folder.display());
    if let Some(processes) = processes {
        println!("  {:<24} pid {}", "supervisor", processes.supervisor.pid);
        for component in &processes.components {
            let pid = component.process.as_ref().map_or_else(|| "-".into(), |process| process.pid.to_string());
            let alive = component.process.as_ref().is_some_and(devcluster::process::ProcessId::is_alive);
            let state = match (&component.exit, alive) {
                (Some(exit), _) => format!("ended: {exit}"),
                (None, true) => "running".into(),
                (None, false) => "gone".into(),
            };
            println!("  {:<24} pid {pid}  {state}", component.name);
        }
    }
}

fn age(since: Timestamp) -> String {
    progress::seconds(Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default())
}
