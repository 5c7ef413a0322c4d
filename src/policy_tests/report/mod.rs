//! Reports of tests: one file for each format.

pub mod json;
mod junit;
mod text;

use crm_check::report::Colour;

use super::run::Results;

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: each failure with what was expected and what the webhook does.
    #[default]
    Text,
    /// One JSON object: `cases`, `errors`, `summary`.
    Json,
    /// JUnit XML, for CI servers.
    Junit,
}

/// The report in a format, with a line break at its end. Only [`Format::Text`] is coloured.
pub fn render(results: &Results, format: Format, colour: Colour) -> String {
    match format {
        Format::Text => text::render(results, colour),
        Format::Json => json::render(results),
        Format::Junit => junit::render(results),
    }
}

/// The report in [`Format::Text`] without its summary; empty if every case passes.
pub fn problems(results: &Results, colour: Colour) -> String {
    text::problems(results, colour)
}
