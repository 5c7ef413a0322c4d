//! A report as workflow commands, which GitHub shows as annotations beside changed lines.

use std::fmt::Write;

use crm_core::catalog::Action;
use crm_core::characters::push_printable;
use crm_manifest::STANDARD_INPUT;

use super::diagnostic::{Place, plain_path, position};
use super::summary::Report;

pub(super) fn render(report: &Report) -> String {
    let mut log = String::new();
    for error in &report.errors {
        log += &annotation("error", &error.file, error.position, None, &error.message);
    }
    for finding in &report.findings {
        let Some(Place { file, line, column, .. }) = &finding.place else { continue };
        let title = Some(finding.rule_and_code());
        let place = Some((*line, *column));
        log += &annotation(level(finding.action), file, place, title, &finding.sentence());
    }
    log += &report.sentence();
    log.push('\n');
    log
}

fn level(action: Action) -> &'static str {
    match action {
        Action::Deny => "error",
        Action::Warn => "warning",
        Action::Audit | Action::Disabled => "notice",
    }
}

fn annotation(
    level: &str,
    file: &str,
    place: Option<(usize, usize)>,
    title: Option<String>,
    message: &str,
) -> String {
    let mut properties = Vec::new();
    let mut message = message.to_owned();
    if file == STANDARD_INPUT {
        // An annotation needs a file of the repository. Standard input is not one, so the message names the place.
        message = format!("{}: {message}", position(file, place));
    } else {
        properties.push(("file", plain_path(file).to_owned()));
        if let Some((line, column)) = place {
            properties.extend([("line", line.to_string()), ("col", column.to_string())]);
        }
    }
    properties.extend(title.map(|title| ("title", title)));
    command(level, &properties, &message)
}

fn command(level: &str, properties: &[(&str, String)], message: &str) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(name, value)| format!("{name}={}", escaped(value, &[':', ',']))).collect();
    let space = if properties.is_empty() { "" } else { " " };
    format!("::{level}{space}{}::{}\n", properties.join(","), escaped(message, &[]))
}

/// `text` with the escapes of the runner. `also` are the characters that end a value here.
fn escaped(text: &str, also: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '\r' | '\n') || also.contains(&c) {
            // Writing into a String cannot fail.
            let _ = write!(escaped, "%{:02X}", u32::from(c));
        } else {
            push_printable(&mut escaped, c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::super::summary::Summary;
    use super::*;

    #[test]
    fn each_action_has_its_annotation_and_the_summary_comes_last() {
        insta::assert_snapshot!(render(&samples::report()));
    }

    #[test]
    fn text_of_users_cannot_end_or_start_a_command() {
        let log = render(&samples::hostile());
        let lines: Vec<&str> = log.lines().collect();
        let file = r#"a%25%0D%0A%3A%3Aerror%3A%3A%2Cb%3A\u001b[31m\u0000<&"]]>\u202e\ufffe"#;
        let message = r#"a%25%0D%0A::error::,b:\u001b[31m\u0000<&"]]>\u202e\ufffe"#;
        assert_eq!(lines[0], format!("::error file={file},line=2,col=4::{message}"));
        assert!(
            lines[1].starts_with(&format!("::error file={file},line=7,col=7,title=domain/bad-label::")),
            "{log}"
        );
        assert_eq!(lines.len(), 3, "{log}");
    }

    #[test]
    fn a_problem_with_standard_input_names_its_place() {
        let mut report = samples::report();
        report.findings.clear();
        report.errors.truncate(1);
        "-".clone_into(&mut report.errors[0].file);
        assert_eq!(render(&report).lines().next(), Some("::error::-:2:4: did not find expected ',' or ']'"));
    }

    #[test]
    fn a_path_is_written_as_in_the_repository() {
        assert_eq!(annotation("error", "./a.yaml", None, None, "bad"), "::error file=a.yaml::bad\n");
    }

    #[test]
    fn an_empty_report_has_only_its_summary() {
        let report =
            Report { summary: Summary { files: 2, checked: 2, ..Summary::default() }, ..Report::default() };
        assert_eq!(render(&report), "2 records in 2 files checked: no findings.\n");
    }
}
