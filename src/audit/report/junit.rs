//! An audit as JUnit XML: a suite for each kind, a test for each finding.

use std::collections::BTreeMap;

use crm_core::catalog::{Action, RuleId};
use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::{Entry, Shelf, Totals, more, text};
use crate::check::report::printable;

const NAME: &str = "crm-admission audit";

pub(super) fn render(shelf: &Shelf, totals: &Totals) -> String {
    let mut suites = BTreeMap::new();
    let mut rest = Vec::new();
    for (rule, entries, all) in shelf.by_rule(&totals.tally) {
        for entry in entries {
            let suite = suites.entry(entry.kind).or_insert_with(|| TestSuite::new(entry.kind.as_str()));
            suite.add_test_case(case(entry));
        }
        let more = more(entries, all);
        if more > 0 {
            rest.push(unlisted(rule, more, totals));
        }
    }
    let mut last = TestSuite::new(NAME);
    let mut sum = TestCase::new("records", TestCaseStatus::success());
    sum.set_classname(NAME).set_system_out(text::summary(totals));
    last.add_test_case(sum);
    last.add_test_cases(rest);
    let mut document = Document::new(NAME);
    document.add_test_suites(suites.into_values());
    document.add_test_suite(last);
    // Writing to memory cannot fail.
    document.to_string().unwrap_or_default()
}

fn case(entry: &Entry) -> TestCase {
    let message = printable(&entry.message);
    let field = printable(&entry.field);
    let told = format!("{}: {field}: {message}", entry.record());
    let name = format!("{} {field} {}", entry.record(), entry.rule_and_code());
    let status = match entry.action {
        Action::Deny => failure(&entry.rule_and_code(), &message, &told),
        Action::Warn | Action::Audit | Action::Disabled => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(entry.rule.as_str());
    if entry.action != Action::Deny {
        case.set_system_out(format!("{}: {told}", entry.action.as_str().to_ascii_lowercase()));
    }
    case
}

/// Reports findings that are not listed, so that they do not look fixed.
fn unlisted(rule: RuleId, more: u64, totals: &Totals) -> TestCase {
    let message = format!("{more} more findings of this rule are not listed; --format json lists all");
    let denies = totals.tally.findings.keys().any(|key| key.rule == rule && key.action == Action::Deny);
    let status = if denies { failure(rule.as_str(), &message, &message) } else { TestCaseStatus::success() };
    let mut case = TestCase::new(format!("{rule}: {more} more"), status);
    case.set_classname(rule.as_str());
    if !denies {
        case.set_system_out(message);
    }
    case
}

fn failure(of_type: &str, message: &str, body: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(of_type).set_message(message).set_description(body);
    status
}
