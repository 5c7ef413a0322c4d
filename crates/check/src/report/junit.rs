//! A report as JUnit XML: a suite for each file or kind, and a test for each finding. Other reports add their tests to
//! [`Suites`].

use std::collections::HashMap;

use crm_core::catalog::Action;
use quick_junit::{NonSuccessKind, Report as Document, TestSuite};
pub use quick_junit::{TestCase, TestCaseStatus};

use crm_core::characters::printable;
use crm_manifest::STANDARD_INPUT;

use super::diagnostic::{Diagnostic, InputError, plain_path};
pub use super::results::UniqueNames;
use super::results::{Results, Unlisted};

/// The results as JUnit XML. A finding is a failed test if it makes the command fail.
pub fn render(results: &Results<'_>) -> String {
    let mut suites = Suites::default();
    // GitLab shows only the first of several tests with the same class and name, even in different files.
    let mut names = UniqueNames::default();
    for error in results.errors {
        suites.add(&error.file, unreadable(error, &mut names));
    }
    for finding in &results.findings {
        let suite = finding.place.as_ref().map_or(&finding.kind, |place| &place.file);
        suites.add(suite, test_case(finding, results, &mut names));
    }
    // Servers report a file without any test as an error. An audit always has a test with its summary.
    let is_audit = results.findings.first().is_some_and(|finding| finding.place.is_none());
    if suites.suites.is_empty() || is_audit {
        suites.add(results.command, passed(results));
    }
    for unlisted in &results.unlisted {
        suites.add(results.command, not_listed(unlisted, results));
    }
    suites.render(results.command)
}

/// One suite for each file or kind, in the order of their first use.
#[derive(Default)]
pub struct Suites<'r> {
    suites: Vec<TestSuite>,
    by_name: HashMap<&'r str, usize>,
}

impl<'r> Suites<'r> {
    /// Adds a test to the suite of this name.
    pub fn add(&mut self, name: &'r str, case: TestCase) {
        let index = *self.by_name.entry(name).or_insert_with(|| {
            self.suites.push(TestSuite::new(printable(name)));
            self.suites.len() - 1
        });
        if let Some(suite) = self.suites.get_mut(index) {
            suite.add_test_case(case);
        }
    }

    /// The document as JUnit XML.
    pub fn render(self, command: &str) -> String {
        let mut document = Document::new(command);
        document.add_test_suites(self.suites);
        // Writing into memory cannot fail.
        document.to_string().unwrap_or_default()
    }
}

fn passed(results: &Results<'_>) -> TestCase {
    let mut passed = TestCase::new("records", TestCaseStatus::success());
    passed.set_classname(results.command).set_system_out(&results.summary);
    passed
}

fn test_case(finding: &Diagnostic, results: &Results<'_>, names: &mut UniqueNames) -> TestCase {
    let located = finding.located();
    let (status, output) = match finding.action {
        action if results.fails(action) => {
            let message = printable(&finding.message);
            (failed(&finding.rule_and_code(), &message, &located), None)
        }
        Action::Deny => (TestCaseStatus::success(), Some(format!("denied: {located}"))),
        Action::Warn => (TestCaseStatus::success(), Some(format!("warning: {located}"))),
        Action::Audit | Action::Disabled => {
            (TestCaseStatus::success(), Some(format!("only recorded: {located}")))
        }
    };
    let rule = finding.rule.as_str();
    let place = finding.place.as_ref().map(|place| (place.file.as_str(), Some(place.line)));
    let mut case = placed(names.unique(rule, name(finding)), rule, status, place);
    if let Some(output) = output {
        case.set_system_out(output);
    }
    case
}

/// `Company/acme-corp spec.domains[1]`
fn name(finding: &Diagnostic) -> String {
    let mut name = finding.object();
    if !finding.field.is_empty() {
        name.push(' ');
        name.push_str(&printable(&finding.field));
    }
    name
}

/// Reports findings that are not listed, so that they do not look fixed.
fn not_listed(unlisted: &Unlisted, results: &Results<'_>) -> TestCase {
    let Unlisted { rule, count, action } = unlisted;
    let fails = results.fails(*action);
    let message = format!("{count} more findings of this rule are not listed; --format json lists all");
    let status = match fails {
        true => failed(rule.as_str(), &message, &message),
        false => TestCaseStatus::success(),
    };
    let mut case = placed(format!("{rule}: {count} more"), rule.as_str(), status, None);
    if !fails {
        case.set_system_out(message);
    }
    case
}

/// A test that stands for an input that cannot be read.
pub fn unreadable(error: &InputError, names: &mut UniqueNames) -> TestCase {
    let message = printable(&error.message);
    let located = format!("{}: {message}", error.position());
    let status = non_success(NonSuccessKind::Error, "unreadable", &message, &located);
    let name = names.unique("unreadable", printable(&error.file));
    placed(name, "unreadable", status, Some((&error.file, error.position.map(|(line, _)| line))))
}

/// The status of a failed test, with one line about it and the details.
pub fn failed(of_type: &str, message: &str, body: &str) -> TestCaseStatus {
    non_success(NonSuccessKind::Failure, of_type, message, body)
}

fn non_success(kind: NonSuccessKind, of_type: &str, message: &str, body: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(of_type).set_message(message).set_description(body);
    status
}

/// A test with its class and its place: a file, and a line from 1.
pub fn placed(
    name: String,
    class: &str,
    status: TestCaseStatus,
    place: Option<(&str, Option<usize>)>,
) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    // Servers link to the file, so standard input is omitted.
    if let Some((file, line)) = place.filter(|(file, _)| *file != STANDARD_INPUT) {
        case.extra.insert("file".into(), printable(plain_path(file)).into());
        if let Some(line) = line {
            case.extra.insert("line".into(), line.to_string().into());
        }
    }
    case
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::samples;
    use super::super::summary::Report;
    use super::*;

    const FAILS_ON: Option<Action> = Some(Action::Deny);

    #[test]
    fn each_file_is_a_suite_and_only_findings_that_deny_fail() {
        insta::assert_snapshot!(render(&samples::report().results(FAILS_ON)));
    }

    #[test]
    fn an_empty_report_is_one_test_that_passes() {
        insta::assert_snapshot!(render(&Report::default().results(FAILS_ON)));
    }

    #[test]
    fn text_of_users_cannot_add_markup() {
        let xml = render(&samples::hostile().results(FAILS_ON));
        assert!(
            !xml.contains(|c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{202e}')),
            "{xml:?}"
        );
        assert!(!xml.contains("]]>") && !xml.contains("<&"), "{xml}");
        let document = Document::deserialize_from_str(&xml).unwrap();
        let file = r#"a%\r\n::error::,b:\u001b[31m\u0000<&"]]>\u202e\ufffe"#;
        let [suite] = &document.test_suites[..] else { panic!("expected one suite for one file") };
        assert_eq!(suite.name.as_str(), file);
        let names: Vec<&str> = suite.test_cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, [file.to_owned(), format!("{file}/{file} {file}")]);
        assert_eq!((document.tests, document.errors, document.failures), (2, 1, 1));
    }

    #[test]
    fn every_test_has_its_own_name() {
        let mut report = samples::report();
        report.findings.extend(samples::report().findings);
        report.findings[3].place.as_mut().unwrap().file = "other.yaml".to_owned();
        report.errors.extend(samples::report().errors);
        let document = Document::deserialize_from_str(&render(&report.results(FAILS_ON))).unwrap();
        let cases = document.test_suites.iter().flat_map(|suite| &suite.test_cases);
        let named =
            |case: &TestCase| (case.classname.clone().map(String::from), String::from(case.name.clone()));
        let names: Vec<_> = cases.map(named).collect();
        let second = (Some("domain".to_owned()), "Company/acme-corp spec.domains[1] (2)".to_owned());
        assert!(names.contains(&second), "{names:?}");
        assert_eq!(names.len(), 10);
        assert_eq!(names.into_iter().collect::<HashSet<_>>().len(), 10);
    }

    #[test]
    fn a_path_is_written_as_in_the_repository() {
        let mut report = samples::report();
        "./a.yaml".clone_into(&mut report.findings[0].place.as_mut().unwrap().file);
        assert!(render(&report.results(FAILS_ON)).contains(" file=\"a.yaml\" line=\"7\""));
    }

    #[test]
    fn stored_objects_have_a_suite_for_each_kind_and_unlisted_findings_fail_if_they_deny() {
        insta::assert_snapshot!(render(&samples::stored(&samples::stored_findings())));
    }

    #[test]
    fn a_warning_is_a_failed_test_if_it_makes_the_command_fail() {
        let failures = |fails_on| {
            let xml = render(&samples::report().results(fails_on));
            Document::deserialize_from_str(&xml).unwrap().failures
        };
        assert_eq!([None, FAILS_ON, Some(Action::Warn)].map(failures), [0, 1, 2]);
    }
}
