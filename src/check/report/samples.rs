//! Reports that the tests of all formats render.

use crm_core::catalog::{Action, RuleId};

use super::{InputError, Located, Report, Summary};

/// A finding of each action, a file that is not YAML, one that is not there, and a document that Helm made.
pub(super) fn report() -> Report {
    Report {
        findings: vec![
            Located {
                file: "crm/companies.yaml".to_owned(),
                line: 7,
                column: 7,
                source: None,
                kind: "Company".to_owned(),
                name: "acme-corp".to_owned(),
                field: "spec.domains[1]".to_owned(),
                rule: RuleId::Domain,
                code: Some("bad-label"),
                action: Action::Deny,
                message: "Invalid value: \"a_b.com\": no domain name [domain/bad-label]".to_owned(),
            },
            Located {
                file: "crm/companies.yaml".to_owned(),
                line: 12,
                column: 3,
                source: None,
                kind: "Company".to_owned(),
                name: String::new(),
                field: "metadata.labels[tier]".to_owned(),
                rule: RuleId::LabelValue,
                code: None,
                action: Action::Warn,
                message: "Unsupported value: \"gold\": one of \"a\", \"b\" [label-value]".to_owned(),
            },
            Located {
                file: "-".to_owned(),
                line: 3,
                column: 1,
                source: Some("crm/templates/note.yaml".to_owned()),
                kind: "Note".to_owned(),
                name: "call".to_owned(),
                field: "spec.content".to_owned(),
                rule: RuleId::NoteContent,
                code: None,
                action: Action::Audit,
                message: "Required value: say something [note-content]".to_owned(),
            },
        ],
        errors: vec![
            InputError {
                file: "crm/broken.yaml".to_owned(),
                place: Some((2, 4)),
                message: "did not find expected ',' or ']'".to_owned(),
            },
            InputError { file: "absent.yaml".to_owned(), place: None, message: "no such file".to_owned() },
        ],
        summary: Summary { files: 3, checked: 12, other: 5, fixed: 4 },
    }
}

/// Texts that try to be more than text, wherever users write any.
pub(super) fn hostile() -> Report {
    let text = "a%\r\n::error::,b:\u{1b}[31m\u{0}<&\"]]>\u{202e}\u{fffe}";
    let mut report = report();
    report.findings.truncate(1);
    report.errors.truncate(1);
    for finding in &mut report.findings {
        let texts = [
            &mut finding.file,
            &mut finding.kind,
            &mut finding.name,
            &mut finding.field,
            &mut finding.message,
        ];
        texts.into_iter().for_each(|written| text.clone_into(written));
        finding.source = Some(text.to_owned());
    }
    for error in &mut report.errors {
        text.clone_into(&mut error.file);
        text.clone_into(&mut error.message);
    }
    report
}
