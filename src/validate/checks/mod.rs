//! The named checks, one a rule, in the order in which their problems are told.

use crate::api::MicroserviceSpec;

use super::{Problem, Validated};

/// A rule: looks at the spec as written and as resolved, and tells what is wrong.
type Check = fn(&MicroserviceSpec, &Validated) -> Vec<Problem>;

const CHECKS: &[Check] = &[];

/// Runs all checks.
pub fn run(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    CHECKS.iter().flat_map(|check| check(spec, resolved)).collect()
}
