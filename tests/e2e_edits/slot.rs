//! Two namespaces: one in which sequences run, and one for what a service is that never was another.

use std::time::{Duration, Instant};

use devcluster::Cluster;
use futures::future::join_all;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use microservice_operator::{api::MicroserviceAction, plan::object::Kind};
use serde_json::json;

use crate::{sequence::NAME, support::Space};

/// How long a condition is waited for. The machine may be busy with many sequences.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// From one question to the next: soon at first, and less and less often.
const POLL: Duration = Duration::from_millis(200);
const LONGEST_POLL: Duration = Duration::from_secs(2);

pub struct Slot {
    pub space: Space,
    pub fresh: Space,
}

/// Namespaces with what the generated manifests refer to.
pub async fn all(cluster: &Cluster, count: usize) -> Vec<Slot> {
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "normal"}, "value": 7});
    put_in_cluster(cluster, &class).await;
    join_all(
        (0..count).map(|_| async {
            Slot { space: furnished(cluster, "edits").await, fresh: furnished(cluster, "fresh").await }
        }),
    )
    .await
}

async fn furnished(cluster: &Cluster, name: &str) -> Space {
    let space = Space::unwatched(cluster, name).await;
    let named = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    space.put(&named("ServiceAccount", "runner")).await;
    let mut settings = named("ConfigMap", "settings");
    settings["data"] = json!({"mode": "fast"});
    space.put(&settings).await;
    let mut volume = named("PersistentVolume", &space.name);
    volume["spec"] = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "",
        "hostPath": {"path": "/data"}, "claimRef": {"namespace": space.name, "name": "data"},
    });
    put_in_cluster(cluster, &volume).await;
    let mut claim = named("PersistentVolumeClaim", "data");
    claim["spec"] = json!({
        "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": space.name,
        "resources": {"requests": {"storage": "1Gi"}},
    });
    space.put(&claim).await;
    let claims: Api<PersistentVolumeClaim> = space.api();
    let bound = until(|| async {
        let claim = claims.get_opt("data").await.ok()??;
        (claim.status?.phase.as_deref() == Some("Bound")).then_some(())
    });
    bound.await.unwrap_or_else(|| panic!("the claim in {} is never bound", space.name));
    space
}

async fn put_in_cluster(cluster: &Cluster, object: &serde_json::Value) {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
}

/// Asks until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    let mut poll = POLL;
    while Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        tokio::time::sleep(poll).await;
        poll = poll.mul_f64(1.3).min(LONGEST_POLL);
    }
    None
}

impl Slot {
    /// Removes all that a sequence left.
    pub async fn clear(&self) {
        for space in [&self.space, &self.fresh] {
            let microservices = space.microservices();
            until(|| async {
                let deleted = microservices.delete(NAME, &DeleteParams::foreground()).await;
                let gone = |error: kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
                deleted.map_or_else(gone, |_| true).then_some(())
            })
            .await
            .unwrap_or_else(|| panic!("{} cannot be cleared", space.name));
            let actions = space.api::<MicroserviceAction>();
            actions.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
        }
        for space in [&self.space, &self.fresh] {
            until(|| async {
                (space.microservices().get_opt(NAME).await.ok()?.is_none() && children(space).await.is_empty())
                    .then_some(())
            })
            .await
            .unwrap_or_else(|| panic!("what was in {} never went", space.name));
        }
    }
}

/// All children of Microservices, with the kinds that they are of.
pub async fn children(space: &Space) -> Vec<(Kind, DynamicObject)> {
    let lists = Kind::ALL.map(|kind| async move {
        let list = space.children(kind).list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        let owned =
            list.into_iter().filter(|it| it.owner_references().iter().any(|owner| owner.kind == "Microservice"));
        owned.map(|it| (kind, it)).collect::<Vec<_>>()
    });
    join_all(lists).await.into_iter().flatten().collect()
}
