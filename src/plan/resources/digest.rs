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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn digests_are_as_they_were_in_every_release() {
        for (value, length, expected) in
            [(json!({}), 10, "44136fa355"), (json!({"b": [1, {"d": null, "c": "x"}], "a": true}), 8, "f1249127")]
        {
            assert_eq!(digest(&value, length), expected);
        }
    }

    #[test]
    fn keys_may_come_in_any_order_but_entries_may_not() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let one = digest(&parse(r#"{"a": 1, "b": {"x": 1, "y": [1, 2]}}"#), 10);
        assert_eq!(one, digest(&parse(r#"{"b": {"y": [1, 2], "x": 1}, "a": 1}"#), 10));
        assert_ne!(one, digest(&parse(r#"{"b": {"y": [2, 1], "x": 1}, "a": 1}"#), 10));
    }
}
