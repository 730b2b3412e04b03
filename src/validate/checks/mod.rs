//! The named checks, one a rule, in the order in which their problems are told.
//!
//! They find what the CRD's schema and CEL cannot: what arises from inheritance, and what needs more than CEL has.

mod containers;
mod environment;
mod ports;
mod rollouts;
mod routes;
mod scheduling;
pub(crate) mod scope;
mod storage;
mod traffic;
mod windows;

use crate::api::MicroserviceSpec;

use super::{Problem, Validated};

/// A rule: looks at the spec as written and as resolved, and tells what is wrong.
type Check = fn(&MicroserviceSpec, &Validated) -> Vec<Problem>;

const CHECKS: &[Check] = &[
    ports::target_ports_differ,
    ports::health_port_exists,
    ports::health_service_speaks_grpc,
    ports::handler_ports_exist,
    routes::patterns_compile,
    routes::header_names_are_headers,
    routes::query_names_are_given,
    routes::failures_to_retry_are_known,
    traffic::tries_fit_timeouts,
    environment::dependency_is_another_service,
    environment::dependency_variables_differ,
    environment::dependency_variables_are_free,
    environment::fields_name_containers,
    environment::divisors_fit,
    rollouts::queries_have_known_placeholders,
    rollouts::ready_made_metrics_have_requests,
    storage::mounts_name_volumes,
    storage::mount_paths_differ,
    storage::sub_paths_stay_inside,
    storage::file_paths_stay_inside,
    storage::projected_paths_differ,
    storage::volume_sizes_are_quantities,
    containers::names_differ,
    containers::resources_are_quantities,
    containers::requests_are_within_limits,
    containers::resource_names_are_known,
    containers::huge_pages_are_not_alone,
    containers::root_is_meant,
    containers::stop_fits_grace_period,
    containers::start_fits_grace_period,
    scheduling::labels_are_labels,
    scheduling::labels_are_not_reserved,
    scheduling::node_selector_is_labels,
    scheduling::tolerations_have_labels,
    scheduling::selectors_are_selectors,
    windows::time_zones_exist,
];

/// Runs all checks.
pub fn run(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    CHECKS.iter().flat_map(|check| check(spec, resolved)).collect()
}
