//! Microservices made from the schema of the CRD and a seed: valid ones, ones at the edges of what is allowed, and ones that
//! break one rule each. A field that is new in the schema is met by itself; what its text must look like may have to be told
//! in `values.rs`.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod breakage;
pub mod edit;
mod place;
mod schema;
mod tame;
mod values;

pub use breakage::{Breakage, breakages};
pub use place::{Placed, put};
pub use schema::{Schema, given, never};
pub use tame::{by_image, by_versions, tame};
pub use values::{edges, is_costly, value};
