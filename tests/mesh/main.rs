//! Real pods, a real mesh and real requests: what the operator computes holds for those who call the services.
//!
//! One cluster for all tests: the operator runs in it as its chart installs it; requests go through an Envoy that istiod
//! configures. Needs Linux, and root; or Docker and kind, by `make e2e-kind`. Each test has a namespace of its own, whose
//! every revision the invariants are held against.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod analyses;
mod analysis;
mod calls;
mod every_step;
mod ground;
mod guide;
mod ingress;
mod install;
mod lanes;
mod limits;
mod metrics;
mod rollouts;
mod service;
mod sick;
mod sidecar;
mod stage;
mod zero_loss;

/// What the stage has besides the cluster and the mesh.
fn furnish(stage: &stage::Stage) {
    stage.install(&[]);
}
