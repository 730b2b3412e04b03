//! How often a version lost its readiness on its way up. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::{Duration, RolloutState, RolloutStatus},
    plan::rollout::{version::CLEAN, walk::relapse_limit},
};

use super::output::age;

/// What is counted of one version.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Relapses {
    pub count: i32,
    /// How many are a failure.
    pub limit: i32,
    pub since: Timestamp,
    pub latest: Timestamp,
    /// What was counted is the reason of an abort, or has nothing left to end.
    #[serde(skip)]
    over: bool,
}

/// Those of a version with so many pods; None when there are none, or when it has all that is asked for.
pub fn of(rollout: &RolloutStatus, version: &str, pods: i32) -> Option<Relapses> {
    let known = rollout.relapses.get(version).filter(|known| known.count > 0)?;
    (rollout.state != RolloutState::Completed).then(|| Relapses {
        count: known.count,
        limit: relapse_limit(pods),
        since: known.since.0,
        latest: known.latest.0,
        over: !rollout.state.is_under_way(),
    })
}

/// Such as `lost its readiness 2 times in 1m, the latest 20s ago; 3 times are a failure`. None when they are so long ago
/// that the next one is the first again.
pub fn told(relapses: &Relapses, now: Timestamp) -> Option<String> {
    let Relapses { count, limit, since, latest, over } = *relapses;
    if !over && now.duration_since(latest) >= CLEAN {
        return None;
    }
    let ago = age(latest, now);
    let seconds = u64::try_from(latest.duration_since(since).as_secs()).unwrap_or_default();
    let times = match count {
        1 => format!("lost its readiness once, {ago} ago"),
        _ => format!("lost its readiness {count} times in {}, the latest {ago} ago", Duration::from_secs(seconds)),
    };
    Some(if over || count >= limit { times } else { format!("{times}; {limit} times are a failure") })
}
