//! The CEL rules of the CRD.

use std::fmt;

use kube::core::cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};
use serde_json::Value;

use crate::validate::Problem;

/// The rules, compiled.
pub(super) struct Rules {
    compiled: CompiledSchema,
    validator: Validator,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").finish_non_exhaustive()
    }
}

impl Rules {
    pub(super) fn new(schema: &Value) -> Self {
        Self { compiled: compile_schema(schema), validator: Validator::new() }
    }

    /// The rules that a structurally valid object breaks. A rule that cannot be evaluated is broken, as it is for the
    /// API server.
    pub(super) fn check(&self, object: &Value) -> Vec<Problem> {
        let broken = self.validator.validate_compiled(&self.compiled, object, None);
        broken
            .err()
            .into_iter()
            .flatten()
            .map(|error| Problem::new(error.field_path.trim_start_matches('.'), message(&error)))
            .collect()
    }
}

fn message(error: &ValidationError) -> String {
    match error.kind {
        ErrorKind::ValidationFailure => error.message.clone(),
        _ => format!("{} (in the rule {})", error.message, error.rule),
    }
}
