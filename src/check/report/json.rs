//! A report as one JSON object, for programs.

use crm_core::catalog::Action;
use serde::Serialize;

use super::{InputError, Located, Report, pretty};

/// The order of the fields is the order in which they are written.
#[derive(Serialize)]
struct Document<'r> {
    findings: Vec<Finding<'r>>,
    errors: Vec<Error<'r>>,
    summary: Totals,
}

#[derive(Serialize)]
struct Finding<'r> {
    file: &'r str,
    line: usize,
    column: usize,
    kind: &'r str,
    name: &'r str,
    field: &'r str,
    rule: &'static str,
    code: Option<&'static str>,
    action: Action,
    message: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'r str>,
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
    fixed: usize,
    errors: usize,
    deny: usize,
    warn: usize,
    audit: usize,
}

pub(super) fn render(report: &Report) -> String {
    pretty(&Document {
        findings: report.findings.iter().map(Finding::from).collect(),
        errors: report.errors.iter().map(Error::from).collect(),
        summary: Totals {
            files: report.summary.files,
            checked: report.summary.checked,
            other: report.summary.other,
            fixed: report.summary.fixed,
            errors: report.errors.len(),
            deny: report.count(Action::Deny),
            warn: report.count(Action::Warn),
            audit: report.count(Action::Audit),
        },
    })
}

impl<'r> From<&'r Located> for Finding<'r> {
    fn from(finding: &'r Located) -> Self {
        Self {
            file: &finding.file,
            line: finding.line,
            column: finding.column,
            kind: &finding.kind,
            name: &finding.name,
            field: &finding.field,
            rule: finding.rule.as_str(),
            code: finding.code,
            action: finding.action,
            message: &finding.message,
            source: finding.source.as_deref(),
        }
    }
}

impl<'r> From<&'r InputError> for Error<'r> {
    fn from(error: &'r InputError) -> Self {
        let (line, column) = error.place.unzip();
        Self { file: &error.file, line, column, message: &error.message }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::samples;
    use super::*;

    #[test]
    fn everything_is_there_in_its_order() {
        let expected = r#"{
  "findings": [
    {
      "file": "crm/companies.yaml",
      "line": 7,
      "column": 7,
      "kind": "Company",
      "name": "acme-corp",
      "field": "spec.domains[1]",
      "rule": "domain",
      "code": "bad-label",
      "action": "Deny",
      "message": "Invalid value: \"a_b.com\": no domain name [domain/bad-label]"
    },
    {
      "file": "crm/companies.yaml",
      "line": 12,
      "column": 3,
      "kind": "Company",
      "name": "",
      "field": "metadata.labels[tier]",
      "rule": "label-value",
      "code": null,
      "action": "Warn",
      "message": "Unsupported value: \"gold\": one of \"a\", \"b\" [label-value]"
    },
    {
      "file": "-",
      "line": 3,
      "column": 1,
      "kind": "Note",
      "name": "call",
      "field": "spec.content",
      "rule": "note-content",
      "code": null,
      "action": "Audit",
      "message": "Required value: say something [note-content]",
      "source": "crm/templates/note.yaml"
    }
  ],
  "errors": [
    {
      "file": "crm/broken.yaml",
      "line": 2,
      "column": 4,
      "message": "did not find expected ',' or ']'"
    },
    {
      "file": "absent.yaml",
      "line": null,
      "column": null,
      "message": "no such file"
    }
  ],
  "summary": {
    "files": 3,
    "checked": 12,
    "other": 5,
    "fixed": 4,
    "errors": 2,
    "deny": 1,
    "warn": 1,
    "audit": 1
  }
}
"#;
        assert_eq!(render(&samples::report()), expected);
    }

    #[test]
    fn an_empty_report_has_empty_lists() {
        let value: Value = serde_json::from_str(&render(&Report::default())).unwrap();
        assert_eq!(value["findings"], Value::Array(Vec::new()));
        assert_eq!(value["errors"], Value::Array(Vec::new()));
        assert_eq!(value["summary"]["deny"], 0);
    }

    #[test]
    fn what_users_write_comes_back_as_it_was() {
        let report = samples::hostile();
        let json = render(&report);
        assert!(!json.contains(['\u{1b}', '\u{0}', '\r']), "{json:?}");
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["findings"][0]["file"], report.findings[0].file);
        assert_eq!(value["findings"][0]["message"], report.findings[0].message);
        assert_eq!(value["errors"][0]["message"], report.errors[0].message);
    }
}
