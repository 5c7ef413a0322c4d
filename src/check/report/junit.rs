//! A report as JUnit XML, which CI servers show among their test results.

use std::collections::HashMap;

use crm_core::catalog::Action;
use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::{InputError, Located, Names, Report, STANDARD_INPUT, plain_path, printable, text};

const NAME: &str = "crm-admission check";

pub(super) fn render(report: &Report) -> String {
    let mut suites = Suites::default();
    // Of tests with the same class and name GitLab shows only the first, whatever their files are.
    let mut names = Names::default();
    for error in &report.errors {
        suites.add(&error.file, unreadable(error, &mut names));
    }
    for finding in &report.findings {
        suites.add(&finding.file, test_case(finding, &mut names));
    }
    if suites.suites.is_empty() {
        suites.suites.push(passed(report));
    }
    let mut document = Document::new(NAME);
    document.add_test_suites(suites.suites);
    // Writing into memory cannot fail.
    document.to_string().unwrap_or_default()
}

/// One suite for each file, in the order in which the files are first spoken of.
#[derive(Default)]
struct Suites<'r> {
    suites: Vec<TestSuite>,
    of_file: HashMap<&'r str, usize>,
}

impl<'r> Suites<'r> {
    fn add(&mut self, file: &'r str, case: TestCase) {
        let index = *self.of_file.entry(file).or_insert_with(|| {
            self.suites.push(TestSuite::new(printable(file)));
            self.suites.len() - 1
        });
        self.suites[index].add_test_case(case);
    }
}

/// Servers take a file without any test for a mistake.
fn passed(report: &Report) -> TestSuite {
    let mut passed = TestCase::new("records", TestCaseStatus::success());
    passed.set_classname(NAME).set_system_out(text::summary(report));
    let mut suite = TestSuite::new(NAME);
    suite.add_test_case(passed);
    suite
}

fn test_case(finding: &Located, names: &mut Names) -> TestCase {
    let told = format!("{}: {}", finding.position(), finding.told());
    // There is no middle between passing and failing, and what the cluster admits must not fail a pipeline.
    let (status, output) = match finding.action {
        Action::Deny => {
            let message = printable(&finding.message);
            (non_success(NonSuccessKind::Failure, &finding.rule_and_code(), &message, &told), None)
        }
        Action::Warn => (TestCaseStatus::success(), Some(format!("warning: {told}"))),
        Action::Audit | Action::Disabled => {
            (TestCaseStatus::success(), Some(format!("only recorded: {told}")))
        }
    };
    let rule = finding.rule.as_str();
    let name = names.unique(rule, name(finding));
    let mut case = located(name, rule, status, &finding.file, Some(finding.line));
    if let Some(output) = output {
        case.set_system_out(output);
    }
    case
}

/// `Company/acme-corp spec.domains[1]`
fn name(finding: &Located) -> String {
    let mut name = printable(&finding.kind);
    for (separator, part) in [('/', &finding.name), (' ', &finding.field)] {
        if !part.is_empty() {
            name.push(separator);
            name.push_str(&printable(part));
        }
    }
    name
}

fn unreadable(error: &InputError, names: &mut Names) -> TestCase {
    let message = printable(&error.message);
    let told = format!("{}: {message}", error.position());
    let status = non_success(NonSuccessKind::Error, "unreadable", &message, &told);
    let name = names.unique("unreadable", printable(&error.file));
    located(name, "unreadable", status, &error.file, error.place.map(|(line, _)| line))
}

fn non_success(kind: NonSuccessKind, of_type: &str, message: &str, body: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(of_type).set_message(message).set_description(body);
    status
}

fn located(name: String, class: &str, status: TestCaseStatus, file: &str, line: Option<usize>) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    // Servers make a link of the file, and there is nothing to link for standard input.
    if file != STANDARD_INPUT {
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
    use super::*;

    #[test]
    fn each_file_is_a_suite_and_only_what_is_refused_fails() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="crm-admission check" tests="5" skipped="0" failures="1" errors="2">
    <testsuite name="crm/broken.yaml" tests="1" skipped="0" errors="1" failures="0">
        <testcase name="crm/broken.yaml" classname="unreadable" file="crm/broken.yaml" line="2">
            <error message="did not find expected &apos;,&apos; or &apos;]&apos;" type="unreadable">crm/broken.yaml:2:4: did not find expected &apos;,&apos; or &apos;]&apos;</error>
        </testcase>
    </testsuite>
    <testsuite name="absent.yaml" tests="1" skipped="0" errors="1" failures="0">
        <testcase name="absent.yaml" classname="unreadable" file="absent.yaml">
            <error message="no such file" type="unreadable">absent.yaml: no such file</error>
        </testcase>
    </testsuite>
    <testsuite name="crm/companies.yaml" tests="2" skipped="0" errors="0" failures="1">
        <testcase name="Company/acme-corp spec.domains[1]" classname="domain" file="crm/companies.yaml" line="7">
            <failure message="Invalid value: &quot;a_b.com&quot;: no domain name [domain/bad-label]" type="domain/bad-label">crm/companies.yaml:7:7: Company &quot;acme-corp&quot;: spec.domains[1]: Invalid value: &quot;a_b.com&quot;: no domain name [domain/bad-label]</failure>
        </testcase>
        <testcase name="Company metadata.labels[tier]" classname="label-value" file="crm/companies.yaml" line="12">
            <system-out>warning: crm/companies.yaml:12:3: Company: metadata.labels[tier]: Unsupported value: &quot;gold&quot;: one of &quot;a&quot;, &quot;b&quot; [label-value]</system-out>
        </testcase>
    </testsuite>
    <testsuite name="-" tests="1" skipped="0" errors="0" failures="0">
        <testcase name="Note/call spec.content" classname="note-content">
            <system-out>only recorded: -:3:1: Note &quot;call&quot;: spec.content: Required value: say something [note-content] (from crm/templates/note.yaml)</system-out>
        </testcase>
    </testsuite>
</testsuites>
"#;
        assert_eq!(render(&samples::report()), expected);
    }

    #[test]
    fn an_empty_report_is_one_test_that_passes() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="crm-admission check" tests="1" skipped="0" failures="0" errors="0">
    <testsuite name="crm-admission check" tests="1" skipped="0" errors="0" failures="0">
        <testcase name="records" classname="crm-admission check">
            <system-out>nothing to check: no files were read.</system-out>
        </testcase>
    </testsuite>
</testsuites>
"#;
        assert_eq!(render(&Report::default()), expected);
    }

    #[test]
    fn what_users_write_stays_text() {
        let xml = render(&samples::hostile());
        assert!(
            !xml.contains(|c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{202e}')),
            "{xml:?}"
        );
        assert!(!xml.contains("]]>") && !xml.contains("<&"), "{xml}");
        let document = Document::deserialize_from_str(&xml).unwrap();
        let file = r#"a%\r\n::error::,b:\u001b[31m\u0000<&"]]>\u202e\ufffe"#;
        let [suite] = &document.test_suites[..] else { panic!("one file is one suite") };
        assert_eq!(suite.name.as_str(), file);
        let names: Vec<&str> = suite.test_cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, [file.to_owned(), format!("{file}/{file} {file}")]);
        assert_eq!((document.tests, document.errors, document.failures), (2, 1, 1));
    }

    #[test]
    fn tests_have_names_of_their_own() {
        let mut report = samples::report();
        report.findings.extend(samples::report().findings);
        report.findings[3].file = "other.yaml".to_owned();
        report.errors.extend(samples::report().errors);
        let document = Document::deserialize_from_str(&render(&report)).unwrap();
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
    fn a_path_is_given_as_the_repository_names_it() {
        let mut report = samples::report();
        "./a.yaml".clone_into(&mut report.findings[0].file);
        assert!(render(&report).contains(" file=\"a.yaml\" line=\"7\""));
    }
}
