//! What the rollout's steps give the versions that are being raised beside their weights: routes of its own, and copies of
//! requests. Pure.

use std::collections::BTreeMap;

use crate::{
    api::{MatchValue, Route, RouteMatch, WeightedVersion},
    observe::LiveRoutes,
};

use super::{
    Standing,
    walk::{Beside, Session},
    weight_of,
};

/// The route of the requests that a step matches. No route of a spec can have a dot in its name.
pub const MATCH_ROUTE: &str = "rollout.match";
/// Begins the name of the route of the clients that stay with a version, which ends in the version's.
pub const COOKIE_ROUTE: &str = "rollout.cookie.";

/// The routes, in the order in which they are tried.
pub fn routes(beside: &Beside) -> Vec<Route> {
    let matched = (!beside.matches.is_empty() && !beside.shares.is_empty()).then(|| Route {
        name: MATCH_ROUTE.to_owned(),
        matches: beside.matches.clone(),
        weights: beside.shares.iter().map(|(version, weight)| share(version, *weight)).collect(),
        ..Route::default()
    });
    let staying = beside.session.iter().flat_map(|session| {
        beside.shares.keys().map(|version| Route {
            name: format!("{COOKIE_ROUTE}{version}"),
            matches: vec![RouteMatch {
                headers: BTreeMap::from([("cookie".to_owned(), brings(session, version))]),
                ..RouteMatch::default()
            }],
            version: Some(version.clone()),
            ..Route::default()
        })
    });
    matched.into_iter().chain(staying).collect()
}

/// The cookies that answers of each version set.
pub fn cookies(beside: &Beside) -> BTreeMap<String, String> {
    let Some(session) = &beside.session else { return BTreeMap::new() };
    let age = session.affinity.max_age.signed().as_secs();
    let set = |version: &String| format!("{}; Max-Age={age}; Path=/; HttpOnly", cookie(session, version));
    beside.shares.keys().map(|version| (version.clone(), set(version))).collect()
}

fn cookie(session: &Session, version: &str) -> String {
    format!("{}={}.{version}", session.affinity.cookie, session.id)
}

/// Matches the header of a request that brings the cookie, among others. The dot is the only sign that a cookie's name
/// and a session may have and that means something in an expression.
fn brings(session: &Session, version: &str) -> MatchValue {
    let wanted = cookie(session, version).replace('.', "[.]");
    MatchValue { regex: Some(format!("(.*; *)?{wanted}(;.*)?")), ..MatchValue::default() }
}

/// Whether a route of the rollout's own, or copies of requests, lead to a version now.
pub fn lead_to(live: &LiveRoutes, version: &str) -> bool {
    let own = |name: &str| name == MATCH_ROUTE || name.starts_with(COOKIE_ROUTE);
    let mut routes = live.named.iter().filter(|(name, _)| own(name));
    live.mirrors.contains(version) || routes.any(|(_, weights)| weight_of(weights, version) > 0)
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
