//! The namespaces of a cluster with a real node, seen from outside: how programs are run in them, and what they leave.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::components::{Place, node};
use crate::supervisor::Command;

/// The namespaces, by the process that holds them.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox {
    holder: i32,
}

impl Sandbox {
    /// The namespaces that the holder with this pid has made.
    pub fn of(holder: i32) -> Self {
        Self { holder }
    }

    /// The pid of the holder.
    pub fn holder(self) -> i32 {
        self.holder
    }

    /// The file of its network.
    pub fn network(self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder).into()
    }

    /// The same command, run in the place.
    pub fn place(self, place: Place, command: Command) -> Command {
        let Command { name, program, arguments } = command;
        let process = format!("/proc/{}/ns", self.holder);
        let mut wrapper: Vec<String> = match place {
            Place::Machine => return Command { name, program, arguments },
            Place::Network => vec![format!("--net={process}/net"), "--".into()],
            // Entering a process namespace takes a fork: the child must not outlive the one that is supervised.
            Place::Node => [
                &format!("--net={process}/net"),
                &format!("--mount={process}/mnt"),
                &format!("--pid={process}/pid_for_children"),
                "--",
                "setpriv",
                "--pdeathsig",
                "KILL",
                "--",
            ]
            .map(Into::into)
            .into(),
        };
        wrapper.push(program.display().to_string());
        wrapper.extend(arguments);
        Command { name, program: "nsenter".into(), arguments: wrapper }
    }
}

const CGROUPS: &str = "/sys/fs/cgroup";
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// Removes the cgroups of a cluster whose processes have ended or are ending.
pub fn remove_cgroups(cluster: &Path) -> io::Result<()> {
    let name = node::cgroup(cluster);
    let Ok(hierarchies) = fs::read_dir(CGROUPS) else { return Ok(()) };
    let deadline = Instant::now() + EMPTY_WITHIN;
    for root in hierarchies.flatten().map(|hierarchy| hierarchy.path().join(&name)) {
        while let Err(error) = remove_tree(&root) {
            if Instant::now() >= deadline {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// A cgroup's files cannot be removed, only its folders, from the innermost outwards.
fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command { name: "x".into(), program: "/bin/x".into(), arguments: vec!["--y".into()] }
    }

    #[test]
    fn a_command_is_wrapped_by_its_place() {
        let sandbox = Sandbox::of(7);
        assert_eq!(sandbox.place(Place::Machine, command()), command());
        let placed = sandbox.place(Place::Network, command());
        assert_eq!(placed.program, PathBuf::from("nsenter"));
        assert_eq!(placed.arguments, ["--net=/proc/7/ns/net", "--", "/bin/x", "--y"]);
        assert!(sandbox.place(Place::Node, command()).arguments.contains(&"--pid=/proc/7/ns/pid_for_children".into()));
    }

    #[test]
    fn folders_go_from_the_innermost_outwards() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a");
        fs::create_dir_all(root.join("b/c")).unwrap();
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        remove_tree(&root).unwrap();
    }
}
