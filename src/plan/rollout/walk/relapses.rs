//! Versions that are being raised, and whose pods lose their readiness again and again. Pure.

use crate::{
    api::{Duration, Relapses, RolloutStatus},
    plan::rollout::version::{CLEAN, time},
};

use super::{Party, Situation};

const LIMIT: i32 = 3;

impl Situation<'_> {
    /// Counts relapses of the versions that are being raised. What comes before all pods are ready again belongs to the one
    /// before.
    pub(super) fn count_relapses(&self, status: &mut RolloutStatus) {
        let counted =
            self.raised(status).filter_map(|party| Some((party.name.to_owned(), self.counted(party, status)?)));
        let counted: Vec<(String, Relapses)> = counted.collect();
        status.relapses.extend(counted);
    }

    /// What is to be remembered of a version from now on; None when nothing changes.
    fn counted(&self, party: &Party<'_>, status: &RolloutStatus) -> Option<Relapses> {
        let known = status.relapses.get(party.name);
        let seen = known.map(|known| &known.latest).or(status.began.as_ref())?;
        let at = party.relapsed_at.filter(|at| *at > seen.0).map(time);
        match (known, at) {
            (Some(known), _) if known.count >= limit(party.pods) => None,
            (Some(known), at) if known.down => party.steady.then(|| {
                let latest = at.unwrap_or_else(|| known.latest.clone());
                Relapses { latest, down: false, ..known.clone() }
            }),
            (known, Some(at)) => {
                let recent = |known: &&Relapses| known.count > 0 && at.0.duration_since(known.latest.0) < CLEAN;
                let (count, since) = match known.filter(recent) {
                    Some(known) => (known.count + 1, known.since.clone()),
                    None => (1, at.clone()),
                };
                Some(Relapses { count, since, latest: at, down: !party.steady })
            }
            (_, None) => None,
        }
    }
}

/// Starts the count anew.
pub fn forgive(status: &mut RolloutStatus) {
    status.relapses.values_mut().for_each(|known| known.count = 0);
}

/// Why a version has failed that relapsed too often.
pub(super) fn relapsed(party: &Party<'_>, status: &RolloutStatus) -> Option<String> {
    let known = status.relapses.get(party.name).filter(|known| known.count >= limit(party.pods))?;
    let seconds = known.latest.0.duration_since(known.since.0).as_secs();
    let within = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let trouble = party.trouble.as_ref().map(|trouble| format!(" ({trouble})")).unwrap_or_default();
    Some(format!("lost its readiness {} times in {within}{trouble}", known.count))
}

/// A version that relapses so often has failed; one of many pods, when it does so for a tenth of them.
pub fn limit(pods: i32) -> i32 {
    LIMIT.max(pods / 10)
}
