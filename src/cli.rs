//! The command line.

use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::{api, api::Provider, lint::LintArgs, telemetry::LogFormat, validate::syntax::dns_label};

/// Runs services from one Microservice resource each: workloads, routes, weights and an honest status.
#[derive(Debug, Parser)]
#[command(name = "microservice-operator", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator against the cluster of KUBECONFIG, or the one that it runs in.
    Run(RunArgs),
    /// Print the CustomResourceDefinitions as YAML.
    Crd {
        /// Plural name of the only one to print, such as `microservices`. Default: all.
        name: Option<String>,
    },
    /// Print the objects that Microservices become once everything is ready. Needs no cluster.
    Render(RenderArgs),
    /// Check Microservices without a cluster: what the API server and the operator would refuse, and warnings.
    Lint(LintArgs),
    /// Ask an HTTP endpoint and exit with 0 when it answers 200.
    #[command(hide = true)]
    Healthz {
        #[arg(long)]
        url: String,
    },
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Namespace to watch; may be given more than once, or as a comma-separated list. Default: all namespaces.
    #[arg(long = "namespace", env = "MSO_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    pub namespaces: Vec<String>,
    /// What carries the traffic of Microservices that do not say.
    #[arg(long, env = "MSO_PROVIDER", value_enum, default_value_t)]
    pub provider: Provider,
    /// Time that the mesh is given to learn of a change.
    #[arg(long, env = "MSO_MESH_PROPAGATION", default_value = "5s", value_parser = duration)]
    pub mesh_propagation: Duration,
    /// Whether only one of several processes works, by a Lease.
    #[arg(long, env = "MSO_LEADER_ELECTION", default_value_t = true, action = ArgAction::Set)]
    pub leader_election: bool,
    /// Name of the Lease.
    #[arg(long, env = "MSO_LEASE_NAME", default_value = "microservice-operator")]
    pub lease_name: String,
    /// Parts that all namespaces are divided into by their names, each with a Lease of its own, `<lease-name>-1-of-4`
    /// and so on. A process serves one of them, so at least as many have to run; from 1 to 100.
    #[arg(long, env = "MSO_SHARDS", default_value = "1", value_parser = shards)]
    pub shards: NonZeroU16,
    /// Namespace of the Lease. Default: POD_NAMESPACE, else `default`. Without POD_NAMESPACE, Secrets that
    /// AnalysisProviders and RolloutWebhooks name are read there, too.
    #[arg(long, env = "MSO_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Whether analyses can be asked for: AnalysisProviders belong to the cluster, and an operator of single namespaces
    /// may lack the right to watch them.
    #[arg(long, env = "MSO_ANALYSIS_PROVIDERS", default_value_t = true, action = ArgAction::Set)]
    pub analysis_providers: bool,
    /// Address that serves /healthz, /readyz and /metrics.
    #[arg(long, env = "MSO_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// How logs are written.
    #[arg(long, env = "MSO_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Which logs are written: error, warn, info, debug, trace, or a filter such as info,kube=debug.
    #[arg(long, env = "MSO_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Reconciliations under way at once.
    #[arg(long, env = "MSO_CONCURRENCY", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// Value of the label helm.sh/chart on the children.
    #[arg(long, env = "MSO_CHART")]
    pub chart: Option<String>,
    /// Value of the label microservice-operator.dev/operator-version on the children.
    #[arg(long, env = "MSO_OPERATOR_VERSION", default_value = env!("CARGO_PKG_VERSION"), hide = true)]
    pub operator_version: String,
}

#[derive(Debug, Args)]
pub struct RenderArgs {
    /// File, directory, or `-` for standard input; may be given more than once.
    #[arg(short = 'f', long = "filename", required = true)]
    pub files: Vec<PathBuf>,
    /// Namespace of Microservices that have none.
    #[arg(short = 'n', long, default_value = "default")]
    pub namespace: String,
    /// What carries the traffic of Microservices that do not say.
    #[arg(long, value_enum, default_value_t)]
    pub provider: Provider,
}

fn duration(text: &str) -> Result<Duration, api::duration::ParseDurationError> {
    text.parse::<api::Duration>().map(api::Duration::as_std)
}

fn namespace(text: &str) -> Result<String, String> {
    let name = text.trim();
    dns_label(name).map(|()| name.to_owned()).map_err(|why| format!("a namespace {why}; leave it out to watch all"))
}

fn shards(text: &str) -> Result<NonZeroU16, String> {
    let number = text.parse::<NonZeroU16>().ok().filter(|number| number.get() <= 100);
    number.ok_or_else(|| "it has to be a number from 1 to 100".to_owned())
}
