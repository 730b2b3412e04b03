//! Leadership by Leases: of several processes one writes for each shard.
//!
//! A process takes one shard, the first that it finds without a holder, and keeps it to its end. A lease is held until nobody
//! has renewed it for as long as it is good, by the clock of whoever looks at it: what time its holder wrote is for people.
//! It is written only as it was read. Which namespaces a shard has depends on how many there are, so processes that were
//! started with another number of shards wait until none of these leases is held: each takes its own lease first and looks
//! for theirs then, so that of two that begin at the same time at least one sees the other.

mod sightings;

use std::{num::NonZeroU16, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    api::MANAGER,
    observe::{Clock, Shard},
    validate::digest::digest,
};

use super::fence::Fence;
use sightings::{Sightings, holder};

/// How long a lease is good for without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(7);
/// How long until a renewal that failed is tried again, and how long each request for it may take: there is time for two that hang.
const AGAIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);
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

/// Why a lease cannot be used.
#[derive(Debug, Error)]
pub enum LeaseError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {} s", PATIENCE.as_secs())]
    Silence,
}

impl LeaseError {
    /// Whether trying again may succeed without anybody's doing: the API server was not reached, or could not answer.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
            Self::Api(_) | Self::Silence => true,
        }
    }
}

/// Why a process does not lead any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Somebody else holds its lease.
    Taken,
    /// Somebody leads who divides the namespaces otherwise.
    Divided,
    /// The lease ended before it was renewed.
    Ended,
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Renewed,
    /// Somebody wrote the lease in between.
    Again,
    Lost(Lost),
}

/// A process in the election.
#[derive(Clone)]
pub struct Candidate {
    election: Election,
    api: Api<Lease>,
    clock: Clock,
    /// Opens while this process leads.
    fence: Fence,
    sightings: Sightings,
    /// The lease that was taken, as it was last written.
    own: Option<Lease>,
    /// When that was asked for.
    renewed: Instant,
}

impl Candidate {
    /// A process that writes behind the fence. The client is not behind it.
    pub fn new(election: Election, client: Client, clock: Clock, fence: Fence) -> Self {
        let api = Api::namespaced(client, &election.namespace);
        Self { election, api, clock, fence, sightings: Sightings::default(), own: None, renewed: Instant::now() }
    }

    /// Waits until this process leads a shard. `reached` is called once the leases were read.
    ///
    /// # Errors
    /// When the leases can be neither read nor made.
    pub async fn win(&mut self, reached: impl Fn()) -> Result<Shard, LeaseError> {
        loop {
            let leases = self.look().await?;
            reached();
            if let Some(shard) = self.choice(&leases)
                && self.takes(&leases, shard).await?
            {
                return Ok(shard);
            }
            sleep(LOOK + self.election.turn()).await;
        }
    }

    /// Renews the lease of a shard that was won until that fails for good.
    pub async fn keep(&mut self, shard: Shard) -> Lost {
        loop {
            sleep_until(self.renewed + RENEWAL).await;
            loop {
                match self.renew(shard).await {
                    Ok(Renewal::Renewed) => break,
                    Ok(Renewal::Lost(why)) => return why,
                    Ok(Renewal::Again) => {}
                    Err(error) => tracing::warn!(%error, "the lease was not renewed; it is tried again"),
                }
                sleep(AGAIN).await;
            }
            if self.is_divided().await {
                return Lost::Divided;
            }
        }
    }

    /// Gives back what this process holds, and answers whether that was something.
    ///
    /// # Errors
    /// The lease ends by itself then.
    pub async fn give_back(&mut self) -> Result<bool, LeaseError> {
        self.fence.shut();
        loop {
            let leases = self.look().await?;
            let own = leases.iter().find(|lease| {
                self.election.shards_by(&lease.name_any()).is_some() && holder(lease) == Some(&self.election.identity)
            });
            let Some(own) = own else { return Ok(false) };
            // A last renewal may still have been under way, so that it is another one by now.
            if self.write(own, json!({"holderIdentity": null})).await?.is_some() {
                return Ok(true);
            }
        }
    }

    async fn look(&mut self) -> Result<Vec<Lease>, LeaseError> {
        let leases = self.api.list(&ListParams::default()).await?.items;
        self.sightings.note(&leases, Instant::now());
        Ok(leases)
    }

    /// The shard to ask for; none while all have a holder, or while any of another number of shards has one.
    fn choice(&self, leases: &[Lease]) -> Option<Shard> {
        if self.others_lead(leases) {
            return None;
        }
        let now = Instant::now();
        // One that is its own already was taken by a write whose answer was lost.
        let of_others =
            |lease: &Lease| holder(lease) != Some(&self.election.identity) && self.sightings.is_held(lease, now);
        let free = |shard: &Shard| !self.election.find(leases, *shard).is_some_and(of_others);
        self.election.in_turn().find(free)
    }

    /// Whether a lease is held by a process that divides the namespaces otherwise.
    fn others_lead(&self, leases: &[Lease]) -> bool {
        let now = Instant::now();
        leases.iter().any(|lease| {
            let of = self.election.shards_by(&lease.name_any());
            of.is_some_and(|of| of != self.election.shards.get()) && self.sightings.is_held(lease, now)
        })
    }

    /// Takes a lease, and answers whether this process may work then: not if another one was faster, nor beside processes
    /// that divide the namespaces otherwise.
    async fn takes(&mut self, leases: &[Lease], shard: Shard) -> Result<bool, LeaseError> {
        let asked = Instant::now();
        self.own = self.claim(self.election.find(leases, shard), shard).await?;
        if self.own.is_none() {
            return Ok(false);
        }
        let leases = self.look().await?;
        if self.others_lead(&leases) {
            self.give_back().await?;
            return Ok(false);
        }
        // There has to be time for a renewal, which is due at once if this took long.
        if asked.elapsed() > DURATION.saturating_sub(PATIENCE) {
            tracing::warn!("the API server takes too long to answer about a lease: it is given back");
            self.give_back().await?;
            return Ok(false);
        }
        self.fence.opens(asked + DURATION);
        self.renewed = asked;
        Ok(true)
    }

    /// Whether somebody leads who divides the namespaces otherwise. Who cannot be seen now is looked for with the next renewal.
    async fn is_divided(&mut self) -> bool {
        in_time(self.look()).await.is_ok_and(|leases| self.others_lead(&leases))
    }

    async fn renew(&mut self, shard: Shard) -> Result<Renewal, LeaseError> {
        let asked = Instant::now();
        if let Some(written) = in_time(self.claim(self.own.as_ref(), shard)).await? {
            (self.own, self.renewed) = (Some(written), asked);
            let extended = self.fence.extends(asked + DURATION);
            return Ok(if extended { Renewal::Renewed } else { Renewal::Lost(Lost::Ended) });
        }
        let leases = in_time(self.look()).await?;
        self.own = self.election.find(&leases, shard).cloned();
        let lost = self.own.as_ref().is_some_and(|lease| holder(lease) != Some(&self.election.identity));
        Ok(if lost { Renewal::Lost(Lost::Taken) } else { Renewal::Again })
    }

    /// Writes this process into the lease of a shard as it was read, and answers how it is then, if it still was so.
    async fn claim(&self, lease: Option<&Lease>, shard: Shard) -> Result<Option<Lease>, LeaseError> {
        let term = self.election.term(lease, self.clock.now());
        match lease {
            Some(lease) => self.write(lease, term).await,
            None => {
                let lease = json!({"metadata": {"name": self.election.lease_of(shard)}, "spec": term});
                let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
                let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
                unless(&[409], self.api.create(&params, &lease).await)
            }
        }
    }

    async fn write(&self, lease: &Lease, spec: Value) -> Result<Option<Lease>, LeaseError> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = json!({"metadata": {"resourceVersion": lease.resource_version()}, "spec": spec});
        unless(&[404, 409], self.api.patch(&lease.name_any(), &params, &Patch::Merge(&patch)).await)
    }
}

/// What was written; None if the answer says that it is another one by now.
fn unless(changed: &[u16], written: Result<Lease, kube::Error>) -> Result<Option<Lease>, LeaseError> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if changed.contains(&status.code) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, LeaseError>>) -> Result<T, LeaseError> {
    timeout(PATIENCE, asked).await.unwrap_or(Err(LeaseError::Silence))
}

impl Election {
    /// Name of a shard's lease.
    fn lease_of(&self, shard: Shard) -> String {
        match shard.place() {
            (_, 1) => self.name.clone(),
            (number, of) => format!("{}-{number}-of-{of}", self.name),
        }
    }

    /// A shard's lease among others.
    fn find<'a>(&self, leases: &'a [Lease], shard: Shard) -> Option<&'a Lease> {
        let name = self.lease_of(shard);
        leases.iter().find(|lease| lease.name_any() == name)
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

    /// All shards; processes that begin together do not all begin with the same one.
    fn in_turn(&self) -> impl Iterator<Item = Shard> {
        let first = self.number() % usize::from(self.shards.get());
        Shard::all(self.shards).skip(first).chain(Shard::all(self.shards).take(first))
    }

    /// What a lease says while this process holds it, after another one or after itself.
    fn term(&self, lease: Option<&Lease>, now: Timestamp) -> Value {
        let mut spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION.as_secs(),
            "renewTime": MicroTime(now),
        });
        if lease.is_none_or(|lease| holder(lease) != Some(&self.identity)) {
            let before = |lease: &Lease| lease.spec.as_ref()?.lease_transitions;
            spec["acquireTime"] = json!(MicroTime(now));
            spec["leaseTransitions"] = lease.map_or(0, |it| before(it).unwrap_or(0).saturating_add(1)).into();
        }
        spec
    }

    /// A time below a second that tells processes apart.
    fn turn(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.number() % 1_000).unwrap_or_default())
    }

    fn number(&self) -> usize {
        usize::from_str_radix(&digest(&self.identity.as_str().into(), 8), 16).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
