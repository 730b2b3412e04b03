//! Validate: from what a user wrote to what the builders may rely on. Pure.
//!
//! The CRD already refused what a schema and CEL can see; the [`checks`] find the rest, after inheritance. Only a
//! [`Validated`] reaches the plan, so a builder cannot meet bad input.

pub mod checks;
pub mod digest;
pub mod model;
pub mod quantity;
pub mod re2;
pub mod references;
pub mod resolve;
pub mod syntax;
mod template;
pub mod window;

use std::fmt;

use thiserror::Error;

use crate::api::{Microservice, Provider};
pub use model::{
    Affinity, Analysis, Behind, Copies, Dependency, Identity, Policy, PortPolicy, Size, Step, Validated, Version,
};
pub use template::template_hash;
pub use window::Window;

/// One thing that is wrong with a Microservice, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the manifest, such as `spec.versions[v2].mounts[/logs]`.
    pub path: String,
    /// What is wrong, with the value, and what to change.
    pub message: String,
}

impl Problem {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A Microservice that cannot be enforced as it is written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", join(.problems))]
pub struct Invalid {
    /// All problems found, in the order of the checks; never empty.
    pub problems: Vec<Problem>,
    pub why: Refusal,
}

/// What it would take to enforce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has to be changed.
    Wrong,
    /// Something that it refers to is missing, and may come.
    Missing,
    /// What was asked for before has to arrive.
    Early,
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Checks a Microservice and resolves its inheritance and defaults.
///
/// `provider` is what carries the traffic of a Microservice that does not say.
///
/// # Errors
/// Every problem found, not only the first.
pub fn validate(microservice: &Microservice, provider: Provider) -> Result<Validated, Invalid> {
    let resolved = resolve::resolve(microservice, provider);
    let problems = checks::run(&microservice.spec, &resolved);
    if problems.is_empty() { Ok(resolved) } else { Err(Invalid { problems, why: Refusal::Wrong }) }
}
