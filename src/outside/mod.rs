//! Outside: what the plan wants to know from beyond the cluster's API is asked here, between two reconciliations.
//!
//! A plan's inquiries go to the [`Desk`], which asks in tasks of its own and has the Microservice reconciled again when
//! a reply is in; `observe` then hands the reply to the next plan. Events go to the [`Herald`]. Nothing here decides anything, and nothing here
//! writes to the cluster. All requests go through one HTTP client, to addresses that an administrator gave.

mod answer;
mod credentials;
mod datadog;
mod desk;
mod error;
mod herald;
mod http;
mod json;
mod prometheus;
mod provider;
mod query;
mod slots;
mod webhook;

pub use answer::Office;
pub use credentials::{ClusterSecrets, Secrets};
pub use desk::Desk;
pub use error::Error;
pub use herald::Herald;
pub use webhook::{ClusterWebhooks, Webhooks};

/// Whether a list of namespaces has this one; an empty list has all.
pub(crate) fn admits(namespaces: &[String], namespace: &str) -> bool {
    namespaces.is_empty() || namespaces.iter().any(|admitted| admitted == namespace)
}

#[cfg(test)]
mod tests;
