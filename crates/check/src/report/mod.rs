//! Reports: one diagnostic with its place and its line, the baseline, and one file for each format.
//!
//! `check` renders a [`Report`]. `audit`, which does not keep its findings, renders [`Results`] of those that it lists,
//! or writes each with [`json::finding`] and [`text::word`].

pub mod baseline;
mod diagnostic;
mod excerpt;
pub mod full;
mod github;
mod gitlab;
mod indented;
pub mod json;
pub mod junit;
mod lasting;
mod results;
#[cfg(test)]
mod samples;
pub mod sarif;
mod summary;
pub mod text;

use crm_core::catalog::Action;

pub use diagnostic::{Access, Diagnostic, InputError, Place, Suppressed};
pub use excerpt::Excerpt;
pub use indented::pretty;
pub use lasting::Lasting;
pub use results::{Results, Unlisted};
pub use summary::{NotJudged, Report, Summary};
pub use text::Colour;

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, one line for each finding.
    #[default]
    Text,
    /// For people, each finding with its line and its fix.
    Full,
    /// One JSON object: `findings`, `errors`, `summary`.
    Json,
    /// JUnit XML, for CI servers.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands that GitHub shows as annotations.
    Github,
    /// GitLab's Code Quality.
    Gitlab,
}

/// The report in a format, with a line break at its end. Only [`Format::Text`] and [`Format::Full`] are coloured. `fails_on` is the least
/// action that makes the command fail.
pub fn render(report: &Report, format: Format, fails_on: Action, colour: Colour) -> String {
    match format {
        Format::Text => text::render(report, colour),
        Format::Full => full::render(report, colour),
        Format::Json => json::render(report),
        Format::Junit => junit::render(&report.results(Some(fails_on))),
        Format::Sarif => sarif::render(&report.results(Some(fails_on))),
        Format::Github => github::render(report),
        Format::Gitlab => gitlab::render(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_ends_in_one_line_break() {
        for report in [Report::default(), samples::report(), samples::hostile()] {
            for format in [
                Format::Text,
                Format::Full,
                Format::Json,
                Format::Junit,
                Format::Sarif,
                Format::Github,
                Format::Gitlab,
            ] {
                let text = render(&report, format, Action::Deny, Colour::Plain);
                assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{format:?}: {text:?}");
            }
        }
    }

    #[test]
    fn no_format_for_programs_is_coloured() {
        for format in [Format::Json, Format::Junit, Format::Sarif, Format::Github, Format::Gitlab] {
            let [ansi, plain] = [Colour::Ansi, Colour::Plain]
                .map(|colour| render(&samples::report(), format, Action::Deny, colour));
            assert_eq!(ansi, plain);
        }
    }
}
