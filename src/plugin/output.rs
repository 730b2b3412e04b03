//! How answers are written: for people with or without colours, or for programs.

use std::{
    fmt,
    io::{IsTerminal, Write},
};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::validate::syntax::printable;

use super::Error;

/// A format for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Yaml,
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// None for people.
    pub format: Option<Format>,
    pub paint: Paint,
    /// Whether somebody looks at it as it is written.
    pub terminal: bool,
}

impl Out {
    /// Standard output, with colours where it is a terminal and nobody asked for none.
    pub fn new(format: Option<Format>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { format, paint: Paint(terminal && !dumb && !set("NO_COLOR")), terminal: terminal && !dumb }
    }

    /// Writes text, as it is.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn text(self, text: &str) -> Result<(), Error> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
    }

    /// Writes a value in the format for programs.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn value<T: Serialize>(self, format: Format, value: &T) -> Result<(), Error> {
        self.text(&encoded(format, value, false)?)
    }

    /// Writes one value of many: a line of JSON, or a document of YAML.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn one_of_many<T: Serialize>(self, format: Format, value: &T) -> Result<(), Error> {
        self.text(&encoded(format, value, true)?)
    }
}

fn encoded<T: Serialize>(format: Format, value: &T, many: bool) -> Result<String, Error> {
    let lost = |error: &dyn fmt::Display| Error::Encoding(error.to_string());
    Ok(match (format, many) {
        (Format::Json, false) => format!("{}\n", serde_json::to_string_pretty(value).map_err(|e| lost(&e))?),
        (Format::Json, true) => format!("{}\n", serde_json::to_string(value).map_err(|e| lost(&e))?),
        (Format::Yaml, false) => serde_yaml::to_string(value).map_err(|e| lost(&e))?,
        (Format::Yaml, true) => format!("---\n{}", serde_yaml::to_string(value).map_err(|e| lost(&e))?),
    })
}

/// Text of the cluster, as it may be shown: on its line, and without what would steer a terminal.
pub fn tame(text: &str) -> String {
    printable(text).into_owned()
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint(pub bool);

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Moving,
    Bad,
    Strong,
    Quiet,
}

impl Paint {
    /// The text in the colour of its meaning.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Moving => 33,
            Tone::Bad => 31,
            Tone::Strong => 1,
            Tone::Quiet => 2,
        };
        if self.0 && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// How long ago something was, as kubectl writes ages: `42s`, `5m`, `3h`, `12d`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        120..7_200 => format!("{minutes}m"),
        7_200..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

/// Columns of equal width; the last one is as long as it is.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        for (since, shown) in [
            ("2026-01-10T00:00:05Z", "0s"),
            ("2026-01-09T23:59:18Z", "42s"),
            ("2026-01-09T23:57:30Z", "2m30s"),
            ("2026-01-09T23:55:00Z", "5m"),
            ("2026-01-09T23:00:01Z", "59m"),
            ("2026-01-09T21:00:00Z", "3h"),
            ("2026-01-01T00:00:00Z", "9d"),
        ] {
            assert_eq!(age(since.parse().unwrap(), now), shown, "{since}");
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["A", "BB", ""]), row(["longer", "x", "last"])]);
        assert_eq!(text, "A        BB\nlonger   x    last\n");
    }
}
