//! Apply: writes the planned objects, in order, then removes what may go. Skips what is already so.

mod confirm;
pub mod diff;
pub mod error;
mod failure;
mod owners;
mod rivals;
mod send;

use std::{borrow::Cow, sync::Arc, time::Duration};

use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, Patch, PatchParams, Preconditions},
    core::{DynamicObject, DynamicResourceScope},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    api::{MANAGER, RouteMarks, labels},
    observe::{
        Caches, ChildRef, Key, Lean, Source, Written,
        child::Child,
        facts::mark_of,
        ownership::{belongs, is_offered},
    },
    plan::{
        object::{Kind, Object},
        resources::OCCASIONAL_LABELS,
    },
    validate::Identity,
};

pub use error::Error;
pub use failure::{Failure, spares_removal, spares_routes};

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub created: Vec<(Kind, String)>,
    pub changed: Vec<(Kind, String)>,
    pub removed: Vec<(Kind, String)>,
    /// Of the VirtualService and the DestinationRule, if they were written.
    pub marks: RouteMarks,
}

impl Applied {
    /// Whether nothing had to be written.
    pub fn is_empty(&self) -> bool {
        let Self { created, changed, removed, marks: _ } = self;
        created.is_empty() && changed.is_empty() && removed.is_empty()
    }

    fn mark(&mut self, kind: Kind, answer: &DynamicObject) {
        let mark = || serde_json::to_value(answer).ok().as_ref().and_then(mark_of);
        match kind {
            Kind::VirtualService => self.marks.virtual_service = mark(),
            Kind::DestinationRule => self.marks.destination_rule = mark(),
            _ => {}
        }
    }
}

/// Writes children of Microservices.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    caches: Arc<Caches>,
    settled: Arc<diff::Settled>,
    confirmed: Arc<confirm::Confirmed>,
}

/// The version that an object has which is only to be made: the API server makes what is not there whatever version is given, and
/// tells a conflict of what is there in another one. None has this one, the first of an empty store.
const NONE_THERE: &str = "1";

/// How long an API server may take to answer a read that said nothing to a write.
const PATIENCE: Duration = Duration::from_secs(5);

/// How an object is written, given what is there.
#[derive(Debug, PartialEq, Eq)]
enum Write {
    /// Nothing is there: what appears meanwhile is left alone.
    Create,
    /// It is ours and differs: with force, on just this uid, and for routes on just this version.
    Change { uid: String, resource_version: Option<String> },
}

impl Applier {
    pub fn new(client: Client, caches: Arc<Caches>) -> Self {
        Self { client, caches, settled: Arc::default(), confirmed: Arc::default() }
    }

    /// Applies the objects in their order, then deletes the removals in theirs. Answers what was written, and what was not.
    /// An object that is refused for itself leaves the others to be written, or a refused Deployment would stop a failover;
    /// one that says where requests go does if the routes can do without. One that is not answered leaves only those to be
    /// written that say where requests go: each of the others may take as long. After any other error nothing more is written.
    /// What is not deleted after an error, see [`spares_removal`]. `seen` is the version of the Microservice that was decided on.
    pub async fn apply(
        &self,
        (identity, seen): (&Identity, &str),
        objects: &[Object],
        removals: &[ChildRef],
    ) -> (Applied, Option<Failure>) {
        let mut applied = Applied::default();
        let (mut refused, mut asked, mut silent) = (Vec::new(), false, false);
        for object in objects {
            if silent && !object.kind.guards_traffic() {
                continue;
            }
            let written = self.apply_one((identity, seen), object, (&mut applied, &mut asked)).await;
            let Err(error) = written else { continue };
            if !spares_routes(&error, object, objects, || self.own(identity, object)) {
                return (applied, Some(Failure::stopped(error)));
            }
            if error.is_unanswered() {
                silent = true;
                if !self.goes_on((identity, seen), &mut asked).await {
                    return (applied, Some(Failure::stopped(error)));
                }
            }
            refused.push(error);
        }
        let of = Key::new(&identity.namespace, &identity.name);
        self.settled.keep(&of, |(kind, name)| objects.iter().any(|it| it.kind == *kind && it.name == *name));
        let removals: Vec<_> = removals.iter().filter(|child| spares_removal(&refused, child.kind)).collect();
        for child in removals {
            // Of what is history, nothing is lost but that.
            let anew = child.kind != Kind::ControllerRevision;
            let confirmed = self.confirmed.confirm(&self.client, (identity, seen), anew, &mut asked).await;
            let removed = match confirmed {
                Ok(()) => self.remove(identity, child).await,
                unconfirmed => unconfirmed,
            };
            match removed {
                Ok(()) => applied.removed.push((child.kind, child.name.clone())),
                // What is planned is written by now, but routes that stay lead where they did.
                Err(error) if (error.is_of_one() || error.is_unanswered()) && !child.kind.guards_traffic() => {
                    refused.push(error);
                    return (applied, Failure::beside(refused));
                }
                Err(error) => return (applied, Some(Failure::stopped(error))),
            }
        }
        (applied, Failure::beside(refused))
    }

    /// Whether to go on after a write that was not answered: the API server does answer, and the Microservice is still as it was
    /// before that.
    async fn goes_on(&self, of: (&Identity, &str), asked: &mut bool) -> bool {
        *asked = false;
        let confirmed = self.confirmed.confirm(&self.client, of, true, asked);
        matches!(timeout(PATIENCE, confirmed).await, Ok(Ok(())))
    }

    /// What is live of an object, if it is the Microservice's own and stays.
    fn own(&self, identity: &Identity, object: &Object) -> Option<Value> {
        let live = self.caches.child(object.kind, &Key::new(&identity.namespace, &object.name))?;
        (belongs(&live, identity) && !live.deleting).then(|| live.object.open())
    }

    /// Forgets a Microservice that is gone.
    pub fn forget(&self, of: &Key) {
        self.settled.forget(of);
        self.confirmed.forget(of);
    }

    async fn apply_one(
        &self,
        (identity, seen): (&Identity, &str),
        object: &Object,
        (applied, asked): (&mut Applied, &mut bool),
    ) -> Result<(), Error> {
        let key = Key::new(&identity.namespace, &object.name);
        let live = self.caches.child(object.kind, &key);
        let watched = watched(object);
        let digest = diff::digest(&watched);
        let Some(write) = self.decide(identity, object, (&watched, digest), live.as_deref())? else { return Ok(()) };
        if write == Write::Create && object.is_without_content() {
            return Err(Error::Leaving { kind: object.kind, name: object.name.clone() });
        }
        self.confirmed.confirm(&self.client, (identity, seen), write == Write::Create, asked).await?;
        let desired = diff::stamped(&watched, digest);
        let (mut params, mut body) = (PatchParams::apply(MANAGER), desired.clone());
        match &write {
            Write::Create => {
                body = object.value.clone();
                body["metadata"] = desired["metadata"].clone();
                body["metadata"]["resourceVersion"] = json!(NONE_THERE);
            }
            Write::Change { uid, resource_version } => {
                params = params.force();
                body["metadata"]["uid"] = json!(uid);
                if let Some(version) = resource_version {
                    body["metadata"]["resourceVersion"] = json!(version);
                }
            }
        }
        let round = self.caches.rounds(Source::Children(object.kind));
        let api = self.api(object.kind, &identity.namespace);
        // What is applied without its content would lose it.
        let merges = object.kind.by_metadata() && write != Write::Create;
        let answer = if merges {
            params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            api.patch(&object.name, &params, &Patch::Merge(&with_labels_that_go(body))).await.map(|Lean(answer)| answer)
        } else {
            send::send(
                (&api, &self.api(object.kind, &identity.namespace)),
                &object.name,
                &params,
                body,
                live.as_deref(),
            )
            .await
        };
        let answer = answer.map_err(|source| Error::write(object.kind, &object.name, source))?;
        self.note(identity, object, &desired, &answer, round);
        applied.mark(object.kind, &answer);
        match write {
            Write::Create => applied.created.push((object.kind, object.name.clone())),
            Write::Change { .. } => applied.changed.push((object.kind, object.name.clone())),
        }
        Ok(())
    }

    /// How the object is to be written; None if it is as it should be.
    fn decide(
        &self,
        identity: &Identity,
        object: &Object,
        (watched, digest): (&Value, u64),
        live: Option<&Child>,
    ) -> Result<Option<Write>, Error> {
        let Some(live) = live else { return Ok(Some(Write::Create)) };
        let ours = belongs(live, identity);
        // What is somebody else's may be on its way for as long as its finalizers like.
        if !ours && !is_offered(live, identity) {
            return Err(Error::Foreign { kind: object.kind, name: object.name.clone() });
        }
        if live.deleting {
            return Err(Error::Leaving { kind: object.kind, name: object.name.clone() });
        }
        let is_so = |live: &Value| {
            let of = Key::new(&identity.namespace, &identity.name);
            self.settled.is_so(&of, &(object.kind, object.name.clone()), &diff::stamped(watched, digest), live)
        };
        if ours && live.object.is_as(digest, is_so) {
            return Ok(None);
        }
        let guarded = object.kind.guards_traffic();
        let resource_version = guarded.then(|| live.resource_version.clone());
        Ok(Some(Write::Change { uid: live.uid.clone(), resource_version }))
    }

    fn note(&self, identity: &Identity, object: &Object, desired: &Value, answer: &DynamicObject, round: u64) {
        let of = Key::new(&identity.namespace, &identity.name);
        let answered = serde_json::to_value(answer).unwrap_or_default();
        self.settled.note(&of, &(object.kind, object.name.clone()), desired, &answered);
        let written =
            Written::Applied { resource_version: answer.metadata.resource_version.clone().unwrap_or_default(), round };
        self.caches.expect(&of, Source::Children(object.kind), Key::new(&identity.namespace, &object.name), written);
    }

    async fn remove(&self, identity: &Identity, child: &ChildRef) -> Result<(), Error> {
        let preconditions = Preconditions { uid: Some(child.uid.clone()), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        let api: Api<Lean<DynamicObject>> = self.api(child.kind, &identity.namespace);
        match api.delete(&child.name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // A conflict need not be about the uid: the object may still be there, and would be waited for in vain.
            Err(source) => return Err(Error::write(child.kind, &child.name, source)),
        }
        self.caches.expect(
            &Key::new(&identity.namespace, &identity.name),
            Source::Children(child.kind),
            Key::new(&identity.namespace, &child.name),
            Written::Deleted { uid: child.uid.clone() },
        );
        Ok(())
    }

    /// Answers are read as `K`: leanly, or with who owns what.
    fn api<K>(&self, kind: Kind, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        Api::namespaced_with(self.client.clone(), namespace, &kind.api_resource())
    }
}

/// The part of an object that the caches see.
fn watched(object: &Object) -> Cow<'_, Value> {
    if !object.kind.by_metadata() {
        return Cow::Borrowed(&object.value);
    }
    let fields = ["apiVersion", "kind", "metadata"].into_iter();
    Cow::Owned(fields.filter_map(|field| Some((field.to_owned(), object.value.get(field)?.clone()))).collect())
}

/// What is merged, with the labels that are not wanted: unlike an apply, a merge takes away only what it names.
fn with_labels_that_go(mut body: Value) -> Value {
    if let Some(labels) = body.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        for label in OCCASIONAL_LABELS {
            labels.entry(label).or_insert(Value::Null);
        }
    }
    body
}

/// The digest that marks what was last applied.
pub(crate) fn applied_mark(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(labels::APPLIED)?.as_str()
}

#[cfg(test)]
mod tests;
