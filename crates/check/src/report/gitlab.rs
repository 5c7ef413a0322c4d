//! A report as GitLab's Code Quality, which shows findings in merge requests.

use crm_core::catalog::Action;
use serde::Serialize;

use super::diagnostic::{Diagnostic, InputError, Place, plain_path};
use super::indented::pretty;
use super::results::{UniqueNames, fingerprint};
use super::summary::Report;

/// One finding, in the fields that GitLab reads.
#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: String,
    fingerprint: String,
    severity: &'static str,
    location: Location,
}

#[derive(Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: usize,
}

pub(super) fn render(report: &Report) -> String {
    let mut names = UniqueNames::default();
    let mut issues: Vec<Issue> = report.errors.iter().map(|error| unreadable(error, &mut names)).collect();
    for (finding, is_known) in report.results(None).all() {
        // Of known ones, too, because the fingerprints of the others depend on their number.
        let issue = finding.place.as_ref().map(|place| issue(finding, place, &mut names));
        issues.extend(issue.filter(|_| !is_known));
    }
    pretty(&issues)
}

fn issue(finding: &Diagnostic, place: &Place, names: &mut UniqueNames) -> Issue {
    Issue {
        description: finding.sentence(),
        check_name: finding.rule_and_code(),
        fingerprint: fingerprint(finding, names),
        severity: severity(finding.action),
        location: location(&place.file, Some(place.line)),
    }
}

/// A file that was not checked is worse than any finding in it.
fn unreadable(error: &InputError, names: &mut UniqueNames) -> Issue {
    Issue {
        description: error.message.clone(),
        check_name: "unreadable".to_owned(),
        fingerprint: names.unique("unreadable", format!("unreadable#{}", plain_path(&error.file))),
        severity: "blocker",
        location: location(&error.file, error.position.map(|(line, _)| line)),
    }
}

fn severity(action: Action) -> &'static str {
    match action {
        Action::Deny => "critical",
        Action::Warn => "minor",
        Action::Audit | Action::Disabled => "info",
    }
}

fn location(file: &str, line: Option<usize>) -> Location {
    Location { path: plain_path(file).to_owned(), lines: Lines { begin: line.unwrap_or(1) } }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::baseline::Baseline;
    use super::super::samples;
    use super::*;

    fn issues(report: &Report) -> Vec<Value> {
        serde_json::from_str(&render(report)).unwrap()
    }

    #[test]
    fn each_problem_is_an_issue() {
        insta::assert_snapshot!(render(&samples::report()));
    }

    #[test]
    fn a_report_without_problems_is_an_empty_list() {
        assert_eq!(render(&Report::default()), "[]\n");
    }

    #[test]
    fn a_fingerprint_is_unique_and_stays_when_lines_move() {
        let report = samples::report();
        let moved = samples::moved();
        let fingerprints = |report: &Report| -> Vec<String> {
            issues(report).iter().map(|issue| issue["fingerprint"].as_str().unwrap().to_owned()).collect()
        };
        let (before, after) = (fingerprints(&report), fingerprints(&moved));
        assert_eq!(before, after[..before.len()]);
        assert!(!before.contains(&after[before.len()]), "{after:?}");
    }

    #[test]
    fn a_fingerprint_is_the_same_with_a_baseline() {
        let mut report = samples::twins();
        let before = issues(&report);
        report.compare("b.json", &Baseline::of(&report.findings[..1]));
        assert_eq!(before.len(), 2);
        assert_eq!(issues(&report), before[1..]);
    }

    #[test]
    fn text_of_users_is_escaped() {
        let report = samples::hostile();
        assert!(!render(&report).contains(['\u{1b}', '\u{0}', '\r']));
        assert_eq!(issues(&report)[1]["location"]["path"], report.findings[0].place.as_ref().unwrap().file);
    }
}
