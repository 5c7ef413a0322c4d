//! The formats of a replay's report.

mod json;
mod text;

use super::tally::Tally;
use crm_check::report::Colour;

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: by difference and rule, and a summary.
    #[default]
    Text,
    /// The same without the summary.
    Findings,
    /// One JSON object.
    Json,
}

/// What was replayed.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The name of the policy to try.
    pub policy: String,
    /// The name of the policy that it is compared with.
    pub against: String,
    /// The maximum number of listed users, objects and examples of each rule.
    pub limit: usize,
}

/// The report of a replay.
pub fn render(tally: &Tally, heading: &Heading, format: Format, colour: Colour) -> String {
    match format {
        Format::Text => text::render(tally, heading, colour),
        Format::Findings => text::differences(tally, heading, colour),
        Format::Json => json::render(tally, heading),
    }
}

/// The largest counts, the largest first, at most `limit`, and the number of the others.
fn largest<K: Ord>(counts: &std::collections::BTreeMap<K, u64>, limit: usize) -> (Vec<(&K, u64)>, usize) {
    let mut sorted: Vec<(&K, u64)> = counts.iter().map(|(key, count)| (key, *count)).collect();
    // A stable sort: equal counts stay in the order of their keys.
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others = sorted.len().saturating_sub(limit);
    sorted.truncate(limit);
    (sorted, others)
}
