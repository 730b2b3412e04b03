//! Sizes that somebody else sets on the children, such as an autoscaler. The operator puts them back, and tells so once
//! for as long as it goes on. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{GROUP, Scaled, VERSION, conditions::reason},
    observe::{Observed, child::MICROSERVICE},
    validate::Validated,
};

use super::{resources::child_name, rollout::version::time};

/// Time without a further one after which somebody else's change of a size is forgotten.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// How often its time is renewed while it goes on: autoscalers repeat theirs every few seconds.
const RENEWED: SignedDuration = SignedDuration::from_mins(5);
/// The field manager of HorizontalPodAutoscalers. No other controller of that process sets sizes of Deployments.
const AUTOSCALER: &str = "kube-controller-manager";

/// Who set the size of each version's Deployment of late.
pub type Contested = BTreeMap<String, Scaled>;

/// Whether the sizes of the children are the operator's alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizesState {
    pub ready: bool,
    pub reason: &'static str,
    pub message: String,
}

/// Notes sizes that are not what the operator last wanted, and forgets those of long ago.
pub fn contested(service: &Validated, observed: &Observed, now: Timestamp) -> Contested {
    let of_version = |name: &str| {
        let old = observed.status.of_version(name)?;
        let live = observed.versions.get(name).and_then(|runs| runs.deployment.as_ref());
        let by = live.filter(|live| live.replicas != old.desired).and_then(|live| live.scaled_by.clone());
        let age = |known: &Scaled| now.duration_since(known.at.0);
        let known = old.scaled.clone().filter(|known| age(known) < REMEMBERED);
        match by {
            None => known,
            Some(by) => known
                .filter(|known| known.by == by && age(known) < RENEWED)
                .or_else(|| Some(Scaled { by, at: time(now) })),
        }
    };
    let names = service.versions.iter().map(|version| version.name.as_str());
    names.filter_map(|name| Some((name.to_owned(), of_version(name)?))).collect()
}

/// When time alone makes one of them forgotten.
pub fn next(contested: &Contested) -> Option<Timestamp> {
    contested.values().filter_map(|scaled| scaled.at.0.checked_add(REMEMBERED).ok()).min()
}

/// What the status says of the sizes.
pub fn state(service: &Validated, contested: &Contested) -> SizesState {
    let message = service.versions.iter().find_map(|version| message(service, contested, &version.name));
    SizesState {
        ready: message.is_none(),
        reason: if message.is_none() { reason::SIZES_KEPT } else { reason::CHILD_SCALED },
        message: message.unwrap_or_default(),
    }
}

/// Who scaled a version, and what to do instead.
pub fn message(service: &Validated, contested: &Contested, version: &str) -> Option<String> {
    let scaled = contested.get(version)?;
    let name = &service.identity.name;
    let who = match scaled.by.as_str() {
        AUTOSCALER => format!("a HorizontalPodAutoscaler ({AUTOSCALER})"),
        other => other.to_owned(),
    };
    let own = match service.version(version) {
        Some(spec) if spec.own_replicas => format!(", and take replicas out of the version {version}"),
        _ => String::new(),
    };
    Some(format!(
        "{who} scaled the Deployment {}, which the operator puts back: scale the Microservice instead, an autoscaler \
         with scaleTargetRef: {{apiVersion: {GROUP}/{VERSION}, kind: {MICROSERVICE}, name: {name}}}{own}",
        child_name(name, version)
    ))
}
