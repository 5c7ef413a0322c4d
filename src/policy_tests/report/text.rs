//! A report for people: each failure with what was expected beside what the webhook does, and a summary.

use anstyle::{AnsiColor, Style};
use crm_check::report::{self, Colour, Report};
use crm_core::characters::printable;

use crate::policy_tests::compare::{Line, Mismatch};
use crate::policy_tests::run::{CaseResult, Results};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const BOLD: Style = Style::new().bold();
const DIMMED: Style = Style::new().dimmed();
/// The columns before the lines of a mismatch.
const INDENT: usize = 14;

pub(super) fn render(results: &Results, colour: Colour) -> String {
    let mut text = problems(results, colour);
    if !text.is_empty() {
        text.push('\n');
    }
    text + &summary(results)
}

pub(super) fn problems(results: &Results, colour: Colour) -> String {
    let errors = Report { errors: results.errors.clone(), ..Report::default() };
    let mut text = report::text::findings(&errors, colour);
    for case in results.cases.iter().filter(|case| !case.passes()) {
        text += &failure(case, colour);
    }
    text
}

fn failure(case: &CaseResult, colour: Colour) -> String {
    let (line, column) = case.position;
    let place = colour.paint(BOLD, &format!("{}:{line}:{column}:", printable(&case.file)));
    let name = printable(&case.full_name());
    format!("{place} {} {name}\n{}", colour.paint(RED, "failed:"), details(&case.mismatches, colour))
}

/// What differs.
pub(super) fn details(mismatches: &[Mismatch], colour: Colour) -> String {
    let part = |Mismatch { part, expected, got }: &Mismatch| {
        format!("  {part}\n{}{}", side("expected", expected, GREEN, colour), side("got", got, RED, colour))
    };
    mismatches.iter().map(part).collect()
}

/// One side of a mismatch. What has no counterpart on the other side is coloured.
fn side(title: &str, lines: &[Line], style: Style, colour: Colour) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let title = if index == 0 { title } else { "" };
        let style = if line.is_met { DIMMED } else { style };
        let shown = colour.paint(style, &printable(&line.text));
        text += &format!("    {title:<width$}{shown}\n", width = INDENT - 4);
        if let Some(note) = &line.note {
            let note = colour.paint(DIMMED, &printable(note));
            text += &format!("{:INDENT$}  {note}\n", "");
        }
    }
    text
}

/// `12 passed, 1 failed`, after what else was seen.
pub(super) fn summary(results: &Results) -> String {
    let mut text = match results.other {
        0 => String::new(),
        1 => "1 document of another kind was left aside.\n".to_owned(),
        other => format!("{other} documents of other kinds were left aside.\n"),
    };
    text += &format!("{} passed, {} failed", results.passed(), results.failed());
    match results.errors.len() {
        0 => {}
        1 => text += ", 1 error",
        errors => text += &format!(", {errors} errors"),
    }
    text.push('\n');
    text
}
