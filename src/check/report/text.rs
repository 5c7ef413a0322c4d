//! A report for people: one line for each thing that is wrong, and a sentence that sums up.

use std::collections::HashSet;

use anstyle::{AnsiColor, Style};
use crm_core::catalog::Action;

use super::{Colour, Report, printable};

const RED: Style = AnsiColor::Red.on_default();

pub(super) fn render(report: &Report, colour: Colour) -> String {
    let mut text = String::new();
    for error in &report.errors {
        text += &line(&error.position(), "error", RED, &printable(&error.message), colour);
    }
    for finding in &report.findings {
        let word = finding.action.as_str().to_ascii_lowercase();
        text += &line(&finding.position(), &word, style(finding.action), &finding.told(), colour);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text += &summary(report);
    text.push('\n');
    text
}

fn style(action: Action) -> Style {
    match action {
        Action::Deny => RED,
        Action::Warn => AnsiColor::Yellow.on_default(),
        Action::Audit | Action::Disabled => Style::new().dimmed(),
    }
}

fn line(position: &str, word: &str, style: Style, told: &str, colour: Colour) -> String {
    let (bold, style) = match colour {
        Colour::Ansi => (Style::new().bold(), style),
        Colour::Plain => (Style::new(), Style::new()),
    };
    format!("{bold}{position}:{bold:#} {style}{word}:{style:#} {told}\n")
}

/// The report in one sentence.
pub(super) fn summary(report: &Report) -> String {
    let unreadable: HashSet<&str> = report.errors.iter().map(|error| error.file.as_str()).collect();
    let aside = [
        (report.summary.fixed, "value fixed", "values fixed"),
        (
            report.summary.other,
            "object of another group was not checked",
            "objects of other groups were not checked",
        ),
        (unreadable.len(), "file could not be fully read", "files could not be fully read"),
    ];
    let mut sentence = verdict(report);
    for (number, one, many) in aside {
        if number > 0 {
            sentence += &format!("; {}", counted(number, one, many));
        }
    }
    sentence.push('.');
    sentence
}

fn verdict(report: &Report) -> String {
    let files = counted(report.summary.files, "file", "files");
    if report.summary.checked == 0 && report.findings.is_empty() {
        return match report.summary.files {
            0 => "nothing to check: no files were read".to_owned(),
            _ => format!("nothing to check: no CRM records in {files}"),
        };
    }
    let records = counted(report.summary.checked, "record", "records");
    format!("{records} in {files} checked: {}", outcome(report))
}

fn outcome(report: &Report) -> String {
    let [deny, warn, audit] = [Action::Deny, Action::Warn, Action::Audit].map(|action| report.count(action));
    let mut parts = Vec::new();
    if deny > 0 {
        parts.push(format!(
            "{} would be refused ({})",
            refused(report),
            counted(deny, "finding denies", "findings deny")
        ));
    }
    if warn > 0 {
        parts.push(counted(warn, "warning", "warnings"));
    }
    if audit > 0 {
        parts.push(format!("{audit} only recorded"));
    }
    if parts.is_empty() { "no findings".to_owned() } else { parts.join(", ") }
}

/// How many records would be refused. Those of one kind in one file that have no names are counted as one.
fn refused(report: &Report) -> usize {
    let denied = report.findings.iter().filter(|finding| finding.action == Action::Deny);
    denied.map(|finding| (&finding.file, &finding.kind, &finding.name)).collect::<HashSet<_>>().len()
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::super::{InputError, Summary, samples};
    use super::*;

    const SUMMARY: &str = "12 records in 3 files checked: 1 would be refused (1 finding denies), 1 warning, \
        1 only recorded; 4 values fixed; 5 objects of other groups were not checked; 2 files could not be fully read.";

    #[test]
    fn each_thing_that_is_wrong_has_a_line() {
        let expected = r#"crm/broken.yaml:2:4: error: did not find expected ',' or ']'
absent.yaml: error: no such file
crm/companies.yaml:7:7: deny: Company "acme-corp": spec.domains[1]: Invalid value: "a_b.com": no domain name [domain/bad-label]
crm/companies.yaml:12:3: warn: Company: metadata.labels[tier]: Unsupported value: "gold": one of "a", "b" [label-value]
-:3:1: audit: Note "call": spec.content: Required value: say something [note-content] (from crm/templates/note.yaml)
"#;
        assert_eq!(render(&samples::report(), Colour::Plain), format!("{expected}\n{SUMMARY}\n"));
    }

    #[test]
    fn colours_mark_the_place_and_the_level() {
        let coloured = render(&samples::report(), Colour::Ansi);
        for start in [
            "\u{1b}[1mabsent.yaml:\u{1b}[0m \u{1b}[31merror:\u{1b}[0m no such file\n",
            "\u{1b}[1mcrm/companies.yaml:7:7:\u{1b}[0m \u{1b}[31mdeny:\u{1b}[0m Company",
            "\u{1b}[1mcrm/companies.yaml:12:3:\u{1b}[0m \u{1b}[33mwarn:\u{1b}[0m Company",
            "\u{1b}[1m-:3:1:\u{1b}[0m \u{1b}[2maudit:\u{1b}[0m Note",
        ] {
            assert!(coloured.contains(start), "{start:?} in {coloured:?}");
        }
        assert_eq!(
            anstream::adapter::strip_str(&coloured).to_string(),
            render(&samples::report(), Colour::Plain)
        );
    }

    #[test]
    fn what_users_write_stays_in_its_line() {
        let text = render(&samples::hostile(), Colour::Plain);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
        let file = r#"a%\r\n::error::,b:\u001b[31m\u0000<&"]]>\u202e\ufffe"#;
        assert!(
            text.starts_with(&format!("{file}:2:4: error: {file}\n{file}:7:7: deny: {file} \"")),
            "{text}"
        );
    }

    #[test]
    fn nothing_to_check_is_said() {
        let sentence = |files, other| {
            summary(&Report { summary: Summary { files, other, ..Summary::default() }, ..Report::default() })
        };
        assert_eq!(sentence(0, 0), "nothing to check: no files were read.");
        assert_eq!(sentence(1, 0), "nothing to check: no CRM records in 1 file.");
        assert_eq!(
            sentence(3, 1),
            "nothing to check: no CRM records in 3 files; 1 object of another group was not checked."
        );
        assert_eq!(render(&Report::default(), Colour::Ansi), "nothing to check: no files were read.\n");
    }

    #[test]
    fn an_unreadable_file_is_told_even_where_nothing_is_checked() {
        let error = |place| InputError { file: "a.yaml".to_owned(), place, message: "bad".to_owned() };
        let mut report = Report { errors: vec![error(Some((1, 1))), error(None)], ..Report::default() };
        assert_eq!(summary(&report), "nothing to check: no files were read; 1 file could not be fully read.");
        report.summary = Summary { files: 1, checked: 1, ..Summary::default() };
        assert_eq!(
            summary(&report),
            "1 record in 1 file checked: no findings; 1 file could not be fully read."
        );
    }

    #[test]
    fn one_is_not_many() {
        let summary_of_one = Summary { files: 1, checked: 1, other: 1, fixed: 1 };
        let mut report = Report { summary: summary_of_one, ..Report::default() };
        assert_eq!(
            summary(&report),
            "1 record in 1 file checked: no findings; 1 value fixed; 1 object of another group was not checked."
        );
        report.findings = [samples::report().findings, samples::report().findings].concat();
        report.summary = Summary { files: 2, checked: 2, ..Summary::default() };
        assert_eq!(
            summary(&report),
            "2 records in 2 files checked: 1 would be refused (2 findings deny), 2 warnings, 2 only recorded."
        );
    }

    #[test]
    fn a_record_with_an_unknown_kind_is_no_reason_to_say_that_there_is_nothing() {
        let mut report = samples::report();
        report.findings.truncate(1);
        report.errors.clear();
        report.summary = Summary { files: 1, ..Summary::default() };
        assert_eq!(summary(&report), "0 records in 1 file checked: 1 would be refused (1 finding denies).");
    }
}
