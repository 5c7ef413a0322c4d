//! Replaces parts of a text.

use std::ops::Range;

/// One part of a text and what is to stand there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// In bytes.
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

impl Edit {
    pub(super) fn new(range: Range<usize>, text: impl Into<String>) -> Self {
        Self { range, text: text.into() }
    }

    pub(super) fn remove(range: Range<usize>) -> Self {
        Self::new(range, "")
    }
}

/// The text with all edits made; `None` where one would write into what another takes.
pub(super) fn apply<'e>(text: &str, edits: impl IntoIterator<Item = &'e Edit>) -> Option<String> {
    let mut edits: Vec<&Edit> = edits.into_iter().collect();
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut edited = String::with_capacity(text.len());
    let mut done = 0;
    for edit in edits {
        // Parts that go may overlap; what is within one that is gone must not be kept.
        if edit.range.start < done && !edit.text.is_empty() {
            return None;
        }
        edited.push_str(text.get(done..edit.range.start.max(done))?);
        edited.push_str(&edit.text);
        done = done.max(edit.range.end);
    }
    edited.push_str(text.get(done..)?);
    keep_end(text, done, &mut edited);
    Some(edited)
}

/// A text that ended in the middle of a line does so still when that line has gone.
fn keep_end(text: &str, done: usize, edited: &mut String) {
    if done == text.len() && !text.ends_with(['\r', '\n']) {
        let end = edited.strip_suffix('\n').map(|rest| rest.strip_suffix('\r').unwrap_or(rest));
        if let Some(length) = end.map(str::len) {
            edited.truncate(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_replaced_in_any_order_and_may_overlap_only_where_all_go() {
        let edits = [Edit::new(4..5, "xyz"), Edit::remove(0..2), Edit::remove(1..3)];
        assert_eq!(apply("abcdef", &edits).as_deref(), Some("dxyzf"));
        assert_eq!(apply("abcdef", &[Edit::remove(0..2), Edit::new(1..3, "x")]), None);
        assert_eq!(apply("a", &[Edit::remove(0..2)]), None);
    }

    #[test]
    fn a_last_line_without_a_break_leaves_none_behind() {
        assert_eq!(apply("a\r\nb", &[Edit::remove(3..4)]).as_deref(), Some("a"));
        assert_eq!(apply("a\nb\n", &[Edit::remove(2..4)]).as_deref(), Some("a\n"));
    }
}
