//! Which leases are held, as one process sees it: by its own clock alone, so that no other has to be right.

use std::collections::BTreeMap;

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::ResourceExt;
use tokio::time::{Duration, Instant};

use super::DURATION;

/// Who holds a lease, and what its holder wrote last.
type Term = (Option<String>, Option<MicroTime>);

/// When each lease was first seen as it is.
#[derive(Clone, Debug, Default)]
pub struct Sightings(BTreeMap<String, (Term, Instant)>);

impl Sightings {
    /// Notes all leases as they were at a time.
    pub fn note(&mut self, leases: &[Lease], at: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for lease in leases {
            let (name, term) = (lease.name_any(), term(lease));
            let known = before.remove(&name).filter(|(known, _)| *known == term);
            self.0.insert(name, known.unwrap_or((term, at)));
        }
    }

    /// Whether a lease has a holder that may be there still: it was not seen unchanged for as long as it is good.
    pub fn is_held(&self, lease: &Lease, now: Instant) -> bool {
        let good = lease.spec.as_ref().and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
        let good = good.map_or(DURATION, Duration::from_secs);
        let since = self.0.get(&lease.name_any()).map(|(_, since)| *since);
        holder(lease).is_some() && since.is_none_or(|since| now.saturating_duration_since(since) < good)
    }
}

/// Who holds a lease, or held it last.
pub fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}

fn term(lease: &Lease) -> Term {
    (holder(lease).cloned(), lease.spec.as_ref().and_then(|spec| spec.renew_time.clone()))
}
