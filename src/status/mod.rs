//! Status: what a person, a script and a dependent service read. [`mod@compute`] is pure; [`mod@write`] is the one patch.

pub mod compute;
mod condition;
pub mod events;
mod patience;
pub mod write;

pub use compute::{Outcome, compute, lost_spec};
pub use events::{Notice, calls, notices, removals};
pub use patience::{counts_only, is_reworded};
