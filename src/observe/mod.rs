//! Observe: what the cluster holds, as plain data. Reads the caches only, never the API.

pub mod cache;
pub mod caches;
pub mod child;
pub mod clock;
pub mod deployments;
pub mod facts;
mod hearing;
pub mod lean;
pub mod model;
pub mod ownership;
pub mod packed;
pub mod pods;
pub mod providers;
pub mod shard;
pub mod views;

pub use cache::{Cache, Key, Written};
pub use caches::{Caches, Source};
pub use clock::Clock;
pub use lean::Lean;
pub use model::{
    Acceptance, ChildRef, Controller, DependencyState, DeploymentFacts, Foreign, Holder, LiveRoutes, LiveService, Mesh,
    Observed, ObservedVersion, PodFacts, Weights,
};
pub use providers::Providers;
pub use shard::Shard;
