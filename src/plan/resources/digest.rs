//! Digests of plain data that outlive a release of the operator.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The first `length` hexadecimal digits of the SHA-256 of a value, whatever the order of its keys.
pub fn digest(value: &Value, length: usize) -> String {
    let hash = Sha256::digest(sorted(value).to_string().as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().chars().take(length).collect()
}

/// Fields of structs come in the order of their declaration, which must be free to change.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(entries) => Value::Array(entries.iter().map(sorted).collect()),
        scalar => scalar.clone(),
    }
}
