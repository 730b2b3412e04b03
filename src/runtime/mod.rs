//! The process: client, leadership, health and metrics server, shutdown.

pub mod fence;
pub mod leader;
pub mod run;
pub mod server;

pub use leader::Election;
pub use run::{Error, RunOptions, run};
