//! A report for people with the line of each problem, a mark under the value, and the fix.

use annotate_snippets::{AnnotationKind, Element, Group, Level, Message, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
use crm_core::catalog::{Action, NOT_CANONICAL};
use crm_core::characters::printable;

use super::diagnostic::{Diagnostic, InputError};
use super::excerpt::Excerpt;
use super::summary::Report;
use super::text::Colour;

/// The fix of a value that is not in its canonical form. The message has the canonical value.
const WRITE: &str = "crm-admission check --fix writes the canonical value";
/// The style of everything around a line.
const FRAME: Style = AnsiColor::BrightBlue.on_default().bold();
/// Where a rule is explained, once in a report.
const EXPLAINED: &str = "crm-admission rules RULE explains a rule.";

pub(super) fn render(report: &Report, colour: Colour) -> String {
    let mut text = findings(report, colour);
    if !report.findings.is_empty() {
        text += &format!("{EXPLAINED}\n");
    }
    text + &report.sentence() + "\n"
}

/// The report without its summary; empty if there are no problems.
pub fn findings(report: &Report, colour: Colour) -> String {
    let errors = report.errors.iter().map(|error| of_error(error, colour));
    errors.chain(report.findings.iter().map(|finding| of_finding(finding, colour))).collect()
}

fn of_error(error: &InputError, colour: Colour) -> String {
    let group = Group::with_title(Level::ERROR.primary_title(printable(&error.message)));
    match (error.position, &error.excerpt) {
        (Some((line, _)), Some(excerpt)) => {
            rendered(group.element(snippet(line, excerpt)), &error.position(), Some(line), colour)
        }
        _ => rendered(group, &error.position(), None, colour),
    }
}

fn of_finding(finding: &Diagnostic, colour: Colour) -> String {
    let group = Group::with_title(level(finding.action).primary_title(finding.sentence()));
    let line = finding.place.as_ref().map(|place| place.line);
    let group = match &finding.place {
        Some(place) => group.element(snippet(place.line, &place.excerpt)),
        None => group,
    };
    let group = group.element(fix(finding));
    rendered(group, &finding.position(), line, colour)
}

/// The problem as text, with a blank line after it. The library would count the column in the excerpt, so the line with
/// the position comes from here.
fn rendered(group: Group<'_>, position: &str, line: Option<usize>, colour: Colour) -> String {
    let renderer = match colour {
        Colour::Ansi => Renderer::styled().line_num(FRAME),
        Colour::Plain => Renderer::plain(),
    };
    let text = renderer.render(&[group]);
    // The title is one line.
    let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let indent = " ".repeat(line.map_or(0, |line| line.to_string().len()));
    let arrow = colour.paint(FRAME, "-->");
    let mut text = format!("{title}\n{indent}{arrow} {position}\n{rest}");
    text.truncate(text.trim_end_matches('\n').len());
    text + "\n\n"
}

/// As in [`super::text::word`].
fn level(action: Action) -> Level<'static> {
    let level = match action {
        Action::Deny => Level::ERROR,
        Action::Warn => Level::WARNING,
        Action::Audit | Action::Disabled => Level::NOTE,
    };
    level.with_name(action.as_str().to_ascii_lowercase())
}

fn snippet(line: usize, excerpt: &Excerpt) -> Element<'_> {
    let mark = AnnotationKind::Primary.span(excerpt.marked.clone());
    Snippet::source(excerpt.text.as_str()).line_start(line).annotation(mark).into()
}

/// `--fix` cannot write what Helm renders.
fn fix(finding: &Diagnostic) -> Message<'static> {
    let is_rendered = finding.place.as_ref().is_some_and(|place| place.rendered_from.is_some());
    let is_written = finding.code == Some(NOT_CANONICAL) && !is_rendered;
    Level::HELP.message(if is_written { WRITE } else { finding.rule.fix(finding.code) })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn each_problem_has_its_line_and_its_fix() {
        insta::assert_snapshot!(render(&samples::report(), Colour::Plain));
    }

    #[test]
    fn colours_change_no_text() {
        let coloured = render(&samples::report(), Colour::Ansi);
        assert!(coloured.contains("\u{1b}["), "{coloured:?}");
        assert_eq!(
            anstream::adapter::strip_str(&coloured).to_string(),
            render(&samples::report(), Colour::Plain)
        );
    }

    #[test]
    fn text_of_users_controls_nothing() {
        let text = render(&samples::hostile(), Colour::Plain);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn an_empty_report_has_only_its_summary() {
        assert_eq!(render(&Report::default(), Colour::Ansi), "nothing to check: no files were read.\n");
    }
}
