//! Reconciling one Microservice: the pipeline, step by step.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use kube::{Client, core::DeserializeGuard, runtime::controller::Action};
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    api::{Hook, Microservice, MicroserviceStatus},
    apply::{self, Applier},
    observe::{self, Caches, Clock, Key, Observed, Written},
    outside::Desk,
    plan::{
        Plan, Settings,
        configuration::{Source, Sources, contents},
        plan,
        rollout::orders,
        times,
    },
    status::{self, Outcome, compute::Subject},
    telemetry::Metrics,
    validate::{Identity, resolve},
};

use super::{
    CACHE_WAIT, Options,
    accept::{Accepted, accept, settle, spare},
    actions,
    backoff::{Backoff, PASSING, REFUSED},
    configuration,
    pace::Pace,
    places::Places,
    teller::Teller,
};

/// Changes of mere counts, or of the words of a refusal, are written at most this often.
const COUNTS_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// How long until what could not be read or answered is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// How long a status that comes before the routes is waited for.
const TELL_FIRST: Duration = Duration::from_secs(5);
/// How soon what is due is looked at after something was refused.
const DUE_AGAIN: Duration = Duration::from_secs(1);

/// What every reconciliation needs.
pub struct Context {
    client: Client,
    caches: Arc<Caches>,
    applier: Applier,
    settings: Settings,
    backoff: Backoff,
    pace: Pace,
    metrics: Arc<Metrics>,
    clock: Clock,
    desk: Desk,
    teller: Teller,
    places: Places,
    /// When each status was last written.
    written: Mutex<HashMap<Key, Timestamp>>,
}

impl Context {
    pub fn new(client: Client, caches: Arc<Caches>, desk: Desk, options: &Options) -> Self {
        Self {
            applier: Applier::new(client.clone(), caches.clone()),
            settings: options.settings.clone(),
            metrics: options.metrics.clone(),
            clock: options.clock.clone(),
            backoff: Backoff::counted_in(options.metrics.failing()),
            pace: Pace::default(),
            places: options.places.clone(),
            written: Mutex::default(),
            teller: Teller::new(client.clone(), &options.instance, options.office.clone()),
            desk,
            client,
            caches,
        }
    }
}

impl Context {
    /// What a look remembers of a Microservice that went meanwhile would be kept for good.
    fn forget_if_gone(&self, key: &Key) {
        if !self.caches.microservices.contains(key) {
            self.forget(key);
        }
    }

    /// Forgets a Microservice that is gone.
    pub fn forget(&self, key: &Key) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.backoff.succeeded(key);
        self.pace.forget(key);
        self.places.slow.forget(key);
        self.caches.forget(key);
        self.applier.forget(key);
        self.desk.forget(key);
        self.teller.forget(key);
    }
}

/// Why a reconciliation must be tried again.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{error}")]
    Apply {
        #[source]
        error: apply::Error,
        /// When what it does not hold up goes on.
        next: Option<Timestamp>,
    },
    #[error("cannot write the status: {0}")]
    Status(#[source] Box<kube::Error>),
    #[error("the object cannot be read: {0}")]
    Unreadable(String),
}

/// Reconciles one Microservice: accept → observe → plan → apply → status → requeue.
pub async fn reconcile(object: Arc<DeserializeGuard<Microservice>>, context: Arc<Context>) -> Result<Action, Error> {
    let _one_of_all = context.places.one().await;
    if let Some(wait) = put_off(&object, &context) {
        context.metrics.put_off();
        return Ok(Action::requeue(wait));
    }
    let key = Key::of(object.as_ref());
    let Some(_place) = context.places.slow.enter(&key) else {
        context.metrics.put_off();
        return Ok(Action::await_change());
    };
    let started = Instant::now();
    let result = run(&object, &context).await;
    context.metrics.reconciled(started.elapsed(), &result.as_ref().map(|_| ()).map_err(ToString::to_string));
    context.places.slow.looked(&key, result.is_err().then(|| started.elapsed()));
    // What follows an error is the error policy's.
    if result.is_ok() {
        context.backoff.succeeded(&key);
        context.forget_if_gone(&key);
    }
    result
}

/// How long a look has to wait: for the pace, or for caches that have seen what was written.
fn put_off(object: &DeserializeGuard<Microservice>, context: &Context) -> Option<Duration> {
    let newest = object.0.as_ref().ok().filter(|newest| newest.metadata.deletion_timestamp.is_none())?;
    let key = Key::of(newest);
    context.pace.wait(&key, generation_of(newest), Instant::now()).or_else(|| {
        let version = newest.metadata.resource_version.as_deref();
        let current = context.caches.served() && context.caches.are_current(&key, version);
        (!current).then_some(CACHE_WAIT)
    })
}

fn generation_of(newest: &Microservice) -> i64 {
    newest.metadata.generation.unwrap_or_default()
}

fn version_of(newest: &Microservice) -> &str {
    newest.metadata.resource_version.as_deref().unwrap_or_default()
}

async fn run(object: &DeserializeGuard<Microservice>, context: &Context) -> Result<Action, Error> {
    let newest = object.0.as_ref().map_err(|invalid| Error::Unreadable(invalid.error.clone()))?;
    let key = Key::of(newest);
    if newest.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = context.clock.now();
    let identity = resolve::resolve(newest, context.settings.provider).identity;
    let old = newest.status.clone().unwrap_or_default();
    let accepted = accept(newest, context.settings.provider, || context.caches.accepted_spec(&identity, &old));
    let mut sources = Sources::new();
    let settled = match accepted {
        Ok(accepted) => {
            let needed = context.caches.configuration(&accepted.service, &old);
            let last = if needed.is_empty() { None } else { context.caches.accepted_spec(&identity, &old) };
            let copies = last.as_ref().map(|last| last.copies.clone()).unwrap_or_default();
            sources = configuration::read(&context.client, &context.caches, &identity, &needed, &copies).await;
            settle(accepted, newest, context.settings.provider, (&needed, &sources), last).map(|settled| {
                let last = || context.caches.accepted_spec(&identity, &old);
                spare(settled, newest, context.settings.provider, |service| context.caches.cut_off(service), last)
            })
        }
        refused => refused,
    };
    let unread = sources.values().any(|source| matches!(source, Source::Unread(_)));
    let Accepted { spec, service, invalid } = match settled {
        Ok(accepted) => accepted,
        Err(invalid) => {
            let subject = Subject { generation: identity.generation, service: None, observed: None, now };
            let new = status::compute(&old, subject, &Outcome::Refused { invalid: &invalid });
            let concluded =
                conclude(context, (newest, version_of(newest), &[]), &identity, (&old, &new), None, now).await?;
            let never = || "no spec of the Microservice was ever accepted: nothing of it runs".into();
            let why = status::lost_spec(&old).unwrap_or_else(never);
            let refusals = orders::refuse(&context.caches.orders_about(&identity), old.rollout.as_ref(), &why);
            let told = actions::conclude(&context.client, &context.caches, &identity, &refusals).await;
            let done = told && !unread && concluded != Concluded::Lost;
            return Ok(if done { Action::await_change() } else { Action::requeue(TRY_AGAIN) });
        }
    };
    let service = context.caches.with_older_revisions(service, &old, now);
    let contents = contents(&identity, sources);
    let replies = context.desk.replies(&key);
    let refused = context.backoff.waits_for_a_person(&key);
    let first = !context.pace.knows(&key);
    let seen = context.caches.observe(&service, times::not_ahead(old.clone(), now));
    let observed = Observed { contents, replies, refused, first, ..seen };
    let mut planned = plan(&service, &spec, &observed, &context.settings, now);
    let judged = planned.judged(&old);
    let told = match &judged {
        Some(judged) => tell_first(context, newest, &identity, judged, now).await,
        None => None,
    };
    let seen = told.as_deref().unwrap_or(version_of(newest));
    let old = judged.filter(|_| told.is_some()).unwrap_or(old);
    let (applied, failed) = context.applier.apply((&identity, seen), &planned.objects, &planned.removals).await;
    let failed = match failed {
        Some(failure) if failure.first.passes() && !context.backoff.lasts(&key, now) => {
            return Err(Error::Apply { error: failure.first, next: None });
        }
        other => other,
    };
    if !applied.is_empty() {
        planned.written_at(now, context.clock.now());
        planned.marked(&applied.marks);
    }
    let subject = Subject { generation: identity.generation, service: Some(&service), observed: Some(&observed), now };
    let outcome = match &failed {
        None => Outcome::Applied { plan: &planned, invalid: invalid.as_ref() },
        Some(failure) => Outcome::Failed { plan: &planned, invalid: invalid.as_ref(), failure },
    };
    let new = status::compute(&old, subject, &outcome);
    let routed = failed.as_ref().is_none_or(|failure| failure.routed);
    let hooks = service.rollout.as_ref().map(|policy| policy.webhooks.as_slice()).unwrap_or_default();
    let concluded =
        conclude(context, (newest, seen, hooks), &identity, (&old, &new), Some(&planned).filter(|_| routed), now).await;
    let now = context.clock.now();
    context.teller.tell((newest, hooks), &identity, &new, status::removals(&applied), now).await;
    let concluded = concluded?;
    // What was to be asked under a status that nobody will read must not be asked.
    if routed && concluded != Concluded::Lost {
        context.desk.ask(&key, std::mem::take(&mut planned.inquiries));
    }
    let due = if let Concluded::Due(at) = concluded { Some(at) } else { None };
    // Nor is anybody answered by what no status says.
    let told = !routed
        || (concluded != Concluded::Lost
            && actions::conclude(&context.client, &context.caches, &identity, &planned.answers).await);
    let again = now.checked_add(TRY_AGAIN).ok().filter(|_| unread || !told);
    let next = [planned.next, due, again].into_iter().flatten().min();
    context.pace.looked(&key, generation_of(newest), Instant::now(), routed);
    match failed {
        None => Ok(next.map_or_else(Action::await_change, |at| Action::requeue(until(at, now)))),
        Some(failure) => {
            let next = next.filter(|_| failure.routed);
            Err(Error::Apply { error: failure.first, next })
        }
    }
}

/// Writes why the rollout ends, before anything acts upon it. Answers the resourceVersion since then; None if it could not be
/// written, as the definition of the kind may be an older one: no version that fails keeps its weight by that, or waits for long.
async fn tell_first(
    context: &Context,
    newest: &Microservice,
    identity: &Identity,
    judged: &MicroserviceStatus,
    now: Timestamp,
) -> Option<String> {
    match timeout(TELL_FIRST, write(context, (newest, version_of(newest)), identity, judged, now)).await {
        Ok(Ok(version)) => version,
        Ok(Err(error)) => {
            tracing::warn!(microservice = %Key::of(newest), %error, "the weights go back all the same");
            None
        }
        Err(_) => {
            tracing::warn!(microservice = %Key::of(newest), "no answer to its status; the weights go back all the same");
            None
        }
    }
}

/// Writes a status on just what was `seen`, a resourceVersion. Answers the next one; None when the Microservice has changed or
/// is gone, as far as a conflict tells.
async fn write(
    context: &Context,
    (newest, seen): (&Microservice, &str),
    identity: &Identity,
    status: &MicroserviceStatus,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let key = Key::of(newest);
    let round = context.caches.rounds(observe::Source::Microservices);
    let resource_version = match status::write::write(&context.client, (identity, seen), status).await {
        Ok(version) => version,
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => return Ok(None),
        Err(source) => return Err(Error::Status(Box::new(source))),
    };
    context.written.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), now);
    let written = Written::Applied { resource_version: resource_version.clone(), round };
    context.caches.expect(&key, observe::Source::Microservices, key.clone(), written);
    Ok(Some(resource_version))
}

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concluded {
    /// It says what it should, but for the words of a refusal.
    Written,
    /// A change that can wait is due then.
    Due(Timestamp),
    /// The Microservice has changed or is gone, as far as a conflict tells: it has to be looked at anew.
    Lost,
}

/// Writes the status, unless nothing changed or the change can wait, and tells the events: to the cluster, and to the
/// webhooks that want them.
async fn conclude(
    context: &Context,
    (newest, seen, hooks): (&Microservice, &str, &[Hook]),
    identity: &Identity,
    (old, new): (&MicroserviceStatus, &MicroserviceStatus),
    plan: Option<&Plan>,
    now: Timestamp,
) -> Result<Concluded, Error> {
    if old == new {
        return Ok(Concluded::Written);
    }
    let key = Key::of(newest);
    let last = context.written.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
    let due = last.and_then(|last| last.checked_add(COUNTS_EVERY).ok()).filter(|due| *due > now);
    if let Some(due) = due
        && status::counts_only(old, new)
    {
        // A look that is due for other words would be refused in others again.
        return Ok(if status::is_reworded(old, new) { Concluded::Written } else { Concluded::Due(due) });
    }
    if write(context, (newest, seen), identity, new, now).await?.is_none() {
        return Ok(Concluded::Lost);
    }
    let (notices, now) = (status::notices(old, new, plan), context.clock.now());
    context.teller.tell((newest, hooks), identity, new, notices, now).await;
    Ok(Concluded::Written)
}

/// How long to wait for a time.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default().max(Duration::from_millis(10))
}

/// A wait that ends when something is due before; what is due already may be what failed, and is not tried without end.
fn sooner(wait: Duration, due: Option<Timestamp>, now: Timestamp) -> Duration {
    due.map_or(wait, |due| wait.min(until(due, now).max(DUE_AGAIN)))
}

/// What follows an error: a conflict is looked at again at once, an unreadable object waits for a change, the rest
/// backs off, but for what is due before and is not held up by it.
pub fn error_policy(object: Arc<DeserializeGuard<Microservice>>, error: &Error, context: Arc<Context>) -> Action {
    let key = Key::of(object.as_ref());
    let action = after_error(&key, error, &context);
    context.forget_if_gone(&key);
    action
}

fn after_error(key: &Key, error: &Error, context: &Context) -> Action {
    match error {
        Error::Unreadable(why) => {
            tracing::error!(microservice = %key, "cannot be read, its children stay as they are: {why}");
            context.backoff.failed(key, REFUSED);
            Action::await_change()
        }
        Error::Apply { error, .. } if error.passes() => {
            let now = context.clock.now();
            let wait = context.backoff.passing(key, now);
            if context.backoff.lasts(key, now) {
                tracing::warn!(microservice = %key, %error, ?wait, "it does not pass; tried again");
            } else {
                tracing::debug!(microservice = %key, %error, "tried again");
            }
            Action::requeue(wait)
        }
        Error::Apply { .. } | Error::Status(_) => {
            let (waits_for_a_person, next) = match error {
                Error::Apply { error, next } => (error.needs_a_person(), *next),
                _ => (false, None),
            };
            if matches!(error, Error::Status(_)) {
                // The API server may have been away for long: what there is then is looked at as if for the first time.
                context.pace.forget(key);
            }
            let wait = context.backoff.failed(key, if waits_for_a_person { REFUSED } else { PASSING });
            let wait = sooner(wait, next, context.clock.now());
            tracing::warn!(microservice = %key, %error, ?wait, "tried again");
            Action::requeue(wait)
        }
    }
}

#[cfg(test)]
mod tests;
