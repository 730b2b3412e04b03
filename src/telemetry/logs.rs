//! Logs, as text for people or JSON for machines, on standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::lines::{Lines, Style};

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
}

/// The filter that a level, or several with what they are for, make. A misspelt level would be the name of what is logged,
/// alone.
fn filter(level: &str) -> Option<EnvFilter> {
    let is_level = |part: &str| part.trim().parse::<LevelFilter>().is_ok();
    let known = level.contains('[') || level.split(',').all(|part| part.contains('=') || is_level(part));
    if known { EnvFilter::try_new(level).ok() } else { None }
}

/// Sends the process's logs to standard error.
///
/// # Errors
/// When `level` is no filter.
pub fn init(format: LogFormat, level: &str) -> Result<(), LevelError> {
    let filter = filter(level).ok_or_else(|| LevelError { level: level.to_owned() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Text if colours => Style::Coloured,
        LogFormat::Text => Style::Plain,
    };
    let lines = Lines { open: std::io::stderr, style };
    let layer = tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(colours);
    // A second initialisation, as in tests, leaves the first in place.
    let _already = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_that_exists() {
        for level in ["info", "WARN", "off", "info,kube=debug", "info,kube[span]=trace"] {
            assert!(filter(level).is_some(), "{level}");
        }
        for level in ["warning", "inf", "info,loud", "kube", "chatty=loud"] {
            assert!(filter(level).is_none(), "{level}");
        }
    }
}
