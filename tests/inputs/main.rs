//! Whatever comes from outside is read without harm: texts of users, manifests, arguments, and what others may have
//! written into a status, into children and into leases. Inputs of a kept corpus are changed by a seed; what is asked
//! of the answers is more than that there is one: they round-trip, say the same each time, and errors name the place.
//!
//! A short part runs by default; `CAMPAIGN=whole` runs many times as much, `CAMPAIGN_SEED` another part. An input that
//! finds something is added to `corpus/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../e2e_faults/campaign.rs"]
mod campaign;
#[allow(unused_imports)]
#[path = "../generator/mod.rs"]
mod generator;

mod answers;
mod expressions;
mod fields;
mod leases;
mod live;
mod manifests;
mod mutate;
mod routes;
mod stored;
mod texts;
