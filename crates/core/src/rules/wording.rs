//! The messages of findings in status causes, warnings and reports.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::finding::{Finding, Shown};
use crate::quote::{MAX_QUOTED_CHARS, push_quoted};

/// The size of most messages.
const USUAL_BYTES: usize = 128;

impl Finding {
    /// The prefix of the API machinery, the problem with its fix, and the rule, as in a status cause:
    /// `Not found: "acme": no Company of that name [company-exists]`.
    pub fn message(&self) -> String {
        self.message_with_limit(MAX_QUOTED_CHARS)
    }

    /// The same with at most `limit` characters of the value.
    pub fn message_with_limit(&self, limit: usize) -> String {
        let mut message = String::with_capacity(USUAL_BYTES);
        message.push_str(self.reason.prefix());
        message.push_str(": ");
        if self.reason.quotes_value() {
            self.push_value(&mut message, limit);
        }
        self.push_rest(&mut message);
        message
    }

    /// The problem with its fix, the date from which it is denied, and the rule.
    pub fn rest(&self) -> String {
        let mut rest = String::with_capacity(USUAL_BYTES);
        self.push_rest(&mut rest);
        rest
    }

    fn push_value(&self, message: &mut String, limit: usize) {
        match &self.value {
            Shown::Text(text) => push_quoted(message, text, limit),
            Shown::Nothing | Shown::Hidden => message.push_str("\"\""),
        }
        message.push_str(": ");
    }

    fn push_rest(&self, message: &mut String) {
        message.push_str(&self.text);
        if let Some(date) = self.denies_from {
            message.push_str("; denied from ");
            message.push_str(&day(date));
        }
        message.push_str(" [");
        message.push_str(self.rule.as_str());
        if let Some(code) = self.code {
            message.push('/');
            message.push_str(code);
        }
        message.push(']');
    }
}

/// The date, with the time only if it is not midnight.
fn day(time: Timestamp) -> String {
    let civil = time.to_zoned(TimeZone::UTC).datetime();
    if civil.time() == jiff::civil::Time::midnight() { civil.date().to_string() } else { time.to_string() }
}
