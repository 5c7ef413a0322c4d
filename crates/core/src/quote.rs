//! Quotes values of users in messages, escaped and truncated.

use serde_json::Value;

use crate::characters::{ESCAPED_IN_QUOTES, push_truncated};

/// The maximum number of characters of a quoted value in a message.
pub const MAX_QUOTED_CHARS: usize = 64;

/// `text` in double quotes, escaped, truncated to [`MAX_QUOTED_CHARS`] characters.
pub fn quote(text: &str) -> String {
    quote_truncated(text, MAX_QUOTED_CHARS)
}

/// `text` in double quotes, escaped, truncated to `limit` characters. An ellipsis marks the truncation.
pub fn quote_truncated(text: &str, limit: usize) -> String {
    let mut quoted = String::with_capacity(text.len().min(limit) + 2);
    push_quoted(&mut quoted, text, limit);
    quoted
}

/// Appends the result of [`quote_truncated`].
pub(crate) fn push_quoted(into: &mut String, text: &str, limit: usize) {
    into.push('"');
    push_truncated(into, text, limit, ESCAPED_IN_QUOTES);
    into.push('"');
}

/// The message about a value of the wrong type, such as `must be a list, not a string`.
pub fn wrong_type(expected: &str, value: &Value) -> String {
    format!("must be {}, not {}", with_article(expected), with_article(type_name(value)))
}

fn with_article(noun: &str) -> String {
    match noun {
        "null" => noun.to_owned(),
        "object" | "integer" => format!("an {noun}"),
        _ => format!("a {noun}"),
    }
}

/// The name of the type of a JSON value, as in `kubectl explain`.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(quote("a \"b\" \\ c"), r#""a \"b\" \\ c""#);
        assert_eq!(quote("a\r\n\tb\u{0}\u{1b}[31m"), r#""a\r\n\tb\u0000\u001b[31m""#);
        assert_eq!(quote("a\u{200b}b\u{202e}c\u{a0}d\u{2028}"), r#""a\u200bb\u202ec\u00a0d\u2028""#);
        assert_eq!(quote("bücher 🏢"), "\"bücher 🏢\"");
    }

    #[test]
    fn long_values_are_truncated_to_64_characters() {
        assert_eq!(quote(&"é".repeat(64)), format!("\"{}\"", "é".repeat(64)));
        assert_eq!(quote(&"é".repeat(65)), format!("\"{}…\"", "é".repeat(64)));
        // Escapes count, so that escaping cannot make a value longer.
        assert_eq!(quote(&"\u{200b}".repeat(64)), format!("\"{}…\"", "\\u200b".repeat(10)));
    }
}
