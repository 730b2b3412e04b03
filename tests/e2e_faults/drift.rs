//! Campaign 6: somebody changes every single field that the operator sets on its children, or takes it away, one of
//! each child at a time, and it is put back. What somebody adds stays where it decides nothing. A child that is taken
//! from its owner is left alone until it is handed over.

mod added;
mod fields;
mod owners;
mod refused;

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, PostParams},
};
use microservice_operator::plan::object::Kind;
use serde_json::Value;

use crate::{
    campaign,
    refusals::put,
    stage::Stage,
    story::{self, Chapter},
    support::{Space, cluster, eventually, run},
};
use fields::{Field, Owned, changed, remove};
use refused::{may_be_refused, without_numbers};

/// A service with as many settings as simulated nodes can carry, and what it refers to.
const RICH: &str = include_str!("drift/rich.yaml");
/// How the API server says that it does not take something.
const REFUSED: [u16; 3] = [400, 403, 422];
/// To how many fields of each child something is done, in the short part.
const SHORT: usize = 4;

/// A namespace in which three services are at rest: a plain one, a rich one, and one of an image that is set up by a
/// ConfigMap.
async fn at_rest() -> Stage {
    let stage = Stage::within(Space::unwatched(cluster(), "drift").await).await;
    let space = &stage.space;
    let documents: Vec<Value> = serde_yaml::from_multiple(&RICH.replace("NAMESPACE", &space.name)).unwrap();
    for object in &documents {
        put(&space.client, object).await;
    }
    for chapter in [Chapter::Create, Chapter::Image] {
        story::begin(space, chapter).await;
    }
    for chapter in [Chapter::Create, Chapter::Image] {
        story::end(space, chapter).await;
    }
    space.ready("rich").await;
    stage.settles().await;
    stage
}

/// What somebody does to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Changed,
    Removed,
}

impl Deed {
    /// What it is done to, of an object.
    fn fields(self, object: &DynamicObject) -> Vec<Field> {
        let Owned { fields, parts } = Owned::of(object);
        match self {
            Self::Changed => fields.into_iter().collect(),
            Self::Removed => fields.into_iter().chain(parts).collect(),
        }
    }

    fn done(self, object: &mut Value, field: &str) {
        match self {
            Self::Changed => {
                if let Some(found) = object.pointer_mut(field) {
                    *found = changed(found);
                }
            }
            Self::Removed => drop(remove(object, field)),
        }
    }
}

/// What came of it.
enum Came {
    Taken,
    /// The API server took it, and the object is what it was: a default has come in its place.
    Unchanged,
    Refused,
}

/// A child of a Microservice.
#[derive(Clone)]
struct Child {
    kind: Kind,
    /// The Microservice.
    owner: String,
    api: Api<DynamicObject>,
    /// As it was at first.
    object: DynamicObject,
}

impl Child {
    fn name(&self) -> String {
        self.object.name_any()
    }

    fn told(&self) -> String {
        format!("{:?}/{}", self.kind, self.name())
    }

    /// Replaces the child as it is by what the deed makes of it; answers it as it was and as it is then.
    async fn replaced(&self, deed: impl Fn(&mut Value)) -> Result<(DynamicObject, DynamicObject), kube::Error> {
        let params = PostParams { field_manager: Some("somebody".into()), ..PostParams::default() };
        loop {
            let before = self.api.get(&self.name()).await.unwrap();
            let mut value = serde_json::to_value(&before).unwrap();
            deed(&mut value);
            let object: DynamicObject = serde_json::from_value(value).unwrap();
            match self.api.replace(&self.name(), &params, &object).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                answer => return answer.map(|after| (before, after)),
            }
        }
    }

    /// Does something to a field.
    async fn drifts(&self, deed: Deed, field: &str) -> Came {
        let answer = self.replaced(|object| {
            assert!(object.pointer(field).is_some(), "{}{field} is not there any more", self.told());
            deed.done(object, field);
        });
        match answer.await {
            Ok((before, after)) if bare(&before) == bare(&after) => Came::Unchanged,
            Ok(_) => Came::Taken,
            Err(kube::Error::Api(status)) if REFUSED.contains(&status.code) => Came::Refused,
            Err(error) => panic!("{}{field}: {error}", self.told()),
        }
    }
}

/// All children of Microservices.
async fn children(space: &Space) -> Vec<Child> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let api = space.children(kind);
        for object in api.list(&ListParams::default()).await.unwrap().items {
            let owner = object.owner_references().iter().find(|owner| owner.kind == "Microservice");
            if let Some(owner) = owner.map(|owner| owner.name.clone()) {
                all.push(Child { kind, owner, api: api.clone(), object });
            }
        }
    }
    all
}

/// An object without what changes with each write, and without what the cluster's own controllers tell of it.
fn bare(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    for field in ["/status", "/metadata/resourceVersion", "/metadata/generation", "/metadata/managedFields"] {
        remove(&mut value, field);
    }
    remove(&mut value, "/metadata/annotations/deployment.kubernetes.io~1revision");
    value
}

/// What there is while nobody does anything.
struct Rest {
    /// Without identities.
    snapshot: BTreeMap<String, Value>,
    /// To the letter, with whose each child is and what the operator notes on it.
    exact: BTreeMap<String, Value>,
}

impl Rest {
    async fn of(space: &Space) -> Self {
        Self { snapshot: space.snapshot().await, exact: Self::exact(space).await }
    }

    async fn exact(space: &Space) -> BTreeMap<String, Value> {
        children(space).await.iter().map(|child| (child.told(), bare(&child.object))).collect()
    }

    /// Waits until everything is what it was; nothing may have been deleted and made anew.
    async fn is_back(&self, stage: &Stage, about: &str) {
        stage.puts_back(&self.snapshot, about).await;
        let same = eventually(|| async { (Self::exact(&stage.space).await == self.exact).then_some(()) });
        if same.await.is_none() {
            let now = Self::exact(&stage.space).await;
            let names: BTreeSet<_> = now.keys().chain(self.exact.keys()).collect();
            let differ = names.into_iter().filter(|name| now.get(*name) != self.exact.get(*name));
            let told = differ.map(|name| format!("{name}: {:?}\nwas {:?}", now.get(name), self.exact.get(name)));
            panic!("{about}: there is something else:\n{}", told.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Does something to every field of every child.
async fn somebody(deed: Deed) {
    let stage = at_rest().await;
    let rest = Rest::of(&stage.space).await;
    let children: Vec<(Child, Vec<Field>)> = children(&stage.space)
        .await
        .into_iter()
        .map(|child| {
            let fields = campaign::part(deed.fields(&child.object), SHORT);
            (child, fields)
        })
        .collect();
    let (mut taken, mut unchanged, mut refused) = (0, Vec::new(), Vec::new());
    for round in 0..children.iter().map(|(_, fields)| fields.len()).max().unwrap_or_default() {
        let mut done = Vec::new();
        for (child, fields) in &children {
            let Some(field) = fields.get(round) else { continue };
            match child.drifts(deed, field).await {
                Came::Taken => done.push(format!("{}{field}", child.told())),
                Came::Unchanged => unchanged.push(format!("{}{field}", child.told())),
                Came::Refused => refused.push((child.kind, without_numbers(field))),
            }
        }
        if !done.is_empty() {
            rest.is_back(&stage, &format!("{deed:?} in round {round}: {done:?}")).await;
        }
        taken += done.len();
    }
    stage.is_silent("what was put back").await;
    rest.is_back(&stage, "in the end").await;
    println!(
        "campaign 6, drift: {taken} fields of {} children {deed:?} and put back, {} without a difference, {} refused",
        children.len(),
        unchanged.len(),
        refused.len()
    );
    let refused: BTreeSet<_> = refused.into_iter().collect();
    println!("{deed:?} without a difference: {unchanged:#?}\n{deed:?} and refused by the API server: {refused:#?}");
    let news: Vec<_> = refused.iter().filter(|(kind, field)| !may_be_refused(deed, *kind, field)).collect();
    assert!(news.is_empty(), "the API server was not known to refuse these: {news:#?}");
    assert!(taken > children.len(), "only {taken} were taken");
}

#[test]
fn every_field_that_somebody_changes_is_put_back() {
    run(somebody(Deed::Changed));
}

#[test]
fn every_field_that_somebody_takes_away_is_put_back() {
    run(somebody(Deed::Removed));
}
