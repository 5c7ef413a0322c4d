//! A report as one JSON object.

use std::collections::BTreeMap;

use crm_check::report::json::Error;
use crm_check::report::pretty;
use crm_core::catalog::Action;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use crate::policy_tests::compare::{Line, Mismatch};
use crate::policy_tests::run::{CaseResult, Results};

/// The version of the report.
const VERSION: u32 = 1;

/// The report of `crm-admission policy test --format json`.
// The order of the fields is the order in which they are written.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Report of crm-admission policy test")]
struct Document<'r> {
    /// Changes if a program that reads the report would have to change. New fields do not change it.
    #[schemars(extend("const" = VERSION))]
    version: u32,
    /// The cases, in the order of the files.
    cases: Vec<Case<'r>>,
    /// What could not be read, and every problem of an invalid test. Then the exit code is 2.
    errors: Vec<Error<'r>>,
    /// The counts.
    summary: Totals,
}

/// One case.
#[derive(Serialize, JsonSchema)]
struct Case<'r> {
    /// The file, with / between its parts; - for standard input.
    file: &'r str,
    /// From 1.
    line: usize,
    /// From 1, in Unicode characters.
    column: usize,
    /// The name of the test; empty if it has none.
    test: &'r str,
    /// The name of the case.
    name: &'r str,
    /// Whether all expectations are met.
    passed: bool,
    /// What differs; empty if the case passes.
    failures: Vec<Failure<'r>>,
    /// What the webhook does.
    got: Decision<'r>,
}

/// A part of an expectation that is not met.
#[derive(Serialize, JsonSchema)]
struct Failure<'r> {
    /// The part.
    #[schemars(extend("enum" = ["allowed", "findings", "changes", "message"]))]
    part: &'static str,
    /// What was expected, one text for each finding or change.
    expected: Vec<&'r str>,
    /// What the webhook does, in the same form.
    got: Vec<&'r str>,
}

/// What the webhook does with a request.
#[derive(Serialize, JsonSchema)]
struct Decision<'r> {
    /// Whether the request is allowed.
    allowed: bool,
    /// All findings.
    findings: Vec<Finding>,
    /// The changed fields and their new values; null for a removed one. A denied request changes nothing.
    changes: BTreeMap<String, Option<&'r str>>,
    /// Why the request is denied, and the warnings.
    messages: Vec<&'r str>,
}

/// One finding.
#[derive(Serialize, JsonSchema)]
struct Finding {
    /// The id of the rule.
    rule: &'static str,
    /// The reason code, if the rule has several.
    code: Option<&'static str>,
    /// What the webhook does.
    #[schemars(with = "String", extend("enum" = Action::ALL.map(Action::as_str)))]
    action: Action,
    /// The field, such as `spec.domains[1]`.
    field: String,
    /// The problem and the fix.
    message: String,
}

#[derive(Serialize, JsonSchema)]
struct Totals {
    /// Files that were read.
    files: usize,
    /// Tests that were run: documents of kind AdmissionPolicyTest.
    tests: usize,
    /// Documents of other kinds.
    other: usize,
    /// Cases that pass.
    passed: usize,
    /// Cases that fail.
    failed: usize,
    /// Entries of errors.
    errors: usize,
}

/// The JSON schema of the report, with a line break at its end.
pub fn schema() -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    pretty(&settings.into_generator().into_root_schema_for::<Document<'_>>())
}

pub(super) fn render(results: &Results) -> String {
    pretty(&Document {
        version: VERSION,
        cases: results.cases.iter().map(Case::from).collect(),
        errors: results.errors.iter().map(Error::from).collect(),
        summary: Totals {
            files: results.files,
            tests: results.tests,
            other: results.other,
            passed: results.passed(),
            failed: results.failed(),
            errors: results.errors.len(),
        },
    })
}

impl<'r> From<&'r CaseResult> for Case<'r> {
    fn from(case: &'r CaseResult) -> Self {
        let decision = &case.decision;
        let changes = decision.changes.iter();
        Self {
            file: &case.file,
            line: case.position.0,
            column: case.position.1,
            test: &case.test,
            name: &case.name,
            passed: case.passes(),
            failures: case.mismatches.iter().map(Failure::from).collect(),
            got: Decision {
                allowed: decision.allowed,
                findings: decision.findings.iter().map(Finding::from).collect(),
                changes: changes.map(|change| (change.field.to_string(), change.after.as_deref())).collect(),
                messages: decision.messages().collect(),
            },
        }
    }
}

impl<'r> From<&'r Mismatch> for Failure<'r> {
    fn from(mismatch: &'r Mismatch) -> Self {
        let texts = |lines: &'r [Line]| lines.iter().map(|line| line.text.as_str()).collect();
        Self { part: mismatch.part, expected: texts(&mismatch.expected), got: texts(&mismatch.got) }
    }
}

impl From<&crm_core::rules::Finding> for Finding {
    fn from(finding: &crm_core::rules::Finding) -> Self {
        Self {
            rule: finding.rule.as_str(),
            code: finding.code,
            action: finding.action,
            field: finding.field.to_string(),
            message: finding.message(),
        }
    }
}
