//! The command line of `kubectl ms`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::Duration;

use super::{completion::Shell, output::Format, weights};

/// Shows Microservices and their rollouts, says what holds them, and asks things of them.
///
/// Exit codes: 0 done or healthy, 1 refused or degraded, 2 timed out, 3 it could not be asked (a wrong call, no cluster, no
/// such Microservice, no right to).
#[derive(Debug, Parser)]
#[command(name = "kubectl-ms", bin_name = "kubectl ms", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct GlobalArgs {
    /// Namespace. Default: that of the kubeconfig's context.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The kubeconfig. Default: $KUBECONFIG, else ~/.kube/config, else the cluster that this runs in.
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Write for programs, not for people.
    #[arg(short, long, global = true, value_enum)]
    pub output: Option<Format>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a tree of versions, pods, weights and steps.
    Get(GetArgs),
    /// Say what holds a Microservice, and what to do.
    Why {
        /// Name of the Microservice.
        #[arg(value_parser = name)]
        name: String,
    },
    /// Go on from a pause.
    Promote {
        /// Skip all steps that are left, and wait for no time window, webhook or analysis.
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        act: ActArgs,
    },
    /// Keep the weights as they are, until somebody promotes or aborts.
    Pause(ActArgs),
    /// Go back to the weights before the rollout.
    Abort(ActArgs),
    /// Start an aborted rollout again.
    Retry(ActArgs),
    /// Go back to the weights before the last rollout, also after it was completed.
    Undo {
        /// Go back to this kept revision of an image: its name, the beginning of it, or how many revisions back it is. What
        /// is kept is said when there is no such revision.
        #[arg(long, value_name = "REVISION")]
        to_revision: Option<String>,
        #[command(flatten)]
        act: ActArgs,
    },
    /// Edit the weights in the spec. It is the one command that changes the spec: the manifest in Git has to follow.
    Weight(WeightArgs),
    /// Show who asked what of the rollouts, and what came of it, newest first.
    History {
        /// Name of the Microservice.
        #[arg(value_parser = name)]
        name: String,
    },
    /// Wait until a Microservice is healthy: exits with 0, or with 1 when it is degraded, 2 when the time is over.
    Wait(WaitArgs),
    /// Print a script that completes the command line: for a shell, or for kubectl as kubectl_complete-ms.
    Completion {
        /// The shell, or kubectl.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// What kubectl_complete-ms asks.
    #[command(name = "__complete", hide = true)]
    Complete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct GetArgs {
    /// Names of Microservices. Default: all of the namespace.
    #[arg(value_parser = name)]
    pub names: Vec<String>,
    /// Those of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "names")]
    pub all_namespaces: bool,
    /// Go on showing them as they change: on a terminal in place, else one line a change. Ends with Ctrl-C.
    #[arg(short, long)]
    pub watch: bool,
}

/// Something that is asked of a rollout.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// Name of the Microservice.
    #[arg(value_parser = name)]
    pub name: String,
    /// How long to wait in all, for the cluster and for the operator's answer.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Do not wait for the answer.
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct WeightArgs {
    /// Name of the Microservice.
    #[arg(value_parser = name)]
    pub name: String,
    /// Weights, such as v2=25. Versions that are not named share the rest in their present proportion.
    #[arg(required = true, value_name = "VERSION=WEIGHT", value_parser = weights::parse)]
    pub weights: Vec<(String, i32)>,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Name of the Microservice.
    #[arg(value_parser = name)]
    pub name: String,
    /// What to wait for.
    #[arg(long = "for", value_enum, default_value_t)]
    pub goal: Goal,
    /// How long to wait.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// The newest spec is fully reached.
    #[default]
    Ready,
    /// The requested weights are in force.
    Promoted,
}

fn duration(text: &str) -> Result<Duration, crate::api::duration::ParseDurationError> {
    text.parse()
}

/// A name, also as kubectl writes it: `microservice/order-service`.
fn name(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        None => text,
        Some(("ms" | "microservice" | "microservices" | "microservices.microservice-operator.dev", name)) => name,
        Some((kind, _)) => return Err(format!("{kind} is not a Microservice: write a name, such as order-service")),
    };
    if name.is_empty() {
        return Err("write a name, such as order-service".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_argument_is_explained() {
        let command = Cli::command();
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let bare = shown.flat_map(|command| {
            let bare = command.get_arguments().filter(|argument| argument.get_help().is_none());
            bare.map(move |argument| format!("{} {}", command.get_name(), argument.get_id()))
        });
        assert_eq!(bare.collect::<Vec<_>>(), Vec::<String>::new());
    }

    #[test]
    fn kubectls_conventions_hold() {
        for line in [
            "kubectl-ms get",
            "kubectl-ms -n shop get order-service --watch",
            "kubectl-ms get -A -o json",
            "kubectl-ms get a b -w --context x --kubeconfig /tmp/c",
            "kubectl-ms why a -n shop -oyaml",
            "kubectl-ms promote a --full --timeout 1m30s",
            "kubectl-ms abort --no-wait a",
            "kubectl-ms undo a --to-revision r-0123456789 --timeout 5s",
            "kubectl-ms undo --to-revision=2 a",
            "kubectl-ms weight a v2=25 v1=75",
            "kubectl-ms wait a --for=promoted --timeout=5m",
            "kubectl-ms completion kubectl",
            "kubectl-ms __complete -- get --na",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
        let Command::Pause(act) = parse("kubectl-ms pause ms/order-service --namespace shop").unwrap().command else {
            panic!("not a pause")
        };
        assert_eq!(act.name, "order-service");
        assert_eq!(act.timeout, Duration::from_secs(30));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, told) in [
            ("kubectl-ms", "Usage: kubectl ms"),
            ("kubectl-ms get a -A", "cannot be used with"),
            ("kubectl-ms why", "<NAME>"),
            ("kubectl-ms why pod/a", "pod is not a Microservice"),
            ("kubectl-ms weight a", "<VERSION=WEIGHT>"),
            ("kubectl-ms weight a v2", "v2 is not VERSION=WEIGHT"),
            ("kubectl-ms weight a v2=101", "a weight is 0 to 100"),
            ("kubectl-ms wait a --for=luck", "[possible values: ready, promoted]"),
            ("kubectl-ms wait a --timeout=soon", "is not a duration"),
            ("kubectl-ms abort a --no-wait --timeout 1s", "cannot be used with"),
            ("kubectl-ms get -o wide", "[possible values: json, yaml]"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
