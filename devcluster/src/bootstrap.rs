//! What a fresh cluster is given: rights, custom resource definitions, simulated nodes.

use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Node, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::{self, Condition, await_condition, conditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::components::kwok;

/// The cluster could not be furnished.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} has no usable CustomResourceDefinition: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The API server said no.
    #[error("cannot apply {what}: {source}")]
    Apply {
        /// The object.
        what: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// Watching failed.
    #[error("cannot wait for {what}: {source}")]
    Watch {
        /// What was waited for.
        what: String,
        /// Why not.
        source: Box<wait::Error>,
    },
    /// It took too long.
    #[error("{what} did not come in {} s: look at the cluster's logs", PATIENCE.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
    },
}

const PATIENCE: Duration = Duration::from_secs(180);
const CONCURRENT: usize = 8;

fn as_devcluster() -> PatchParams {
    PatchParams::apply("devcluster").force()
}

/// Asks the API server whether it is ready.
pub async fn readyz(client: &Client) -> Result<(), kube::Error> {
    get_path(client, "/readyz").await
}

/// Asks for a path of the API server, whatever it answers with success.
pub async fn get_path(client: &Client, path: &str) -> Result<(), kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

/// Makes `user` a cluster-admin by RBAC, which, unlike the group `system:masters`, nothing lets pass unseen.
pub async fn grant_cluster_admin(client: &Client, user: &str) -> Result<(), BootstrapError> {
    let name = format!("devcluster:{user}");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    apply(&Api::<ClusterRoleBinding>::all(client.clone()), &name, &binding).await
}

/// Applies the CustomResourceDefinitions in these files and waits until they can be used.
pub async fn define_resources(client: &Client, files: &[PathBuf]) -> Result<(), BootstrapError> {
    let mut definitions = Vec::new();
    for file in files {
        definitions.extend(read_definitions(file)?);
    }
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    stream::iter(definitions.into_iter().map(|(name, definition)| {
        let api = api.clone();
        async move {
            let what = format!("the CustomResourceDefinition {name}");
            api.patch(&name, &as_devcluster(), &Patch::Apply(definition))
                .await
                .map_err(|source| BootstrapError::Apply { what: what.clone(), source: source.into() })?;
            await_for(api, &name, what, conditions::is_crd_established()).await
        }
    }))
    .buffer_unordered(CONCURRENT)
    .try_collect::<()>()
    .await
}

/// The definitions in a file, or in the YAML files of a folder.
fn read_definitions(path: &Path) -> Result<Vec<(String, Value)>, BootstrapError> {
    let unreadable = |source| BootstrapError::Read { path: path.to_owned(), source };
    if path.is_dir() {
        let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(unreadable)?.collect();
        let mut files: Vec<_> = entries.map_err(unreadable)?.into_iter().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        return files.iter().map(|file| read_definitions(file)).collect::<Result<Vec<_>, _>>().map(|all| all.concat());
    }
    let malformed = |message: String| BootstrapError::Malformed { path: path.to_owned(), message };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let documents: Vec<Value> = serde_yaml::from_multiple(&text).map_err(|error| malformed(error.to_string()))?;
    documents
        .into_iter()
        .filter(|document| document["kind"] == "CustomResourceDefinition")
        .map(|document| match document["metadata"]["name"].as_str() {
            Some(name) => Ok((name.to_owned(), document)),
            None => Err(malformed("one has no name".into())),
        })
        .collect()
}

/// Registers simulated nodes, which kwok then keeps alive.
pub async fn register_nodes(client: &Client, count: u8) -> Result<(), BootstrapError> {
    let api: Api<Node> = Api::all(client.clone());
    for index in 0..count {
        let name = node_name(index);
        let what = format!("the node {name}");
        let node = serde_json::from_value(node(&name, index)).map_err(|error| BootstrapError::Apply {
            what: what.clone(),
            source: kube::Error::SerdeError(error).into(),
        })?;
        // Not by an apply, which would leave its size in the status out.
        api.create(&PostParams::default(), &node)
            .await
            .map_err(|source| BootstrapError::Apply { what, source: source.into() })?;
    }
    Ok(())
}

fn node_name(index: u8) -> String {
    format!("simulated-{index}")
}

fn node(name: &str, index: u8) -> Value {
    let (annotation, value) = kwok::NODE_ANNOTATION;
    let size = json!({"cpu": "1000", "memory": "4Ti", "ephemeral-storage": "10Ti", "pods": "4000"});
    // 4,096 addresses a node.
    let addresses = 16 * u16::from(index);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {annotation: value},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/region": "simulated",
                "topology.kubernetes.io/zone": format!("simulated-{index}"),
            },
        },
        "spec": {"podCIDR": format!("10.{}.{}.0/20", 128 + addresses / 256, addresses % 256)},
        "status": {"capacity": size, "allocatable": size},
    })
}

/// Waits until pods can be scheduled onto the simulated nodes.
pub async fn wait_for_nodes(client: &Client, count: u8) -> Result<(), BootstrapError> {
    let api: Api<Node> = Api::all(client.clone());
    stream::iter((0..count).map(|index| {
        let (api, name) = (api.clone(), node_name(index));
        async move { await_for(api, &name, format!("the node {name}"), is_schedulable()).await }
    }))
    .buffer_unordered(CONCURRENT)
    .try_collect::<()>()
    .await
}

/// Waits until pods can be scheduled onto a node.
pub async fn wait_for_node(client: &Client, name: &str) -> Result<(), BootstrapError> {
    await_for(Api::<Node>::all(client.clone()), name, format!("the node {name}"), is_schedulable()).await
}

/// Makes a namespace.
pub async fn create_namespace(client: &Client, name: &str) -> Result<(), BootstrapError> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    apply(&Api::<Namespace>::all(client.clone()), name, &namespace).await
}

/// Makes a Service, with HTTP at a port, that leads to an address outside of all pods.
pub async fn create_service(
    client: &Client,
    namespace: &str,
    name: &str,
    address: SocketAddr,
) -> Result<(), BootstrapError> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": address.port()}]},
    });
    apply(&Api::<Service>::namespaced(client.clone(), namespace), name, &service).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": address.port()}],
    });
    apply(&Api::<EndpointSlice>::namespaced(client.clone(), namespace), name, &slice).await
}

/// Lets the API server ask the istiod at this address about Istio's resources, by the rules of Istio's own installation.
pub async fn let_istiod_judge(client: &Client, address: &str, ca: &Path) -> Result<(), BootstrapError> {
    let ca = fs::read(ca).map_err(|source| BootstrapError::Read { path: ca.to_owned(), source })?;
    let name = "istio-validator";
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "validation.istio.io",
            "clientConfig": {"url": format!("https://{address}/validate"), "caBundle": ByteString(ca)},
            "rules": [{
                "operations": ["CREATE", "UPDATE"],
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"],
                "apiVersions": ["*"],
                "resources": ["*"],
            }],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    apply(&Api::<ValidatingWebhookConfiguration>::all(client.clone()), name, &webhook).await
}

async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Result<(), BootstrapError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let what = format!("the {} {name}", object["kind"].as_str().unwrap_or_default());
    api.patch(name, &as_devcluster(), &Patch::Apply(object))
        .await
        .map_err(|source| BootstrapError::Apply { what, source: source.into() })?;
    Ok(())
}

fn is_schedulable() -> impl Condition<Node> {
    |node: Option<&Node>| {
        node.is_some_and(|node| {
            let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
            let ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
            let tainted = node.spec.as_ref().is_some_and(|spec| spec.taints.iter().flatten().next().is_some());
            ready && !tainted
        })
    }
}

/// Waits until pods can be created in the namespace `default`.
pub async fn wait_for_service_account(client: &Client) -> Result<(), BootstrapError> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    await_for(api, "default", "the ServiceAccount default".into(), conditions::is_created()).await
}

async fn await_for<K>(api: Api<K>, name: &str, what: String, condition: impl Condition<K>) -> Result<(), BootstrapError>
where
    K: Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + kube::Resource + 'static,
{
    in_time(what.clone(), await_condition(api, name, condition))
        .await?
        .map_err(|source| BootstrapError::Watch { what, source: source.into() })?;
    Ok(())
}

async fn in_time<T>(what: String, future: impl Future<Output = T>) -> Result<T, BootstrapError> {
    timeout(PATIENCE, future).await.map_err(|_| BootstrapError::Timeout { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_of_their_own() {
        let ranges: std::collections::BTreeSet<_> =
            (0..64).map(|index| node("x", index)["spec"]["podCIDR"].to_string()).collect();
        assert_eq!(ranges.len(), 64);
        assert_eq!(node("x", 17)["spec"]["podCIDR"], "10.129.16.0/20");
    }

    #[test]
    fn only_definitions_are_taken_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crds.yaml");
        fs::write(&path, "kind: CustomResourceDefinition\nmetadata: {name: a}\n---\nkind: Other\n").unwrap();
        let names: Vec<_> = read_definitions(&path).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a"]);
    }
}
