//! Which copies of ConfigMaps there should be, which of them may go, and what it means when one cannot be there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::conditions::reason,
    observe::{ChildRef, Observed},
    validate::{Behind, Validated},
};

use super::{
    configuration::copy_name,
    holds::{Hold, Severity},
    object::{Kind, Object},
    resources::{self, Stamp},
};

/// The copies that the revisions use, once each: those that exist, and those whose content is known.
pub fn objects(service: &Validated, observed: &Observed, stamp: &Stamp) -> Vec<Object> {
    let build = |(copy, of): (&str, &str)| {
        let content = observed.contents.get(copy).filter(|_| !exists(observed, copy));
        let there = exists(observed, copy) || content.is_some();
        there.then(|| Object::new(Kind::ConfigMap, &resources::config_map(service, copy, of, content, stamp)))
    };
    used(service).into_iter().filter_map(build).collect()
}

/// Whether a copy stays that no revision of the plan uses: for one that is kept in the history, or for pods that run.
pub fn stays(copy: &ChildRef, history: &BTreeSet<&str>, observed: &Observed) -> bool {
    let kept = observed.copies.iter().any(|(revision, copies)| {
        history.contains(revision.as_str()) && copies.values().any(|name| *name == copy.name)
    });
    let deployments = observed.versions.values().filter_map(|runs| runs.deployment.as_ref());
    kept || deployments.into_iter().any(|facts| facts.config_maps.contains(&copy.name))
}

/// What keeps revisions from their configuration.
pub fn holds(service: &Validated, observed: &Observed) -> Vec<Hold> {
    let hold = |behind| match behind {
        Behind::Missing(message) => Hold { reason: reason::CONFIG_MAP_MISSING, message, severity: Severity::Degraded },
        Behind::Changing(message) => {
            Hold { reason: reason::CONFIG_MAP_CHANGING, message, severity: Severity::Progressing }
        }
    };
    let gone = |copy: &str| {
        let leaving = observed.leaving.contains_key(&(Kind::ConfigMap, copy.to_owned()));
        let foreign = observed.foreign.contains_key(&(Kind::ConfigMap, copy.to_owned()));
        !exists(observed, copy) && !observed.contents.contains_key(copy) && !leaving && !foreign
    };
    let never_there = |copy: &str, of: &str| copy == copy_name(&service.identity, of, None);
    let lost = used(service).into_iter().filter(|(copy, of)| gone(copy) && !never_there(copy, of));
    let lost = lost.map(|(copy, of)| {
        Behind::Missing(format!(
            "{copy}, the copy of the ConfigMap {of} that pods use, was deleted, and {of} has another content by now: no \
             further pod of the revision can start; put the content back, or make a new revision"
        ))
    });
    service.configuration.iter().cloned().chain(lost).map(hold).collect()
}

/// All copies that the revisions use, with the ConfigMaps that they are of.
fn used(service: &Validated) -> BTreeMap<&str, &str> {
    let copies = service.versions.iter().flat_map(|version| &version.copies);
    copies.map(|(of, copy)| (copy.as_str(), of.as_str())).collect()
}

fn exists(observed: &Observed, copy: &str) -> bool {
    observed.children.iter().any(|child| child.kind == Kind::ConfigMap && child.name == copy)
}
