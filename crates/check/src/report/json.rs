//! A report as one JSON object.

use std::collections::BTreeSet;

use crm_core::catalog::Action;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use super::diagnostic::{Diagnostic, InputError, Suppressed};
use super::indented::pretty;
use super::summary::Report;

/// The version of the report.
const VERSION: u32 = 1;

/// The report of `crm-admission check --format json`.
// The order of the fields is the order in which they are written.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Report of crm-admission check")]
struct Document<'r> {
    /// Changes if a program that reads the report would have to change. New fields do not change it.
    #[schemars(extend("const" = VERSION))]
    version: u32,
    /// The findings, in the order of the files and of their lines; after them, those that comments suppress and those
    /// in the baseline.
    findings: Vec<Finding<'r>>,
    /// What could not be read or written. Then the exit code is 2.
    errors: Vec<Error<'r>>,
    /// The directories in which git ignores every manifest, or --exclude leaves it out.
    #[serde(rename = "leftOut", skip_serializing_if = "<[_]>::is_empty")]
    left_out: &'r [String],
    /// The variables without a value and a default, on which values depend that were not judged. `--var NAME=VALUE` gives
    /// one.
    #[serde(rename = "unknownVariables", skip_serializing_if = "BTreeSet::is_empty")]
    unknown_variables: &'r BTreeSet<String>,
    /// The expressions that check does not evaluate, on which values depend that were not judged.
    #[serde(rename = "unevaluatedExpressions", skip_serializing_if = "BTreeSet::is_empty")]
    unevaluated_expressions: &'r BTreeSet<String>,
    /// The counts.
    summary: Totals,
}

/// A problem of an object.
#[derive(Serialize, JsonSchema)]
struct Finding<'r> {
    /// The file, with / between its parts; - for standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'r str>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// From 1, in Unicode characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// The kind of the object.
    kind: &'r str,
    /// The name of the object, or its generateName; empty if it has neither.
    name: &'r str,
    /// The field, such as `spec.domains[1]`.
    field: &'r str,
    /// The id of the rule.
    rule: &'static str,
    /// The reason code, if the rule has several.
    code: Option<&'static str>,
    /// What the webhook does.
    #[schemars(with = "String", extend("enum" = Action::ALL.map(Action::as_str)))]
    action: Action,
    /// The problem and the fix.
    message: &'r str,
    /// What the object was rendered from: a Helm template, or the directories that kustomize has built.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'r str>,
    /// Whether a comment suppresses it. Then it does not count for the exit code, but the webhook acts all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<bool>,
    /// The reason that the comment gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'r str>,
    /// Whether it is in the baseline. Then it does not count for the exit code, but the webhook acts all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    baselined: Option<bool>,
}

/// A file, or a part of it, that could not be read or written.
#[derive(Serialize, JsonSchema)]
pub struct Error<'r> {
    /// The file.
    file: &'r str,
    /// From 1; null if the problem is with the whole file.
    line: Option<usize>,
    /// From 1, in Unicode characters.
    column: Option<usize>,
    /// The problem.
    message: &'r str,
}

#[derive(Serialize, JsonSchema)]
struct Totals {
    /// Files that were read.
    files: usize,
    /// CRM records that were checked.
    checked: usize,
    /// Objects of other groups, which were not checked.
    other: usize,
    /// Documents encrypted by SOPS, which were not checked.
    encrypted: usize,
    /// Values that were not judged, because they depend on unknown variables.
    #[serde(rename = "notJudged")]
    not_judged: usize,
    /// Values that --fix changed.
    fixed: usize,
    /// Findings that comments suppress.
    suppressed: usize,
    /// Findings in the baseline.
    baselined: usize,
    /// Findings in the baseline that are no longer found.
    stale: usize,
    /// Entries of errors.
    errors: usize,
    /// Findings that deny.
    deny: usize,
    /// Findings that warn.
    warn: usize,
    /// Findings that are only recorded.
    audit: usize,
}

/// The JSON schema of the report, with a line break at its end.
pub fn schema() -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    pretty(&settings.into_generator().into_root_schema_for::<Document<'_>>())
}

pub(super) fn render(report: &Report) -> String {
    let suppressed = report.suppressed.iter().map(|Suppressed { finding, reason }| Finding {
        suppressed: Some(true),
        reason: Some(reason.as_str()).filter(|reason| !reason.is_empty()),
        ..Finding::from(finding)
    });
    let baseline = report.baseline.as_ref();
    let known = baseline.map_or(&[][..], |baseline| &baseline.known);
    let baselined = known.iter().map(|finding| Finding { baselined: Some(true), ..Finding::from(finding) });
    pretty(&Document {
        version: VERSION,
        findings: report.findings.iter().map(Finding::from).chain(suppressed).chain(baselined).collect(),
        errors: report.errors.iter().map(Error::from).collect(),
        left_out: &report.left_out,
        unknown_variables: &report.not_judged.variables,
        unevaluated_expressions: &report.not_judged.expressions,
        summary: Totals {
            files: report.summary.files,
            checked: report.summary.checked,
            other: report.summary.other,
            encrypted: report.summary.encrypted,
            not_judged: report.not_judged.values,
            fixed: report.summary.fixed,
            suppressed: report.suppressed.len(),
            baselined: known.len(),
            stale: baseline.map_or(0, |baseline| baseline.stale.len()),
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
            source: place.and_then(|place| place.rendered_from.as_deref()),
            suppressed: None,
            reason: None,
            baselined: None,
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

    use super::super::baseline::Compared;
    use super::super::samples;
    use super::*;

    #[test]
    fn everything_is_in_its_order() {
        insta::assert_snapshot!(render(&samples::report()));
    }

    #[test]
    fn every_report_fits_its_schema() {
        let schema = serde_json::from_str(&schema()).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let mut suppressed = samples::report();
        let finding = suppressed.findings.remove(0);
        suppressed.suppressed.push(Suppressed { finding, reason: "why".to_owned() });
        suppressed.left_out.push("crm".to_owned());
        suppressed.not_judged.variables.insert("DOMAIN".to_owned());
        suppressed.not_judged.expressions.insert("${NAME,,}".to_owned());
        let known = vec![suppressed.findings.remove(0)];
        suppressed.baseline = Some(Compared {
            file: "b.json".to_owned(),
            is_known: vec![true, false],
            known,
            stale: Vec::new(),
        });
        for report in [Report::default(), samples::report(), samples::hostile(), suppressed] {
            let value: Value = serde_json::from_str(&render(&report)).unwrap();
            let problems: Vec<String> =
                validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert_eq!(problems, [] as [String; 0]);
            // A field that the schema does not describe would go unnoticed.
            for (object, definition) in [(&value, &schema), (&value["summary"], &schema["$defs"]["Totals"])] {
                let keys = object.as_object().unwrap().keys();
                let unknown = keys.filter(|key| definition["properties"].get(*key).is_none());
                assert_eq!(unknown.collect::<Vec<_>>(), [] as [&String; 0]);
            }
        }
        let other = serde_json::json!({"version": 2, "findings": [], "errors": [], "summary": {}});
        assert!(!validator.is_valid(&other));
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
