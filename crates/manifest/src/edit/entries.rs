//! Finds the text to remove with an entry of a list: its line, or its comma.

use std::collections::BTreeSet;
use std::ops::Range;

use super::splice::Splice;
use crate::text::Text;
use crate::tree::{Content, Layout, NodeId, Tree};

/// The white space of YAML.
const WHITE_SPACE: [char; 7] = [' ', '\t', '\r', '\n', '\u{85}', '\u{2028}', '\u{2029}'];

/// The splices that remove these entries, one group for each run of entries that can only be removed together. At least
/// one entry must stay.
pub(super) fn removals(
    text: &Text,
    tree: &Tree,
    list: NodeId,
    removed: &BTreeSet<usize>,
) -> Vec<(Range<usize>, Vec<Splice>)> {
    let node = tree.node(list);
    let Content::Sequence { entries, layout } = &node.content else {
        return Vec::new();
    };
    if removed.len() >= entries.len() {
        return Vec::new();
    }
    let ends: Vec<usize> = entries.iter().map(|entry| tree.node(*entry).range.end).collect();
    match layout {
        Layout::Block => {
            let block = Block { text, start: node.range.start, ends };
            let removal =
                |index: &usize| Some((*index..*index + 1, vec![Splice::remove(block.entry(*index)?)]));
            removed.iter().filter_map(removal).collect()
        }
        Layout::Flow => {
            let Some(flow) = Flow::new(text, node.range.start + 1, &ends) else {
                return Vec::new();
            };
            runs(removed).into_iter().filter_map(|run| Some((run.clone(), flow.run(run)?))).collect()
        }
    }
}

/// The runs of consecutive indexes.
fn runs(indexes: &BTreeSet<usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some(run) if run.end == *index => run.end += 1,
            _ => runs.push(*index..*index + 1),
        }
    }
    runs
}

/// A list with dashes.
struct Block<'t> {
    text: &'t Text,
    start: usize,
    ends: Vec<usize>,
}

impl Block<'_> {
    fn entry(&self, index: usize) -> Option<Range<usize>> {
        let dash = self.dash(index)?;
        let end = *self.ends.get(index)?;
        let line = self.text.line_start(dash)..self.text.line_end(end);
        if is_blank(self.text, line.start..dash) {
            return is_trivia(self.text, end..line.end).then_some(line);
        }
        // In `- - a` the line belongs to the outer list, too.
        let next = self.dash(index + 1)?;
        is_white_space(self.text, end..next).then_some(dash..next)
    }

    fn dash(&self, index: usize) -> Option<usize> {
        self.ends.get(index)?;
        let before =
            index.checked_sub(1).map_or(Some(self.start), |before| self.ends.get(before).copied())?;
        let dash = after_trivia(self.text, before);
        self.text.as_str().get(dash..)?.starts_with('-').then_some(dash)
    }
}

/// A list in brackets.
struct Flow<'t> {
    text: &'t Text,
    entries: Vec<FlowEntry>,
}

struct FlowEntry {
    /// With its anchor and tag.
    range: Range<usize>,
    /// The comma after it.
    comma: Option<usize>,
}

impl<'t> Flow<'t> {
    fn new(text: &'t Text, start: usize, ends: &[usize]) -> Option<Self> {
        let mut entries = Vec::with_capacity(ends.len());
        let mut at = start;
        for (index, end) in ends.iter().enumerate() {
            let after = after_trivia(text, *end);
            let comma = text.as_str().get(after..)?.starts_with(',').then_some(after);
            if comma.is_none() && index + 1 < ends.len() {
                return None;
            }
            let start = after_trivia(text, at);
            if start > *end {
                return None;
            }
            entries.push(FlowEntry { range: start..*end, comma });
            at = comma.map_or(after, |comma| comma + 1);
        }
        Some(Self { text, entries })
    }

    /// The parts to remove with a run of entries.
    ///
    /// Each entry takes a comma with it: the one after it, or the one before it at the end of the list and if commas
    /// start the lines.
    fn run(&self, run: Range<usize>) -> Option<Vec<Splice>> {
        if run.start > 0 && self.entries.get(run.clone())?.iter().any(|entry| self.is_between_styles(entry)) {
            return self.with_text_before(run);
        }
        let first = self.entries.get(run.start)?;
        let is_last = run.end == self.entries.len();
        let has_line = self.is_first_on_line(first) && self.ends_line(first, first.comma);
        let last_comma = self.entries.last()?.comma;
        let forward = match (run.start, is_last) {
            (0, true) => return None,
            (0, false) => true,
            (_, true) => last_comma.is_some() && has_line,
            (_, false) => !self.comma_starts_line(first),
        };
        let part =
            |index| if forward { self.with_comma_behind(index) } else { self.with_comma_before(index) };
        let parts: Option<Vec<_>> = run.map(part).collect();
        parts.map(|parts| parts.concat())
    }

    fn with_comma_behind(&self, index: usize) -> Option<Vec<Splice>> {
        let entry = self.entries.get(index)?;
        let comma = entry.comma?;
        let range = entry.range.clone();
        if self.is_first_on_line(entry)
            && comma < self.text.line_end(range.end)
            && self.ends_line(entry, Some(comma))
        {
            return Some(vec![Splice::remove(self.lines(entry))]);
        }
        let next = self.entries.get(index + 1).map(|next| next.range.start);
        if let Some(next) = next.filter(|next| *next < self.text.line_end(range.end)) {
            return Some(vec![Splice::remove(range.start..next)]);
        }
        if self.is_first_on_line(entry) || !is_blank(self.text, range.end..comma) {
            return Some(vec![Splice::remove(range), Splice::remove(comma..comma + 1)]);
        }
        let before = self.text.as_str().get(..range.start)?;
        Some(vec![Splice::remove(before.trim_end_matches([' ', '\t']).len()..comma + 1)])
    }

    fn with_comma_before(&self, index: usize) -> Option<Vec<Splice>> {
        let entry = self.entries.get(index)?;
        let before = self.entries.get(index.checked_sub(1)?)?;
        let comma = before.comma?;
        let range = entry.range.clone();
        if self.comma_starts_line(entry) && self.ends_line(entry, None) {
            return Some(vec![Splice::remove(self.lines(entry))]);
        }
        let joined = is_white_space(self.text, before.range.end..comma);
        let from = if joined { before.range.end } else { comma };
        if self.is_first_on_line(entry) && self.ends_line(entry, entry.comma) {
            return Some(vec![Splice::remove(from..comma + 1), Splice::remove(self.lines(entry))]);
        }
        if is_white_space(self.text, comma + 1..range.start) {
            return Some(vec![Splice::remove(from..range.end)]);
        }
        Some(vec![Splice::remove(from..comma + 1), Splice::remove(range)])
    }

    /// Whether one of the commas around an entry starts its line and the other does not.
    fn is_between_styles(&self, entry: &FlowEntry) -> bool {
        entry.comma.is_some_and(|comma| {
            is_blank(self.text, self.text.line_start(comma)..comma) != self.comma_starts_line(entry)
        })
    }

    /// A run with the text between it and the entry before it, except comments.
    fn with_text_before(&self, run: Range<usize>) -> Option<Vec<Splice>> {
        let mut edits = Vec::new();
        for index in run {
            let before = self.entries.get(index.checked_sub(1)?)?;
            let entry = self.entries.get(index)?;
            let between = before.range.end..entry.range.start;
            if is_white_space(self.text, between.start..before.comma?)
                && is_white_space(self.text, before.comma? + 1..between.end)
            {
                edits.push(Splice::remove(between));
            } else {
                edits.push(Splice::remove(before.comma?..before.comma? + 1));
            }
            edits.push(Splice::remove(entry.range.clone()));
        }
        Some(edits)
    }

    /// The lines of an entry.
    fn lines(&self, entry: &FlowEntry) -> Range<usize> {
        self.text.line_start(entry.range.start)..self.text.line_end(entry.range.end)
    }

    fn is_first_on_line(&self, entry: &FlowEntry) -> bool {
        is_blank(self.text, self.text.line_start(entry.range.start)..entry.range.start)
    }

    fn comma_starts_line(&self, entry: &FlowEntry) -> bool {
        let before = self.text.line_start(entry.range.start)..entry.range.start;
        self.text.as_str().get(before).is_some_and(|before| before.trim_matches([' ', '\t']) == ",")
    }

    /// Whether only a comment follows on the last line of an entry, apart from its comma.
    fn ends_line(&self, entry: &FlowEntry, comma: Option<usize>) -> bool {
        let end = self.text.line_end(entry.range.end);
        let after = match comma.filter(|comma| *comma < end) {
            Some(comma) => is_blank(self.text, entry.range.end..comma).then_some(comma + 1),
            None => Some(entry.range.end),
        };
        after.is_some_and(|after| is_trivia(self.text, after..end))
    }
}

/// The first byte from `from` that is neither white space nor part of a comment.
fn after_trivia(text: &Text, from: usize) -> usize {
    let mut at = from;
    loop {
        let rest = text.as_str().get(at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches(WHITE_SPACE);
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with('#') {
            return at;
        }
        at = text.line_end(at);
    }
}

/// Whether a part has only spaces and tabs.
fn is_blank(text: &Text, range: Range<usize>) -> bool {
    text.as_str().get(range).is_some_and(|part| part.trim_matches([' ', '\t']).is_empty())
}

/// Whether a part has only spaces, tabs and line breaks.
fn is_white_space(text: &Text, range: Range<usize>) -> bool {
    text.as_str().get(range).is_some_and(|part| part.trim_matches(WHITE_SPACE).is_empty())
}

/// Whether the rest of a line has only white space and a comment.
fn is_trivia(text: &Text, rest_of_line: Range<usize>) -> bool {
    let rest = text.as_str().get(rest_of_line).unwrap_or_default().trim_start_matches(WHITE_SPACE);
    rest.is_empty() || rest.starts_with('#')
}
