//! Which spec is enforced: the newest, if it is valid; else the last accepted one. Pure.

use std::collections::BTreeMap;

use crate::{
    api::{Microservice, MicroserviceSpec, MicroserviceStatus, Port, Provider},
    plan::{
        configuration::{self, Sources, with_copies},
        revisions::Kept,
    },
    validate::{Invalid, Problem, Refusal, Validated, references::Reference, resolve::resolve, validate},
};

/// The spec to enforce.
#[derive(Debug)]
pub struct Accepted {
    pub spec: MicroserviceSpec,
    pub service: Validated,
    /// What is wrong with the newest spec, when it is an older one that is enforced.
    pub invalid: Option<Invalid>,
}

/// Decides which spec is enforced. `last` gives the last accepted one, without weights and sizes.
///
/// # Errors
/// The newest spec is invalid, and no other was ever accepted.
pub fn accept(
    newest: &Microservice,
    provider: Provider,
    last: impl FnOnce() -> Option<Kept>,
) -> Result<Accepted, Invalid> {
    match validate(newest, provider) {
        Ok(service) => Ok(Accepted { spec: newest.spec.clone(), service, invalid: None }),
        Err(invalid) => last()
            .map(|last| older(newest, provider, last))
            .map_or(Err(invalid.clone()), |(spec, service)| Ok(Accepted { spec, service, invalid: Some(invalid) })),
    }
}

/// Gives the accepted spec the configuration that it asks for, as it is now. While something that it needs is missing, the
/// last accepted spec is enforced with the copies that it has.
///
/// # Errors
/// What is missing, when no other spec was ever accepted.
pub fn settle(
    accepted: Accepted,
    newest: &Microservice,
    provider: Provider,
    (needed, sources): (&BTreeMap<String, Reference>, &Sources),
    last: Option<Kept>,
) -> Result<Accepted, Invalid> {
    let Accepted { spec, service, invalid } = accepted;
    if needed.is_empty() {
        return Ok(Accepted { spec, service, invalid });
    }
    let copies = last.as_ref().map(|last| last.copies.clone()).unwrap_or_default();
    let none = MicroserviceStatus::default();
    let status = newest.status.as_ref().unwrap_or(&none);
    let missing = match configuration::settle(service, needed, sources, &copies, status) {
        Ok(service) => return Ok(Accepted { spec, service, invalid }),
        Err(missing) => missing,
    };
    let Some((spec, service)) = last.map(|last| with_its_copies(newest, provider, last)) else { return Err(missing) };
    Ok(Accepted { spec, service, invalid: Some(invalid.unwrap_or(missing)) })
}

/// Leaves the last accepted spec in force while another one would cut off pods that take requests, as `cut_off` tells.
pub fn spare(
    accepted: Accepted,
    newest: &Microservice,
    provider: Provider,
    cut_off: impl FnOnce(&Validated) -> Option<Problem>,
    last: impl FnOnce() -> Option<Kept>,
) -> Accepted {
    if accepted.invalid.is_some() {
        return accepted;
    }
    let Some(problem) = cut_off(&accepted.service) else { return accepted };
    let Some((spec, service)) = last().map(|last| with_its_copies(newest, provider, last)) else { return accepted };
    let ports = |of: &Validated| of.versions.iter().map(|version| version.ports.clone()).collect::<Vec<_>>();
    if ports(&service) == ports(&accepted.service) {
        return accepted;
    }
    let is_named = |port: &Port| service.ports.iter().any(|old| (old.port, &old.name) == (port.port, &port.name));
    let why = if accepted.service.ports.iter().all(is_named) { Refusal::Early } else { Refusal::Wrong };
    Accepted { spec, service, invalid: Some(Invalid { problems: vec![problem], why }) }
}

/// The last accepted spec. What was accepted once is, also when this operator would refuse it: its pods run, and have to be
/// looked after.
fn older(newest: &Microservice, provider: Provider, last: Kept) -> (MicroserviceSpec, Validated) {
    let status = newest.status.clone().unwrap_or_default();
    let spec = recover(last.spec, newest.spec.replicas, &status);
    let service = resolve(&Microservice { spec: spec.clone(), ..newest.clone() }, provider);
    (spec, service)
}

/// The same, with the copies of ConfigMaps that its pods have.
fn with_its_copies(newest: &Microservice, provider: Provider, last: Kept) -> (MicroserviceSpec, Validated) {
    let copies = last.copies.clone();
    let (spec, mut service) = older(newest, provider, last);
    if let Some(version) = service.versions.first_mut().filter(|_| !copies.is_empty()) {
        *version = with_copies(version.clone(), copies, &service.identity);
    }
    (spec, service)
}

/// Puts back what a revision leaves out: the weights as they were last requested, and the size as it is now, which an
/// autoscaler may go on changing.
fn recover(mut spec: MicroserviceSpec, replicas: i32, status: &MicroserviceStatus) -> MicroserviceSpec {
    spec.replicas = replicas;
    for version in &mut spec.versions {
        let memory = status.of_version(&version.name);
        version.weight = memory.map(|memory| memory.requested);
    }
    spec
}
