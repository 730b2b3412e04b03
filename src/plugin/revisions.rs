//! Which revisions of an image are kept, and which of them a person means. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Resource, ResourceExt};

use crate::{
    api::{Microservice, Provider},
    observe::Acceptance,
    plan::{
        configuration::with_copies,
        resources::{acceptance, kept_copies, restore},
    },
    validate::resolve::resolve,
};

use super::output::age;

/// A revision that can be gone back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub name: String,
    pub image: String,
    /// When a spec that makes it was accepted last.
    pub accepted: Acceptance,
}

/// The kept revisions of a Microservice, the latest first, without the one that its spec asks for.
pub fn kept(microservice: &Microservice, all: &[ControllerRevision]) -> Vec<Revision> {
    let uid = microservice.meta().uid.as_deref();
    let newest = microservice.status.as_ref().and_then(|status| status.revision.as_deref());
    let own = all.iter().filter(|it| it.owner_references().iter().any(|owner| Some(owner.uid.as_str()) == uid));
    let mut found: Vec<Revision> =
        own.filter_map(|it| revision(microservice, it)).filter(|it| Some(it.name.as_str()) != newest).collect();
    found.sort_by(|one, other| (other.accepted, &one.name).cmp(&(one.accepted, &other.name)));
    let mut kept: Vec<Revision> = Vec::new();
    for revision in found {
        if !kept.iter().any(|known| known.name == revision.name) {
            kept.push(revision);
        }
    }
    kept
}

fn revision(microservice: &Microservice, kept: &ControllerRevision) -> Option<Revision> {
    let spec = restore(kept).filter(|spec| spec.image.is_some())?;
    let service = resolve(&Microservice { spec, ..microservice.clone() }, Provider::default());
    let version = with_copies(service.versions.into_iter().next()?, kept_copies(&kept.data.0), &service.identity);
    Some(Revision { name: version.name, image: version.image, accepted: acceptance(kept) })
}

/// The name of the revision that is meant: by its name, by the beginning of it, or by how many revisions back it is.
///
/// # Errors
/// When it is none or several; with what there is.
pub fn chosen(kept: &[Revision], asked: &str, now: Timestamp) -> Result<String, String> {
    let found: Vec<&Revision> = match asked.parse::<usize>() {
        Ok(back) => back.checked_sub(1).and_then(|index| kept.get(index)).into_iter().collect(),
        Err(_) => kept.iter().filter(|it| it.name.starts_with(asked)).collect(),
    };
    match found.as_slice() {
        [one] => Ok(one.name.clone()),
        [] if kept.is_empty() => Err("no other revision is kept".to_owned()),
        [] => Err(format!("no revision {asked} is kept; there are: {}", listed(kept, now))),
        _ => Err(format!("{asked} is the beginning of several revisions: {}", listed(kept, now))),
    }
}

fn listed(kept: &[Revision], now: Timestamp) -> String {
    let line = |(index, it): (usize, &Revision)| {
        let age = it.accepted.created.map(|at| format!(", {} old", age(at, now))).unwrap_or_default();
        format!("{} {} ({}{age})", index + 1, it.name, it.image)
    };
    kept.iter().enumerate().map(line).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn microservice(newest: &str) -> Microservice {
        serde_json::from_value(json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": "a", "namespace": "shop", "uid": "u-1"}, "spec": {"image": "x:3"},
            "status": {"revision": newest},
        }))
        .unwrap()
    }

    fn accepted(uid: &str, minute: i32, data: Value) -> ControllerRevision {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("a-accepted-{minute}"), "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z"),
                "ownerReferences": [{"apiVersion": "v1", "kind": "Microservice", "name": "a", "uid": uid}],
            },
            "data": data, "revision": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_revision_that_came_back_is_the_latest() {
        let numbered = |minute: i32, image: &str, number: i64| ControllerRevision {
            revision: Some(number),
            ..accepted("u-1", minute, json!({"image": image}))
        };
        let newest = resolve(&microservice(""), Provider::Istio).versions[0].name.clone();
        let all = [numbered(1, "x:1", 3), numbered(2, "x:2", 2), numbered(3, "x:3", 4)];
        let kept = kept(&microservice(&newest), &all);
        let images: Vec<&str> = kept.iter().map(|it| it.image.as_str()).collect();
        assert_eq!(images, ["x:1", "x:2"], "x:2 was left for x:1 before x:3 came");
    }

    #[test]
    fn revisions_are_counted_back_from_the_newest() {
        let settings = |hash: &str| {
            let references = json!([{"configMapRef": {"name": "settings"}}]);
            json!({"image": "x:2", "envFrom": references, "configMapCopies": {"settings": hash}})
        };
        let all = [
            accepted("u-1", 1, json!({"image": "x:1"})),
            accepted("u-1", 2, settings("settings-1")),
            accepted("u-1", 3, settings("settings-2")),
            accepted("u-1", 4, json!({"image": "x:1", "drain": "5s"})),
            accepted("u-1", 5, json!({"image": "x:3"})),
            accepted("u-1", 6, json!({"versions": [{"name": "v1", "image": "x:1"}]})),
            accepted("u-2", 7, json!({"image": "x:4"})),
        ];
        let newest = resolve(&microservice(""), Provider::Istio).versions[0].name.clone();
        let kept = kept(&microservice(&newest), &all);
        let images: Vec<&str> = kept.iter().map(|it| it.image.as_str()).collect();
        assert_eq!(images, ["x:1", "x:2", "x:2"]);
        assert_ne!(kept[1].name, kept[2].name, "another configuration is another revision");
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let name = |index: usize| Ok(kept[index].name.clone());
        for (asked, expected) in
            [("1", name(0)), ("3", name(2)), (&kept[1].name, name(1)), (&kept[1].name[..8], name(1))]
        {
            assert_eq!(chosen(&kept, asked, now), expected, "{asked}");
        }
        for (asked, told) in [
            ("0", format!("no revision 0 is kept; there are: 1 {} (x:1, 56m old); 2 ", kept[0].name)),
            ("4", "no revision 4 is kept; there are: 1 r-".to_owned()),
            (newest.as_str(), format!("no revision {newest} is kept; there are: ")),
            ("r-", "r- is the beginning of several revisions: 1 r-".to_owned()),
        ] {
            let why = chosen(&kept, asked, now).unwrap_err();
            assert!(why.starts_with(&told), "{why}");
        }
        assert_eq!(chosen(&[], "1", now).unwrap_err(), "no other revision is kept");
    }
}
