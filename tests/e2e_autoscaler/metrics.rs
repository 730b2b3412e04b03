//! The metrics API of a cluster (metrics.k8s.io), as the autoscaler asks for it: registered as an aggregated API that
//! leads to this process.

use std::sync::{
    Arc,
    atomic::{AtomicI32, AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::get,
    serve::Listener,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use microservice_operator::api::Microservice;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
    server::TlsStream,
};

use crate::support::{RUNTIME, Space, eventually};

const API: &str = "/apis/metrics.k8s.io/v1beta1";

/// The load of a service, and how often its metrics were asked for.
#[derive(Clone)]
pub struct Load {
    client: Client,
    millicores: Arc<AtomicI32>,
    asked: Arc<AtomicUsize>,
}

impl Load {
    pub fn set(&self, millicores: i32) {
        self.millicores.store(millicores, Ordering::SeqCst);
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Serves metrics of the service `a`, in millicores of all its pods together.
pub async fn serve(space: &Space, millicores: i32) -> Load {
    let load =
        Load { client: space.client.clone(), millicores: Arc::new(AtomicI32::new(millicores)), asked: Arc::default() };
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = Tls { socket, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let routes = Router::new()
        .route(API, get(resources))
        .route(&format!("{API}/namespaces/{{namespace}}/pods"), get(pods))
        .with_state(load.clone());
    RUNTIME.spawn(async move { axum::serve(listener, routes).await });

    space
        .put(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        }))
        .await;
    let registration = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "service": {"namespace": space.name, "name": "metrics", "port": port}, "group": "metrics.k8s.io",
            "version": "v1beta1", "insecureSkipTLSVerify": true, "groupPriorityMinimum": 100, "versionPriority": 100,
        },
    });
    let path = "/apis/apiregistration.k8s.io/v1/apiservices";
    let request = kube::core::Request::new(path).create(&Default::default(), registration.to_string().into_bytes());
    space.client.request::<Value>(request.unwrap()).await.unwrap();
    let available = eventually(|| async {
        let request = axum::http::Request::get(API).body(Vec::new()).unwrap();
        space.client.request::<Value>(request).await.ok()
    });
    available.await.expect("the metrics API is available");
    load
}

async fn resources() -> impl IntoResponse {
    let pods =
        json!({"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"]});
    answer(
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1", "resources": [pods]}),
    )
}

/// The selector of a request, with the characters that selectors have.
fn selector(query: &str) -> String {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=")).unwrap_or_default();
    [("%3D", "="), ("%2C", ","), ("%2F", "/")].iter().fold(asked.to_owned(), |text, (code, is)| text.replace(code, is))
}

/// Each version's pods share the part of the load that its effective weight is.
async fn pods(State(load): State<Load>, Path(namespace): Path<String>, RawQuery(query): RawQuery) -> impl IntoResponse {
    load.asked.fetch_add(1, Ordering::SeqCst);
    let pods: Api<Pod> = Api::namespaced(load.client.clone(), &namespace);
    let all = pods.list(&ListParams::default().labels("microservice-operator.dev/service=a")).await.unwrap().items;
    let selected = ListParams::default().labels(&selector(&query.unwrap_or_default()));
    let selected = pods.list(&selected).await.unwrap().items;
    let services: Api<Microservice> = Api::namespaced(load.client.clone(), &namespace);
    let status = services.get("a").await.unwrap().status.unwrap_or_default();
    let items: Vec<Value> = selected
        .iter()
        .map(|pod| {
            let version = &pod.labels()["version"];
            let share = status.of_version(version).map_or(0, |it| it.effective);
            let count = all.iter().filter(|other| other.labels()["version"] == *version).count();
            let usage = load.millicores.load(Ordering::SeqCst) * share / 100 / i32::try_from(count.max(1)).unwrap();
            json!({
                "metadata": {"name": pod.name_any(), "namespace": namespace}, "timestamp": Timestamp::now(), "window": "1s",
                "containers": [{"name": "app", "usage": {"cpu": format!("{usage}m"), "memory": "1Mi"}}],
            })
        })
        .collect();
    answer(&json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}))
}

fn answer(body: &Value) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, "application/json")], body.to_string())
}

/// Connections that made themselves secret.
struct Tls {
    socket: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.socket.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.socket.local_addr()
    }
}
