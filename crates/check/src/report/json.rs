//! A report as one JSON object.

use crm_core::catalog::Action;
use serde::Serialize;

use super::diagnostic::{Diagnostic, InputError, Suppressed};
use super::results::pretty;
use super::summary::Report;

/// Changes if a program that reads the report would have to change.
const VERSION: u32 = 1;

/// The order of the fields is the order in which they are written.
#[derive(Serialize)]
struct Document<'r> {
    version: u32,
    findings: Vec<Finding<'r>>,
    errors: Vec<Error<'r>>,
    #[serde(rename = "leftOut", skip_serializing_if = "<[_]>::is_empty")]
    left_out: &'r [String],
    summary: Totals,
}

#[derive(Serialize)]
struct Finding<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    kind: &'r str,
    name: &'r str,
    field: &'r str,
    rule: &'static str,
    code: Option<&'static str>,
    action: Action,
    message: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'r str>,
}

#[derive(Serialize)]
struct Error<'r> {
    file: &'r str,
    line: Option<usize>,
    column: Option<usize>,
    message: &'r str,
}

#[derive(Serialize)]
struct Totals {
    files: usize,
    checked: usize,
    other: usize,
    encrypted: usize,
    fixed: usize,
    suppressed: usize,
    errors: usize,
    deny: usize,
    warn: usize,
    audit: usize,
}

pub(super) fn render(report: &Report) -> String {
    let suppressed = report.suppressed.iter().map(|Suppressed { finding, reason }| Finding {
        suppressed: Some(true),
        reason: Some(reason.as_str()).filter(|reason| !reason.is_empty()),
        ..Finding::from(finding)
    });
    pretty(&Document {
        version: VERSION,
        findings: report.findings.iter().map(Finding::from).chain(suppressed).collect(),
        errors: report.errors.iter().map(Error::from).collect(),
        left_out: &report.left_out,
        summary: Totals {
            files: report.summary.files,
            checked: report.summary.checked,
            other: report.summary.other,
            encrypted: report.summary.encrypted,
            fixed: report.summary.fixed,
            suppressed: report.suppressed.len(),
            errors: report.errors.len(),
            deny: report.count(Action::Deny),
            warn: report.count(Action::Warn),
            audit: report.count(Action::Audit),
        },
    })
}

/// A finding as JSON. One about a stored object has no `file`, `line` and `column`.
pub fn finding(diagnostic: &Diagnostic) -> impl Serialize {
    Finding::from(diagnostic)
}

impl<'r> From<&'r Diagnostic> for Finding<'r> {
    fn from(finding: &'r Diagnostic) -> Self {
        let place = finding.place.as_ref();
        Self {
            file: place.map(|place| place.file.as_str()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            kind: &finding.kind,
            name: &finding.name,
            field: &finding.field,
            rule: finding.rule.as_str(),
            code: finding.code,
            action: finding.action,
            message: &finding.message,
            source: place.and_then(|place| place.template.as_deref()),
            suppressed: None,
            reason: None,
        }
    }
}

impl<'r> From<&'r InputError> for Error<'r> {
    fn from(error: &'r InputError) -> Self {
        let (line, column) = error.position.unzip();
        Self { file: &error.file, line, column, message: &error.message }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::samples;
    use super::*;

    #[test]
    fn everything_is_in_its_order() {
        insta::assert_snapshot!(render(&samples::report()));
    }

    #[test]
    fn a_stored_object_has_no_place() {
        let stored = Diagnostic { place: None, ..samples::report().findings.remove(0) };
        insta::assert_snapshot!(serde_json::to_string(&finding(&stored)).unwrap());
    }

    #[test]
    fn an_empty_report_has_empty_lists() {
        let value: Value = serde_json::from_str(&render(&Report::default())).unwrap();
        assert_eq!(value["findings"], Value::Array(Vec::new()));
        assert_eq!(value["errors"], Value::Array(Vec::new()));
        assert_eq!(value["summary"]["deny"], 0);
    }

    #[test]
    fn text_of_users_is_unchanged() {
        let report = samples::hostile();
        let json = render(&report);
        assert!(!json.contains(['\u{1b}', '\u{0}', '\r']), "{json:?}");
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["findings"][0]["file"], report.findings[0].place.as_ref().unwrap().file);
        assert_eq!(value["findings"][0]["message"], report.findings[0].message);
        assert_eq!(value["errors"][0]["message"], report.errors[0].message);
    }
}
