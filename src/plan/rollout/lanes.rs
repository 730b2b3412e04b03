//! What the rollout's steps give the versions that are being raised beside their weights: routes of its own, and copies of
//! requests. Pure.

use crate::{
    api::{Route, WeightedVersion},
    observe::{LiveRoutes, Weights},
};

use super::{Standing, walk::Beside};

/// The route of the requests that a step matches. No route of a spec can have a dot in its name.
pub const MATCH_ROUTE: &str = "rollout.match";

/// The routes, in the order in which they are tried.
pub fn routes(beside: &Beside) -> Vec<Route> {
    let matched = (!beside.matches.is_empty() && !beside.shares.is_empty()).then(|| Route {
        name: MATCH_ROUTE.to_owned(),
        matches: beside.matches.clone(),
        weights: beside.shares.iter().map(|(version, weight)| share(version, *weight)).collect(),
        ..Route::default()
    });
    matched.into_iter().collect()
}

/// What such a route carries now, of the versions that it is for: those of an earlier rollout lose it at once.
pub fn live(route: &Route, live: Option<&LiveRoutes>) -> Option<Weights> {
    let mut weights = live?.named.get(&route.name)?.clone();
    weights.retain(|version, _| route.weights.iter().any(|share| share.version == *version));
    (!weights.is_empty()).then_some(weights)
}

/// The version that gets copies of requests, and of how many percent of them. It is admitted when they begin, and can
/// serve as long as they go on.
pub fn mirror(beside: &Beside, standings: &[Standing<'_>], live: Option<&LiveRoutes>) -> Option<(String, i32)> {
    let (version, percent) = beside.mirror.as_ref()?;
    let standing = standings.iter().find(|standing| standing.name == version)?;
    let goes_on = live.is_some_and(|live| live.mirrors.contains(version)) && standing.serving() && standing.routable;
    (standing.admitted() || goes_on).then(|| (version.clone(), *percent))
}

fn share(version: &str, weight: i32) -> WeightedVersion {
    WeightedVersion { version: version.to_owned(), weight }
}
