//! Campaign 3, too: in the middle of a rollout somebody deletes the Microservice or its children, or makes them anew under the
//! same names, and the operator hears of it at once, late, or not at all until it lists again; or the next operator is told
//! the past. Whoever breaks what is there by hand breaks invariants, so they are not judged here.

use std::time::Duration;

use devcluster::faults::{Fault, Faults, Release, Verb};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams},
};
use microservice_operator::{api::Microservice, plan::object::Kind};
use serde_json::Value;

use crate::{
    campaign,
    stage::{End, Stage},
    stale,
    story::{self, Chapter},
    support::{Space, cluster, eventually, run},
};

/// How long the operator does not hear of it.
const LENGTH: Duration = Duration::from_secs(5);

/// What somebody does to all objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// They are deleted.
    Deleted,
    /// They are deleted, and made anew as they were.
    MadeAnew,
}

/// How the operator hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    AtOnce,
    /// Watches of the kind are held back, and then let go.
    Held(Release),
    /// The operator is killed, and the next one is told what was before by its lists.
    Travelled,
}

#[derive(Clone, Debug)]
struct Case {
    /// The Microservice itself, if it is None.
    kind: Option<Kind>,
    deed: Deed,
    hearing: Hearing,
}

/// A Microservice that is deleted for good is a chapter of the story.
fn cases() -> Vec<Case> {
    let children = Kind::ALL.into_iter().filter(|kind| *kind != Kind::ConfigMap).map(Some);
    let kinds = children.flat_map(|kind| [(kind, Deed::Deleted), (kind, Deed::MadeAnew)]);
    let all = kinds.chain([(None, Deed::MadeAnew)]);
    let hearings = [Hearing::AtOnce, Hearing::Held(Release::Late), Hearing::Held(Release::Missed), Hearing::Travelled];
    all.flat_map(|(kind, deed)| hearings.map(|hearing| Case { kind, deed, hearing })).collect()
}

impl Case {
    fn resource(&self) -> ApiResource {
        self.kind.map_or_else(|| ApiResource::erase::<Microservice>(&()), Kind::api_resource)
    }

    /// Deletes all objects of the kind, and makes them anew if that is the deed.
    async fn done(&self, space: &Space) {
        let api: Api<DynamicObject> = Api::namespaced_with(space.client.clone(), &space.name, &self.resource());
        let all = api.list(&ListParams::default()).await.unwrap().items;
        let ours = |object: &DynamicObject| {
            self.kind.is_none() || object.owner_references().iter().any(|owner| owner.kind == "Microservice")
        };
        let ours: Vec<DynamicObject> = all.into_iter().filter(ours).collect();
        assert!(!ours.is_empty(), "{self:?}: there is nothing to delete");
        for object in ours {
            api.delete(&object.name_any(), &DeleteParams::background()).await.unwrap();
            if self.deed == Deed::MadeAnew {
                made_anew(&api, &object).await;
            }
        }
    }
}

/// Makes an object anew, once it is gone, unless the operator does so before.
async fn made_anew(api: &Api<DynamicObject>, object: &DynamicObject) {
    let mut fresh = object.clone();
    let meta = &mut fresh.metadata;
    (meta.uid, meta.resource_version, meta.creation_timestamp, meta.managed_fields) = (None, None, None, None);
    if let Some(fields) = fresh.data.as_object_mut() {
        fields.remove("status");
        if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|field, _| field != "clusterIP" && field != "clusterIPs");
        }
    }
    let old = object.uid();
    let there = eventually(|| async {
        let _made_or_there = api.create(&PostParams::default(), &fresh).await;
        let found = api.get_opt(&object.name_any()).await.ok()??;
        (found.uid() != old).then_some(())
    });
    there.await.expect("it is made anew");
}

async fn hears(stage: &mut Stage, case: &Case) {
    let of = [case.resource().plural];
    match case.hearing {
        Hearing::AtOnce => return case.done(&stage.space).await,
        Hearing::Held(_) => {
            stage.proxy.holds(&[&of[0]]);
            case.done(&stage.space).await;
        }
        Hearing::Travelled => {
            stage.proxy.remembers().await.unwrap();
            case.done(&stage.space).await;
            stage.travels(&of).await;
        }
    }
    tokio::time::sleep(LENGTH).await;
    stage.proxy.goes_wrong(Faults::default());
    stage.proxy.releases(if let Hearing::Held(release) = case.hearing { release } else { Release::Late });
}

async fn replaced(case: Case) {
    let mut stage = Stage::within(Space::unwatched(cluster(), "replaced").await).await;
    let promoted = stage.is_before(Chapter::Rollout).await;
    story::begin(&stage.space, Chapter::Rollout).await;
    story::walks(&stage.space).await;
    hears(&mut stage, &case).await;
    let about = format!("{case:?}");
    let end = match case.kind {
        // With its Deployment a version loses all pods, and its rollout is rolled back.
        Some(Kind::Deployment) => {
            story::retries(&stage.space).await;
            promoted.end.clone()
        }
        Some(_) => promoted.end.clone(),
        None => made_at_once().await.clone(),
    };
    stage.rests_like(&end, &about).await;
}

/// What the spec of the rollout comes to for a Microservice that is new.
async fn made_at_once() -> &'static End {
    static END: tokio::sync::OnceCell<End> = tokio::sync::OnceCell::const_new();
    END.get_or_init(|| async {
        let stage = Stage::new("new").await;
        story::begin(&stage.space, Chapter::Rollout).await;
        stage.space.ready("a").await;
        stage.settles().await;
        stage.outcome().await.end
    })
    .await
}

#[test]
fn what_somebody_deletes_or_makes_anew_in_the_middle_of_a_rollout_is_as_in_a_clean_run_in_the_end() {
    run(async {
        campaign::run("3, deleted and made anew", campaign::part(cases(), 6), replaced).await;
    });
}

/// v1 is taken out of the spec, its Deployment is deleted, and both come back. Whoever is told that it is still to be deleted
/// must not delete the new one for the old one.
async fn taken_back() {
    let mut stage = Stage::new("taken").await;
    stage.is_before(Chapter::Undo).await;
    let of = vec!["deployments".to_owned()];
    stage.proxy.goes_wrong(Faults { requests: 1.0, answers: vec![Fault::InternalError], of, ..Faults::default() });
    story::takes_v1_out(&stage.space).await;
    stage.asks(0, |it| it.verb == Verb::Delete && it.name == "a-v1").await;
    stage.proxy.remembers().await.unwrap();
    stage.proxy.goes_wrong(Faults::default());
    stage.space.gone(Kind::Deployment, "a-v1").await;
    story::begin(&stage.space, Chapter::Rollout).await;
    stage.space.ready("a").await;
    stage.settles().await;
    let (clean, new) = (stage.outcome().await, stage.space.child(Kind::Deployment, "a-v1").await.unwrap().uid());

    let before = stage.proxy.journal().len();
    stage.travels(&stale::all()).await;
    stage.asks(before, |it| it.resource == "microservices" && it.name == "a").await;
    stage.proxy.goes_wrong(Faults::default());
    stage.proxy.releases(Release::Late);
    stage.is_silent("v1 that was taken back").await;
    stage.comes_to(&clean, "v1 that was taken back").await;
    assert_eq!(stage.space.child(Kind::Deployment, "a-v1").await.unwrap().uid(), new, "the new one was deleted");
}

#[test]
fn what_was_taken_back_is_not_deleted_by_an_operator_that_is_told_the_past() {
    run(taken_back());
}
