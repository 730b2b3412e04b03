//! Taking over a live Service. Its clients must not notice: it goes on selecting what it did until the version that it is
//! to select is complete. Pure.

use crate::{api::conditions::reason, observe::Observed, validate::Validated};

use super::{
    holds::{Hold, Severity},
    rollout::{Rollout, Standing},
};

/// The version that the Service is to select and that cannot take all requests yet. None when there is no Service to be
/// taken over.
pub fn awaited<'a>(observed: &Observed, rollout: &'a Rollout<'a>) -> Option<&'a Standing<'a>> {
    let mut standings = rollout.standings.iter().filter(|_| observed.adopting);
    standings.find(|it| rollout.weight(it.name) > 0 && !(it.complete && it.serving()))
}

/// What the Service waits for.
pub fn hold(service: &Validated, observed: &Observed, rollout: &Rollout<'_>) -> Option<Hold> {
    let version = awaited(observed, rollout)?;
    let wanted = version.spec.map_or(version.replicas, |spec| spec.replicas);
    Some(Hold {
        reason: reason::ADOPTION_PENDING,
        message: format!(
            "the Service {} is taken over as soon as {} is complete ({} of {wanted} pods ready); until then it selects \
             what it did",
            service.identity.name, version.name, version.ready
        ),
        severity: Severity::Progressing,
    })
}
