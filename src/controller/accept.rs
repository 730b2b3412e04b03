//! Which spec is enforced: the newest, if it is valid; else the last accepted one. Pure.

use crate::{
    api::{Microservice, MicroserviceSpec, MicroserviceStatus, Provider},
    validate::{Invalid, Validated, validate},
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
    last: impl FnOnce() -> Option<MicroserviceSpec>,
) -> Result<Accepted, Invalid> {
    let invalid = match validate(newest, provider) {
        Ok(service) => return Ok(Accepted { spec: newest.spec.clone(), service, invalid: None }),
        Err(invalid) => invalid,
    };
    let Some(last) = last() else { return Err(invalid) };
    let status = newest.status.clone().unwrap_or_default();
    let spec = recover(last, newest.spec.replicas, &status);
    let older = Microservice { spec: spec.clone(), ..newest.clone() };
    match validate(&older, provider) {
        Ok(service) => Ok(Accepted { spec, service, invalid: Some(invalid) }),
        Err(_) => Err(invalid),
    }
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
