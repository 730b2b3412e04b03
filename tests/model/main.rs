//! A model checker of the rollout state machine. It runs the real plan and the real status in a world of plain data,
//! in all interleavings of edits, readiness, orders, time, stalled watches, refused writes, reconciliations and crashes
//! up to a depth, then at random far beyond it. Every transition is checked against the invariants, and from the explored
//! states what should end must end.
//!
//! `MODEL_DEPTH`, `MODEL_WALKS`, `MODEL_STEPS` and `MODEL_SEED` set how far it goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod budget;
mod caches;
mod desk;
mod events;
mod explore;
mod findings;
mod fingerprint;
mod flaps;
mod hand_over;
mod hooks;
mod lab;
mod liveness;
mod properties;
mod roots;
mod state;
mod trace;
mod writes;

use lab::Lab;

/// Steps that all interleavings are explored to, from each of the roots.
const DEPTH: u64 = 3;
const WALKS: u64 = 100;
const STEPS: u64 = 60;
const SEED: u64 = 1;

const STEPWISE: &str =
    "{progressDeadline: 2m, steps: [{weight: 10}, {pause: {duration: 30s}}, {weight: 50}, {pause: {}}]}";
const PATIENT: &str =
    "{progressDeadline: 2m, onFailure: Pause, steps: [{weight: 10}, {pause: {duration: 30s}}, {weight: 50}]}";

const CAREFUL: &str = "{progressDeadline: 2m, onFailure: RollbackBySteps, sessionAffinity: {cookie: {name: c}}, steps: \
     [{scale: {replicas: 1}}, {match: [{method: {exact: GET}}]}, {weight: 10}, {mirror: {percent: 50}}, \
     {pause: {duration: 30s}}, {weight: 50}, {pause: {}}]}";

const MEASURED: &str = "{progressDeadline: 2m, analysis: {interval: 10s, failureLimit: 1, consecutiveErrorLimit: 1, \
     metrics: [{name: rate, query: rate, min: 99}]}, steps: [{weight: 10}, {analysis: {interval: 5s, count: 2, \
     failureLimit: 1, consecutiveErrorLimit: 1, metrics: [{name: orders, query: orders, min: 1}]}}, {weight: 50}]}";

const ASKED: &str = "{progressDeadline: 2m, steps: [{match: [{method: {exact: GET}}]}, {weight: 10}, \
     {pause: {duration: 30s}}, {weight: 50}, {pause: {}}], webhooks: [{webhook: tests, \
     at: [BeforeRollout, BeforeTraffic, BeforePromotion, AfterRollout, OnRollback]}]}";
const LIMITED: &str =
    "{progressDeadline: 2m, maxSurge: 1, steps: [{weight: 10}, {pause: {duration: 30s}}, {weight: 50}, {pause: {}}]}";
const LIMITED_BACK: &str = "{progressDeadline: 2m, maxSurge: 1, onFailure: RollbackBySteps, steps: [{scale: {replicas: 2}}, {weight: 10}, \
     {pause: {duration: 30s}}, {weight: 50}, {mirror: {percent: 50}}, {weight: 100}, {pause: {}}]}";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn explore(policy: &str) {
    explore_in(&Lab::new(policy), policy);
}

fn explore_in(lab: &Lab, policy: &str) {
    explore_from(lab, &roots::roots(lab), policy);
}

fn explore_from(lab: &Lab, roots: &[roots::Root], policy: &str) {
    let found = explore::breadth_first(lab, roots, number("MODEL_DEPTH", DEPTH));
    println!("policy: {policy}\n  {found}");
}

fn walk(policy: &str) {
    walk_in(&Lab::new(policy), policy);
}

fn walk_in(lab: &Lab, policy: &str) {
    walk_from(lab, &roots::roots(lab), policy);
}

fn walk_from(lab: &Lab, roots: &[roots::Root], policy: &str) {
    let seed = number("MODEL_SEED", SEED);
    let found = explore::walk_at_random(lab, roots, seed, number("MODEL_WALKS", WALKS), number("MODEL_STEPS", STEPS));
    println!("policy: {policy}; MODEL_SEED={seed}\n  {found}");
}

#[test]
fn all_interleavings_of_a_rollout_that_rolls_back() {
    explore(STEPWISE);
}

#[test]
fn all_interleavings_of_a_rollout_that_pauses() {
    explore(PATIENT);
}

#[test]
fn all_interleavings_of_a_rollout_that_starts_small_and_goes_back_by_steps() {
    explore(CAREFUL);
}

#[test]
fn all_interleavings_of_a_rollout_that_is_measured() {
    explore(MEASURED);
}

#[test]
fn all_interleavings_of_a_rollout_that_asks_webhooks() {
    explore(ASKED);
}

#[test]
fn all_interleavings_without_a_policy() {
    explore("");
}

#[test]
fn long_walks_of_a_rollout_that_rolls_back() {
    walk(STEPWISE);
}

#[test]
fn long_walks_of_a_rollout_that_pauses() {
    walk(PATIENT);
}

#[test]
fn long_walks_of_a_rollout_that_starts_small_and_goes_back_by_steps() {
    walk(CAREFUL);
}

#[test]
fn long_walks_of_a_rollout_that_is_measured() {
    walk(MEASURED);
}

#[test]
fn long_walks_of_a_rollout_that_asks_webhooks() {
    walk(ASKED);
}

#[test]
fn long_walks_without_a_policy() {
    walk("");
}

#[test]
fn all_interleavings_of_a_rollout_whose_pods_are_limited() {
    explore_in(&Lab::limited(LIMITED), LIMITED);
}

#[test]
fn long_walks_of_a_rollout_whose_pods_are_limited() {
    walk_in(&Lab::limited(LIMITED), LIMITED);
}

#[test]
fn long_walks_of_a_rollout_whose_pods_are_limited_and_that_goes_back_by_steps() {
    walk_in(&Lab::limited(LIMITED_BACK), LIMITED_BACK);
}

#[test]
fn all_interleavings_of_a_rollout_whose_provider_changes() {
    let lab = Lab::crossing(STEPWISE);
    explore_from(&lab, &roots::crossing(&lab), STEPWISE);
}

#[test]
fn long_walks_of_a_rollout_whose_provider_changes() {
    let lab = Lab::crossing(STEPWISE);
    walk_from(&lab, &roots::crossing(&lab), STEPWISE);
}

#[test]
fn long_walks_without_a_policy_whose_provider_changes() {
    let lab = Lab::crossing("");
    walk_from(&lab, &roots::crossing(&lab), "");
}
