//! The operator behind `Microservice` resources.
//!
//! The tree is the pipeline: watch event → observe → validate → plan → apply → status → requeue.

pub mod api;
pub mod plan;
pub mod validate;
