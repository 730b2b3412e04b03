//! Versions that the spec wants without pods while others run: these take their weight before the pods go. Pure.

use super::{Standing, settle::share};

/// Sets the weights that the rollout aims at. Where no version is to have pods they are the requested ones, and the
/// service is scaled to zero as it stands.
pub fn aim(standings: &mut [Standing<'_>]) {
    let shares = shares(standings);
    if shares.iter().all(|share| *share == 0) {
        return;
    }
    let parked = |standing: &Standing<'_>| standing.spec.is_some_and(|spec| spec.replicas == 0);
    let freed = standings.iter().filter(|standing| parked(standing)).map(|standing| standing.requested()).sum();
    for (standing, more) in standings.iter_mut().zip(share(freed, &shares)) {
        standing.parked = parked(standing);
        standing.target = if standing.parked { 0 } else { standing.requested() + more };
        standing.aim = standing.target;
    }
}

/// In which proportion the versions with pods take over: as requested, else evenly.
fn shares(standings: &[Standing<'_>]) -> Vec<i32> {
    let runs = |standing: &Standing<'_>| {
        standing.spec.is_some_and(|spec| spec.replicas > 0 && (spec.weight > 0 || standing.replicas > 0))
    };
    let by = |share: fn(&Standing<'_>) -> i32| -> Vec<i32> {
        standings.iter().map(|standing| if runs(standing) { share(standing) } else { 0 }).collect()
    };
    let requested = by(|standing| standing.spec.map_or(0, |spec| spec.weight));
    if requested.iter().any(|share| *share > 0) { requested } else { by(|_| 1) }
}
