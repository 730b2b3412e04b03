//! Not one lost request: whatever is done to a service, to the operator or to the mesh, each three times.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use microservice_operator::plan::object::Kind;
use serde_json::json;

use crate::{
    calls::Traffic,
    service::{Version, known, ready_at, spec, version},
    stage::{NAMESPACE, RELEASE, stage},
    support::{Operator, Space, eventually, run},
};

const ROUNDS: usize = 3;
const NAME: &str = "web";

/// Answers that must come after each change before it counts as over: about two seconds of traffic.
const AFTERMATH: u64 = 450;

async fn space(name: &str, versions: &[Version], weights: &str) -> Space {
    let space = Space::new(&stage().cluster, name).await;
    space.apply(NAME, &spec(versions, "")).await;
    ready_at(&space, NAME, weights).await;
    warm(&space, versions).await;
    space
}

/// A service is to be whole before anything is done to it.
async fn warm(space: &Space, versions: &[Version]) {
    for version in versions.iter().filter(|version| version.weight > 0) {
        known(space, NAME, version.name, usize::try_from(version.replicas).unwrap()).await;
    }
}

async fn change(space: &Space, versions: &[Version], weights: &str) {
    space.apply(NAME, &spec(versions, "")).await;
    ready_at(space, NAME, weights).await;
}

/// Lets traffic flow over what was done, until every pod that had to go has gone.
async fn aftermath(space: &Space, traffic: &Traffic) {
    let pods = space.api::<Pod>();
    let gone = eventually(|| async {
        let all = pods.list(&ListParams::default()).await.ok()?;
        all.items.iter().all(|pod| pod.metadata.deletion_timestamp.is_none()).then_some(())
    });
    gone.await.expect("pods that are deleted go");
    traffic.more(AFTERMATH).await;
}

fn told(scenario: &str, round: usize, sent: u64) {
    println!("{scenario}, round {}: 0 of {sent} requests lost", round + 1);
}

fn two(v1: i32, v2: i32) -> [Version; 2] {
    [version("v1", v1), version("v2", v2)]
}

#[test]
fn promotion_at_once_in_steps_and_back() {
    run(async {
        let _shared = stage().shared().await;
        let space = space("promote", &two(90, 10), "v1=90 v2=10").await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            change(&space, &two(0, 100), "v1=0 v2=100").await;
            aftermath(&space, &traffic).await;
            told("90/10 to 0/100 at once", round, traffic.lost_none("at once").await);

            let traffic = Traffic::start(&space, NAME).await;
            change(&space, &two(90, 10), "v1=90 v2=10").await;
            aftermath(&space, &traffic).await;
            told("back again", round, traffic.lost_none("back").await);

            let traffic = Traffic::start(&space, NAME).await;
            for (v1, v2) in [(70, 30), (40, 60), (0, 100), (90, 10)] {
                change(&space, &two(v1, v2), &format!("v1={v1} v2={v2}")).await;
            }
            aftermath(&space, &traffic).await;
            told("in steps", round, traffic.lost_none("in steps").await);
        }
    });
}

#[test]
fn a_version_is_removed_and_a_third_is_added_and_promoted() {
    run(async {
        let _shared = stage().shared().await;
        let space = space("replace", &two(100, 0), "v1=100 v2=0").await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            change(&space, &[version("v2", 100)], "v2=100").await;
            space.gone(Kind::Deployment, "web-v1").await;
            aftermath(&space, &traffic).await;
            told("v1 removed", round, traffic.lost_none("v1 removed").await);

            let traffic = Traffic::start(&space, NAME).await;
            change(&space, &[version("v2", 0), version("v3", 100)], "v2=0 v3=100").await;
            aftermath(&space, &traffic).await;
            told("a third version added and promoted", round, traffic.lost_none("third version").await);

            change(&space, &two(100, 0), "v1=100 v2=0").await;
            space.gone(Kind::Deployment, "web-v3").await;
        }
    });
}

#[test]
fn an_image_is_edited_in_place() {
    run(async {
        let _shared = stage().shared().await;
        let space = space("image", &two(90, 10), "v1=90 v2=10").await;
        for (round, tag) in ["2", "3", "1"].into_iter().enumerate() {
            let traffic = Traffic::start(&space, NAME).await;
            let [v1, v2] = two(90, 10);
            change(&space, &[Version { tag, ..v1 }, v2], "v1=90 v2=10").await;
            aftermath(&space, &traffic).await;
            told("image edited in place", round, traffic.lost_none("image").await);
        }
    });
}

#[test]
fn edits_supersede_each_other_three_times_in_a_row() {
    run(async {
        let _shared = stage().shared().await;
        let space = space("supersede", &two(100, 0), "v1=100 v2=0").await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            // None of these can be over when the next one comes: a new version has to start first.
            space.apply(NAME, &spec(&[version("v1", 50), version("v3", 50)], "")).await;
            started(&space, "web-v3").await;
            space.apply(NAME, &spec(&[version("v2", 100)], "")).await;
            started(&space, "web-v2").await;
            space.apply(NAME, &spec(&[version("v1", 20), version("v2", 40), version("v3", 40)], "")).await;
            change(&space, &two(100, 0), "v1=100 v2=0").await;
            space.gone(Kind::Deployment, "web-v3").await;
            aftermath(&space, &traffic).await;
            told("superseded three times", round, traffic.lost_none("superseded").await);
        }
    });
}

async fn started(space: &Space, deployment: &str) {
    let exists = eventually(|| async { space.child(Kind::Deployment, deployment).await.map(|_| ()) });
    exists.await.unwrap_or_else(|| panic!("{deployment} never came"));
}

#[test]
fn a_version_is_scaled_down_and_up() {
    run(async {
        let _shared = stage().shared().await;
        let sized = |replicas| {
            let [v1, v2] = two(90, 10);
            [Version { replicas, ..v1 }, v2]
        };
        let space = space("scale", &sized(3), "v1=90 v2=10").await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            for replicas in [1, 5, 3] {
                change(&space, &sized(replicas), "v1=90 v2=10").await;
            }
            aftermath(&space, &traffic).await;
            told("scaled 3 to 1 to 5 to 3", round, traffic.lost_none("scale").await);
        }
    });
}

#[test]
fn istiod_is_restarted() {
    run(async {
        let _alone = stage().alone().await;
        let space = space("istiod", &two(90, 10), "v1=90 v2=10").await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            stage().ground.end_istiod(&stage().cluster);
            space.apply(NAME, &spec(&two(0, 100), "")).await;
            // Nobody may write a route that istiod cannot judge.
            stage().ground.await_istiod(&stage().cluster).await;
            ready_at(&space, NAME, "v1=0 v2=100").await;
            change(&space, &two(90, 10), "v1=90 v2=10").await;
            aftermath(&space, &traffic).await;
            told("istiod restarted", round, traffic.lost_none("istiod").await);
        }
    });
}

#[test]
fn the_operator_is_killed_every_two_seconds() {
    run(async {
        let _alone = stage().alone().await;
        let resting = Resting::begin().await;
        let space = Space::new(&stage().cluster, "killed").await;
        let first = operator(&space);
        space.apply(NAME, &spec(&two(90, 10), "")).await;
        ready_at(&space, NAME, "v1=90 v2=10").await;
        warm(&space, &two(90, 10)).await;
        first.kill();
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            let work = async {
                change(&space, &two(0, 100), "v1=0 v2=100").await;
                change(&space, &[version("v2", 0), version("v3", 100)], "v2=0 v3=100").await;
                space.gone(Kind::Deployment, "web-v1").await;
                change(&space, &two(90, 10), "v1=90 v2=10").await;
            };
            let kills = async {
                loop {
                    let running = operator(&space);
                    running.becomes_ready().await;
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    running.kill();
                }
            };
            tokio::select! {
                () = work => {}
                () = kills => {}
            }
            aftermath(&space, &traffic).await;
            told("operator killed every 2 s", round, traffic.lost_none("killed").await);
        }
        drop(resting);
    });
}

/// An operator on this machine, for one namespace.
pub fn operator(space: &Space) -> Operator {
    let scope = ["--namespace", &space.name, "--leader-election", "false"];
    Operator::start(stage().cluster.kubeconfig_path(), &scope)
}

/// The installed operator, scaled to nothing for as long as this lives.
pub struct Resting;

impl Resting {
    pub async fn begin() -> Self {
        scale_operator(0);
        let resting = Self;
        let selector = format!("app.kubernetes.io/name={RELEASE}");
        stage().kubectl(&[
            "wait",
            "pod",
            "--namespace",
            NAMESPACE,
            "--selector",
            &selector,
            "--for=delete",
            "--timeout=180s",
        ]);
        resting
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        put_back(|| {
            scale_operator(1);
            let operator = format!("deployment/{RELEASE}");
            stage().kubectl(&["rollout", "status", &operator, "--namespace", NAMESPACE, "--timeout=180s"]);
        });
    }
}

/// What a value does when it is dropped. In a test that has failed already, another failure would end the whole program.
fn put_back(act: impl FnOnce()) {
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    if let Err(failure) = failed
        && !std::thread::panicking()
    {
        std::panic::resume_unwind(failure);
    }
}

fn scale_operator(replicas: u8) {
    let replicas = format!("--replicas={replicas}");
    stage().kubectl(&["scale", &format!("deployment/{RELEASE}"), "--namespace", NAMESPACE, &replicas]);
}

#[test]
fn the_operator_is_cut_off_from_the_api_server_for_thirty_seconds() {
    run(async {
        let _alone = stage().alone().await;
        let space = space("cutoff", &two(90, 10), "v1=90 v2=10").await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            let cut = Cut::begin();
            space.apply(NAME, &spec(&two(0, 100), "")).await;
            // Pods go and come meanwhile, as they do.
            let doomed = crate::service::pods(&space, NAME, "v1").await;
            let pods = space.api::<Pod>();
            pods.delete(doomed.first().unwrap().metadata.name.as_deref().unwrap(), &DeleteParams::default())
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_secs(30)).await;
            drop(cut);
            ready_at(&space, NAME, "v1=0 v2=100").await;
            aftermath(&space, &traffic).await;
            change(&space, &two(90, 10), "v1=90 v2=10").await;
            aftermath(&space, &traffic).await;
            told("operator cut off for 30 s", round, traffic.lost_none("cut off").await);
        }
    });
}

/// While this lives, no packet passes between the operator's pods and the API server.
struct Cut;

impl Cut {
    fn begin() -> Self {
        let selector = format!("app.kubernetes.io/name={RELEASE}");
        let template = "--output=jsonpath={.items[*].status.podIP}";
        let addresses = stage().kubectl(&["get", "pods", "--namespace", NAMESPACE, "--selector", &selector, template]);
        let addresses = addresses.split_whitespace().collect::<Vec<_>>().join(", ");
        let rules = format!(
            "table ip cut {{\n\
               chain input {{ type filter hook input priority -300; ip saddr {{ {addresses} }} tcp dport 6443 drop; }}\n\
               chain output {{ type filter hook output priority -300; ip daddr {{ {addresses} }} tcp sport 6443 drop; }}\n\
             }}"
        );
        stage().inside("nft", &[&rules]);
        Self
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        put_back(|| {
            stage().inside("nft", &["delete table ip cut"]);
        });
    }
}

#[test]
fn all_pods_are_restarted() {
    run(async {
        let _shared = stage().shared().await;
        let space = space("restart", &two(90, 10), "v1=90 v2=10").await;
        for round in 0..ROUNDS {
            let traffic = Traffic::start(&space, NAME).await;
            let again = json!({"spec": {"restartedAt": format!("2026-01-01T00:00:0{round}Z")}});
            space.microservices().patch(NAME, &PatchParams::default(), &Patch::Merge(&again)).await.unwrap();
            ready_at(&space, NAME, "v1=90 v2=10").await;
            aftermath(&space, &traffic).await;
            told("all pods restarted", round, traffic.lost_none("restarted").await);
        }
    });
}
