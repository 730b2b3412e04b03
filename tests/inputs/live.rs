//! What the operator sees in the cluster: its children as others may have changed them, objects of others, and pods.
//! Whatever they say, what is somebody else's is neither written nor deleted, and what is told of them is a line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

use devcluster::Dice;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DynamicObject, runtime::watcher::Event};
use microservice_operator::{
    api::{GROUP, Microservice, MicroserviceStatus, Provider, labels::ADOPT},
    observe::{Caches, Key, Lean, Mesh, Observed, child::Child, pods, views::PodView},
    plan::{Plan, Settings, object::Kind, plan, resources::Stamp},
    status::{Outcome, compute, compute::Subject},
    validate::{Identity, Validated, syntax::printable, validate},
};
use serde_json::Value;

use crate::{
    mutate::{corpus, runs, value},
    stored::sums,
};

/// The longest word of a pod's trouble, in characters.
const LONGEST: usize = 1_000;

/// The documents of a file of the corpus.
fn documents(name: &str) -> Vec<Value> {
    serde_yaml::from_multiple(&fs::read_to_string(corpus("objects").join(name)).unwrap()).unwrap()
}

fn kind_of(document: &Value) -> Kind {
    Kind::ALL.into_iter().find(|kind| document["kind"] == kind.api_resource().kind).unwrap()
}

/// What there is, by kind and name.
type Live = BTreeMap<(Kind, Key), DynamicObject>;

/// What a watch tells of the documents, of some with something changed. Of several of a name any may come last.
fn seen(documents: &[Value], pods: &[Value], dice: &mut Dice) -> (Caches, Live) {
    let (caches, mut live) = (Caches::new(None), Live::new());
    caches.set_mesh(Mesh::Installed);
    let first = dice.below(documents.len());
    for document in documents[first..].iter().chain(&documents[..first]) {
        let (kind, told) = (kind_of(document), told(document, dice));
        let Some(Lean(object)) = told.and_then(|text| serde_json::from_str::<Lean<DynamicObject>>(&text).ok()) else {
            continue;
        };
        let (key, cache) = (Key::of(&object), caches.of(kind).unwrap());
        let child = Child::of(kind, &object);
        assert_eq!(child, Child::of(kind, &object), "{object:?}");
        let version = child.resource_version.clone();
        cache.take(&Event::Apply(object.clone()), |_: &DynamicObject| child.clone());
        // A cache takes nothing for news that is older than what it has.
        if cache.get(&key).is_some_and(|kept| kept.resource_version == version && kept.uid == child.uid) {
            live.insert((kind, key), object);
        }
    }
    for pod in pods {
        let told = told(pod, dice);
        if let Some(Lean(pod)) = told.and_then(|text| serde_json::from_str::<Lean<Pod>>(&text).ok()) {
            caches.pods.take(&Event::Apply(pod), PodView::of);
        }
    }
    (caches, live)
}

/// A document as it is told, perhaps with something changed; None of one in four.
fn told(document: &Value, dice: &mut Dice) -> Option<String> {
    let mut object = document.clone();
    if dice.below(3) == 0 {
        value(&mut object, dice);
    }
    (dice.below(4) > 0).then(|| object.to_string())
}

/// Whose an object is.
#[derive(Debug, PartialEq, Eq)]
enum Whose {
    Own,
    /// It is handed over.
    Offered,
    Others,
}

fn whose(object: &DynamicObject, identity: &Identity) -> Whose {
    let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) => {
            let group = owner.api_version.split('/').next();
            let own = owner.kind == "Microservice" && group == Some(GROUP) && owner.uid == identity.uid;
            if own { Whose::Own } else { Whose::Others }
        }
        None if object.annotations().get(ADOPT) == Some(&identity.name) => Whose::Offered,
        None => Whose::Others,
    }
}

/// What is planned touches nothing of others.
fn is_careful(planned: &Plan, live: &Live, identity: &Identity, about: &str) {
    let there = |kind: Kind, name: &str| live.get(&(kind, Key::new(&identity.namespace, name)));
    // That somebody else has the name of a ControllerRevision is found when it is written.
    for object in planned.objects.iter().filter(|object| object.kind != Kind::ControllerRevision) {
        let found = there(object.kind, &object.name).map(|found| whose(found, identity));
        assert_ne!(found, Some(Whose::Others), "{about}: {:?} {} would be written", object.kind, object.name);
    }
    for removal in &planned.removals {
        let found = there(removal.kind, &removal.name);
        let own = found.filter(|found| whose(found, identity) == Whose::Own);
        let uid = own.map(|own| own.uid().unwrap_or_default());
        assert_eq!(uid.as_ref(), Some(&removal.uid), "{about}: {:?} {} would go", removal.kind, removal.name);
    }
}

/// What is told of others is about them.
fn tells_of_others(observed: &Observed, live: &Live, identity: &Identity, about: &str) {
    let of_others = |kind: Kind| -> BTreeSet<String> {
        let all = live.iter().filter(|((of, _), object)| *of == kind && whose(object, identity) != Whose::Own);
        all.map(|((_, key), _)| key.to_string()).collect()
    };
    let (routes, rules) = (of_others(Kind::VirtualService), of_others(Kind::DestinationRule));
    assert!(observed.route_conflicts.iter().all(|it| routes.contains(it)), "{about}: {:?}", observed.route_conflicts);
    let here = |name: &String| rules.contains(&format!("{}/{name}", identity.namespace));
    assert!(observed.rule_conflicts.iter().all(here), "{about}: {:?}", observed.rule_conflicts);
    let lacks = |(rule, subset): &(String, String)| rules.contains(rule) && observed.subsets.contains(subset);
    assert!(observed.rules_elsewhere.iter().all(lacks), "{about}: {:?}", observed.rules_elsewhere);
}

/// What the status says then can be read again, and is written on a line.
fn is_told(service: &Validated, observed: &Observed, planned: &Plan, now: Timestamp, about: &str) {
    let subject = Subject { generation: 1, service: Some(service), observed: Some(observed), now };
    let status = compute(&observed.status, subject, &Outcome::Applied { plan: planned, invalid: None });
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(serde_json::from_value::<MicroserviceStatus>(written).unwrap(), status, "{about}");
    let message = status.message.unwrap_or_default();
    assert!(!message.is_empty() && printable(&message) == message, "{about}: {message:?}");
}

#[test]
fn nothing_of_others_is_written_or_deleted_whatever_the_cluster_tells() {
    let services: Vec<Microservice> =
        documents("services.yaml").into_iter().map(|it| serde_json::from_value(it).unwrap()).collect();
    let objects = [documents("own.yaml"), documents("others.yaml")].concat();
    let pods = documents("pods.yaml");
    let now: Timestamp = "2027-01-30T12:00:00Z".parse().unwrap();
    let settings = Settings {
        provider: Provider::Istio,
        propagation: SignedDuration::from_secs(5),
        stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
    };
    let (mut written, mut clashes, mut removed) = (0, 0, 0);
    for seed in runs(1_000) {
        let mut dice = Dice::of(("live", seed));
        let microservice = &services[dice.below(services.len())];
        let service = validate(microservice, Provider::Istio).unwrap();
        let about = format!("CAMPAIGN_SEED={seed}");
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let (caches, live) = seen(&objects, &pods, &mut dice);
            let look = || {
                let observed = caches.observe(&service, microservice.status.clone().unwrap_or_default());
                let planned = plan(&service, &microservice.spec, &observed, &settings, now);
                (observed, planned)
            };
            (look(), look(), live)
        }));
        let Ok(((observed, planned), (_, again), live)) = looked else { panic!("{about}: it panics") };
        assert_eq!((&planned.objects, &planned.removals), (&again.objects, &again.removals), "{about}");
        assert_eq!((&planned.holds, planned.next), (&again.holds, again.next), "{about}");
        is_careful(&planned, &live, &service.identity, &about);
        tells_of_others(&observed, &live, &service.identity, &about);
        assert!(sums(&planned).iter().all(|sum| *sum == 100), "{about}: routes with weights of {:?}", sums(&planned));
        assert!(planned.next.is_none_or(|at| at > now), "{about}: it would look again at {:?}", planned.next);
        is_told(&service, &observed, &planned, now, &about);
        written += planned.objects.len();
        clashes += observed.foreign.len();
        removed += planned.removals.len();
    }
    let told = format!("{written} would be written, {removed} removed, {clashes} were somebody else's");
    assert!(written > 1_000 && clashes > 500 && removed > 20, "{told}");
}

#[test]
fn what_is_read_leanly_is_what_there_is() {
    let objects = [documents("own.yaml"), documents("others.yaml"), documents("pods.yaml")].concat();
    let (mut read, mut unread) = (0, 0);
    for seed in runs(3_000) {
        let mut dice = Dice::of(("lean", seed));
        let mut object = objects[dice.below(objects.len())].clone();
        value(&mut object, &mut dice);
        let text = object.to_string();
        let lean = serde_json::from_str::<Lean<DynamicObject>>(&text);
        let whole = serde_json::from_str::<DynamicObject>(&text);
        let (Ok(Lean(mut lean)), Ok(mut whole)) = (lean, whole) else {
            unread += 1;
            continue;
        };
        read += 1;
        (lean.metadata.managed_fields, whole.metadata.managed_fields) = (None, None);
        assert_eq!(lean.metadata, whole.metadata, "CAMPAIGN_SEED={seed}: {text}");
        for part in ["spec", "status", "data"] {
            assert_eq!(lean.data.get(part), whole.data.get(part), "CAMPAIGN_SEED={seed}: {text}");
        }
    }
    assert!(read > 500 && unread > 100, "{read} were read, {unread} not");
}

#[test]
fn what_a_pod_says_is_told_on_a_line() {
    let all = documents("pods.yaml");
    let (mut troubled, mut unread) = (0, 0);
    for seed in runs(3_000) {
        let mut dice = Dice::of(("pod", seed));
        let mut object = all[dice.below(all.len())].clone();
        value(&mut object, &mut dice);
        let text = object.to_string();
        let about = format!("CAMPAIGN_SEED={seed}: {text}");
        let Ok(Lean(lean)) = serde_json::from_str::<Lean<Pod>>(&text) else {
            unread += 1;
            continue;
        };
        let facts = pods::facts(&lean);
        assert_eq!(facts, pods::facts(&lean), "{about}");
        if let Ok(whole) = serde_json::from_str::<Pod>(&text) {
            assert_eq!((&facts, pods::is_leaving(&lean)), (&pods::facts(&whole), pods::is_leaving(&whole)), "{about}");
        }
        if let Some(trouble) = facts.trouble {
            troubled += 1;
            assert!(trouble.chars().count() <= LONGEST && printable(&trouble) == trouble, "{about}: {trouble:?}");
        }
    }
    assert!(troubled > 100 && unread > 100, "{troubled} were in trouble, {unread} not read");
}
