//! Containers of a version's pods: the service's own, its sidecars and its init containers.

use k8s_openapi::api::core::v1 as core;

use super::{
    list,
    probes::{self, Probes},
    security::container_security,
    shutdown::{lifecycle, plain_sidecar_lifecycle},
    template::TemplateDefaults,
    text,
};
use crate::{
    api::{APP_CONTAINER, Container, Mount, Sidecar, SidecarLifecycle},
    validate::{Validated, Version},
};

/// The service's own container.
pub fn app(service: &Validated, version: &Version, defaults: TemplateDefaults) -> core::Container {
    let pod = &version.pod;
    let Probes { startup, readiness, liveness } = probes::probes(version, defaults);
    core::Container {
        name: APP_CONTAINER.to_owned(),
        image: Some(version.image.clone()),
        image_pull_policy: pod.image_pull_policy.clone(),
        command: list(pod.command.clone()),
        args: list(pod.args.clone()),
        env: list(env(service, version)),
        env_from: list(env_from(&pod.env_from)),
        ports: list(ports(version)),
        resources: pod.resources.clone(),
        volume_mounts: list(mounts(&pod.mounts)),
        startup_probe: startup,
        readiness_probe: readiness,
        liveness_probe: liveness,
        lifecycle: lifecycle(version, defaults),
        security_context: Some(container_security(pod.security_context.as_deref())),
        ..core::Container::default()
    }
}

/// The sidecars that are ordinary containers.
pub fn plain_sidecars(version: &Version, defaults: TemplateDefaults) -> Vec<core::Container> {
    sidecars(version, SidecarLifecycle::Plain)
        .map(|sidecar| core::Container {
            lifecycle: plain_sidecar_lifecycle(version, defaults),
            ..with_probes(sidecar)
        })
        .collect()
}

/// Containers that start before the service: first the native sidecars, so that they also serve the others.
pub fn init_containers(version: &Version) -> Vec<core::Container> {
    let native = sidecars(version, SidecarLifecycle::Native)
        .map(|sidecar| core::Container { restart_policy: Some("Always".to_owned()), ..with_probes(sidecar) });
    let once = version.pod.init_containers.iter().map(|init| further(&init.container));
    native.chain(once).collect()
}

/// The user's variables come last, so that their values can refer to the others.
fn env(service: &Validated, version: &Version) -> Vec<core::EnvVar> {
    let own = [variable("SERVICE_NAME", &service.identity.name), variable("SERVICE_VERSION", &version.name)];
    let dependencies = version.dependency_variables().map(|(name, url)| variable(name, url));
    own.into_iter().chain(dependencies).chain(tidy_env(&version.pod.env)).collect()
}

fn variable(name: &str, value: &str) -> core::EnvVar {
    core::EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..core::EnvVar::default() }
}

fn tidy_env(user: &[core::EnvVar]) -> Vec<core::EnvVar> {
    user.iter().cloned().map(|variable| core::EnvVar { value: text(variable.value), ..variable }).collect()
}

fn env_from(user: &[core::EnvFromSource]) -> Vec<core::EnvFromSource> {
    user.iter().cloned().map(|source| core::EnvFromSource { prefix: text(source.prefix), ..source }).collect()
}

fn ports(version: &Version) -> Vec<core::ContainerPort> {
    version
        .ports
        .iter()
        .map(|port| core::ContainerPort {
            name: Some(port.name.clone()),
            container_port: port.target_port.unwrap_or(port.port),
            protocol: Some("TCP".to_owned()),
            ..core::ContainerPort::default()
        })
        .collect()
}

fn mounts(user: &[Mount]) -> Vec<core::VolumeMount> {
    user.iter()
        .map(|Mount { volume, path, sub_path, read_only }| core::VolumeMount {
            name: volume.clone(),
            mount_path: path.clone(),
            sub_path: text(sub_path.clone()),
            read_only: read_only.filter(|read_only| *read_only),
            ..core::VolumeMount::default()
        })
        .collect()
}

fn sidecars(version: &Version, lifecycle: SidecarLifecycle) -> impl Iterator<Item = &Sidecar> {
    version.pod.sidecars.iter().filter(move |sidecar| sidecar.lifecycle == lifecycle)
}

fn with_probes(sidecar: &Sidecar) -> core::Container {
    let Sidecar { container, lifecycle: _, startup_probe, readiness_probe } = sidecar;
    core::Container {
        startup_probe: startup_probe.as_ref().map(probes::tidy),
        readiness_probe: readiness_probe.as_ref().map(probes::tidy),
        ..further(container)
    }
}

fn further(user: &Container) -> core::Container {
    let Container {
        name,
        image,
        image_pull_policy,
        command,
        args,
        env,
        env_from: sources,
        resources,
        mounts: mounted,
        security_context,
    } = user;
    core::Container {
        name: name.clone(),
        image: Some(image.clone()),
        image_pull_policy: image_pull_policy.clone(),
        command: list(command.clone()),
        args: list(args.clone()),
        env: list(tidy_env(env)),
        env_from: list(env_from(sources)),
        resources: resources.clone(),
        volume_mounts: list(mounts(mounted)),
        security_context: Some(container_security(security_context.as_ref())),
        ..core::Container::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::testing::{self, assert_at},
        *,
    };

    fn app_of(fields: Value) -> core::Container {
        let service = testing::service(fields);
        app(&service, &service.versions[0], TemplateDefaults::CURRENT)
    }

    #[test]
    fn without_settings_the_container_is_plain() {
        assert_at(
            &app_of(json!({})),
            json!({
                "": {
                    "name": "app",
                    "image": "registry.example/order-service:1.4.2",
                    "env": [{"name": "SERVICE_NAME", "value": "order-service"}, {"name": "SERVICE_VERSION", "value": "v1"}],
                    "ports": [{"name": "http", "containerPort": 3000, "protocol": "TCP"}],
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                },
            }),
        );
        assert_at(&app_of(json!({"ports": []})), json!({"/ports": null, "/lifecycle": null}));
    }

    #[test]
    fn settings_end_up_in_the_container() {
        let built = app_of(json!({
            "imagePullPolicy": "Always",
            "command": ["run"],
            "args": ["--fast"],
            "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": ""}],
            "resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1024Mi"}},
            "mounts": [{"volume": "logs", "path": "/logs", "subPath": "app", "readOnly": true},
                       {"volume": "tmp", "path": "/tmp", "readOnly": false}],
            "versions": [{"name": "v1", "image": "a:1", "ports": [{"name": "http", "targetPort": 4000}]}],
        }));
        assert_at(
            &built,
            json!({
                "/imagePullPolicy": "Always",
                "/command": ["run"],
                "/args": ["--fast"],
                "/envFrom": [{"configMapRef": {"name": "settings"}}],
                "/resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1024Mi"}},
                "/ports": [{"name": "http", "containerPort": 4000, "protocol": "TCP"}],
                "/volumeMounts": [{"name": "logs", "mountPath": "/logs", "subPath": "app", "readOnly": true},
                                  {"name": "tmp", "mountPath": "/tmp"}],
            }),
        );
    }

    #[test]
    fn the_users_variables_come_last_and_win_over_dependencies() {
        let built = app_of(json!({
            "dependencies": [{"name": "user-service"}, {"name": "cart", "namespace": "web", "port": 9000, "protocol": "GRPC"}],
            "env": [{"name": "USERS", "value": "$(USER_SERVICE_URL)/users"}, {"name": "EMPTY", "value": ""},
                    {"name": "CART_URL", "valueFrom": {"secretKeyRef": {"name": "cart", "key": "url"}}}],
        }));
        assert_at(
            &built,
            json!({
                "/env": [
                    {"name": "SERVICE_NAME", "value": "order-service"},
                    {"name": "SERVICE_VERSION", "value": "v1"},
                    {"name": "USER_SERVICE_URL", "value": "http://user-service.shop.svc:80"},
                    {"name": "USERS", "value": "$(USER_SERVICE_URL)/users"},
                    {"name": "EMPTY"},
                    {"name": "CART_URL", "valueFrom": {"secretKeyRef": {"name": "cart", "key": "url"}}},
                ],
            }),
        );
    }

    #[test]
    fn native_sidecars_start_before_everything_else() {
        let version = testing::version(json!({
            "sidecars": [{"name": "plain", "image": "p:1", "lifecycle": "Plain"},
                         {"name": "logging", "image": "l:1",
                          "startupProbe": {"tcpSocket": {"port": 24224}, "initialDelaySeconds": 0}}],
            "initContainers": [{"name": "migrate", "image": "m:1", "args": ["up"]}],
        }));
        let init = init_containers(&version);
        assert_at(
            &init,
            json!({
                "/0/name": "logging",
                "/0/restartPolicy": "Always",
                "/0/startupProbe": {"tcpSocket": {"port": 24224}},
                "/0/lifecycle": null,
                "/0/securityContext/capabilities/drop": ["ALL"],
                "/1/name": "migrate",
                "/1/args": ["up"],
                "/1/restartPolicy": null,
                "/2": null,
            }),
        );
        let plain = plain_sidecars(&version, TemplateDefaults::CURRENT);
        assert_at(
            &plain,
            json!({
                "/0/name": "plain",
                "/0/restartPolicy": null,
                "/0/lifecycle/preStop/sleep/seconds": 5,
                "/0/env": null,
                "/1": null,
            }),
        );
    }
}
