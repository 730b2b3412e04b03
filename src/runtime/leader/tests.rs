use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::http::{Method, Request, Response};
use kube::client::Body;

use super::*;

/// The leases of an API server, which takes no write but of what is there.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<Value>>>, Duration);

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let serve = move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let name = parts.uri.path().rsplit('/').next().unwrap().to_owned();
                sleep(server.1).await;
                let (code, answer) = server.answer(&parts.method, &name, body);
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = code.try_into().unwrap();
                Ok::<_, std::convert::Infallible>(response)
            }
        };
        Client::new(tower::service_fn(serve), "home")
    }

    fn answer(&self, method: &Method, name: &str, body: Value) -> (u16, Value) {
        let mut leases = self.0.lock().unwrap();
        let conflict = json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": ""});
        if method == Method::GET {
            return (200, json!({"metadata": {}, "items": *leases}));
        }
        if method == Method::POST {
            if leases.iter().any(|lease| lease["metadata"]["name"] == body["metadata"]["name"]) {
                return (409, conflict);
            }
            leases.push(body);
            leases.last_mut().unwrap()["metadata"]["resourceVersion"] = json!("1");
            return (201, leases.last().unwrap().clone());
        }
        let gone = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": ""});
        let Some(lease) = leases.iter_mut().find(|lease| lease["metadata"]["name"] == name) else { return (404, gone) };
        if lease["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
            return (409, conflict);
        }
        let version: u64 = lease["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        json_patch::merge(lease, &body);
        lease["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        (200, lease.clone())
    }

    fn candidate(&self, identity: &str, shards: u16) -> Candidate {
        let shards = NonZeroU16::new(shards).unwrap();
        let (namespace, name, identity) = ("home".into(), "operator".into(), identity.into());
        let election = Election { namespace, name, shards, identity };
        Candidate::new(election, self.client(), Clock::default(), Fence::closed())
    }

    /// Somebody writes the first lease.
    fn is_held_by(&self, holder: &str) {
        let mut leases = self.0.lock().unwrap();
        let version: u64 = leases[0]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        leases[0]["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        leases[0]["spec"]["holderIdentity"] = json!(holder);
    }

    fn holder(&self, name: &str) -> Value {
        let leases = self.0.lock().unwrap();
        let lease = leases.iter().find(|lease| lease["metadata"]["name"] == name);
        lease.map(|lease| lease["spec"]["holderIdentity"].clone()).unwrap_or_default()
    }
}

fn lease(name: &str, holder: Option<&str>, renewed: i64) -> Lease {
    let renewed = format!("{:.6}", Timestamp::from_second(renewed).unwrap());
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
    }))
    .unwrap()
}

/// What a process asks for that has seen these leases as they are for so many seconds.
fn choice(shards: u16, leases: &[Lease], seconds: u64) -> Option<(u16, u16)> {
    let mut candidate = Server::default().candidate("me", shards);
    let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
    candidate.sightings.note(leases, since);
    candidate.sightings.note(leases, Instant::now());
    candidate.choice(leases).map(Shard::place)
}

async fn won(candidate: &mut Candidate) -> Option<Shard> {
    let leases = candidate.look().await.unwrap();
    let shard = candidate.choice(&leases)?;
    candidate.takes(&leases, shard).await.unwrap().then_some(shard)
}

#[tokio::test]
async fn a_lease_is_asked_for_that_nobody_holds() {
    let all = ["operator-1-of-3", "operator-2-of-3", "operator-3-of-3"];
    for free in all {
        let with = |holder: Option<&'static str>| {
            all.map(|name| if name == free { lease(name, holder, 0) } else { lease(name, Some("other"), 0) })
        };
        for holder in [None, Some("")] {
            let (number, of) = choice(3, &with(holder), 0).unwrap();
            assert_eq!(format!("operator-{number}-of-{of}"), free, "given back");
        }
        assert_eq!(choice(3, &with(Some("slow")), 14), None, "still good");
        assert!(choice(3, &with(Some("dead")), 15).is_some(), "ended");
        assert!(choice(3, &with(Some("me")), 0).is_some(), "its own");
    }
    assert!(choice(3, &[], 0).is_some());
    assert_eq!(choice(1, &[lease("operator", Some("other"), 0)], 0), None);
    assert_eq!(choice(1, &[], 0), Some((1, 1)));
}

#[tokio::test]
async fn what_time_a_holder_has_counts_for_nothing() {
    let mut candidate = Server::default().candidate("me", 1);
    for hour in [-400_000, 0, 400_000] {
        let renewed =
            |seconds: i64| [lease("operator", Some("other"), Timestamp::now().as_second() + hour * 3600 + seconds)];
        let now = Instant::now();
        for passed in 0..40 {
            candidate.sightings.note(&renewed(passed), now + Duration::from_secs(passed.unsigned_abs()));
        }
        let last = now + Duration::from_secs(39);
        for (later, held) in [(0, true), (14, true), (15, false)] {
            let at = last + Duration::from_secs(later);
            candidate.sightings.note(&renewed(39), at);
            assert_eq!(
                candidate.sightings.is_held(&renewed(39)[0], at),
                held,
                "{hour} h, {later} s after it was renewed"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_asked_for_while_others_divide_the_namespaces_otherwise() {
    for (shards, theirs) in [(1, "operator-2-of-4"), (2, "operator-2-of-4"), (4, "operator-1-of-2"), (4, "operator")] {
        assert_eq!(choice(shards, &[lease(theirs, Some("other"), 0)], 3), None, "{shards} beside {theirs}");
        assert!(choice(shards, &[lease(theirs, Some("other"), 0)], 20).is_some(), "{shards} after {theirs}");
        assert!(choice(shards, &[lease(theirs, None, 0)], 3).is_some(), "{shards} after {theirs}");
    }
    for name in ["another", "operator-b", "operator-b-1-of-4", "operators", "operator-x-of-4", "operator-1-of-x"] {
        assert!(choice(2, &[lease(name, Some("other"), 0)], 3).is_some(), "{name} is somebody else's");
    }
}

#[tokio::test]
async fn processes_that_begin_together_ask_for_different_ones() {
    let server = Server::default();
    let chosen = |identity: String| server.candidate(&identity, 4).choice(&[]).unwrap().place();
    let chosen: BTreeSet<_> = (0..40).map(|pod| chosen(format!("operator-{pod}"))).collect();
    assert_eq!(chosen.len(), 4);
}

#[tokio::test]
async fn of_those_that_read_the_same_lease_one_gets_it() {
    let server = Server::default();
    let (mut one, mut other) = (server.candidate("one", 1), server.candidate("other", 1));
    for before in [json!(null), json!("dead")] {
        let [of_one, of_other] = [one.look().await.unwrap(), other.look().await.unwrap()];
        let shard = Shard::default();
        assert!(one.takes(&of_one, shard).await.unwrap(), "{before}");
        assert!(!other.takes(&of_other, shard).await.unwrap(), "{before}");
        assert_eq!(server.holder("operator"), "one");
        other.own = Some(of_other.first().cloned().unwrap_or_else(|| lease("operator", Some("other"), 0)));
        assert_eq!(other.renew(shard).await.unwrap(), Renewal::Lost(Lost::Taken));
        assert_eq!(one.renew(shard).await.unwrap(), Renewal::Renewed);
        server.is_held_by("dead");
    }
    let transitions = server.0.lock().unwrap()[0]["spec"]["leaseTransitions"].clone();
    assert_eq!(transitions, 1);
}

#[tokio::test]
async fn a_lease_that_is_somebody_elses_by_now_is_not_renewed() {
    let server = Server::default();
    let mut old = server.candidate("old", 1);
    let shard = won(&mut old).await.unwrap();
    server.is_held_by("new");
    let before = server.0.lock().unwrap().clone();
    assert_eq!(old.renew(shard).await.unwrap(), Renewal::Lost(Lost::Taken));
    assert!(!old.give_back().await.unwrap());
    assert_eq!(*server.0.lock().unwrap(), before);
}

#[tokio::test]
async fn a_leader_ends_when_it_finds_others_that_divide_otherwise() {
    let server = Server::default();
    let mut old = server.candidate("old", 2);
    let shard = won(&mut old).await.unwrap();
    assert_eq!(won(&mut server.candidate("new", 4)).await, None);
    assert_eq!(old.renew(shard).await.unwrap(), Renewal::Renewed);
    assert!(!old.is_divided().await);
    let theirs = serde_json::to_value(lease("operator-3-of-4", Some("new"), 0)).unwrap();
    server.0.lock().unwrap().push(theirs);
    assert!(old.is_divided().await);
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_made_again() {
    let server = Server::default();
    let mut leader = server.candidate("me", 1);
    let shard = won(&mut leader).await.unwrap();
    let lost = leader.clone().renew(shard).await.unwrap();
    assert_eq!(lost, Renewal::Renewed);
    assert_eq!(leader.renew(shard).await.unwrap(), Renewal::Again);
    assert_eq!(leader.renew(shard).await.unwrap(), Renewal::Renewed);
}

#[tokio::test]
async fn a_lease_that_ended_is_over_although_nobody_took_it() {
    let server = Server::default();
    let mut stood_still = server.candidate("me", 1);
    let shard = won(&mut stood_still).await.unwrap();
    stood_still.fence.opens(Instant::now());
    assert_eq!(stood_still.renew(shard).await.unwrap(), Renewal::Lost(Lost::Ended));
    assert!(stood_still.give_back().await.unwrap());
    assert_eq!(server.holder("operator"), json!(null), "nobody waits for it to end");
    assert_eq!(won(&mut server.candidate("next", 1)).await, Some(shard));
}

#[tokio::test]
async fn a_lease_that_somebody_deletes_is_made_anew() {
    let server = Server::default();
    let mut leader = server.candidate("me", 1);
    let shard = won(&mut leader).await.unwrap();
    server.0.lock().unwrap().clear();
    assert_eq!(leader.renew(shard).await.unwrap(), Renewal::Again);
    assert_eq!(leader.renew(shard).await.unwrap(), Renewal::Renewed);
    assert_eq!(server.holder("operator"), "me");
}

#[tokio::test]
async fn a_slow_api_server_elects_a_leader_all_the_same() {
    let server = Server(Arc::default(), Duration::from_millis(1_700));
    let mut leader = server.candidate("me", 1);
    let asked = Instant::now();
    let shard = won(&mut leader).await.unwrap();
    assert!(leader.renewed >= asked + Duration::from_millis(1_700), "it counts from when the lease was asked for");
    assert!(leader.renewed < asked + PATIENCE);
    assert_eq!(leader.renew(shard).await.unwrap(), Renewal::Renewed);
}
