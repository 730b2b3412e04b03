//! The warnings: what is accepted and rarely meant. One function a rule.

mod addresses;
mod databases;
mod given;
mod graph;
mod names;
mod plain_http;
mod pods;
mod ports;
mod references;
mod rollouts;
mod traffic;

use crate::{input::Origin, validate::Problem};

use super::{Finding, Severity, Subject};
pub(super) use given::Given;

/// A rule about one Microservice.
type Alone = fn(&Subject) -> Vec<Problem>;
/// A rule about one Microservice and what an administrator made for it.
type Beside = fn(&Subject, &Given) -> Vec<Problem>;
/// A rule about what an administrator made; each problem has where that was found, and its name.
type Administered = fn(&Given) -> Vec<(&Origin, &str, Problem)>;
/// A rule about all that are given together; each problem has the number of the subject that it is told of.
type Together = fn(&[Subject]) -> Vec<(usize, Problem)>;

const ALONE: &[(&str, Alone)] = &[
    ("no-probe", pods::no_probe),
    ("latest-tag", pods::latest_tag),
    ("no-resources", pods::no_resources),
    ("no-pods", pods::no_pods),
    ("outlier-ejects-nothing", traffic::outlier_ejects_nothing),
    ("shadowed-gateway-errors", traffic::shadowed_gateway_errors),
    ("try-timeout-without-retry", traffic::try_timeout_without_retry),
    ("reaches-no-port", traffic::reaches_no_port),
    ("well-known-port", ports::well_known_port),
    ("needs-mesh", traffic::needs_mesh),
    ("unreachable-route", traffic::unreachable_route),
    ("unmeasured-rollout", rollouts::unmeasured_rollout),
    ("surge-without-scale", rollouts::surge_without_scale),
    ("tcp-steps", rollouts::tcp_steps),
];

const BESIDE: &[(&str, Beside)] = &[
    ("unknown-provider", references::unknown_provider),
    ("unknown-webhook", references::unknown_webhook),
    ("closed-provider", references::closed_provider),
    ("closed-webhook", references::closed_webhook),
    ("denied-query", references::denied_query),
];

const ADMINISTERED: &[(&str, Administered)] = &[("plain-http-credentials", plain_http::plain_http_credentials)];

const TOGETHER: &[(&str, Together)] = &[
    ("duplicate-object", names::duplicate_object),
    ("name-clash", names::name_clash),
    ("dependency-cycle", graph::dependency_cycle),
    ("dependency-mismatch", graph::dependency_mismatch),
    ("hard-coded-url", addresses::hard_coded_url),
    ("shared-database", databases::shared_database),
];

/// All warnings, those of each Microservice first.
pub(super) fn all(subjects: &[Subject], given: &Given) -> Vec<Finding> {
    let told = |rule: &'static str, subject: &Subject, problem| {
        Finding::new(Severity::Warning, &subject.origin, &subject.object(), rule, problem)
    };
    let alone = ALONE.iter().flat_map(|(rule, check)| {
        subjects
            .iter()
            .flat_map(move |subject| check(subject).into_iter().map(move |problem| told(rule, subject, problem)))
    });
    let beside = BESIDE.iter().flat_map(|(rule, check)| {
        subjects
            .iter()
            .flat_map(move |subject| check(subject, given).into_iter().map(move |problem| told(rule, subject, problem)))
    });
    let together = TOGETHER.iter().flat_map(|(rule, check)| {
        check(subjects).into_iter().map(move |(index, problem)| told(rule, &subjects[index], problem))
    });
    let administered = ADMINISTERED.iter().flat_map(|(rule, check)| {
        check(given)
            .into_iter()
            .map(move |(origin, name, problem)| Finding::new(Severity::Warning, origin, name, rule, problem))
    });
    alone.chain(beside).chain(together).chain(administered).collect()
}
