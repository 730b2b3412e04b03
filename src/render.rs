//! What Microservices become once everything is ready, without a cluster. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::{
    api::Microservice,
    input::Document,
    observe::{DeploymentFacts, LiveRoutes, LiveService, Observed, ObservedVersion, PodFacts, Weights},
    offline::Checker,
    plan::{Settings, children::templates, plan, rollout::requested_of},
    validate::{Invalid, Validated, validate},
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
    #[error("{origin}: {source}")]
    Invalid { origin: String, source: Invalid },
    #[error("the CustomResourceDefinition of this build cannot be read: {0}")]
    Schema(#[from] serde_json::Error),
}

/// The objects of the Microservices among documents; `namespace` is that of documents without one.
///
/// # Errors
/// The first document that the API server would refuse or that is invalid.
pub fn render_documents(documents: &[Document], namespace: &str, settings: &Settings) -> Result<Vec<Value>, Error> {
    let checker = Checker::new()?;
    let mut objects = Vec::new();
    for document in documents {
        let invalid = |source| Error::Invalid { origin: document.origin.to_string(), source };
        let verdict = checker.check(&document.in_namespace(namespace), settings.provider);
        let problems: Vec<_> = verdict.problems().cloned().collect();
        match verdict.read {
            Some((microservice, _)) if problems.is_empty() => {
                objects.extend(render(&microservice, settings).map_err(invalid)?);
            }
            _ => return Err(invalid(Invalid { problems })),
        }
    }
    Ok(objects)
}
