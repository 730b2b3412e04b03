//! Children that somebody takes from their owner: they are somebody else's then, so that they are told of and left
//! alone, until they are handed over or gone.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use microservice_operator::{
    api::{Microservice, labels::ADOPT},
    plan::object::Kind,
};
use serde_json::{Value, json};

use super::{Child, Rest, at_rest, bare, children};
use crate::{
    campaign,
    stage::Stage,
    support::{eventually, message, run},
};

/// For how long it is watched that a child is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// How a child is taken from its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    /// It has none any more.
    Disowned,
    /// It is no longer controlled by it.
    Released,
    /// It gets an owner that does not exist, so that the cluster deletes it.
    Misowned,
}

impl Taking {
    fn done(self, object: &mut Value) {
        let owners = &mut object["metadata"]["ownerReferences"];
        match self {
            Self::Disowned => *owners = Value::Null,
            Self::Released => owners[0]["controller"] = json!(false),
            Self::Misowned => owners[0]["uid"] = json!("of-one-that-does-not-exist"),
        }
    }
}

/// Every child in one of the ways that leave it where it is, and those that no request depends on in the other, too.
fn cases(children: Vec<Child>) -> Vec<(Child, Taking)> {
    let idle = |child: &&Child| matches!(child.kind, Kind::ServiceAccount | Kind::PodDisruptionBudget);
    let misowned: Vec<_> = children.iter().filter(idle).map(|child| (child.clone(), Taking::Misowned)).collect();
    let ways = [Taking::Disowned, Taking::Released].into_iter().cycle();
    children.into_iter().zip(ways).chain(misowned).collect()
}

async fn offer(child: &Child, to: Value) {
    let offer = Patch::Merge(json!({"metadata": {"annotations": {ADOPT: to}}}));
    child.api.patch(&child.name(), &PatchParams::default(), &offer).await.unwrap();
}

async fn taken(stage: &Stage, rest: &Rest, (child, taking): &(Child, Taking)) {
    let about = format!("{}, {taking:?}", child.told());
    let (_, left) = child.replaced(|object| taking.done(object)).await.unwrap();
    if *taking != Taking::Misowned {
        let (kind, name) = (child.kind.api_resource().kind, child.name());
        let told = |it: &Microservice| {
            let message = message(it);
            ["belongs to somebody else", kind.as_str(), name.as_str()].iter().all(|part| message.contains(part))
        };
        stage.space.until(&child.owner, &format!("a word of {about}"), told).await;
        tokio::time::sleep(LEFT_ALONE).await;
        assert_eq!(bare(&child.api.get(&name).await.unwrap()), bare(&left), "{about}: it is not left alone");
        // A copy cannot be handed over, since nobody knows whose content it has.
        if child.kind == Kind::ConfigMap {
            child.api.delete(&name, &DeleteParams::default()).await.unwrap();
        } else {
            offer(child, json!(child.owner)).await;
        }
    }
    let owned = || async {
        let now = child.api.get_opt(&child.name()).await.ok()??;
        (now.metadata.owner_references == child.object.metadata.owner_references).then_some(())
    };
    assert!(eventually(owned).await.is_some(), "{about}: its owner does not come back");
    if *taking != Taking::Misowned && child.kind != Kind::ConfigMap {
        offer(child, Value::Null).await;
    }
    stage.puts_back(&rest.snapshot, &about).await;
}

#[test]
fn a_child_that_is_taken_from_its_owner_is_left_alone_until_it_is_handed_over() {
    run(async {
        let stage = at_rest().await;
        let rest = Rest::of(&stage.space).await;
        let cases = campaign::part(cases(children(&stage.space).await), 4);
        for case in &cases {
            taken(&stage, &rest, case).await;
        }
        stage.is_silent("what was handed over").await;
        stage.puts_back(&rest.snapshot, "in the end").await;
        println!("campaign 6, drift: {} children were taken from their owners, and came back", cases.len());
    });
}
