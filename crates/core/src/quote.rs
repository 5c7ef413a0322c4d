//! Quotes what users wrote in messages, so that it can neither break nor flood them.

use serde_json::Value;

use crate::characters::{BETWEEN_QUOTES, push_excerpt};

/// The most characters between the quotes of a value in a message.
pub const MAX_QUOTED_CHARS: usize = 64;

/// `text` in double quotes, escaped, cut after [`MAX_QUOTED_CHARS`] characters.
pub fn quote(text: &str) -> String {
    quote_at_most(text, MAX_QUOTED_CHARS)
}

/// `text` in double quotes, escaped, with at most `limit` characters between them; an ellipsis shows a cut.
pub fn quote_at_most(text: &str, limit: usize) -> String {
    let mut quoted = String::with_capacity(text.len().min(limit) + 2);
    push_quoted(&mut quoted, text, limit);
    quoted
}

/// Writes what [`quote_at_most`] gives.
pub(crate) fn push_quoted(into: &mut String, text: &str, limit: usize) {
    into.push('"');
    push_excerpt(into, text, limit, BETWEEN_QUOTES);
    into.push('"');
}

/// What is said of a value that has another type than it must have, such as `must be a list, not a string`.
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

/// The name of a JSON value's type, as users know it from `kubectl explain`.
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
    fn what_could_break_a_message_is_escaped() {
        assert_eq!(quote("a \"b\" \\ c"), r#""a \"b\" \\ c""#);
        assert_eq!(quote("a\r\n\tb\u{0}\u{1b}[31m"), r#""a\r\n\tb\u0000\u001b[31m""#);
        assert_eq!(quote("a\u{200b}b\u{202e}c\u{a0}d\u{2028}"), r#""a\u200bb\u202ec\u00a0d\u2028""#);
        assert_eq!(quote("bücher 🏢"), "\"bücher 🏢\"");
    }

    #[test]
    fn long_values_are_cut_at_64_characters() {
        assert_eq!(quote(&"é".repeat(64)), format!("\"{}\"", "é".repeat(64)));
        assert_eq!(quote(&"é".repeat(65)), format!("\"{}…\"", "é".repeat(64)));
        // What is shown counts, so that a value cannot grow by being escaped.
        assert_eq!(quote(&"\u{200b}".repeat(64)), format!("\"{}…\"", "\\u200b".repeat(10)));
    }
}
