//! The operator behind `Microservice` resources.
//!
//! The tree is the pipeline: watch event → [`observe`] → [`validate`] → [`plan`] → [`apply`] → [`status`] → requeue;
//! What a plan wants to know from beyond the cluster's API is asked [`outside`], between two
//! reconciliations. [`controller`] wires it, [`runtime`] and [`telemetry`] are the process around it. [`render`] and the checks of
//! manifests run the pure part of it without a cluster. [`plugin`] is what people look at it with: `kubectl ms`. From outside of
//! a cluster, both find it by a [`kubeconfig`].

pub mod api;
pub mod apply;
pub mod cli;
pub mod controller;
pub mod foreign;
pub mod input;
pub mod kubeconfig;
pub mod lint;
pub mod observe;
pub mod offline;
pub mod outside;
pub mod plan;
pub mod plugin;
pub mod render;
pub mod runtime;
pub mod status;
#[cfg(test)]
mod stub;
pub mod telemetry;
pub mod validate;
