//! Writes the messages of findings and changes for status causes and warnings.

use std::fmt::Write;

use crm_core::quote::{MAX_QUOTED_CHARS, quote, quote_truncated};
use crm_core::rules::{Change, Effect, FieldPath, Finding, Reason, Shown, canonical_form, shown};

/// Clients cut longer warnings, so warnings stay below this if possible; in characters.
const MAX_WARNING_CHARS: usize = 120;
/// A quote is not cut below this length to make room.
const MIN_QUOTED_CHARS: usize = 16;
/// The maximum length of a trimmed value, which a warning shows twice.
const MAX_TRIMMED_CHARS: usize = 32;
/// The maximum number of warnings, plus one that counts the rest.
const MAX_WARNINGS: usize = 10;
/// The maximum size of all warnings in bytes.
const MAX_WARNINGS_BYTES: usize = 3 * 1024;

/// A finding as a warning, `field: text [rule]`, shortened if that makes it fit.
pub(super) fn finding_warning(finding: &Finding) -> String {
    // The deletion is allowed, so nothing is forbidden. One request may delete many records, so the warning names the
    // record.
    if let (Reason::Referenced, Shown::Text(name)) = (finding.reason, &finding.value) {
        return format!("{}: {}: {}", finding.field, quote(name), finding.rest());
    }
    let warning = |message: String| started(&finding.field) + &message;
    let fits = |text: &String| text.chars().count() <= MAX_WARNING_CHARS;
    Some(warning(finding.message()))
        .filter(fits)
        .unwrap_or_else(|| warning(finding.message_with_limit(MIN_QUOTED_CHARS)))
}

/// The warning about a change; `None` for changes that need none.
pub(super) fn change_warning(change: &Change) -> Option<String> {
    let before = shown(change.rule, change.before.as_deref().unwrap_or_default());
    let said = match (change.effect, &change.after) {
        (Effect::Defaulted | Effect::Restored, _) => return None,
        (Effect::DuplicateRemoved { .. }, _) => "duplicate removed".to_owned(),
        // User input is quoted with care; canonical values are given whole.
        (Effect::Trimmed, after) => {
            format!("stored as {}", quote_truncated(after.as_deref().unwrap_or_default(), MAX_TRIMMED_CHARS))
        }
        (Effect::Normalized, after) => {
            format!("stored as {}", canonical_form(change.rule, after.as_deref().unwrap_or_default()))
        }
    };
    Some(fitted(&change.field, &before, &said, change.rule.as_str()))
}

fn fitted(field: &FieldPath, before: &Shown, said: &str, rule: &str) -> String {
    let mut warning = started(field);
    let said = [said, " [", rule, "]"].concat();
    if let Shown::Text(before) = before {
        // The two quotes, a space, and an ellipsis.
        let around = warning.chars().count() + said.chars().count() + 4;
        let room = MAX_WARNING_CHARS.saturating_sub(around).clamp(MIN_QUOTED_CHARS, MAX_QUOTED_CHARS);
        warning.push_str(&quote_truncated(before, room));
        warning.push(' ');
    }
    warning.push_str(&said);
    warning
}

/// A message that starts with the field, with capacity for the rest.
fn started(field: &FieldPath) -> String {
    let mut text = String::with_capacity(MAX_WARNING_CHARS);
    // Writing to a string cannot fail.
    let _ = write!(text, "{field}: ");
    text
}

/// The warnings that fit in an answer, and one that counts the rest.
pub(super) fn limited(warnings: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let mut fitting = 0;
    for warning in warnings.iter().take(MAX_WARNINGS) {
        bytes += warning.len();
        if bytes > MAX_WARNINGS_BYTES {
            break;
        }
        fitting += 1;
    }
    let left_out = warnings.len() - fitting;
    let mut limited = warnings;
    limited.truncate(fitting);
    if left_out > 0 {
        limited.push(format!("(+{left_out} more)"));
    }
    limited
}
