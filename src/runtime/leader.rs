//! Leadership by Leases: of several processes one writes for each shard.
//!
//! A process takes one shard, the first that it finds without a holder, and keeps it to its end. Which namespaces a shard
//! has depends on how many there are, so processes that were started with another number of shards wait until none of these
//! leases is held: each takes its own lease first and looks for theirs then, so that of two that begin at the same time at
//! least one sees the other.

use std::{num::NonZeroU16, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt, api::ListParams};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use thiserror::Error;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    api::MANAGER,
    observe::{Clock, Shard},
    validate::digest::digest,
};

/// How long a lease is good for without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long before its end it is renewed: enough to ask twice.
const GRACE: Duration = Duration::from_secs(8);
/// How often the leases are looked at by a process that has none.
const LOOK: Duration = Duration::from_secs(2);

/// What is elected.
#[derive(Clone, Debug)]
pub struct Election {
    /// Namespace of the leases.
    pub namespace: String,
    /// Name of the lease of the whole, and the beginning of those of shards.
    pub name: String,
    /// Parts of all namespaces, each with a lease of its own.
    pub shards: NonZeroU16,
    /// Who this process is in the leases; unique to it.
    pub identity: String,
}

/// A place in the election. Dropping `state` gives the lease back; `done` then ends.
pub struct Candidacy {
    /// Whether this process leads.
    pub state: watch::Receiver<bool>,
    pub done: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Candidacy {
    /// Gives the lease back.
    pub async fn withdraw(self) {
        drop(self.state);
        let _released = self.done.await;
    }
}

/// Why a lease cannot be used.
#[derive(Debug, Error)]
pub enum LeaseError {
    #[error(transparent)]
    Manager(#[from] LeaseManagerError),
    #[error(transparent)]
    List(#[from] kube::Error),
}

impl LeaseError {
    /// Whether trying again may succeed without anybody's doing: the API server was not reached, or could not answer.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Manager(LeaseManagerError::KubeError(error)) | Self::List(error) => match error {
                kube::Error::Api(status) => status.code == 429 || status.code >= 500,
                _ => true,
            },
            Self::Manager(_) => false,
        }
    }
}

impl Election {
    /// Waits until this process leads a shard. `seat` has its candidacy, also while it is not won yet; `reached` is called
    /// once the leases were read.
    ///
    /// # Errors
    /// When the leases can be neither read nor made.
    pub async fn win(
        &self,
        (client, clock): (&Client, &Clock),
        seat: &mut Option<Candidacy>,
        reached: impl Fn(),
    ) -> Result<Shard, LeaseError> {
        loop {
            if let Some(left) = seat.take() {
                left.withdraw().await;
            }
            let leases = self.leases(client).await?;
            reached();
            if let Some(shard) = self.choice(&leases, clock.now()) {
                let candidacy = seat.insert(self.join(client, shard).await?);
                if self.wins((client, clock), candidacy, shard).await? {
                    return Ok(shard);
                }
                if let Some(lost) = seat.take() {
                    lost.withdraw().await;
                }
            }
            sleep(LOOK + self.turn()).await;
        }
    }

    /// Name of a shard's lease.
    fn lease_of(&self, shard: Shard) -> String {
        match shard.place() {
            (_, 1) => self.name.clone(),
            (number, of) => format!("{}-{number}-of-{of}", self.name),
        }
    }

    async fn leases(&self, client: &Client) -> Result<Vec<Lease>, kube::Error> {
        let api: Api<Lease> = Api::namespaced(client.clone(), &self.namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// The shard to ask for; none while all have a holder, or while any of another number of shards has one.
    fn choice(&self, leases: &[Lease], now: Timestamp) -> Option<Shard> {
        if self.others_lead(leases, now) {
            return None;
        }
        let free = |shard: &Shard| {
            let name = self.lease_of(*shard);
            !leases.iter().any(|lease| lease.name_any() == name && is_held(lease, now))
        };
        // Processes that begin together do not all ask for the same one.
        let first = self.number() % usize::from(self.shards.get());
        Shard::all(self.shards).skip(first).chain(Shard::all(self.shards).take(first)).find(free)
    }

    /// Whether a lease is held by a process that divides the namespaces otherwise.
    fn others_lead(&self, leases: &[Lease], now: Timestamp) -> bool {
        leases.iter().any(|lease| {
            let of = self.shards_by(&lease.name_any());
            of.is_some_and(|of| of != self.shards.get()) && is_held(lease, now)
        })
    }

    /// How many shards there are by the name of a lease; None for leases of others.
    fn shards_by(&self, name: &str) -> Option<u16> {
        let rest = name.strip_prefix(&self.name)?;
        if rest.is_empty() {
            return Some(1);
        }
        let (number, of) = rest.strip_prefix('-')?.split_once("-of-")?;
        number.parse::<u16>().ok().and(of.parse().ok())
    }

    async fn join(&self, client: &Client, shard: Shard) -> Result<Candidacy, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client.clone(), self.lease_of(shard))
            .with_namespace(&self.namespace)
            .with_identity(&self.identity)
            .with_duration(DURATION.as_secs())
            .with_grace(GRACE.as_secs())
            // Two that take a lease at once are told apart by nothing else.
            .with_field_manager(format!("{MANAGER}-{}", digest(&self.identity.as_str().into(), 8)))
            .build()
            .await?;
        let (state, done) = manager.watch().await;
        Ok(Candidacy { state, done })
    }

    /// Waits until the lease is this process' own, and answers whether it may work then: not if another one was faster,
    /// nor beside processes that divide the namespaces otherwise.
    async fn wins(
        &self,
        (client, clock): (&Client, &Clock),
        candidacy: &mut Candidacy,
        shard: Shard,
    ) -> Result<bool, LeaseError> {
        let name = self.lease_of(shard);
        loop {
            let won = tokio::select! {
                led = candidacy.state.wait_for(|leads| *leads) => led.is_ok(),
                () = sleep(LOOK) => false,
            };
            let (leases, now) = (self.leases(client).await?, clock.now());
            if won {
                return Ok(!self.others_lead(&leases, now));
            }
            let lost = |lease: &Lease| {
                let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
                lease.name_any() == name && holder != Some(&self.identity) && is_held(lease, now)
            };
            if leases.iter().any(lost) || candidacy.done.is_finished() {
                return Ok(false);
            }
        }
    }

    /// A time below a second that tells processes apart.
    fn turn(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.number() % 1_000).unwrap_or_default())
    }

    fn number(&self) -> usize {
        usize::from_str_radix(&digest(&self.identity.as_str().into(), 8), 16).unwrap_or_default()
    }
}

/// Whether somebody holds the lease at a time, as far as the holder's clock agrees with that.
fn is_held(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let held = spec.holder_identity.as_ref().is_some_and(|holder| !holder.is_empty());
    let (Some(renewed), Some(seconds)) = (&spec.renew_time, spec.lease_duration_seconds) else { return false };
    held && now.duration_since(renewed.0) < SignedDuration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn election(shards: u16) -> Election {
        let shards = NonZeroU16::new(shards).unwrap();
        Election { namespace: "home".into(), name: "operator".into(), shards, identity: "me".into() }
    }

    /// A lease that was renewed so many seconds before now.
    fn lease(name: &str, holder: Option<&str>, age: i64) -> Lease {
        let renewed = NOW.parse::<Timestamp>().unwrap() - SignedDuration::from_secs(age);
        let renewed = format!("{renewed:.6}");
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
        }))
        .unwrap()
    }

    fn choice(shards: u16, leases: &[Lease]) -> Option<(u16, u16)> {
        election(shards).choice(leases, NOW.parse().unwrap()).map(Shard::place)
    }

    #[test]
    fn a_lease_is_asked_for_that_nobody_holds() {
        let all = ["operator-1-of-3", "operator-2-of-3", "operator-3-of-3"];
        for free in 0..3_usize {
            let with = |age, holder| {
                let held = all.iter().enumerate().map(|(index, name)| {
                    if index == free { lease(name, holder, age) } else { lease(name, Some("other"), 3) }
                });
                held.collect::<Vec<_>>()
            };
            let expected = Some((u16::try_from(free).unwrap() + 1, 3));
            assert_eq!(choice(3, &with(3, None)), expected, "given back");
            assert_eq!(choice(3, &with(3, Some(""))), expected, "given back");
            assert_eq!(choice(3, &with(15, Some("dead"))), expected, "ended");
            assert_eq!(choice(3, &with(14, Some("slow"))), None, "still good");
        }
        assert!(choice(3, &[]).is_some());
        assert_eq!(choice(1, &[lease("operator", Some("other"), 3)]), None);
        assert_eq!(choice(1, &[]), Some((1, 1)));
    }

    #[test]
    fn nothing_is_asked_for_while_others_divide_the_namespaces_otherwise() {
        for (shards, theirs) in
            [(1, "operator-2-of-4"), (2, "operator-2-of-4"), (4, "operator-1-of-2"), (4, "operator")]
        {
            assert_eq!(choice(shards, &[lease(theirs, Some("other"), 3)]), None, "{shards} beside {theirs}");
            assert!(choice(shards, &[lease(theirs, Some("other"), 20)]).is_some(), "{shards} after {theirs}");
            assert!(choice(shards, &[lease(theirs, None, 3)]).is_some(), "{shards} after {theirs}");
        }
        for name in ["another", "operator-b", "operator-b-1-of-4", "operators", "operator-x-of-4", "operator-1-of-x"] {
            assert!(choice(2, &[lease(name, Some("other"), 3)]).is_some(), "{name} is somebody else's");
        }
    }

    #[test]
    fn processes_that_begin_together_ask_for_different_ones() {
        let chosen = |identity: String| {
            let election = Election { identity, ..election(4) };
            election.choice(&[], NOW.parse().unwrap()).unwrap().place()
        };
        let chosen: std::collections::BTreeSet<_> = (0..40).map(|pod| chosen(format!("operator-{pod}"))).collect();
        assert_eq!(chosen.len(), 4);
    }
}
