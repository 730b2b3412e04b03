//! Status: what a person, a script and a dependent service read. [`mod@compute`] is pure; [`mod@write`] is the one patch.

pub mod compute;
pub mod events;
pub mod write;

pub use compute::{Outcome, compute};
pub use events::{Notice, calls, notices};
