//! Logs, as text for people or JSON for machines, on standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::lines::Lines;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Error)]
#[error(
    "the log level {level:?} is not understood: write error, warn, info, debug or trace, or a filter such as info,kube=debug"
)]
pub struct LevelError {
    level: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Sends the process's logs to standard error.
///
/// # Errors
/// When `level` is no filter.
pub fn init(format: LogFormat, level: &str) -> Result<(), LevelError> {
    let filter = EnvFilter::try_new(level).map_err(|source| LevelError { level: level.to_owned(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = Lines { open: std::io::stderr, coloured: colours && format == LogFormat::Text };
    let layer = tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(colours);
    // A second initialisation, as in tests, leaves the first in place.
    let _already = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    Ok(())
}
