//! What somebody adds to children: it stays, but where it would decide where requests or pods go.

use std::collections::BTreeSet;

use microservice_operator::{api::labels::APPLIED, plan::object::Kind};
use serde_json::Value;

use super::{
    Child, REFUSED, Rest, at_rest, bare, children,
    fields::{below, remove},
};
use crate::support::run;

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// The operator takes it away.
    Goes,
    /// The API server does not take it.
    Refused,
}

/// Something that somebody adds.
struct Addition {
    /// A part of the object.
    part: &'static str,
    name: &'static str,
    /// As JSON.
    value: &'static str,
    fate: Fate,
}

/// A label, an annotation, or an entry of another map.
const fn entry(part: &'static str, fate: Fate) -> Addition {
    Addition { part, name: "example.com/theirs", value: r#""yes""#, fate }
}

const fn field(part: &'static str, name: &'static str, value: &'static str, fate: Fate) -> Addition {
    Addition { part, name, value, fate }
}

const LABELS: Addition = entry("/metadata/labels", Fate::Stays);
const ANNOTATIONS: Addition = entry("/metadata/annotations", Fate::Stays);
const UNENCRYPTED: &str = r#"{"mode": "DISABLE"}"#;

/// What is added to an object of a kind, where it has that part.
fn additions(kind: Kind) -> Vec<Addition> {
    use Fate::{Goes, Refused, Stays};
    let more = match kind {
        Kind::ServiceAccount => vec![],
        Kind::ControllerRevision | Kind::ConfigMap => vec![entry("/data", Refused)],
        Kind::PodDisruptionBudget => vec![entry("/spec/selector/matchLabels", Goes)],
        Kind::Deployment => vec![
            entry("/spec/selector/matchLabels", Refused),
            entry("/spec/template/metadata/labels", Stays),
            entry("/spec/template/metadata/annotations", Stays),
            field("/spec/template/spec/containers/0/resources/requests", "ephemeral-storage", r#""1Mi""#, Stays),
            field("/spec/template/spec/nodeSelector", "kubernetes.io/os", r#""linux""#, Goes),
            entry("/spec/template/spec/topologySpreadConstraints/1/labelSelector/matchLabels", Goes),
        ],
        Kind::Service => vec![entry("/spec/selector", Goes)],
        Kind::VirtualService => vec![
            field("/spec", "exportTo", r#"["."]"#, Goes),
            field("/spec/http/0", "headers", r#"{"response": {"add": {"x-theirs": "yes"}}}"#, Goes),
            field("/spec/http/0/match/0/headers", "x-theirs", r#"{"exact": "yes"}"#, Goes),
            field("/spec/tcp/0/match/0", "sourceLabels", r#"{"app": "theirs"}"#, Goes),
        ],
        Kind::DestinationRule => vec![
            field("/spec", "exportTo", r#"["."]"#, Goes),
            field("/spec/trafficPolicy", "tls", UNENCRYPTED, Goes),
            field("/spec/trafficPolicy/portLevelSettings/0", "tls", UNENCRYPTED, Goes),
            field("/spec/subsets/0", "trafficPolicy", r#"{"tls": {"mode": "DISABLE"}}"#, Goes),
            entry("/spec/subsets/0/labels", Goes),
        ],
    };
    [LABELS, ANNOTATIONS].into_iter().chain(more).collect()
}

impl Addition {
    fn to(&self, object: &mut Value) {
        if let Some(part) = object.pointer_mut(self.part) {
            part[self.name] = serde_json::from_str(self.value).unwrap();
        }
    }

    /// Adds it, and to what there is to be if it stays.
    async fn done(&self, child: &Child, rest: &mut Rest) {
        let about = format!("{}{} {}", child.told(), self.part, self.name);
        match child.replaced(|object| self.to(object)).await {
            Ok((before, after)) => {
                assert!(self.fate != Fate::Refused && bare(&before) != bare(&after), "{about} was taken");
                if self.fate == Fate::Stays {
                    for all in [&mut rest.snapshot, &mut rest.exact] {
                        self.to(all.get_mut(&child.told()).unwrap());
                    }
                }
            }
            Err(kube::Error::Api(status)) if REFUSED.contains(&status.code) => {
                assert_eq!(self.fate, Fate::Refused, "{about}: {status:?}");
            }
            Err(error) => panic!("{about}: {error}"),
        }
    }
}

#[test]
fn what_somebody_adds_stays_unless_it_would_decide_where_requests_or_pods_go() {
    run(async {
        let stage = at_rest().await;
        let mut rest = Rest::of(&stage.space).await;
        let children = children(&stage.space).await;
        let (mut count, mut lacking) = (0, BTreeSet::new());
        for child in &children {
            lacking.extend(additions(child.kind).iter().map(|it| (child.kind, it.part, it.name)));
        }
        for child in &children {
            let object = bare(&child.object);
            for addition in additions(child.kind).iter().filter(|it| object.pointer(it.part).is_some()) {
                addition.done(child, &mut rest).await;
                lacking.remove(&(child.kind, addition.part, addition.name));
                count += 1;
            }
        }
        assert!(lacking.is_empty(), "no child has that: {lacking:?}");
        rest.is_back(&stage, "what was added").await;
        // What the operator does not know for its own it writes anew.
        for child in &children {
            let mark = below("/metadata/annotations", APPLIED);
            child.replaced(|object| drop(remove(object, &mark))).await.unwrap();
        }
        rest.is_back(&stage, "what was added, and written over").await;
        stage.is_silent("what was added").await;
        rest.is_back(&stage, "what was added, in the end").await;
        println!("campaign 6, drift: {count} additions to {} children came to what they should", children.len());
    });
}
