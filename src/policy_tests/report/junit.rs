//! A report as JUnit XML: a suite for each file, and a test for each case.

use crm_check::report::Colour;
use crm_check::report::junit::{Suites, TestCaseStatus, UniqueNames, failed, placed, unreadable};
use crm_core::characters::printable;

use super::text::details;
use crate::policy_tests::run::{CaseResult, Results};

pub(super) fn render(results: &Results) -> String {
    let (mut suites, mut names) = (Suites::default(), UniqueNames::default());
    for error in &results.errors {
        suites.add(&error.file, unreadable(error, &mut names));
    }
    for case in &results.cases {
        let status = status(case);
        let class = printable(if case.test.is_empty() { &case.file } else { &case.test });
        let name = names.unique(&class, printable(&case.name));
        suites.add(&case.file, placed(name, &class, status, Some((&case.file, Some(case.position.0)))));
    }
    suites.render("crm-admission policy test")
}

fn status(case: &CaseResult) -> TestCaseStatus {
    if case.passes() {
        return TestCaseStatus::success();
    }
    let parts: Vec<&str> = case.mismatches.iter().map(|mismatch| mismatch.part).collect();
    let message = format!("not as expected: {}", parts.join(", "));
    failed("expectation", &message, &details(&case.mismatches, Colour::Plain))
}
