//! A tree of values as text, with what it was found to be as.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde_json::Value;

/// A value as JSON text, which takes a fraction of the memory of a tree.
#[derive(Clone, Debug)]
pub struct Packed(Arc<Text>);

#[derive(Debug)]
struct Text {
    json: Box<str>,
    /// Digest of what it was last found to be as; 0 at first.
    found: AtomicU64,
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.0.json == other.0.json
    }
}

impl Packed {
    pub fn of(value: &Value) -> Self {
        Self(Arc::new(Text { json: value.to_string().into(), found: AtomicU64::new(0) }))
    }

    /// Its length, in bytes.
    pub fn size(&self) -> usize {
        self.0.json.len()
    }

    pub fn open(&self) -> Value {
        serde_json::from_str(&self.0.json).unwrap_or_default()
    }

    /// Whether it is as what has this digest: what `look` says, which is asked once as long as it says yes.
    pub fn is_as(&self, digest: u64, look: impl FnOnce(&Value) -> bool) -> bool {
        if digest != 0 && self.0.found.load(Ordering::Relaxed) == digest {
            return true;
        }
        let found = look(&self.open());
        if found {
            self.0.found.store(digest, Ordering::Relaxed);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_found_is_not_looked_at_again() {
        let packed = Packed::of(&json!({"a": 1}));
        assert!(!packed.is_as(7, |_| false));
        assert!(packed.is_as(7, |value| value["a"] == 1), "a no is not kept");
        assert!(packed.clone().is_as(7, |_| false), "copies of the same object know");
        assert!(!packed.is_as(8, |_| false), "something else is looked for");
        assert!(packed.is_as(7, |_| false), "a no forgets nothing");
        assert!(!Packed::of(&json!({"a": 1})).is_as(7, |_| false), "another object is looked at");
        assert!(packed.is_as(0, |_| true) && !packed.is_as(0, |_| false), "without a digest it is always looked at");
    }
}
