//! Progress for people: one updating line on a terminal, else a line now and then.
//!
//! Lines go to standard error itself, so that a test runner that captures output still shows a twenty-minute build.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How much is told while a cluster starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// Steps and builds.
    #[default]
    All,
    /// Builds only, which take long.
    Builds,
}

impl Progress {
    /// Tells that a step has begun.
    pub fn step(self, text: &str) {
        if self == Self::All {
            line(text);
        }
    }
}

/// Writes one line to standard error.
pub fn line(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "devcluster: {text}");
}

/// A long task that shows how long it has been running.
pub struct Ticker {
    text: String,
    started: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

const TERMINAL_EVERY: Duration = Duration::from_secs(1);
const LOG_EVERY: Duration = Duration::from_secs(20);

impl Ticker {
    /// Starts a task and shows it.
    pub fn start(text: String) -> Self {
        let mut ticker = Self { text, started: Instant::now(), shown: None, terminal: io::stderr().is_terminal() };
        ticker.tick();
        ticker
    }

    /// Shows the elapsed time if it is due.
    pub fn tick(&mut self) {
        let every = if self.terminal { TERMINAL_EVERY } else { LOG_EVERY };
        if self.shown.is_some_and(|shown| shown.elapsed() < every) {
            return;
        }
        self.shown = Some(Instant::now());
        let text = format!("{} … {}", self.text, seconds(self.started.elapsed()));
        if self.terminal {
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[Kdevcluster: {text}").and_then(|()| stderr.flush());
        } else {
            line(&text);
        }
    }

    /// Ends the task with a last line.
    pub fn finish(self, outcome: &str) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
        line(&format!("{} {outcome} after {}", self.text, seconds(self.started.elapsed())));
    }
}

/// A duration as people say it: `42s`, `7m40s`, `3h05m`.
pub fn seconds(duration: Duration) -> String {
    let total = duration.as_secs();
    match total {
        0..60 => format!("{total}s"),
        60..3600 => format!("{}m{:02}s", total / 60, total % 60),
        _ => format!("{}h{:02}m", total / 3600, total % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_secs(42)), "42s");
        assert_eq!(seconds(Duration::from_secs(460)), "7m40s");
        assert_eq!(seconds(Duration::from_secs(11_100)), "3h05m");
    }
}
