//! Pods: whether anybody can tell how they are, what they run, and what they need.

use crate::{
    lint::Subject,
    validate::{Problem, checks::scope::each_version},
};

/// Without a probe, a pod that cannot answer gets requests, and one that hangs is never restarted.
pub(super) fn no_probe(subject: &Subject) -> Vec<Problem> {
    each_version(&subject.microservice.spec, &subject.resolved, |scope| {
        let pod = scope.pod();
        let (ready, alive) = (pod.readiness_probe.is_some(), pod.liveness_probe.is_some());
        let message = match (pod.health.is_some() || ready, scope.version.ports.is_empty()) {
            (true, _) => return Vec::new(),
            (false, false) => "nothing tells when a pod can answer requests: add health",
            (false, true) if alive => return Vec::new(),
            (false, true) => "nothing tells whether a pod still works: add health with a port",
        };
        vec![Problem::new("spec.health", message)]
    })
}

/// A tag that moves runs something else after every restart.
pub(super) fn latest_tag(subject: &Subject) -> Vec<Problem> {
    let spec = &subject.microservice.spec;
    let app = spec.versions.iter().map(|version| (format!("spec.versions[{}].image", version.name), &version.image));
    let app = app.chain(spec.image.iter().map(|image| ("spec.image".to_owned(), image)));
    let app = app.filter_map(|(path, image)| Some(Problem::new(path, moves(image)?)));
    app.chain(each_version(spec, &subject.resolved, |scope| {
        let sidecars = scope.sidecars().into_iter().map(|sidecar| (sidecar.path, &sidecar.value.container));
        let init = scope.init_containers().into_iter().map(|init| (init.path, &init.value.container));
        let images = sidecars.chain(init);
        images
            .filter_map(|(path, container)| Some(Problem::new(format!("{path}.image"), moves(&container.image)?)))
            .collect()
    }))
    .collect()
}

/// What is wrong with an image that names nothing fixed.
fn moves(image: &str) -> Option<String> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let tag = name.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag);
    match (digest, tag) {
        (Some(_), _) => None,
        (None, None) => Some(format!("{image} has no tag, which means :latest: name the tag or digest to run")),
        (None, Some("latest")) => Some(format!("{image} moves: name the tag or digest to run")),
        (None, Some(_)) => None,
    }
}

/// Without requests, the scheduler overfills nodes; without limits, one container can starve the others.
pub(super) fn no_resources(subject: &Subject) -> Vec<Problem> {
    each_version(&subject.microservice.spec, &subject.resolved, |scope| {
        let mut problems = Vec::new();
        let message = "nothing says how much CPU and memory it needs: add requests, and a limit of memory";
        if scope
            .pod()
            .resources
            .as_ref()
            .is_none_or(|resources| resources.requests.is_none() && resources.limits.is_none())
        {
            problems.push(Problem::new(scope.path(false, "resources"), message));
        }
        let sidecars = scope.sidecars().into_iter().filter(|sidecar| sidecar.value.container.resources.is_none());
        problems.extend(sidecars.map(|sidecar| Problem::new(format!("{}.resources", sidecar.path), message)));
        problems
    })
}

/// A version without pods is never ready, so its requests go elsewhere.
pub(super) fn no_pods(subject: &Subject) -> Vec<Problem> {
    let versions = &subject.resolved.versions;
    if versions.iter().all(|version| version.replicas == 0) {
        return Vec::new();
    }
    versions
        .iter()
        .filter(|version| version.replicas == 0 && version.weight > 0)
        .map(|version| {
            let message = format!(
                "{} is to have {} % of the requests, but no pods: raise replicas or take its weight",
                version.name, version.weight
            );
            Problem::new(format!("spec.versions[{}].replicas", version.name), message)
        })
        .collect()
}
