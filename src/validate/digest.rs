//! Digests of plain data that outlive a release of the operator.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The first `length` hexadecimal digits of the SHA-256 of a value, whatever the order of its keys.
pub fn digest(value: &Value, length: usize) -> String {
    let hash = Sha256::digest(canonical(value).as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().chars().take(length).collect()
}

/// The value as JSON with sorted keys. How `serde_json` orders them depends on features that any dependency may turn
/// on, and structs are free to declare their fields in another order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let fields =
                fields.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(entries) => format!("[{}]", entries.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
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
