//! The words of a finding, the same in status causes, warnings and reports.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::finding::{Finding, Shown};
use super::quote::{MAX_QUOTED_CHARS, quote_at_most};

impl Finding {
    /// The API machinery's prefix, what is wrong with the fix, and the rule, as in a status cause:
    /// `Not found: "acme": no Company of that name [company-exists]`.
    pub fn message(&self) -> String {
        self.message_quoting(MAX_QUOTED_CHARS)
    }

    /// The same with at most `limit` characters of the value quoted.
    pub fn message_quoting(&self, limit: usize) -> String {
        let prefix = self.reason.prefix();
        let rest = self.rest();
        if !self.reason.quotes_value() {
            return format!("{prefix}: {rest}");
        }
        format!("{prefix}: {}: {rest}", quoted(&self.value, limit))
    }

    /// The same without the prefix, for where room is short.
    pub fn message_without_prefix(&self, limit: usize) -> String {
        if self.reason.quotes_value() && self.value != Shown::Hidden {
            return format!("{}: {}", quoted(&self.value, limit), self.rest());
        }
        self.rest()
    }

    /// What is wrong and the fix, with the date from which it will be refused, and the rule.
    pub fn rest(&self) -> String {
        let mut text = self.text.clone();
        if let Some(date) = self.denies_from {
            text.push_str("; refused from ");
            text.push_str(&day(date));
        }
        match self.code {
            Some(code) => format!("{text} [{}/{code}]", self.rule),
            None => format!("{text} [{}]", self.rule),
        }
    }
}

fn quoted(value: &Shown, limit: usize) -> String {
    match value {
        Shown::Text(text) => quote_at_most(text, limit),
        Shown::Nothing | Shown::Hidden => "\"\"".to_owned(),
    }
}

/// A date by itself where it says all.
fn day(time: Timestamp) -> String {
    let civil = time.to_zoned(TimeZone::UTC).datetime();
    if civil.time() == jiff::civil::Time::midnight() { civil.date().to_string() } else { time.to_string() }
}
