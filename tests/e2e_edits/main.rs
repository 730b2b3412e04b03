//! Mutation of the resource itself: sequences of valid and invalid edits, generated from the schema and a seed. Each edit is
//! refused with a message that names the field, or taken; what only the operator can refuse makes it say so while the last
//! accepted spec stays in force. Each sequence ends in what a Microservice that was made with its last spec is, breaks no
//! invariant on the way, and is silent then.
//!
//! By default a short part runs; `CAMPAIGN=whole` runs all of it, `CAMPAIGN_SEED` begins with another seed, and `CAMPAIGN_SEEDS`
//! names them. A sequence that fails is shortened, and printed as YAML that can be applied by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../e2e_faults/campaign.rs"]
mod campaign;
#[path = "../generator/mod.rs"]
mod generator;
#[path = "../support/mod.rs"]
mod support;

mod built;
mod corpus;
mod judge;
mod run;
mod sequence;
mod slot;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use microservice_operator::offline::Checker;
use tokio::sync::{Mutex, Semaphore};

use generator::Schema;
use run::{Failure, Tally, perform};
use sequence::Sequence;
use slot::Slot;
use support::Operator;

/// Sequences of the whole campaign, and of the part that runs by default.
const SEQUENCES: u64 = 2_000;
const SHORT: u64 = 16;
/// Of so many refusals by the operator, some come after another spec was accepted.
const MANY: usize = 10;
/// Sequences at a time, and as many more whose silence is waited for.
const ABREAST: usize = 16;
/// How often a failing sequence is run anew to shorten it.
const ATTEMPTS: usize = 8;
/// After so many failures the rest would say the same.
const ENOUGH: usize = 12;

/// What all sequences are made from and run with.
struct World {
    schema: Schema,
    checker: Checker,
    corpus: corpus::Corpus,
    slots: Mutex<Vec<Slot>>,
    /// What works has one; what only waits has none.
    turns: Semaphore,
}

#[test]
fn sequences_of_edits_end_in_the_desired_state_or_in_a_clear_refusal() {
    support::run(async {
        let cluster = support::cluster();
        let _operator = Operator::start(
            cluster.kubeconfig_path(),
            &["--leader-election", "false", "--mesh-propagation", propagation(), "--concurrency", "20"],
        );
        let seeds = campaign::seeds(SEQUENCES, SHORT);
        let abreast = campaign::abreast(ABREAST);
        let slots = (2 * abreast).min(seeds.len());
        let world = World {
            schema: Schema::new(),
            checker: Checker::new().unwrap(),
            corpus: corpus::Corpus::read(),
            slots: Mutex::new(slot::all(cluster, slots).await),
            turns: Semaphore::new(abreast),
        };
        let tally = Mutex::new(Tally::default());
        let failures = Mutex::new(BTreeMap::<u64, String>::new());
        stream::iter(&seeds).for_each_concurrent(slots, |seed| one(&world, *seed, &tally, &failures)).await;
        let (tally, failures) = (tally.into_inner(), failures.into_inner());
        println!("campaign 7, edits: {tally}, of {} seeds from {} on", seeds.len(), seeds[0]);
        let told: Vec<_> = failures.values().map(String::as_str).collect();
        assert!(told.is_empty(), "{} sequences failed:\n{}", told.len(), told.join("\n\n"));
        assert!(tally.stalled < MANY || tally.kept > 0, "nothing was changed while a spec was refused");
        if seeds.len() as u64 >= SEQUENCES {
            let unmet: BTreeSet<_> = world.schema.fields().filter(|path| !tally.fields.contains(*path)).collect();
            assert!(unmet.iter().all(|path| generator::never(path)), "no sequence set these fields: {unmet:?}");
        }
    });
}

/// What the mesh is given. The recorder hears late of some events while so many sequences keep the machine busy: what is due
/// has to be long beside that.
fn propagation() -> &'static str {
    if campaign::whole() { "3s" } else { "1s" }
}

/// Runs one sequence, and shortens it if it fails.
async fn one(world: &World, seed: u64, tally: &Mutex<Tally>, failures: &Mutex<BTreeMap<u64, String>>) {
    if failures.lock().await.len() >= ENOUGH {
        return;
    }
    let sequence = Sequence::of(seed, &world.schema, &world.checker, &world.corpus);
    let slot = world.slots.lock().await.pop().expect("as many slots as sequences at a time");
    let mut counted = Tally::default();
    let ended = perform(world, &slot, &sequence, &mut counted).await;
    let failed = ended.is_err();
    if let Err(failure) = ended {
        println!("CAMPAIGN_SEED={seed} failed: {failure}\n{sequence}");
        let (shorter, failure) = shortened(world, &slot, sequence, failure).await;
        failures.lock().await.insert(seed, format!("CAMPAIGN_SEED={seed}: {failure}\n{shorter}"));
    }
    if campaign::whole() {
        println!("CAMPAIGN_SEED={seed} ended{}", if failed { ", and failed" } else { "" });
    }
    tally.lock().await.add(counted);
    world.slots.lock().await.push(slot);
}

/// Leaves out edits without which it still fails.
async fn shortened(world: &World, slot: &Slot, sequence: Sequence, failure: Failure) -> (Sequence, Failure) {
    let (mut best, mut why) = (sequence, failure);
    let mut index = best.steps.len();
    for _ in 0..ATTEMPTS {
        // The first one makes the Microservice.
        index = index.min(best.steps.len());
        if index <= 1 {
            break;
        }
        index -= 1;
        let shorter = best.without(index);
        if let Err(failure) = perform(world, slot, &shorter, &mut Tally::default()).await {
            (best, why) = (shorter, failure);
        }
    }
    (best, why)
}
