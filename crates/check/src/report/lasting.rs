//! What stays of a finding when lines move and values are not to be written down.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What a baseline compares of a finding, besides its rule, kind and field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lasting {
    /// The namespace of the object; CRM records have none.
    pub namespace: Option<String>,
    /// The name of the object; `None` if it has none yet.
    pub name: Option<String>,
    /// The SHA-256 of the value as JSON, in lower-case hexadecimal digits. A missing value is null.
    pub value_sha256: String,
}

impl Lasting {
    /// The same with this value. The order of its keys does not count.
    #[must_use]
    pub fn with_value(self, value: &Value) -> Self {
        let mut value = value.clone();
        value.sort_all_objects();
        let mut value_sha256 = String::new();
        for byte in Sha256::digest(value.to_string()) {
            // Writing into a String cannot fail.
            let _ = write!(value_sha256, "{byte:02x}");
        }
        Self { value_sha256, ..self }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_value_as_json() {
        let hash = |value: &Value| Lasting::default().with_value(value).value_sha256;
        // printf '"co.uk"' | sha256sum
        assert_eq!(hash(&json!("co.uk")), "2727ddca71e1dd425e7a67852d11381afdbf77197122b0b00dff0b7cc9498d63");
        assert_eq!(hash(&Value::Null), "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b");
        assert_eq!(
            hash(&json!({"a": 1, "b": {"c": 2, "d": 3}})),
            hash(&json!({"b": {"d": 3, "c": 2}, "a": 1}))
        );
        assert_ne!(hash(&json!(1)), hash(&json!("1")));
    }
}
