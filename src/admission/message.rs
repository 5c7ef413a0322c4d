//! The words of an answer: what a finding or a change says in a status cause or a warning.

use std::fmt::Write;

use crm_core::rules::{
    Change, Effect, FieldPath, Finding, MAX_QUOTED_CHARS, Reason, Shown, quote, quote_at_most, shown,
};

/// Longer warnings are cut by clients, so they are kept below it where possible; in characters.
const MAX_WARNING_CHARS: usize = 120;
/// A quote is not cut below this many characters to make room.
const MIN_QUOTED_CHARS: usize = 16;
/// A trimmed value is shown twice in a warning, so each time at most this much of it.
const MAX_TRIMMED_CHARS: usize = 32;
/// An answer has at most this many warnings, and one that counts the rest.
const MAX_WARNINGS: usize = 10;
/// The warnings of an answer have at most this many bytes together.
const MAX_WARNINGS_BYTES: usize = 3 * 1024;

/// A finding as a warning, `field: text [rule]`, shortened where that makes it fit.
pub(super) fn finding_warning(finding: &Finding) -> String {
    // Nothing is forbidden where a deletion is allowed. One request may delete many, so it says which one is meant.
    if let (Reason::Referenced, Shown::Text(name)) = (finding.reason, &finding.value) {
        return format!("{}: {}: {}", finding.field, quote(name), finding.rest());
    }
    let warning = |message: String| started(&finding.field) + &message;
    let fits = |text: &String| text.chars().count() <= MAX_WARNING_CHARS;
    Some(warning(finding.message()))
        .filter(fits)
        .or_else(|| Some(warning(finding.message_quoting(MIN_QUOTED_CHARS))).filter(fits))
        .unwrap_or_else(|| warning(finding.message_without_prefix(MIN_QUOTED_CHARS)))
}

/// What a change tells the user; `None` for changes that nobody needs to hear of.
pub(super) fn change_warning(change: &Change) -> Option<String> {
    let before = shown(change.rule, change.before.as_deref().unwrap_or_default());
    let said = match (change.effect, &change.after) {
        (Effect::Defaulted | Effect::Restored, _) => return None,
        (Effect::DuplicateRemoved { .. }, _) => "duplicate removed".to_owned(),
        // What users wrote is quoted with care; canonical forms are given whole.
        (Effect::Trimmed, after) => {
            format!("stored as {}", quote_at_most(after.as_deref().unwrap_or_default(), MAX_TRIMMED_CHARS))
        }
        (Effect::Normalized, after) => format!("stored as \"{}\"", after.as_deref().unwrap_or_default()),
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
        warning.push_str(&quote_at_most(before, room));
        warning.push(' ');
    }
    warning.push_str(&said);
    warning
}

/// A text with the field in front, and room for what is said of it.
fn started(field: &FieldPath) -> String {
    let mut text = String::with_capacity(MAX_WARNING_CHARS);
    // A text takes whatever is written to it.
    let _ = write!(text, "{field}: ");
    text
}

/// The warnings that fit into an answer, and one that counts those that do not.
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
