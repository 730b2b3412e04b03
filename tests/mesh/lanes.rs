//! What a rollout's steps give a new version beside its weight, under traffic: requests that match, copies of requests,
//! and clients that stay with it.

use devcluster::load::{Load, Protocol, Report};
use microservice_operator::api::{RolloutState, Verb};

use crate::{
    calls::{Traffic, load, send},
    rollouts::{NAME, ask, edit, rollout, stable, two},
    stage::stage,
    support::{Space, current, eventually, run},
};

const POLICY: &str = "rollout: {sessionAffinity: {cookie: {name: trial}}, steps: \
                      [{match: [{headers: {x-beta: {exact: '1'}}}]}, {pause: {}}, {mirror: {percent: 100}}, {pause: {}}, \
                      {weight: 50}, {pause: {}}]}";
const REQUESTS: u64 = 300;

/// Waits until the rollout pauses with so many steps done.
async fn pausing(space: &Space, done: i32) {
    let there = |it: &_| current(it) && rollout(it).state == RolloutState::Paused && rollout(it).step == done;
    space.until(NAME, &format!("paused after {done} steps"), there).await;
}

async fn requests(space: &Space, header: Option<(&str, &str)>, count: u64) -> Report {
    let headers = header.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let load = Load { headers, ..load(space, NAME, Protocol::Http1 { keep_alive: true }, 150) };
    let report = send(load, count).await;
    assert!(report.is_clean(), "{report}");
    report
}

/// Waits until the mesh's client sends all of these requests to one version.
pub async fn heard(space: &Space, header: Option<(&str, &str)>, version: &str) {
    let heard = eventually(|| async {
        let some = requests(space, header, 50).await;
        (some.by_version().into_keys().collect::<Vec<_>>() == [version]).then_some(())
    });
    heard.await.unwrap_or_else(|| panic!("{header:?} never goes to {version} alone"));
}

/// Waits until the mesh's client sends copies of all requests to v2.
pub async fn copied(space: &Space) {
    let copied = eventually(|| async {
        let before = sent_to(space, "v2").await;
        requests(space, None, 50).await;
        (sent_to(space, "v2").await >= before + 50).then_some(())
    });
    copied.await.expect("the mesh's client copies all requests");
}

/// Waits until these requests all go to one version, then counts.
async fn all_go_to(space: &Space, header: Option<(&str, &str)>, version: &str) {
    heard(space, header, version).await;
    let report = requests(space, header, REQUESTS).await;
    assert_eq!(report.by_version().into_iter().collect::<Vec<_>>(), [(version, REQUESTS)], "{header:?}");
}

/// Requests that the mesh's client has sent to a version over HTTP so far, copies among them.
async fn sent_to(space: &Space, version: &str) -> u64 {
    let subset = format!("outbound|80|{version}|{NAME}.{}.svc.cluster.local::", space.name);
    let clusters = eventually(|| async { stage().ground.envoy_clusters(&stage().cluster) });
    let clusters = clusters.await.expect("Envoy answers");
    let own = clusters.lines().filter(|line| line.starts_with(&subset));
    own.filter_map(|line| line.split_once("::rq_total::")?.1.parse::<u64>().ok()).sum()
}

/// The cookie that an answer of v2 sets, which half of the answers are.
async fn cookie(space: &Space) -> String {
    let url = format!("http://{}/", stage().ground.mesh_client(80));
    let host = format!("Host: {NAME}.{}.svc.cluster.local", space.name);
    let set = eventually(|| async {
        let head = stage()
            .inside("curl", &["--silent", "--dump-header", "-", "--output", "/dev/null", "--header", &host, &url]);
        let line = head.lines().find_map(|line| line.strip_prefix("set-cookie: "))?;
        assert!(line.trim_end().ends_with("; Max-Age=86400; Path=/; HttpOnly"), "{line}");
        line.split(';').next().map(str::to_owned)
    });
    set.await.expect("an answer of v2 sets the cookie")
}

#[test]
fn what_steps_give_beside_the_weights_costs_nothing() {
    run(async {
        let _shared = stage().shared().await;
        let space = stable("lanes", POLICY).await;
        let traffic = Traffic::start(&space, NAME).await;
        let beta = Some(("x-beta", "1"));
        edit(&space, &two(0, 100), POLICY).await;
        pausing(&space, 1).await;
        all_go_to(&space, beta, "v2").await;
        let before = sent_to(&space, "v2").await;
        all_go_to(&space, None, "v1").await;
        assert_eq!(sent_to(&space, "v2").await, before, "no step has asked for copies yet");

        ask(&space, Verb::Promote).await;
        pausing(&space, 3).await;
        copied(&space).await;
        all_go_to(&space, None, "v1").await;

        ask(&space, Verb::Promote).await;
        pausing(&space, 5).await;
        let cookie = cookie(&space).await;
        let mine = format!("other=1; {cookie}; more=2");
        all_go_to(&space, Some(("cookie", &mine)), "v2").await;
        let drawn = requests(&space, Some(("cookie", "other=1")), REQUESTS).await;
        assert_eq!(drawn.by_version().len(), 2, "without the cookie each request is a draw: {drawn}");

        ask(&space, Verb::Abort).await;
        for header in [beta, Some(("cookie", mine.as_str())), None] {
            all_go_to(&space, header, "v1").await;
        }
        let sent = traffic.lost_none("what steps give beside the weights").await;
        println!("a match, copies, a cookie and an abort: 0 of {sent} requests lost");
    });
}
