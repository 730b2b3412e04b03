//! Telemetry: logs and metrics of the process.

pub mod lines;
pub mod logs;
pub mod metrics;

pub use logs::LogFormat;
pub use metrics::Metrics;
