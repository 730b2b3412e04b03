//! Who has credentials for a cluster, and where their kubeconfigs are.

use std::path::{Path, PathBuf};

use crate::components::node;
use crate::kubeconfig::{self, KubeconfigError};
use crate::pki::{PkiError, User};

/// How many tenants have tokens.
pub const TENANTS: usize = 10;

/// The administrator's kubeconfig of the cluster in this folder.
pub fn admin_kubeconfig(cluster: &Path) -> PathBuf {
    cluster.join("kubeconfig")
}

/// Another user's kubeconfig.
pub fn user_kubeconfig(cluster: &Path, user: &str) -> PathBuf {
    cluster.join("kubeconfigs").join(user)
}

/// The name of the tenant with this number.
pub fn tenant(number: usize) -> String {
    format!("tenant-{number}")
}

pub(crate) const ADMIN: &str = "admin";
pub(crate) const KWOK: &str = "kwok";
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(crate) const SCHEDULER: &str = "kube-scheduler";
pub(crate) const NODE: &str = "kubelet";
pub(crate) const KUBE_PROXY: &str = "kube-proxy";
pub(crate) const COREDNS: &str = "coredns";
pub(crate) const ISTIOD: &str = "istiod";
/// Users of the cluster's own programs, which run in its network if it has one of its own.
const PROGRAMS: [&str; 7] = [KWOK, CONTROLLER_MANAGER, SCHEDULER, NODE, KUBE_PROXY, COREDNS, ISTIOD];

/// The users of one cluster, with their tokens.
pub(crate) struct Users {
    /// Makes the others what they are; its token is in no kubeconfig.
    pub(crate) bootstrap: User,
    /// Users with a kubeconfig, by its name.
    named: Vec<(String, User)>,
}

impl Users {
    pub(crate) fn new() -> Result<Self, PkiError> {
        let mut named = vec![
            (ADMIN.to_owned(), User::new(ADMIN, &[])?),
            (KWOK.to_owned(), User::new(KWOK, &[])?),
            (CONTROLLER_MANAGER.to_owned(), User::new("system:kube-controller-manager", &[])?),
            (SCHEDULER.to_owned(), User::new("system:kube-scheduler", &[])?),
            (NODE.to_owned(), User::new(format!("system:node:{}", node::NAME), &["system:nodes"])?),
            (KUBE_PROXY.to_owned(), User::new("system:kube-proxy", &[])?),
            (COREDNS.to_owned(), User::new(COREDNS, &[])?),
            (ISTIOD.to_owned(), User::new(ISTIOD, &[])?),
        ];
        for number in 0..TENANTS {
            named.push((tenant(number), User::new(tenant(number), &["tenants"])?));
        }
        Ok(Self { bootstrap: User::new("devcluster-bootstrap", &["system:masters"])?, named })
    }

    pub(crate) fn all(&self) -> Vec<User> {
        self.named.iter().map(|(_, user)| user).chain([&self.bootstrap]).cloned().collect()
    }

    /// Writes everybody's kubeconfig: the cluster's own programs may reach the API server elsewhere.
    pub(crate) fn write_kubeconfigs(
        &self,
        cluster: &Path,
        ca: &Path,
        server: &str,
        inside: &str,
    ) -> Result<(), KubeconfigError> {
        for (name, user) in &self.named {
            let path = if name == ADMIN { admin_kubeconfig(cluster) } else { user_kubeconfig(cluster, name) };
            let server = if PROGRAMS.contains(&name.as_str()) { inside } else { server };
            kubeconfig::write(&path, &kubeconfig::render(server, ca, &user.token)?)?;
        }
        Ok(())
    }
}
