//! Escapes and shortens the values of a log line, so that none can break the line or control a terminal.

use std::error::Error;
use std::fmt::{self, Write};

use crm_core::characters::{ESCAPED_IN_QUOTES, push_truncated};
use tracing::field::Field;

/// The maximum length of a value in characters: that of a valid name, so that no valid name is cut.
const LIMIT: usize = 253;
/// The maximum length of an error or a reason. Errors name a path or an object, the cause, and the fix at the end,
/// which must not be cut.
const ERROR_LIMIT: usize = 1024;
/// The maximum length of the problems of a policy: about thirty problems. `policy check` shows all.
const PROBLEMS_LIMIT: usize = 4096;
/// The maximum length of a stack: about two hundred frames. It has names of functions and files of this build, and
/// nothing from outside.
const STACK_LIMIT: usize = 32 * 1024;
/// The maximum length of a message. Ours are short literals; those of libraries may be longer.
const MESSAGE_LIMIT: usize = 4096;

/// The maximum length of a field.
fn limit(field: &Field) -> usize {
    match field.name() {
        "message" => MESSAGE_LIMIT,
        "error" | "reason" => ERROR_LIMIT,
        "problems" => PROBLEMS_LIMIT,
        "stack" => STACK_LIMIT,
        _ => LIMIT,
    }
}

/// A value before it is escaped: only the part that can be shown, and whether it may be written without quotes.
pub(super) struct Value<'v> {
    /// At most one character more than the limit, which shows that there is more.
    text: Text<'v>,
    limit: usize,
}

enum Text<'v> {
    /// A string. Most strings come from outside, so all have quotes.
    Given(&'v str),
    /// The output of another type: a number, a kind, an error.
    Written(String),
}

impl<'v> Value<'v> {
    pub(super) fn given(field: &Field, text: &'v str) -> Self {
        Self { text: Text::Given(text), limit: limit(field) }
    }

    pub(super) fn written(field: &Field, value: &dyn fmt::Debug) -> Self {
        let limit = limit(field);
        Self { text: Text::Written(head(format_args!("{value:?}"), limit)), limit }
    }

    /// An error with its causes, except those that it already contains.
    pub(super) fn error(field: &Field, error: &dyn Error) -> Self {
        let limit = limit(field).max(ERROR_LIMIT);
        let mut text = head(format_args!("{error}"), limit);
        let mut next = error.source();
        while let Some(cause) = next {
            let message = head(format_args!("{cause}"), limit);
            if !text.contains(&message) {
                text = head(format_args!("{text}: {message}"), limit);
            }
            next = cause.source();
        }
        Self { text: Text::Written(text), limit }
    }

    /// Writes the value for the text format: with quotes, unless it is unambiguous without them.
    pub(super) fn push_quoted(&self, into: &mut String) {
        if self.is_plain() {
            return into.push_str(self.as_str());
        }
        into.push('"');
        push_truncated(into, self.as_str(), self.limit, ESCAPED_IN_QUOTES);
        into.push('"');
    }

    /// Writes the value without quotes, with only invisible characters escaped.
    pub(super) fn push_bare(&self, into: &mut String) {
        push_truncated(into, self.as_str(), self.limit, &[]);
    }

    fn as_str(&self) -> &str {
        match &self.text {
            Text::Given(text) => text,
            Text::Written(text) => text,
        }
    }

    /// Whether it is a word that cannot look like the start or end of something else.
    fn is_plain(&self) -> bool {
        let Text::Written(text) = &self.text else {
            return false;
        };
        let is_plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b'=');
        !text.is_empty() && text.len() <= self.limit && text.bytes().all(is_plain)
    }
}

/// The start of the output: one character more than `limit` if there is more. The rest is never formatted, so a large
/// value costs no more than a small one.
fn head(written: fmt::Arguments<'_>, limit: usize) -> String {
    let mut head = Head { text: String::new(), left: limit + 1 };
    // It fails only to stop the formatting early.
    let _ = head.write_fmt(written);
    head.text
}

struct Head {
    text: String,
    left: usize,
}

impl Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.left) {
            None => {
                self.left -= text.chars().count();
                self.text.push_str(text);
                Ok(())
            }
            Some((end, _)) => {
                self.left = 0;
                self.text.push_str(text.get(..end).unwrap_or_default());
                Err(fmt::Error)
            }
        }
    }
}

/// The name of a field in both formats. In code, a keyword has `r#` in front of it.
pub(super) fn key(field: &Field) -> &'static str {
    field.name().trim_start_matches("r#")
}
