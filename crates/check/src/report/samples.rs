//! Reports for the tests of all formats.

use crm_core::catalog::{Action, RuleId};
use serde_json::json;

use super::diagnostic::{Access, Diagnostic, InputError, Place};
use super::excerpt::Excerpt;
use super::lasting::Lasting;
use super::results::{Results, Unlisted};
use super::summary::{NotJudged, Report, Summary};

/// A finding of each action, a file that is not YAML, one that does not exist, and a document rendered by Helm.
pub(super) fn report() -> Report {
    Report {
        findings: vec![
            Diagnostic {
                place: Some(Place {
                    file: "crm/companies.yaml".to_owned(),
                    line: 7,
                    column: 7,
                    rendered_from: None,
                    excerpt: excerpt("  - a_b.com", 5, "a_b.com"),
                }),
                kind: "Company".to_owned(),
                name: "acme-corp".to_owned(),
                field: "spec.domains[1]".to_owned(),
                rule: RuleId::Domain.into(),
                code: Some("bad-label"),
                action: Action::Deny,
                message: "Invalid value: \"a_b.com\": no domain name [domain/bad-label]".to_owned(),
                lasting: None,
            },
            Diagnostic {
                place: Some(Place {
                    file: "crm/companies.yaml".to_owned(),
                    line: 12,
                    column: 3,
                    rendered_from: None,
                    excerpt: excerpt("  tier: gold", 3, "tier"),
                }),
                kind: "Company".to_owned(),
                name: String::new(),
                field: "metadata.labels[tier]".to_owned(),
                rule: RuleId::LabelValue.into(),
                code: None,
                action: Action::Warn,
                message: "Unsupported value: \"gold\": one of \"a\", \"b\" [label-value]".to_owned(),
                lasting: None,
            },
            Diagnostic {
                place: Some(Place {
                    file: "-".to_owned(),
                    line: 3,
                    column: 1,
                    rendered_from: Some("crm/templates/note.yaml".to_owned()),
                    excerpt: excerpt("spec: {}", 1, "spec"),
                }),
                kind: "Note".to_owned(),
                name: "call".to_owned(),
                field: "spec.content".to_owned(),
                rule: RuleId::NoteContent.into(),
                code: None,
                action: Action::Audit,
                message: "Required value: say something [note-content]".to_owned(),
                lasting: None,
            },
        ],
        errors: vec![
            InputError {
                file: "crm/broken.yaml".to_owned(),
                access: Access::Read,
                position: Some((2, 4)),
                message: "did not find expected ',' or ']'".to_owned(),
                excerpt: Some(excerpt("a: [1", 4, "")),
            },
            InputError {
                file: "absent.yaml".to_owned(),
                access: Access::Read,
                position: None,
                message: "no such file".to_owned(),
                excerpt: None,
            },
        ],
        suppressed: Vec::new(),
        baseline: None,
        left_out: Vec::new(),
        not_judged: NotJudged::default(),
        summary: Summary { files: 3, checked: 12, other: 5, encrypted: 0, fixed: 4 },
    }
}

fn excerpt(line: &str, column: usize, marked: &str) -> Excerpt {
    Excerpt::new(line, column, marked)
}

/// [`report`] after lines have moved, with one more finding that is the same as the first.
pub(super) fn moved() -> Report {
    let mut report = report();
    let place = report.findings[0].place.as_mut().unwrap();
    (place.line, place.column) = (place.line + 10, place.column + 2);
    report.errors[0].position = Some((9, 9));
    report.findings.push(report.findings[0].clone());
    report
}

/// A report with two findings that differ in their lines and values only.
pub(super) fn twins() -> Report {
    let mut report = Report { findings: report().findings, ..Report::default() };
    report.findings.truncate(1);
    let mut twin = report.findings[0].clone();
    if let Some(place) = twin.place.as_mut() {
        place.line += 10;
    }
    report.findings.push(twin);
    for (finding, value) in report.findings.iter_mut().zip(["a", "b"]) {
        finding.lasting = Some(Lasting::default().with_value(&json!(value)));
    }
    report
}

/// A report with control characters and markup in every string that users write.
pub(super) fn hostile() -> Report {
    let text = "a%\r\n::error::,b:\u{1b}[31m\u{0}<&\"]]>\u{202e}\u{fffe}";
    let mut report = report();
    report.findings.truncate(1);
    report.errors.truncate(1);
    for finding in &mut report.findings {
        let strings = [&mut finding.kind, &mut finding.name, &mut finding.field, &mut finding.message];
        strings.into_iter().for_each(|string| text.clone_into(string));
        if let Some(place) = &mut finding.place {
            text.clone_into(&mut place.file);
            place.rendered_from = Some(text.to_owned());
            place.excerpt = excerpt(&format!("{text}: x"), 1, text);
        }
    }
    for error in &mut report.errors {
        text.clone_into(&mut error.file);
        text.clone_into(&mut error.message);
        error.excerpt = Some(excerpt(text, 4, ""));
    }
    report
}

/// Findings about stored objects.
pub(super) fn stored_findings() -> Vec<Diagnostic> {
    report().findings.into_iter().map(|finding| Diagnostic { place: None, ..finding }).collect()
}

/// A report about stored objects with some findings that are not listed.
pub(super) fn stored(findings: &[Diagnostic]) -> Results<'_> {
    Results {
        command: "crm-admission audit",
        findings: findings.iter().collect(),
        suppressed: &[],
        baseline: None,
        errors: &[],
        unlisted: vec![
            Unlisted { rule: RuleId::Domain, count: 7, action: Action::Deny },
            Unlisted { rule: RuleId::LabelValue, count: 1, action: Action::Warn },
        ],
        summary: "12 records audited.".to_owned(),
        fails_on: Some(Action::Deny),
    }
}
