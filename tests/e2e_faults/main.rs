//! What the operator survives: faults of the API server and of the operator's own process, made by a proxy between them.
//! However a run is disturbed, it ends in what a clean run ends in, has created and deleted as much, has broken no
//! invariant on the way, and is silent then.
//!
//! By default a short, seeded part of each campaign runs; `CAMPAIGN=whole` runs all of it, `CAMPAIGN_SEED` another part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod campaign;
mod crashes;
mod drift;
mod lasting;
mod leaders;
mod outages;
mod refusals;
mod replaced;
mod stage;
mod stale;
mod starvation;
mod story;
