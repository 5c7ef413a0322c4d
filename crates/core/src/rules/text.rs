//! The rules `display-name` and `note-content`, about texts that people read.

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::{Change, Effect};
use super::path::FieldPath;
use super::request::StringValue;
use crate::api::limits;
use crate::catalog::RuleId;
use crate::characters::{is_bidi_control, is_blank};

/// Checks `spec.displayName` and trims it.
pub(super) fn display_name(evaluation: &mut Evaluation<'_>) {
    let path = FieldPath::of(&["spec", "displayName"]);
    let Some(given) = evaluation.string(&path) else {
        return;
    };
    let unchanged = evaluation.request.leaves_unchanged(&path);
    let weight = Weight::ratchet(unchanged);
    let name = match given {
        StringValue::Given(text) => text,
        _ => "",
    };
    let trimmed = name.trim();
    if is_blank(trimmed) {
        let text = "give the name that people know; it must not be blank";
        return evaluation.report(Problem::required(RuleId::DisplayName, path, text), weight);
    }
    let mut valid = true;
    let length = trimmed.chars().count();
    if length > limits::DISPLAY_NAME {
        valid = false;
        let text = format!("must be at most {} characters, has {length}", limits::DISPLAY_NAME);
        evaluation.report(Problem::invalid(RuleId::DisplayName, path.clone(), trimmed, text), weight);
    }
    if trimmed.contains(char::is_control) {
        valid = false;
        let text = "must not contain control characters such as line breaks and tabs";
        evaluation.report(Problem::invalid(RuleId::DisplayName, path.clone(), trimmed, text), weight);
    }
    if let Some(c) = trimmed.chars().find(|c| is_bidi_control(*c)) {
        valid = false;
        // By its code, because it is not visible.
        let text = format!(
            "has the character U+{:04X}, which changes the direction of text; remove it",
            u32::from(c)
        );
        evaluation.report(Problem::invalid(RuleId::DisplayName, path.clone(), trimmed, text), weight);
    }
    // An invalid value is not trimmed.
    if valid && trimmed != name {
        trim(evaluation, path, name, trimmed, unchanged);
    }
}

fn trim(evaluation: &mut Evaluation<'_>, field: FieldPath, name: &str, trimmed: &str, unchanged: bool) {
    let change = Change {
        rule: RuleId::DisplayName,
        field,
        before: Some(name.to_owned()),
        after: Some(trimmed.to_owned()),
        effect: Effect::Trimmed,
        was_stored: unchanged,
    };
    if unchanged {
        evaluation.report(super::addresses::not_canonical(&change), Weight::AtMostWarn);
    } else {
        evaluation.change(change);
    }
}

/// Checks `spec.content`.
pub(super) fn content(evaluation: &mut Evaluation<'_>) {
    let path = FieldPath::of(&["spec", "content"]);
    let Some(given) = evaluation.string(&path) else {
        return;
    };
    let weight = Weight::ratchet(evaluation.request.leaves_unchanged(&path));
    let content = match given {
        StringValue::Given(text) => text,
        _ => "",
    };
    if is_blank(content) {
        let text = "write the content of the note; it must not be blank";
        return evaluation.report(Problem::required(RuleId::NoteContent, path, text), weight);
    }
    let length = content.chars().count();
    if length > limits::NOTE_CONTENT {
        let text = format!("must be at most {} characters, has {length}", limits::NOTE_CONTENT);
        evaluation.report(Problem::invalid(RuleId::NoteContent, path, content, text), weight);
    }
}
