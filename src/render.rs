//! What Microservices become once everything is ready, without a cluster. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use thiserror::Error;

use crate::{
    api::Microservice,
    input::Document,
    observe::{DeploymentFacts, LiveRoutes, LiveService, Observed, ObservedVersion, PodFacts, Weights},
    offline::{self, Checker},
    plan::{
        Settings,
        children::templates,
        plan,
        rollout::{Circumstances, Standing, parking, requested_of},
    },
    validate::{Invalid, Problem, Refusal, Validated, syntax::printable, validate},
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
    let mut observed = Observed {
        subsets: service.versions.iter().map(|version| version.name.clone()).collect::<BTreeSet<_>>(),
        service: Some(LiveService::default()),
        ..Observed::default()
    };
    let ids: BTreeMap<_, _> = templates(service, &observed);
    for version in &service.versions {
        // Nothing but having no pods keeps a worker from work.
        let replicas = if service.ports.is_empty() && version.weight == 0 { 0 } else { version.replicas };
        let facts = DeploymentFacts {
            replicas,
            complete: true,
            template: ids.get(&version.name).map(|template| template.id.clone()),
            ..DeploymentFacts::default()
        };
        let pods = if replicas > 0 { vec![PodFacts { ready: true, ..PodFacts::default() }] } else { Vec::new() };
        observed.versions.insert(version.name.clone(), ObservedVersion { deployment: Some(facts), pods });
    }
    observed.routes = Some(LiveRoutes {
        default: weights(service, &observed),
        named: service.routes.iter().map(|route| (route.name.clone(), requested_of(route))).collect(),
        created: Timestamp::UNIX_EPOCH,
        ..LiveRoutes::default()
    });
    observed
}

/// The weights that a rollout ends with: what is asked for a version without pods is given to those that run.
fn weights(service: &Validated, observed: &Observed) -> Weights {
    let around = Circumstances { now: Timestamp::MAX, propagation: SignedDuration::ZERO, subsets: None, stuck: false };
    let of_spec = service.versions.iter().map(|version| {
        let runs = observed.versions.get(&version.name);
        Standing::judge(&version.name, Some(version), runs, None, None, &around)
    });
    let mut standings: Vec<_> = of_spec.collect();
    parking::aim(&mut standings);
    standings.iter().map(|standing| (standing.name.to_owned(), standing.target)).collect()
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
            _ => return Err(invalid(Invalid { problems, why: Refusal::Wrong })),
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::Provider, input, plan::resources::Stamp};

    fn rendered(metadata: &str, spec: &str) -> Result<Vec<Value>, Error> {
        let text = format!(
            "apiVersion: microservice-operator.dev/v1alpha1\nkind: Microservice\nmetadata: {metadata}\nspec: \
             {{{spec}}}\n"
        );
        let input = input::read(&["-".into()], &mut text.as_bytes());
        let settings = Settings {
            provider: Provider::Istio,
            propagation: SignedDuration::from_secs(5),
            stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
        };
        render_documents(&input.documents, "shop", &settings)
    }

    fn refusal(metadata: &str) -> String {
        rendered(metadata, "versions: [{name: v1, image: 'a:1'}]").unwrap_err().to_string()
    }

    /// The objects of a kind, of a service with these settings.
    fn of_kind(kind: &str, spec: &str) -> Vec<Value> {
        let objects = rendered("{name: a}", spec).unwrap();
        objects.into_iter().filter(|object| object["kind"] == kind).collect()
    }

    #[test]
    fn sends_nothing_to_a_version_without_pods_while_others_run() {
        let version = |name: &str, rest: &str| format!("{{name: {name}, image: 'a:{name}', {rest}}}");
        let spec = |versions: &[String], more: &str| {
            format!("ports: [{{name: http, port: 80}}], versions: [{}]{more}", versions.join(", "))
        };
        let two = |first: &str, second: &str| [version("v1", first), version("v2", second)];
        let [first, second] = two("weight: 50, replicas: 0", "weight: 30");
        let three = [first, second, version("v3", "weight: 20")];
        let all_to_parked = two("weight: 100, replicas: 0", "weight: 0");
        let most_to_parked = two("weight: 60, replicas: 0", "weight: 40");
        let steps = ", rollout: {steps: [{weight: 5}, {pause: {}}]}";
        let routes = ", routes: [{name: b, match: [{path: {prefix: /b}}], weights: [{version: v1, weight: 60}, \
                      {version: v2, weight: 40}]}]";
        for (spec, expected) in [
            (spec(&all_to_parked, ""), "default v2 100"),
            (spec(&all_to_parked, steps), "default v2 100"),
            (spec(&most_to_parked, ""), "default v2 100"),
            (spec(&most_to_parked, steps), "default v2 100"),
            (spec(&most_to_parked, routes), "b v2 100 default v2 100"),
            (spec(&three, ""), "default v2 60 v3 40"),
            (spec(&two("weight: 60", "weight: 40"), steps), "default v1 60 v2 40"),
            (spec(&two("weight: 60", "weight: 40"), ", replicas: 0"), "default v1 60 v2 40"),
        ] {
            let mut told = Vec::new();
            for route in of_kind("VirtualService", &spec)[0]["spec"]["http"].as_array().unwrap() {
                told.push(route["name"].as_str().unwrap().to_owned());
                for to in route["route"].as_array().unwrap() {
                    told.push(to["destination"]["subset"].as_str().unwrap().to_owned());
                    told.push(to["weight"].as_i64().unwrap_or(100).to_string());
                }
            }
            assert_eq!(told.join(" "), expected, "{spec}");
        }
    }

    #[test]
    fn a_worker_without_weight_has_no_pods_even_if_no_other_has_any() {
        let one = "{name: v1, image: 'a:1', weight: 100, replicas: 0}";
        let deployments = of_kind("Deployment", &format!("versions: [{one}, {{name: v2, image: 'a:2', weight: 0}}]"));
        let replicas: Vec<_> = deployments.iter().map(|it| it["spec"]["replicas"].as_i64()).collect();
        assert_eq!(replicas, [Some(0), Some(0)]);
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
