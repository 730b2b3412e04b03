//! kubectl and helm, as their users run them.

use std::process::Command;

use devcluster::{Cluster, Tool, tool};

use super::root;

/// What kubectl prints; it must succeed.
pub fn kubectl(cluster: &Cluster, args: &[&str]) -> String {
    printed(command(Tool::Kubectl, cluster).args(args))
}

/// What helm prints; it must succeed.
pub fn helm(cluster: &Cluster, args: &[&str]) -> String {
    printed(command(Tool::Helm, cluster).args(args))
}

/// A program that works on a cluster as its administrator, in the root of the repository.
pub fn command(program: Tool, cluster: &Cluster) -> Command {
    let mut command = Command::new(tool(program).unwrap());
    command.env("KUBECONFIG", cluster.kubeconfig_path()).current_dir(root());
    command
}

/// What a program prints; it must succeed.
pub fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
