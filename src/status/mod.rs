//! Status: what a person, a script and a dependent service read. [`compute`] is pure; [`write`] is the one patch.

pub mod compute;
pub mod events;
pub mod write;

pub use compute::{Outcome, compute};
pub use events::{Notice, notices};
