//! Volumes and where they appear.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::VolumeProjection;

use crate::{
    api::{MicroserviceSpec, Volume},
    validate::{Problem, Validated, quantity::Quantity},
};

use super::scope::{Placed, Scope, each_version};

/// Every mount needs its volume, after inheritance.
pub(super) fn mounts_name_volumes(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let exists = |name: &str| scope.pod().volumes.iter().any(|volume| volume.name == name);
        let mut problems = Vec::new();
        for container in scope.containers() {
            problems.extend(container.mounts.iter().filter(|mount| !exists(&mount.value.volume)).map(|mount| {
                let message = format!("volume {} is not in volumes: add it there", mount.value.volume);
                Problem::new(&mount.path, message)
            }));
            for variable in &container.env {
                let file = variable.value.value_from.as_ref().and_then(|from| from.file_key_ref.as_ref());
                problems.extend(file.and_then(|file| {
                    let volume = scope.pod().volumes.iter().find(|volume| volume.name == file.volume_name);
                    let wrong = match volume {
                        None => "is not in volumes: add it there",
                        Some(volume) if volume.empty_dir.is_none() => "is no emptyDir, which a fileKeyRef needs",
                        Some(_) => return None,
                    };
                    Some(Problem::new(&variable.path, format!("volume {} {wrong}", file.volume_name)))
                }));
            }
        }
        problems
    })
}

/// Two mounts of a container cannot have the same path, however it is written.
pub(super) fn mount_paths_differ(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let mut problems = Vec::new();
        for container in scope.containers() {
            let mut seen: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
            for mount in &container.mounts {
                if let Some(earlier) = seen.insert(segments(&mount.value.path), &mount.value.path) {
                    let message = format!(
                        "is the same path as the mount {earlier}: write both alike to override it, or choose another"
                    );
                    problems.push(Problem::new(&mount.path, message));
                }
            }
        }
        problems
    })
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty() && *segment != ".").collect()
}

/// No mount climbs out of the directory that it names.
pub(super) fn sub_paths_stay_inside(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let mounts = scope.containers().into_iter().flat_map(|container| container.mounts);
        mounts
            .filter_map(|mount| {
                let sub_path = mount.value.sub_path.as_deref();
                let (field, path) = [("path", Some(mount.value.path.as_str())), ("subPath", sub_path)]
                    .into_iter()
                    .find_map(|(field, path)| Some((field, path.filter(|path| climbs(path))?)))?;
                Some(Problem::new(format!("{}.{field}", mount.path), format!("{path} must not contain ..")))
            })
            .collect()
    })
}

fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| segment == "..")
}

/// Files that a volume makes stay in the volume.
pub(super) fn file_paths_stay_inside(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let mut problems = Vec::new();
        for volume in volumes(scope) {
            for file in files(volume.value) {
                if file.is_empty() || file.starts_with('/') || climbs(file) || file.starts_with("..") {
                    let message = format!(
                        "{file:?} is not the path of a file in the volume: write it without / at the \
                                           beginning and without .."
                    );
                    problems.push(Problem::new(&volume.path, message));
                }
            }
        }
        problems
    })
}

/// The sources of a projected volume share a directory.
pub(super) fn projected_paths_differ(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let twice = |volume: Placed<'_, Volume>| {
            let sources = volume.value.projected.iter().flat_map(|source| source.sources.iter().flatten());
            let mut paths = BTreeSet::new();
            let path = sources.flat_map(projected).find(|path| !paths.insert(segments(path)))?;
            let message = format!("{path} is the path of two files: give one of them another");
            Some(Problem::new(format!("{}.projected.sources", volume.path), message))
        };
        volumes(scope).into_iter().filter_map(twice).collect()
    })
}

fn volumes<'a>(scope: &Scope<'a>) -> Vec<Placed<'a, Volume>> {
    scope.entries("volumes", |pod| &pod.volumes, |volume| &volume.name)
}

/// Every path that a volume's sources give to a file.
fn files(volume: &Volume) -> Vec<&str> {
    let config = volume.config_map.iter().flat_map(|source| source.items.iter().flatten()).map(|item| &item.path);
    let secret = volume.secret.iter().flat_map(|source| source.items.iter().flatten()).map(|item| &item.path);
    let fields = volume.downward_api.iter().flat_map(|source| source.items.iter().flatten()).map(|item| &item.path);
    let projected = volume.projected.iter().flat_map(|source| source.sources.iter().flatten()).flat_map(projected);
    config.chain(secret).chain(fields).map(String::as_str).chain(projected).collect()
}

fn projected(source: &VolumeProjection) -> Vec<&str> {
    let config = source.config_map.iter().flat_map(|source| source.items.iter().flatten()).map(|item| &item.path);
    let secret = source.secret.iter().flat_map(|source| source.items.iter().flatten()).map(|item| &item.path);
    let fields = source.downward_api.iter().flat_map(|source| source.items.iter().flatten()).map(|item| &item.path);
    let token = source.service_account_token.iter().map(|source| &source.path);
    let bundle = source.cluster_trust_bundle.iter().map(|source| &source.path);
    let certificate = source.pod_certificate.iter().flat_map(|source| {
        [&source.credential_bundle_path, &source.key_path, &source.certificate_chain_path].into_iter().flatten()
    });
    let made = token.chain(bundle).chain(certificate);
    config.chain(secret).chain(fields).chain(made).map(String::as_str).collect()
}

/// The size of an empty directory is a quantity.
pub(super) fn volume_sizes_are_quantities(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let wrong = |volume: Placed<'_, Volume>| {
            let size = &volume.value.empty_dir.as_ref()?.size_limit.as_ref()?.0;
            let reason = match size.parse::<Quantity>() {
                Ok(parsed) if parsed.is_negative() => "must not be negative".to_owned(),
                Ok(_) => return None,
                Err(error) => error.to_string(),
            };
            Some(Problem::new(format!("{}.emptyDir.sizeLimit", volume.path), format!("{size:?} {reason}")))
        };
        volumes(scope).into_iter().filter_map(wrong).collect()
    })
}
