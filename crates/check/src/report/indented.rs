//! JSON that people can read.

use serde::Serialize;

/// The value as indented JSON, with a line break at its end.
pub fn pretty(value: &impl Serialize) -> String {
    // Only maps whose keys are not strings and failing implementations can fail, and reports have neither.
    let mut json = serde_json::to_string_pretty(value).unwrap_or_default();
    json.push('\n');
    json
}
