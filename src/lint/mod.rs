//! Lint: everything that would be refused, and what is allowed but rarely meant. Needs no cluster.
//!
//! Errors are the API server's and the operator's refusals; warnings are this module's own, from one manifest or from
//! all that are given together. Nothing here changes what is enforced.

mod report;
mod warnings;

use std::{
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::{
    api::{Microservice, Provider},
    input::{self, Input, Origin},
    offline::{self, Checker},
    validate::Validated,
};

pub use report::{Finding, Report, Severity};
use warnings::Given;

/// Arguments of the command.
#[derive(Clone, Debug, Args)]
pub struct LintArgs {
    /// File, directory, or `-` for standard input; may be given more than once.
    #[arg(short = 'f', long = "filename", required = true)]
    pub files: Vec<PathBuf>,
    /// Namespace of Microservices that have none.
    #[arg(short = 'n', long, default_value = "default")]
    pub namespace: String,
    /// What carries the traffic of Microservices that do not say.
    #[arg(long, value_enum, default_value_t)]
    pub provider: Provider,
    /// How findings are written.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    pub output: Output,
    /// Fail on warnings, too.
    #[arg(long)]
    pub strict: bool,
    /// When to colour the text.
    #[arg(long, value_enum, default_value_t)]
    pub color: Color,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line each, for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// When text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to mend.
    Clean,
    /// Errors, or warnings when these count.
    Findings,
    /// Something could not be read, or there was nothing to check.
    Unreadable,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::SUCCESS,
            Outcome::Findings => Self::from(1),
            Outcome::Unreadable => Self::from(2),
        }
    }
}

/// Why nothing could be checked or told.
#[derive(Debug, Error)]
pub enum LintError {
    #[error("the CustomResourceDefinition of this build cannot be read")]
    Schema(#[from] serde_json::Error),
    #[error("the findings cannot be written")]
    Write(#[from] io::Error),
}

/// What applies to manifests that do not say.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub namespace: String,
    pub provider: Provider,
}

/// A Microservice that could be read, and where it was found.
#[derive(Debug)]
struct Subject {
    origin: Origin,
    microservice: Microservice,
    resolved: Validated,
}

impl Subject {
    /// Namespace and name, which tell services apart.
    fn key(&self) -> (&str, &str) {
        (&self.resolved.identity.namespace, &self.resolved.identity.name)
    }

    fn object(&self) -> String {
        format!("{}/{}", self.resolved.identity.namespace, self.resolved.identity.name)
    }
}

/// Reads the files, checks them, and writes what was found.
///
/// # Errors
/// When the findings cannot be written. What is wrong with the input is a finding.
pub fn run(args: &LintArgs, stdin: &mut dyn Read, out: &mut dyn Write) -> Result<Outcome, LintError> {
    let checker = Checker::new()?;
    let input = input::read(&args.files, stdin);
    let report = lint(&input, &checker, &Defaults { namespace: args.namespace.clone(), provider: args.provider });
    let written = match args.output {
        Output::Text => report.write_text(out, coloured(args.color)),
        Output::Json => report.write_json(out),
    };
    match written {
        // Whoever reads has read enough; the exit code tells the rest.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(outcome(&report, &input, args.strict))
}

fn coloured(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

fn outcome(report: &Report, input: &Input, strict: bool) -> Outcome {
    if report.checked == 0 || !input.errors.is_empty() {
        return Outcome::Unreadable;
    }
    let fails = report.errors() > 0 || (strict && report.warnings() > 0);
    if fails { Outcome::Findings } else { Outcome::Clean }
}

/// Checks manifests one by one and together.
pub fn lint(input: &Input, checker: &Checker, defaults: &Defaults) -> Report {
    let mut findings: Vec<Finding> = input.errors.iter().map(Finding::unreadable).collect();
    let mut subjects = Vec::new();
    let mut given = Given::default();
    for document in &input.documents {
        let manifest = document.in_namespace(&defaults.namespace);
        let verdict = checker.check(&manifest, defaults.provider);
        given.note(&document.origin, &manifest);
        let object = offline::object_of(&manifest, &defaults.namespace);
        let refused = verdict.refused.into_iter().map(|problem| ("refused", problem));
        let told = refused.chain(verdict.stalled.into_iter().map(|problem| ("stalled", problem)));
        findings.extend(
            told.map(|(rule, problem)| Finding::new(Severity::Error, &document.origin, &object, rule, problem)),
        );
        if let Some((microservice, resolved)) = verdict.read {
            subjects.push(Subject { origin: document.origin.clone(), microservice, resolved });
        }
    }
    findings.extend(warnings::all(&subjects, &given));
    let position = |finding: &Finding| input.documents.iter().position(|document| document.origin == finding.origin);
    findings.sort_by_key(|finding| (position(finding), finding.severity));
    let of_cluster = input.documents.iter().filter(|document| offline::is_of_cluster(&document.value)).count();
    Report { findings, checked: input.documents.len(), of_cluster, passed_over: input.passed_over }
}

#[cfg(test)]
mod tests;
