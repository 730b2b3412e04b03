//! One version as it resolves, with the places in the manifest that its settings come from.

use std::fmt::Display;

use k8s_openapi::api::core::v1 as core;

use crate::{
    api::{Container, InitContainer, MicroserviceSpec, Mount, PodSettings, Sidecar},
    validate::{Problem, Validated, Version},
};

/// One version as it resolves.
pub(crate) struct Scope<'a> {
    pub version: &'a Version,
    /// What the version itself says.
    own: &'a PodSettings,
}

/// A setting and its place in the manifest.
pub(crate) struct Placed<'a, T> {
    pub path: String,
    pub value: &'a T,
}

/// A container as it resolves.
pub(crate) struct ContainerView<'a> {
    /// None for the service's own container.
    pub name: Option<&'a str>,
    pub env: Vec<Placed<'a, core::EnvVar>>,
    pub mounts: Vec<Placed<'a, Mount>>,
    pub resources: Option<Placed<'a, core::ResourceRequirements>>,
    pub security: Option<Placed<'a, core::SecurityContext>>,
    pub probes: Vec<Placed<'a, core::Probe>>,
}

/// Runs a check on every version, and tells a problem of several versions once, with their names unless it is all.
pub(crate) fn each_version(
    spec: &MicroserviceSpec,
    resolved: &Validated,
    check: impl Fn(&Scope<'_>) -> Vec<Problem>,
) -> Vec<Problem> {
    let mut found: Vec<(Problem, Vec<&str>)> = Vec::new();
    let nothing = PodSettings::default();
    for (index, version) in resolved.versions.iter().enumerate() {
        let own = spec.versions.get(index).map_or(&nothing, |own| &own.pod);
        for problem in check(&Scope { version, own }) {
            match found.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, versions)) => versions.push(&version.name),
                None => found.push((problem, vec![&version.name])),
            }
        }
    }
    found
        .into_iter()
        .map(|(problem, versions)| {
            if versions.len() == resolved.versions.len() || problem.path.starts_with("spec.versions[") {
                return problem;
            }
            Problem { message: format!("in version {}: {}", versions.join(", "), problem.message), ..problem }
        })
        .collect()
}

impl<'a> Scope<'a> {
    /// The settings as they apply.
    pub fn pod(&self) -> &'a PodSettings {
        &self.version.pod
    }

    /// Whether the version itself says something.
    pub fn own_has(&self, says: impl Fn(&PodSettings) -> bool) -> bool {
        says(self.own)
    }

    /// The path of a setting: below the version when that gives it, else below the service.
    pub fn path(&self, is_own: bool, setting: impl Display) -> String {
        if is_own { format!("spec.versions[{}].{setting}", self.version.name) } else { format!("spec.{setting}") }
    }

    /// An optional setting with its place.
    pub fn placed<T>(&self, setting: &str, get: impl Fn(&PodSettings) -> Option<&T>) -> Option<Placed<'a, T>> {
        let is_own = get(self.own).is_some();
        get(self.pod()).map(|value| Placed { path: self.path(is_own, setting), value })
    }

    /// The entries of a list with their places; `key` tells entries apart.
    pub fn entries<T>(
        &self,
        setting: &str,
        get: impl Fn(&PodSettings) -> &[T],
        key: impl Fn(&T) -> &str,
    ) -> Vec<Placed<'a, T>> {
        let own = |entry: &T| get(self.own).iter().any(|own| key(own) == key(entry));
        let place =
            |value: &'a T| Placed { path: self.path(own(value), format_args!("{setting}[{}]", key(value))), value };
        get(self.pod()).iter().map(place).collect()
    }

    pub fn sidecars(&self) -> Vec<Placed<'a, Sidecar>> {
        self.entries("sidecars", |pod| &pod.sidecars, |sidecar| &sidecar.container.name)
    }

    pub fn init_containers(&self) -> Vec<Placed<'a, InitContainer>> {
        self.entries("initContainers", |pod| &pod.init_containers, |init| &init.container.name)
    }

    /// All containers: the service's own, sidecars, init containers.
    pub fn containers(&self) -> Vec<ContainerView<'a>> {
        let mut views = vec![self.app()];
        for sidecar in self.sidecars() {
            let mut view = further(&sidecar.path, &sidecar.value.container);
            let probes =
                [("startupProbe", &sidecar.value.startup_probe), ("readinessProbe", &sidecar.value.readiness_probe)];
            view.probes = probes
                .into_iter()
                .filter_map(|(name, probe)| Some((name, probe.as_ref()?)))
                .map(|(name, value)| Placed { path: format!("{}.{name}", sidecar.path), value })
                .collect();
            views.push(view);
        }
        views.extend(self.init_containers().iter().map(|init| further(&init.path, &init.value.container)));
        views
    }

    fn app(&self) -> ContainerView<'a> {
        ContainerView {
            name: None,
            env: self.entries("env", |pod| &pod.env, |env| &env.name),
            mounts: self.entries("mounts", |pod| &pod.mounts, |mount| &mount.path),
            resources: self.placed("resources", |pod| pod.resources.as_ref()),
            security: self.placed("securityContext", |pod| pod.security_context.as_deref()),
            probes: [
                self.placed("startupProbe", |pod| pod.startup_probe.as_deref()),
                self.placed("readinessProbe", |pod| pod.readiness_probe.as_deref()),
                self.placed("livenessProbe", |pod| pod.liveness_probe.as_deref()),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }
}

fn further<'a>(path: &str, container: &'a Container) -> ContainerView<'a> {
    let entry = |list: &str, key: &str| format!("{path}.{list}[{key}]");
    ContainerView {
        name: Some(&container.name),
        env: container.env.iter().map(|value| Placed { path: entry("env", &value.name), value }).collect(),
        mounts: container.mounts.iter().map(|value| Placed { path: entry("mounts", &value.path), value }).collect(),
        resources: container.resources.as_ref().map(|value| Placed { path: format!("{path}.resources"), value }),
        security: container
            .security_context
            .as_ref()
            .map(|value| Placed { path: format!("{path}.securityContext"), value }),
        probes: Vec::new(),
    }
}
