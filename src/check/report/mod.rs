//! What a check found, and the formats in which it is told.

mod github;
mod json;
mod junit;
pub(crate) mod sarif;
mod text;

use std::collections::HashMap;
use std::fmt::Write;

use crm_core::catalog::{Action, RuleId};
use crm_core::characters::push_shown;
use crm_core::quote::quote_at_most;
use serde::Serialize;

use crm_core::api::limits;
use std::fmt;

/// The name of standard input among files.
const STANDARD_INPUT: &str = "-";

/// All that one check has to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What is wrong, in the order of the files and, within one, of their lines.
    pub findings: Vec<Located>,
    /// What could not be read, and so was not checked.
    pub errors: Vec<InputError>,
    /// How much was looked at.
    pub summary: Summary,
}

/// A finding with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file as it was named or found, `/` between its parts; `-` for standard input.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in Unicode characters.
    pub column: usize,
    /// The template that Helm made the document from, as its `# Source:` comment says.
    pub source: Option<String>,
    /// The kind of the object, as it is written.
    pub kind: String,
    /// The name of the object, or the prefix of the name that is yet to be made; empty where there is none.
    pub name: String,
    /// The leaf field, such as `spec.domains[1]`.
    pub field: String,
    /// The rule that is broken.
    pub rule: RuleId,
    /// The reason code of a rule that has several.
    pub code: Option<&'static str>,
    /// What it leads to in the cluster.
    pub action: Action,
    /// What is wrong and the fix, as a status cause of the webhook words it.
    pub message: String,
}

/// A file or a part of one that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError {
    /// As in [`Located::file`].
    pub file: String,
    /// Line and column, both from 1; `None` where the file as a whole cannot be read.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position(), printable(&self.message))
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that were read, standard input included.
    pub files: usize,
    /// Objects of the CRM that were checked, `List`s unfolded.
    pub checked: usize,
    /// Objects of other groups, which count as existing and are not checked.
    pub other: usize,
    /// Values that `--fix` brought to their canonical form or removed as duplicates.
    pub fixed: usize,
}

impl Report {
    /// How many findings have this action.
    pub fn count(&self, action: Action) -> usize {
        self.findings.iter().filter(|finding| finding.action == action).count()
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, one line for each finding.
    #[default]
    Text,
    /// One JSON object: `findings`, `errors`, `summary`.
    Json,
    /// JUnit XML, as CI servers read test results.
    Junit,
    /// SARIF 2.1.0, as code scanning reads it.
    Sarif,
    /// Workflow commands that GitHub shows as annotations.
    Github,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// ANSI escape sequences mark what matters.
    Ansi,
    /// Plain text.
    #[default]
    Plain,
}

/// The report as text of that format, ending in a line break. Only [`Format::Text`] is ever coloured.
pub fn render(report: &Report, format: Format, colour: Colour) -> String {
    match format {
        Format::Text => text::render(report, colour),
        Format::Json => json::render(report),
        Format::Junit => junit::render(report),
        Format::Sarif => sarif::render(report),
        Format::Github => github::render(report),
    }
}

impl Located {
    /// The rule, and the reason code where there is one: `domain/bad-label`.
    fn rule_and_code(&self) -> String {
        match self.code {
            Some(code) => format!("{}/{code}", self.rule),
            None => self.rule.to_string(),
        }
    }

    /// `companies.yaml:7:5`, fit to be shown.
    fn position(&self) -> String {
        position(&self.file, Some((self.line, self.column)))
    }

    /// What is wrong with which field of which object, in one line that is fit to be shown.
    fn told(&self) -> String {
        let mut told = printable(&self.kind);
        if !self.name.is_empty() {
            told.push(' ');
            told.push_str(&printable(&quote_at_most(&self.name, limits::NAME)));
        }
        if !self.field.is_empty() {
            told.push_str(": ");
            told.push_str(&printable(&self.field));
        }
        told.push_str(": ");
        told.push_str(&printable(&self.message));
        told.push_str(&printable(&self.origin()));
        told
    }

    /// The end of a sentence that says where Helm had the document from; empty where it was not Helm.
    fn origin(&self) -> String {
        self.source.as_ref().map(|source| format!(" (from {source})")).unwrap_or_default()
    }
}

impl InputError {
    /// `companies.yaml:7:5`, or the file alone, fit to be shown.
    fn position(&self) -> String {
        position(&self.file, self.place)
    }
}

fn position(file: &str, place: Option<(usize, usize)>) -> String {
    match place {
        Some((line, column)) => format!("{}:{line}:{column}", printable(file)),
        None => printable(file),
    }
}

/// The file as others name it: what shows files beside their changes knows no `./companies.yaml`.
fn plain_path(file: &str) -> &str {
    file.strip_prefix("./").unwrap_or(file)
}

/// `text` in one line and without anything that a terminal obeys.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    text.chars().for_each(|c| push_printable(&mut printable, c));
    printable
}

/// Escapes as quotes in messages do, but leaves quotes and backslashes: messages are escaped once already.
fn push_printable(printable: &mut String, c: char) {
    match c {
        // XML has no way to write these.
        '\u{fffe}' | '\u{ffff}' => {
            // Writing into a String cannot fail.
            let _ = write!(printable, "\\u{:04x}", u32::from(c));
        }
        c => push_shown(printable, c, &[]),
    }
}

/// Tells apart what would be called the same.
#[derive(Debug, Default)]
struct Names(HashMap<(&'static str, String), usize>);

impl Names {
    /// `name` the first time that the class has it, `name (2)` the second.
    fn unique(&mut self, class: &'static str, name: String) -> String {
        let times = self.0.entry((class, name.clone())).or_default();
        *times += 1;
        if *times == 1 { name } else { format!("{name} ({times})") }
    }
}

/// The value as indented JSON.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    // Only maps with keys that are no text and failing implementations can fail, and reports have neither.
    let mut json = serde_json::to_string_pretty(value).unwrap_or_default();
    json.push('\n');
    json
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_what_people_write_is_not() {
        assert_eq!(printable("a\r\n\tb\u{1b}[31m\u{9b}\u{7f}"), r"a\r\n\tb\u001b[31m\u009b\u007f");
        assert_eq!(printable("a\u{202e}b\u{2028}c\u{ffff}"), r"a\u202eb\u2028c\uffff");
        assert_eq!(printable(r#"bücher "🏢" \n"#), r#"bücher "🏢" \n"#);
    }

    #[test]
    fn what_would_be_called_the_same_is_counted() {
        let mut names = Names::default();
        let called = [("x", "a"), ("x", "b"), ("x", "a"), ("y", "a"), ("x", "a")];
        let unique = called.map(|(class, name)| names.unique(class, name.to_owned()));
        assert_eq!(unique, ["a", "b", "a (2)", "a", "a (3)"]);
    }

    #[test]
    fn every_format_ends_in_one_line_break() {
        for report in [Report::default(), samples::report(), samples::hostile()] {
            for format in [Format::Text, Format::Json, Format::Junit, Format::Sarif, Format::Github] {
                let text = render(&report, format, Colour::Plain);
                assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{format:?}: {text:?}");
            }
        }
    }

    #[test]
    fn no_format_but_text_is_coloured() {
        for format in [Format::Json, Format::Junit, Format::Sarif, Format::Github] {
            let [ansi, plain] =
                [Colour::Ansi, Colour::Plain].map(|colour| render(&samples::report(), format, colour));
            assert_eq!(ansi, plain);
        }
    }
}
