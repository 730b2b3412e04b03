//! Deployments that must not be written, because their pods would use what somebody else has under a name of theirs, or be
//! used by it. Pure.

use std::collections::BTreeSet;

use crate::{
    observe::{Foreign, Observed},
    validate::{Validated, Version},
};

use super::{adoption, object::Kind, resources::child_name};

/// Their names. Pods that run with their copies go on; but none is made or changed that would run as an account which
/// nobody gave to them.
pub fn deployments(service: &Validated, observed: &Observed, clashes: &Foreign) -> BTreeSet<String> {
    let name = &service.identity.name;
    let clashing = |copy: &String| clashes.contains_key(&(Kind::ConfigMap, copy.clone()));
    let copied = |version: &Version| version.copies.values().any(clashing) && !observed.has_deployment(&version.name);
    let foreign_account = clashes.contains_key(&(Kind::ServiceAccount, name.clone()));
    let lent = |version: &Version| foreign_account && version.pod.service_account_name.is_none();
    let joins = |version: &Version| adoption::joins(service, version, observed);
    let blocked = service.versions.iter().filter(|version| copied(version) || lent(version) || joins(version));
    blocked.map(|version| child_name(name, &version.name)).collect()
}
