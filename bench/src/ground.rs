//! The cluster that all controllers are measured on, and the namespaces of one run in it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use devcluster::{Cluster, Nodes, Options};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, ServiceAccount},
        rbac::v1::{ClusterRoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};

use crate::{
    controllers::Controller,
    error::Error,
    record::Ground,
    watch::{
        DEPLOYMENT, DESTINATION_RULE, Kind, POD, REPLICA_SET, REVISION, SERVICE, SERVICE_ACCOUNT, VIRTUAL_SERVICE,
    },
};

/// Over how many namespaces the services are spread.
pub const NAMESPACES: usize = 20;

const NODES: u8 = 16;

/// How often it is tried to delete the objects of a kind.
const TRIES: usize = 10;

/// How long the namespaces of a run are given to go.
const PATIENCE: Duration = Duration::from_secs(600);

/// The kinds of what a service leaves behind when its resource is gone.
pub const LEFT_BEHIND: [Kind; 8] =
    [DEPLOYMENT, REPLICA_SET, VIRTUAL_SERVICE, DESTINATION_RULE, SERVICE, POD, SERVICE_ACCOUNT, REVISION];

/// How often it is looked whether the namespaces are gone.
const AGAIN: Duration = Duration::from_millis(500);

/// Starts the cluster, with everybody's definitions, and the rights of all controllers; `audit_programs`: whether the log of
/// requests has those of the built-in programs, too.
pub async fn start(ground: Ground, controllers: &[Controller], audit_programs: bool) -> Result<Cluster, Error> {
    let mut crds: Vec<PathBuf> = Vec::new();
    for controller in controllers {
        crds.extend(controller.family().definitions()?);
    }
    crds.sort();
    crds.dedup();
    let whole = ground == Ground::Whole;
    let cluster = Cluster::start(Options {
        nodes: if whole { Nodes::Simulated { count: NODES } } else { Nodes::None },
        controllers: whole,
        audit_programs,
        gateway_crds: false,
        crds,
        ..Options::default()
    })
    .await?;
    for &controller in controllers {
        grant_all(&cluster.client(), &format!("tenant-{}", controller.tenant())).await?;
    }
    Ok(cluster)
}

/// Rights are not what is measured: everybody has them all.
async fn grant_all(client: &Client, user: &str) -> Result<(), Error> {
    let binding = ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(format!("bench-{user}")), ..ObjectMeta::default() },
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "ClusterRole".into(),
            name: "cluster-admin".into(),
        },
        subjects: Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "User".into(),
            name: user.into(),
            ..Subject::default()
        }]),
    };
    Api::all(client.clone()).create(&PostParams::default(), &binding).await?;
    Ok(())
}

/// The namespaces of one run, and where each service is.
pub struct Field {
    pub client: Client,
    /// What the names of its namespaces begin with.
    pub prefix: String,
    /// Namespace and name of each service.
    pub services: Vec<(String, String)>,
    ground: Ground,
}

impl Field {
    /// Makes the namespaces.
    pub async fn new(client: Client, ground: Ground, prefix: String, services: usize) -> Result<Self, Error> {
        let namespaces: Vec<String> = (0..NAMESPACES).map(|number| format!("{prefix}{number:02}")).collect();
        for namespace in &namespaces {
            make_namespace(&client, namespace, ground).await?;
        }
        let place = |number: usize| (namespaces[number % NAMESPACES].clone(), format!("svc-{number:05}"));
        Ok(Self { services: (0..services).map(place).collect(), client, prefix, ground })
    }

    fn namespaces(&self) -> impl Iterator<Item = String> {
        (0..NAMESPACES).map(|number| format!("{}{number:02}", self.prefix))
    }

    /// Removes all that is left in the namespaces, and them.
    pub async fn clear(&self) -> Result<(), Error> {
        if self.ground == Ground::Filled {
            // Nothing else deletes the children of what is deleted.
            for kind in LEFT_BEHIND {
                self.clear_of(kind).await?;
            }
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        for namespace in self.namespaces() {
            api.delete(&namespace, &DeleteParams::default()).await?;
        }
        // The next controller has the cluster to itself. Without the built-in controllers empty namespaces stay.
        if self.ground == Ground::Whole { self.until_gone(&api).await } else { Ok(()) }
    }

    async fn until_gone(&self, api: &Api<Namespace>) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.left(api).await?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                let told = left.iter().map(remains).collect::<Vec<_>>().join("; ");
                let why = format!("after {} s there is still {told}", PATIENCE.as_secs());
                return Err(Error::failed("delete the namespaces", why));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn left(&self, api: &Api<Namespace>) -> Result<Vec<Namespace>, Error> {
        let all = api.list(&ListParams::default()).await?;
        Ok(all.items.into_iter().filter(|it| it.name_any().starts_with(&self.prefix)).collect())
    }

    async fn clear_of(&self, kind: Kind) -> Result<(), Error> {
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() };
        let each = self.namespaces().map(|namespace| {
            let (api, at_once) = (kind.within(&self.client, &namespace), at_once.clone());
            async move {
                for _ in 1..TRIES {
                    // Of very many objects the answer may be cut off, and what is left is deleted by the next try.
                    if api.delete_collection(&at_once, &ListParams::default()).await.is_ok() {
                        return Ok(());
                    }
                }
                api.delete_collection(&at_once, &ListParams::default()).await.map(drop)
            }
        });
        Ok(stream::iter(each).buffer_unordered(4).try_collect::<()>().await?)
    }
}

/// A namespace, and what its conditions say is left in it.
fn remains(namespace: &Namespace) -> String {
    let conditions = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let said = conditions.filter(|it| it.status == "True").filter_map(|it| it.message.as_deref());
    format!("{} ({})", namespace.name_any(), said.collect::<Vec<_>>().join(", "))
}

async fn make_namespace(client: &Client, name: &str, ground: Ground) -> Result<(), Error> {
    let metadata = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata: metadata(name), ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    if ground == Ground::Filled {
        // Pods need one, and nothing else makes it.
        let account = ServiceAccount { metadata: metadata("default"), ..ServiceAccount::default() };
        Api::namespaced(client.clone(), name).create(&PostParams::default(), &account).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};

    use super::*;

    #[test]
    fn a_namespace_that_stays_is_told_with_what_is_left_in_it() {
        let condition = |status: &str, message: &str| NamespaceCondition {
            status: status.to_owned(),
            message: Some(message.to_owned()),
            ..NamespaceCondition::default()
        };
        let conditions = vec![condition("False", "all is discovered"), condition("True", "pods. has 3 instances")];
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some("bench-1".into()), ..ObjectMeta::default() },
            status: Some(NamespaceStatus { conditions: Some(conditions), ..NamespaceStatus::default() }),
            ..Namespace::default()
        };
        assert_eq!(remains(&namespace), "bench-1 (pods. has 3 instances)");
    }
}
