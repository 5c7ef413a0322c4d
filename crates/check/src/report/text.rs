//! A report for people: one line for each problem, and a summary.

use anstyle::{AnsiColor, Style};
use crm_core::catalog::Action;
use crm_core::characters::printable;

use super::summary::Report;

const RED: Style = AnsiColor::Red.on_default();

/// Whether a text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI escape sequences.
    Ansi,
    /// Without colours.
    #[default]
    Plain,
}

impl Colour {
    /// A text in a style; without the style if colours are off.
    pub fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::Ansi => format!("{style}{text}{style:#}"),
            Self::Plain => text.to_owned(),
        }
    }
}

pub(super) fn render(report: &Report, colour: Colour) -> String {
    let mut text = findings(report, colour);
    if !text.is_empty() {
        text.push('\n');
    }
    text + &report.sentence() + "\n"
}

/// The report without its summary; empty if there are no problems.
pub fn findings(report: &Report, colour: Colour) -> String {
    let mut text = String::new();
    for error in &report.errors {
        let word = colour.paint(RED, "error:");
        text += &line(&error.position(), &word, &printable(&error.message), colour);
    }
    for finding in &report.findings {
        text += &line(&finding.position(), &word(finding.action, colour), &finding.sentence(), colour);
    }
    text
}

/// The action before a finding, such as `deny:`.
pub fn word(action: Action, colour: Colour) -> String {
    let style = match action {
        Action::Deny => RED,
        Action::Warn => AnsiColor::Yellow.on_default(),
        Action::Audit | Action::Disabled => Style::new().dimmed(),
    };
    colour.paint(style, &format!("{}:", action.as_str().to_ascii_lowercase()))
}

fn line(position: &str, word: &str, sentence: &str, colour: Colour) -> String {
    let position = colour.paint(Style::new().bold(), &format!("{position}:"));
    format!("{position} {word} {sentence}\n")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn each_problem_has_a_line() {
        insta::assert_snapshot!(render(&samples::report(), Colour::Plain));
    }

    #[test]
    fn colours_mark_the_place_and_the_action() {
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
    fn text_of_users_stays_on_its_line() {
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
    fn an_empty_report_has_only_its_summary() {
        assert_eq!(render(&Report::default(), Colour::Ansi), "nothing to check: no files were read.\n");
    }
}
