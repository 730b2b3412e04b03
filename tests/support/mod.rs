//! What the end-to-end tests share: a cluster, operators as processes of their own, and conditions to wait for.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod operator;
pub mod outside;
mod programs;
pub mod rights;
mod space;

use std::{
    future::Future,
    path::PathBuf,
    sync::{LazyLock, OnceLock},
    time::{Duration, Instant},
};

use devcluster::{Cluster, Options};
use microservice_operator::api::Microservice;
use tokio::runtime::Runtime;

pub use operator::Operator;
pub use programs::{command, helm, kubectl, printed};
pub use space::Space;

/// How long a test waits for a condition before it fails. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());

/// Runs a test on the one runtime that the shared client belongs to.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

/// The cluster of this test binary, with the operator's own definitions applied. Istio's resources are judged as in a mesh.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let options = Options { istio_webhook: true, ..Options::default() };
        std::thread::spawn(|| RUNTIME.block_on(start(options))).join().expect("the cluster starts")
    })
}

/// A cluster with the operator's own definitions applied.
pub async fn start(options: Options) -> Cluster {
    let crds = vec![root().join("crds")];
    Cluster::for_tests(Options { crds, ..options }).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the status speaks of the newest spec.
pub fn current(microservice: &Microservice) -> bool {
    let observed = microservice.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == microservice.metadata.generation
}

/// The status of a condition; empty when it is not there.
pub fn condition(microservice: &Microservice, type_: &str) -> String {
    let conditions = microservice.status.iter().flat_map(|status| &status.conditions);
    conditions.filter(|it| it.type_ == type_).map(|it| it.status.clone()).next().unwrap_or_default()
}

/// Reason and message of a condition.
pub fn told(microservice: &Microservice, type_: &str) -> (String, String) {
    let conditions = microservice.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|it| it.type_ == type_)
        .map(|it| (it.reason.clone(), it.message.clone()))
        .next()
        .unwrap_or_default()
}

/// The status' message.
pub fn message(microservice: &Microservice) -> String {
    microservice.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default()
}

/// Asks every 100 ms until there is an answer; none after [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = Instant::now() > deadline;
        let answer = ask().await;
        if answer.is_some() || last {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
