//! Processes named so that a reused pid is never taken for the process that had it before.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process, by its pid and by when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// When it started, as the system tells it; only ever compared for equality.
    started: String,
}

impl ProcessId {
    /// The process that has this pid now, if it has not ended.
    pub fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        start_of(pid).map(|started| Self { pid, started })
    }

    /// This very process.
    pub fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs; false once its pid belongs to another process.
    pub fn is_alive(&self) -> bool {
        start_of(self.pid).as_ref() == Some(&self.started)
    }

    /// Sends a signal, if the process still is the one that was recorded.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        if !self.is_alive() {
            return Err(Errno::ESRCH);
        }
        signal::kill(Pid::from_raw(self.pid), signal)
    }

    /// Waits until it has ended; false when it still runs at the deadline.
    pub fn wait_gone(&self, timeout: Duration) -> bool {
        poll(timeout, || !self.is_alive())
    }

    /// Waits until a SIGSTOP has reached all its threads; false when one still runs at the deadline.
    pub fn wait_stopped(&self, timeout: Duration) -> bool {
        poll(timeout, || all_threads_stopped(self.pid))
    }
}

fn poll(timeout: Duration, done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

fn all_threads_stopped(pid: i32) -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        parse_stat(&stat).is_none_or(|(state, _)| state == 'T')
    })
}

fn start_of(pid: i32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, ticks) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then(|| format!("{}/{ticks}", boot.trim()))
    } else {
        let output = Command::new("ps")
            .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
            .env("LC_ALL", "C")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (state, started) = text.trim().split_once(' ')?;
        (!state.starts_with('Z')).then(|| started.trim().to_owned())
    }
}

/// The state and the start time of a `/proc/PID/stat` line; the command in parentheses may hold anything.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let fields = stat.rsplit_once(')')?.1;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    Some((state, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_start_time_behind_an_awkward_command_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20";
        assert_eq!(parse_stat(stat), Some(('S', 987_654)));
        assert_eq!(parse_stat("42 (short) S 1 2"), None);
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        let former = ProcessId { started: "an earlier start".into(), ..me };
        assert!(!former.is_alive());
        assert_eq!(former.signal(Signal::SIGKILL), Err(Errno::ESRCH));
    }

    #[test]
    fn an_ended_child_is_gone_even_as_a_zombie() {
        let mut child = Command::new("true").spawn().unwrap();
        let id = ProcessId::of(child.id());
        if let Some(id) = id {
            assert!(id.wait_gone(Duration::from_secs(5)));
        }
        child.wait().unwrap();
    }
}
