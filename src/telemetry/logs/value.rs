//! Values as a line of the log shows them: escaped, so that none ends the line or steers a terminal, and cut.

use std::error::Error;
use std::fmt::{self, Write};

use crm_core::characters::{BETWEEN_QUOTES, push_excerpt};
use tracing::field::Field;

/// The most characters of a value: as many as a valid name has, so that no valid name is cut.
const LIMIT: usize = 253;
/// The most characters of an error or a reason. Errors name a path or an object, the cause, and at their end the fix,
/// which must not be what is cut.
const ERROR_LIMIT: usize = 1024;
/// The most characters of the problems of a policy: some thirty of them. `policy check` shows all.
const PROBLEMS_LIMIT: usize = 4096;
/// The most characters of a stack: some two hundred frames. It names functions and files of this build, and nothing
/// from outside.
const STACK_LIMIT: usize = 32 * 1024;
/// The most characters of a message. Ours are literals, far shorter; those of libraries may hold more than that.
const MESSAGE_LIMIT: usize = 4096;

/// How many characters of a field are shown.
fn limit(field: &Field) -> usize {
    match field.name() {
        "message" => MESSAGE_LIMIT,
        "error" | "reason" => ERROR_LIMIT,
        "problems" => PROBLEMS_LIMIT,
        "stack" => STACK_LIMIT,
        _ => LIMIT,
    }
}

/// A value before it is escaped: no more of it than can be shown, and whether it may do without quotes.
pub(super) struct Value<'v> {
    /// At most one character more than the limit, which tells that there is more.
    text: Text<'v>,
    limit: usize,
}

enum Text<'v> {
    /// A string as it was given. Most strings come from outside, so all of them have quotes.
    Given(&'v str),
    /// What something that is no string wrote of itself: a number, a kind, an error.
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

    /// An error with its causes, without those that it repeats in its own words.
    pub(super) fn error(field: &Field, error: &dyn Error) -> Self {
        let limit = limit(field).max(ERROR_LIMIT);
        let mut text = head(format_args!("{error}"), limit);
        let mut next = error.source();
        while let Some(cause) = next {
            let told = head(format_args!("{cause}"), limit);
            if !text.contains(&told) {
                text = head(format_args!("{text}: {told}"), limit);
            }
            next = cause.source();
        }
        Self { text: Text::Written(text), limit }
    }

    /// Writes the value as the text format shows it: between quotes, unless it could not be taken for anything else.
    pub(super) fn push_quoted(&self, into: &mut String) {
        if self.is_plain() {
            return into.push_str(self.as_str());
        }
        into.push('"');
        push_excerpt(into, self.as_str(), self.limit, BETWEEN_QUOTES);
        into.push('"');
    }

    /// Writes the value without quotes around it, and as it is but for what does not show as itself.
    pub(super) fn push_bare(&self, into: &mut String) {
        push_excerpt(into, self.as_str(), self.limit, &[]);
    }

    fn as_str(&self) -> &str {
        match &self.text {
            Text::Given(text) => text,
            Text::Written(text) => text,
        }
    }

    /// Whether it is a word that no reader could take for the beginning or the end of something else.
    fn is_plain(&self) -> bool {
        let Text::Written(text) = &self.text else {
            return false;
        };
        let is_plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b'=');
        !text.is_empty() && text.len() <= self.limit && text.bytes().all(is_plain)
    }
}

/// The beginning of what is written: one character more than `limit` where there is more. The rest is never put
/// together, so that a large value costs no more than a small one.
fn head(written: fmt::Arguments<'_>, limit: usize) -> String {
    let mut head = Head { text: String::new(), left: limit + 1 };
    // It fails only to say that this is enough.
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
