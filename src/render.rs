//! What Microservices become once everything is ready, without a cluster. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::{
    api::Microservice,
    input::Document,
    observe::{DeploymentFacts, LiveRoutes, LiveService, Observed, ObservedVersion, PodFacts, Weights},
    offline::{self, Checker},
    plan::{Settings, children::templates, plan, rollout::requested_of},
    validate::{Invalid, Problem, Validated, syntax::printable, validate},
};

/// The objects of one Microservice, in the order in which they are applied.
///
/// # Errors
/// When the Microservice is invalid.
pub fn render(microservice: &Microservice, settings: &Settings) -> Result<Vec<Value>, Invalid> {
    let service = validate(microservice, settings.provider)?;
    let observed = all_ready(&service);
    let planned = plan(&service, &microservice.spec, &observed, settings, Timestamp::MAX);
    Ok(planned.objects.into_iter().map(|object| object.value).collect())
}

/// The cluster as it looks when the spec is reached.
fn all_ready(service: &Validated) -> Observed {
    let weights: Weights = service.versions.iter().map(|version| (version.name.clone(), version.weight)).collect();
    let mut observed = Observed {
        routes: Some(LiveRoutes {
            default: weights,
            named: service.routes.iter().map(|route| (route.name.clone(), requested_of(route))).collect(),
            created: Timestamp::UNIX_EPOCH,
            ..LiveRoutes::default()
        }),
        subsets: service.versions.iter().map(|version| version.name.clone()).collect::<BTreeSet<_>>(),
        service: Some(LiveService::default()),
        ..Observed::default()
    };
    let ids: BTreeMap<_, _> = templates(service, &observed);
    for version in &service.versions {
        let facts = DeploymentFacts {
            replicas: version.replicas,
            complete: true,
            template: ids.get(&version.name).map(|template| template.id.clone()),
            ..DeploymentFacts::default()
        };
        let pod = PodFacts { ready: true, ..PodFacts::default() };
        observed.versions.insert(version.name.clone(), ObservedVersion { deployment: Some(facts), pods: vec![pod] });
    }
    observed
}

/// What could not be rendered.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{}", a_line_each(.origin, .source))]
    Invalid { origin: String, source: Invalid },
    #[error("the CustomResourceDefinition of this build cannot be read: {0}")]
    Schema(#[from] serde_json::Error),
}

/// Every problem with its place, as lint writes it.
fn a_line_each(origin: &str, invalid: &Invalid) -> String {
    let line = |problem: &Problem| printable(&format!("{origin} {problem}")).into_owned();
    invalid.problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The objects of the Microservices among documents; `namespace` is that of documents without one.
///
/// # Errors
/// The first document that the API server would refuse or that is invalid.
pub fn render_documents(documents: &[Document], namespace: &str, settings: &Settings) -> Result<Vec<Value>, Error> {
    let checker = Checker::new()?;
    let mut objects = Vec::new();
    let microservices = documents.iter().filter(|document| !offline::is_of_cluster(&document.value));
    for document in microservices {
        let manifest = document.in_namespace(namespace);
        let place = format!("{} {}", document.origin, offline::object_of(&manifest, namespace));
        let invalid = |source| Error::Invalid { origin: place.clone(), source };
        let verdict = checker.check(&manifest, settings.provider);
        let mut problems: Vec<_> = verdict.problems().cloned().collect();
        if verdict.read.as_ref().is_some_and(|(read, _)| read.metadata.generate_name.is_some()) {
            let message = "Required value: all objects are named after it, and generateName is filled in by the API \
                           server only: write a name";
            problems.push(Problem::new("metadata.name", message));
        }
        match verdict.read {
            Some((microservice, _)) if problems.is_empty() => {
                objects.extend(render(&microservice, settings).map_err(invalid)?);
            }
            _ => return Err(invalid(Invalid { problems, waits: false })),
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{api::Provider, input, plan::resources::Stamp};

    fn refusal(metadata: &str) -> String {
        let text = format!(
            "apiVersion: microservice-operator.dev/v1alpha1\nkind: Microservice\nmetadata: {metadata}\nspec: \
             {{versions: [{{name: v1, image: 'a:1'}}]}}\n"
        );
        let input = input::read(&["-".into()], &mut text.as_bytes());
        let settings = Settings {
            provider: Provider::Istio,
            propagation: SignedDuration::from_secs(5),
            stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
        };
        render_documents(&input.documents, "shop", &settings).unwrap_err().to_string()
    }

    #[test]
    fn asks_for_a_name_to_make_others_from() {
        let required = "<stdin>:1 shop/unnamed metadata.name: Required value: name or generateName is required";
        assert_eq!(refusal("{}"), required);
        let text = refusal("{generateName: a-}");
        let asked = "<stdin>:1 shop/a-xxxxx metadata.name: Required value: all objects are named after it";
        assert!(text.starts_with(asked), "{text}");
    }

    #[test]
    fn tells_a_problem_a_line_as_lint_does() {
        let text = refusal("{name: a, labels: [b], annotations: [c]}");
        assert!(text.lines().count() >= 2, "{text}");
        assert!(text.lines().all(|line| line.starts_with("<stdin>:1 shop/a ")), "{text}");
    }
}
