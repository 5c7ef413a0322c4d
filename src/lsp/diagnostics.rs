//! Findings as diagnostics of the protocol, without those that only say that somebody is still typing.

use crm_check::check::{Checked, Fault, Marked};
use crm_core::api::GROUP;
use crm_core::catalog::{Action, DUPLICATE_OBJECT, RuleId, UNUSED};
use crm_core::characters::printable;
use crm_core::rules::Reason;
use crm_manifest::{Input, Text};
use gen_lsp_types::{Diagnostic, DiagnosticSeverity, DiagnosticTag};

use super::positions::Encoding;

/// The source of every diagnostic.
const SOURCE: &str = "crm-admission";

/// The diagnostics of a file. `is_touched` says whether somebody is editing it.
pub(super) fn of(input: &Input, checked: &Checked, is_touched: bool, encoding: Encoding) -> Vec<Diagnostic> {
    let faults =
        shown_faults(input, checked, is_touched).map(|fault| of_fault(input.text(), fault, encoding));
    let findings =
        shown(input.text(), checked, is_touched).map(|marked| of_finding(input.text(), marked, encoding));
    faults.chain(findings).collect()
}

/// The findings that are shown. In a text that somebody is editing, what is missing may still come, and a word may become
/// a key. Both are shown when the text is saved.
pub(super) fn shown<'c>(
    text: &'c Text,
    checked: &'c Checked,
    is_touched: bool,
) -> impl Iterator<Item = &'c Marked> {
    let is_half_typed = move |marked: &Marked| {
        is_touched && (marked.reason == Some(Reason::Required) || may_become_key(text, marked))
    };
    checked.findings.iter().filter(move |marked| !is_half_typed(marked))
}

/// Whether a value of the wrong type is the first thing on its line, where a key would be.
fn may_become_key(text: &Text, marked: &Marked) -> bool {
    let start = text.line_start(marked.bytes.start);
    let before = text.as_str().get(start..marked.bytes.start).unwrap_or_default();
    marked.diagnostic.rule == RuleId::Schema.into()
        && marked.reason == Some(Reason::Invalid)
        && before.chars().all(|c| c == ' ' || c == '-')
}

/// What cannot be read, in a file that has to do with records. Files of others are none of our business.
fn shown_faults<'c>(
    input: &Input,
    checked: &'c Checked,
    is_touched: bool,
) -> impl Iterator<Item = &'c Fault> {
    let is_ours = input.text().as_str().contains(GROUP);
    checked.faults.iter().filter(move |fault| is_ours && !(is_touched && fault.is_no_object))
}

/// A finding.
pub(super) fn of_finding(text: &Text, marked: &Marked, encoding: Encoding) -> Diagnostic {
    let diagnostic = &marked.diagnostic;
    let severity = match diagnostic.action {
        Action::Deny => DiagnosticSeverity::Error,
        Action::Warn => DiagnosticSeverity::Warning,
        Action::Audit | Action::Disabled => DiagnosticSeverity::Information,
    };
    let is_needless = [Some(DUPLICATE_OBJECT), Some(UNUSED)].contains(&diagnostic.code);
    let field = if diagnostic.field.is_empty() { String::new() } else { format!("{}: ", diagnostic.field) };
    let mut bytes = marked.bytes.clone();
    // A block of many lines is marked in its first one.
    let (line, _) = text.line_and_column(bytes.start);
    if let Some(line) = text.line_bytes(line - 1) {
        bytes.end = bytes.end.min(line.end).max(bytes.start);
    }
    Diagnostic {
        range: encoding.range(text, &bytes),
        severity: Some(severity),
        code: Some(diagnostic.rule_and_code().into()),
        source: Some(SOURCE.to_owned()),
        message: printable(&format!("{field}{}", diagnostic.message)).into(),
        tags: is_needless.then(|| vec![DiagnosticTag::Unnecessary]),
        ..Diagnostic::default()
    }
}

fn of_fault(text: &Text, fault: &Fault, encoding: Encoding) -> Diagnostic {
    let (line, _) = text.line_and_column(fault.at);
    let end = text.line_bytes(line - 1).map_or(fault.at, |line| line.end.max(fault.at));
    Diagnostic {
        range: encoding.range(text, &(fault.at..end)),
        severity: Some(DiagnosticSeverity::Error),
        source: Some(SOURCE.to_owned()),
        message: printable(&fault.message).into(),
        ..Diagnostic::default()
    }
}
