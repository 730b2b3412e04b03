//! Leases, as others may have written them: none that somebody holds is written, and whoever leads has written its own.

use std::{
    convert::Infallible,
    fs,
    num::NonZeroU16,
    pin::pin,
    sync::{Arc, Mutex},
};

use axum::http::{Method, Request, Response};
use devcluster::Dice;
use kube::{Client, client::Body};
use microservice_operator::{
    observe::Clock,
    runtime::{Election, fence::Fence, leader::Candidate},
};
use serde_json::{Value, json};

use crate::mutate::{corpus, runs, value};

const ME: &str = "me";
const SHARDS: u16 = 3;
/// How often all that is under way goes on until it waits for time to pass.
const TURNS: usize = 500;

/// Leases that were written, by their names, and what was written into them.
type Writes = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server that has these leases, and takes every write.
fn server(leases: &Value) -> (Client, Writes) {
    let (leases, writes) = (leases.clone(), Writes::default());
    let noted = writes.clone();
    let serve = move |request: Request<Body>| {
        let (leases, noted) = (leases.clone(), noted.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let answer = if head.method == Method::GET {
                json!({"metadata": {}, "items": leases})
            } else {
                let mut lease: Value = serde_json::from_slice(&body).unwrap();
                if head.method == Method::PATCH {
                    lease["metadata"]["name"] = head.uri.path().rsplit('/').next().into();
                }
                let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
                noted.lock().unwrap().push((name, lease["spec"].clone()));
                json!({"metadata": {"name": lease["metadata"]["name"]}, "spec": lease["spec"]})
            };
            Ok::<_, Infallible>(Response::new(Body::from(answer.to_string().into_bytes())))
        }
    };
    (Client::new(tower::service_fn(serve), "home"), writes)
}

/// What comes of something that a process asks of the leases, unless it waits, and what it writes.
async fn came<T>(
    leases: &Value,
    ask: impl AsyncFnOnce(&mut Candidate) -> Result<T, String>,
) -> (Option<Result<T, String>>, Vec<(String, Value)>) {
    let (client, writes) = server(leases);
    let shards = NonZeroU16::new(SHARDS).unwrap();
    let election = Election { namespace: "home".into(), name: "operator".into(), shards, identity: ME.into() };
    let mut candidate = Candidate::new(election, client, Clock::default(), Fence::closed());
    let mut asked = pin!(ask(&mut candidate));
    let mut came = None;
    for _ in 0..TURNS {
        tokio::select! {
            biased;
            answer = &mut asked => {
                came = Some(answer);
                break;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    (came, writes.lock().unwrap().clone())
}

fn name(lease: &Value) -> &str {
    lease["metadata"]["name"].as_str().unwrap_or_default()
}

fn holder(lease: &Value) -> Option<&str> {
    lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty())
}

/// Whether who holds it may be there still: it is seen for the first time.
fn is_held(lease: &Value) -> bool {
    holder(lease).is_some() && lease["spec"]["leaseDurationSeconds"] != 0
}

/// Into how many shards those divide the namespaces that have a lease of this name.
fn shards(name: &str) -> Option<u16> {
    if name == "operator" {
        return Some(1);
    }
    let (number, of) = name.strip_prefix("operator-")?.split_once("-of-")?;
    number.parse::<u16>().ok().and(of.parse().ok())
}

fn all() -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(corpus("leases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap()).collect()
}

fn changed(all: &[Value], seed: u64) -> (Value, String) {
    let mut dice = Dice::of(("lease", seed));
    let mut leases = all[dice.below(all.len())].clone();
    if dice.below(8) > 0 {
        value(&mut leases, &mut dice);
    }
    let about = format!("CAMPAIGN_SEED={seed}: {leases}");
    (leases, about)
}

#[test]
fn no_lease_is_taken_that_somebody_holds_and_a_free_one_is() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = all();
    let (mut won, mut waits, mut unread) = (0, 0, 0);
    for seed in runs(400) {
        let (leases, about) = changed(&all, seed);
        let look = || {
            runtime.block_on(came(&leases, async |candidate: &mut Candidate| {
                candidate.win(|| {}).await.map(|shard| shard.place()).map_err(|error| error.to_string())
            }))
        };
        let (came, written) = look();
        let (again, rewritten) = look();
        let names = |written: &[(String, Value)]| written.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!((&came, names(&written)), (&again, names(&rewritten)), "{about}");
        if let Some(Err(error)) = &came {
            assert!(!error.is_empty() && written.is_empty(), "{about}: {error:?}, and {written:?} is written");
            unread += 1;
            continue;
        }
        let known = leases.as_array().cloned().unwrap_or_default();
        let divided = known.iter().any(|lease| shards(name(lease)).is_some_and(|of| of != SHARDS) && is_held(lease));
        let is_free = |number: u16| {
            let wanted = format!("operator-{number}-of-{SHARDS}");
            let found = known.iter().find(|lease| name(lease) == wanted);
            found.is_none_or(|lease| !is_held(lease) || holder(lease) == Some(ME))
        };
        let may_win = !divided && (1..=SHARDS).any(is_free);
        assert_eq!(came.is_some(), may_win, "{about}: {came:?}");
        let Some(Ok((number, of))) = came else {
            assert!(written.is_empty(), "{about}: {written:?} is written");
            waits += 1;
            continue;
        };
        won += 1;
        let [(taken, spec)] = written.as_slice() else { panic!("{about}: {written:?} is written") };
        assert_eq!(*taken, format!("operator-{number}-of-{of}"), "{about}");
        assert!(is_free(number) && spec["holderIdentity"] == ME, "{about}: {spec}");
        let transitions = spec.get("leaseTransitions").map(|it| it.as_i64().unwrap());
        assert!(transitions.is_none_or(|it| i32::try_from(it).is_ok()), "{about}: {spec}");
    }
    assert!(won > 20 && waits > 20 && unread > 20, "{won} were won, {waits} waited for, {unread} not read");
}

#[test]
fn what_is_given_back_is_what_this_process_holds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = all();
    let (mut given, mut none) = (0, 0);
    for seed in runs(400) {
        let (leases, about) = changed(&all, seed);
        let (came, written) = runtime.block_on(came(&leases, async |candidate: &mut Candidate| {
            candidate.give_back().await.map_err(|error| error.to_string())
        }));
        let came = came.unwrap_or_else(|| panic!("{about}: it never ends"));
        if came.is_err() {
            assert!(written.is_empty(), "{about}: {written:?} is written");
            continue;
        }
        let is_own = |lease: &&Value| shards(name(lease)).is_some() && holder(lease) == Some(ME);
        let own = leases.as_array().into_iter().flatten().find(is_own).map(name);
        let expected: Vec<_> = own.iter().map(|own| ((*own).to_owned(), json!({"holderIdentity": null}))).collect();
        assert_eq!((came, &written), (Ok(own.is_some()), &expected), "{about}");
        if own.is_some() {
            given += 1;
        } else {
            none += 1;
        }
    }
    assert!(given > 20 && none > 20, "{given} were given back, {none} were none");
}
