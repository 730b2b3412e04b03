//! `kubectl ms completion`: scripts for shells, and what `kubectl_complete-ms` asks while somebody types.

use std::time::Duration;

use clap::{Arg, Command, CommandFactory, Parser, ValueEnum};
use clap_complete::generate;

use super::{
    Error, Exit,
    cli::{Cli, GlobalArgs},
    cluster::Cluster,
    output::Out,
};

/// The name of the binary, under which shells know it.
const BINARY: &str = "kubectl-ms";
/// In cobra's words for what follows completions: no names of files.
const NO_FILES: &str = ":4";
/// The same, and no space after what is completed.
const NO_SPACE: &str = ":6";
/// How long names from the cluster are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

const FOR_KUBECTL: &str = "#!/bin/sh
# Completes `kubectl ms` wherever kubectl itself is completed. Save it on the PATH as kubectl_complete-ms, executable.
exec kubectl-ms __complete -- \"$@\"
";

/// What asks for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    /// kubectl, by the name kubectl_complete-ms.
    Kubectl,
}

/// Prints a script.
///
/// # Errors
/// When nobody takes it.
pub fn script(out: Out, shell: Shell) -> Result<Exit, Error> {
    let mut command = Cli::command();
    let mut text = Vec::new();
    match shell {
        Shell::Bash => generate(clap_complete::Shell::Bash, &mut command, BINARY, &mut text),
        Shell::Zsh => generate(clap_complete::Shell::Zsh, &mut command, BINARY, &mut text),
        Shell::Fish => generate(clap_complete::Shell::Fish, &mut command, BINARY, &mut text),
        Shell::Kubectl => text.extend_from_slice(FOR_KUBECTL.as_bytes()),
    }
    out.text(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// Prints what the last word may become, as cobra's completions do: one a line, and a directive at the end.
///
/// # Errors
/// When nobody takes it.
pub async fn complete(out: Out, words: &[String]) -> Result<Exit, Error> {
    let last = words.last().map(String::as_str).unwrap_or_default();
    let (mut found, directive) = match wanted(words) {
        Wanted::Words(words) => (words, NO_FILES),
        Wanted::Names => (names(words).await.unwrap_or_default(), NO_FILES),
        Wanted::Versions(name) => (versions(words, &name).await.unwrap_or_default(), NO_SPACE),
    };
    found.retain(|word| word.starts_with(last));
    let lines: String = found.iter().map(|word| format!("{word}\n")).collect();
    out.text(&format!("{lines}{directive}\n"))?;
    Ok(Exit::Done)
}

#[derive(Debug, PartialEq)]
enum Wanted {
    /// One of these.
    Words(Vec<String>),
    /// The name of a Microservice.
    Names,
    /// A version of this Microservice, and a weight.
    Versions(String),
}

/// What the last word is about.
fn wanted(words: &[String]) -> Wanted {
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    // An option that waits for its value.
    let mut option: Option<&Arg> = None;
    let mut given: Vec<&str> = Vec::new();
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    for word in before {
        if option.take().is_some() {
        } else if word.starts_with('-') {
            option = option_of(command, word).filter(|arg| arg.get_action().takes_values());
        } else if let Some(sub) = command.find_subcommand(word) {
            command = sub;
        } else {
            given.push(word);
        }
    }
    if let Some(option) = option {
        return Wanted::Words(values(option));
    }
    if last.starts_with('-') {
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long);
        return Wanted::Words(flags.map(|flag| format!("--{flag}")).collect());
    }
    let subcommands: Vec<String> =
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(|sub| sub.get_name().to_owned()).collect();
    if !subcommands.is_empty() {
        return Wanted::Words(subcommands);
    }
    if let ("weight", Some(name)) = (command.get_name(), given.first()) {
        return Wanted::Versions((*name).to_owned());
    }
    match command.get_positionals().nth(given.len()) {
        Some(positional) if positional.get_id() == "name" => Wanted::Names,
        Some(positional) if positional.get_id() != "names" => Wanted::Words(values(positional)),
        _ if command.get_name() == "get" => Wanted::Names,
        _ => Wanted::Words(Vec::new()),
    }
}

fn option_of<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let mut arguments = command.get_arguments();
    match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => arguments.find(|arg| arg.get_long() == Some(long)),
        (None, Some(short)) => arguments.find(|arg| arg.get_short().is_some_and(|own| short == own.to_string())),
        (None, None) => None,
    }
}

fn values(arg: &Arg) -> Vec<String> {
    arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

/// The names of the Microservices of the namespace that the words so far ask for.
async fn names(words: &[String]) -> Option<Vec<String>> {
    let global = global(words)?;
    let names = async { Cluster::connect(&global).await.ok()?.names().await.ok() };
    tokio::time::timeout(PATIENCE, names).await.ok().flatten()
}

/// The versions of a Microservice of that namespace, each with the sign after which its weight is written.
async fn versions(words: &[String], name: &str) -> Option<Vec<String>> {
    let global = global(words)?;
    let microservice = async { Cluster::connect(&global).await.ok()?.microservice(name).await.ok() };
    let microservice = tokio::time::timeout(PATIENCE, microservice).await.ok().flatten()?;
    Some(microservice.spec.versions.iter().map(|version| format!("{}=", version.name)).collect())
}

/// Which cluster and namespace the words so far ask for.
fn global(words: &[String]) -> Option<GlobalArgs> {
    let before = words.split_last().map_or(&[][..], |(_, before)| before);
    let line = [BINARY].into_iter().chain(before.iter().map(String::as_str));
    // What is still missing is no reason to forget the namespace.
    let missing = [&[][..], &["name"], &["v1=0"]];
    let cli = missing.into_iter().find_map(|rest| Cli::try_parse_from(line.clone().chain(rest.iter().copied())).ok());
    cli.or_else(|| Cli::try_parse_from([BINARY, "get"]).ok()).map(|cli| cli.global)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_at(line: &str) -> Wanted {
        wanted(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_typed_decides_what_may_follow() {
        let Wanted::Words(commands) = wanted_at("") else { panic!("names") };
        assert!(
            commands.contains(&"promote".to_owned()) && !commands.contains(&"__complete".to_owned()),
            "{commands:?}"
        );
        for line in ["get ", "get a ", "-n shop why ", "promote --full ", "weight "] {
            assert_eq!(wanted_at(line), Wanted::Names, "{line:?}");
        }
        for (line, words) in [
            ("get -o ", vec!["json", "yaml"]),
            ("wait a --for ", vec!["ready", "promoted"]),
            ("completion ", vec!["bash", "zsh", "fish", "kubectl"]),
            ("why a ", vec![]),
            ("wait a ", vec![]),
            ("get --namespace ", vec![]),
        ] {
            assert_eq!(wanted_at(line), Wanted::Words(words.into_iter().map(str::to_owned).collect()), "{line:?}");
        }
        for line in ["weight a ", "weight a v2=25 v", "weight -n shop a v"] {
            assert_eq!(wanted_at(line), Wanted::Versions("a".to_owned()), "{line:?}");
        }
        let Wanted::Words(flags) = wanted_at("get --") else { panic!("names") };
        for flag in ["--watch", "--namespace", "--output"] {
            assert!(flags.contains(&flag.to_owned()), "{flags:?}");
        }
    }
}
