//! The manifests of `tests/manifests` on a real API server, with strict field validation: what `lint` says without a
//! cluster is what users are told with one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use jiff::SignedDuration;
use kube::{
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use microservice_operator::{
    api::Provider,
    input::{self, Document},
    plan::{Settings, object::Kind, resources::Stamp},
    render::render_documents,
};
use serde_json::Value;
use support::{Space, cluster, kubectl, root, run};

fn manifests(folder: &str) -> Vec<Document> {
    let input = input::read(&[root().join("tests/manifests").join(folder)], &mut std::io::empty());
    assert!(input.errors.is_empty(), "{:?}", input.errors);
    input.documents
}

fn name(document: &Document) -> &str {
    document.origin.file.rsplit('/').next().unwrap()
}

/// What the API server answers to `kubectl create --validate=strict --dry-run=server`.
async fn create(space: &Space, manifest: &Value) -> Result<Value, String> {
    let mut body = manifest.clone();
    let group = "/apis/microservice-operator.dev/v1alpha1";
    let path = if body["kind"] == "AnalysisProvider" {
        format!("{group}/analysisproviders")
    } else {
        body["metadata"]["namespace"] = space.name.clone().into();
        format!("{group}/namespaces/{}/microservices", space.name)
    };
    let mut request = Request::new(&path).create(&PostParams::default(), serde_json::to_vec(&body).unwrap()).unwrap();
    *request.uri_mut() = format!("{path}?dryRun=All&fieldValidation=Strict").parse().unwrap();
    space.client.request::<Value>(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message,
        other => panic!("{other}"),
    })
}

#[test]
fn the_api_server_refuses_with_the_same_words() {
    run(async {
        let space = Space::new(cluster(), "refused").await;
        let mut wrong = Vec::new();
        for document in manifests("refused").into_iter().chain(manifests("providers/refused")) {
            let text = fs::read_to_string(&document.origin.file).unwrap();
            let expect = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).unwrap();
            match create(&space, &document.value).await {
                Ok(_) => wrong.push(format!("{}: accepted", name(&document))),
                // Inner quotes are escaped where the message shows a value.
                Err(message) if message.replace('\\', "").contains(&expect.replace('\\', "")) => {}
                Err(message) => wrong.push(format!("{}: expected {expect}\n    got {message}", name(&document))),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn the_api_server_accepts_the_rest() {
    run(async {
        let space = Space::new(cluster(), "accepted").await;
        let accepted = ["stalled", "accepted", "providers/accepted"].into_iter().flat_map(manifests);
        for document in accepted {
            let answer = create(&space, &document.value).await;
            assert!(answer.is_ok(), "{}: {answer:?}", name(&document));
        }
    });
}

/// The CRD is small enough, and its rules cheap enough, for the plainest way to install it.
#[test]
fn the_crd_is_applied_by_plain_kubectl() {
    kubectl(cluster(), &["apply", "--filename", "crds/"]);
}

/// What passes all checks becomes objects that the API server takes.
#[test]
fn what_is_accepted_can_be_built() {
    run(async {
        let space = Space::new(cluster(), "built").await;
        let settings = Settings {
            provider: Provider::Istio,
            propagation: SignedDuration::from_secs(5),
            stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
        };
        let mut documents = manifests("accepted");
        // A name has to be known to make others from it.
        documents.retain(|document| document.value["metadata"]["generateName"].is_null());
        for document in &mut documents {
            document.value["metadata"]["namespace"] = space.name.clone().into();
        }
        let mut wrong = Vec::new();
        for object in render_documents(&documents, &space.name, &settings).unwrap() {
            let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            let kind_of_child = Kind::ALL.into_iter().find(|known| known.api_resource().kind == kind).unwrap();
            let params = PatchParams::apply("test").force().dry_run().validation_strict();
            if let Err(error) = space.children(kind_of_child).patch(name, &params, &Patch::Apply(&object)).await {
                wrong.push(format!("{kind} {name}: {error}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
