//! Quotes what users wrote in messages, so that it can neither break nor flood them.

use std::fmt::Write;

use serde_json::Value;

use crate::normalize::is_invisible;

/// The most characters of a value that a message quotes.
pub const MAX_QUOTED_CHARS: usize = 64;

/// `text` in double quotes, escaped, cut after [`MAX_QUOTED_CHARS`] characters.
pub fn quote(text: &str) -> String {
    quote_at_most(text, MAX_QUOTED_CHARS)
}

/// `text` in double quotes, escaped, cut after `limit` characters; an ellipsis shows a cut.
pub fn quote_at_most(text: &str, limit: usize) -> String {
    let mut quoted = String::with_capacity(text.len().min(limit) + 2);
    quoted.push('"');
    let mut rest = text.chars();
    for c in rest.by_ref().take(limit) {
        push_escaped(&mut quoted, c);
    }
    if rest.next().is_some() {
        quoted.push('…');
    }
    quoted.push('"');
    quoted
}

fn push_escaped(quoted: &mut String, c: char) {
    match c {
        '"' | '\\' => quoted.extend(['\\', c]),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        ' ' => quoted.push(' '),
        c if c.is_control() || c.is_whitespace() || is_invisible(c) => {
            // Writing into a String cannot fail.
            let _ = write!(quoted, "\\u{:04x}", u32::from(c));
        }
        c => quoted.push(c),
    }
}

/// What a finding about a wrong type shows as the value: a scalar as it is, else only its type.
pub fn quote_value(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(_) | Value::Object(_) => quote(type_name(value)),
        scalar => quote(&scalar.to_string()),
    }
}

/// The name of a JSON value's type, as users know it from `kubectl explain`.
pub fn type_name(value: &Value) -> &'static str {
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
    use serde_json::json;

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
    }

    #[test]
    fn of_lists_and_objects_only_the_type_is_shown() {
        assert_eq!(quote_value(&json!({"secret": "s3cret"})), "\"object\"");
        assert_eq!(quote_value(&json!(["s3cret"])), "\"list\"");
        assert_eq!(quote_value(&json!(42)), "\"42\"");
        assert_eq!(quote_value(&json!(null)), "\"null\"");
    }
}
