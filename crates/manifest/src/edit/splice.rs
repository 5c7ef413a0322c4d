//! Replaces parts of a text.

use std::ops::Range;

/// A part of a text and its replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Splice {
    /// The bytes to replace.
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

impl Splice {
    pub(super) fn new(range: Range<usize>, text: impl Into<String>) -> Self {
        Self { range, text: text.into() }
    }

    pub(super) fn remove(range: Range<usize>) -> Self {
        Self::new(range, "")
    }
}

/// The text with all splices applied; `None` if one writes into a part that another one replaces.
pub(super) fn apply<'s>(text: &str, splices: impl IntoIterator<Item = &'s Splice>) -> Option<String> {
    let mut splices: Vec<&Splice> = splices.into_iter().collect();
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    let mut edited = String::with_capacity(text.len());
    let mut done = 0;
    for splice in splices {
        // Removed parts may overlap. Text inside a removed part must not be kept.
        if splice.range.start < done && !splice.text.is_empty() {
            return None;
        }
        edited.push_str(text.get(done..splice.range.start.max(done))?);
        edited.push_str(&splice.text);
        done = done.max(splice.range.end);
    }
    edited.push_str(text.get(done..)?);
    keep_end(text, done, &mut edited);
    Some(edited)
}

/// If a text has no line break at its end, it has none after its last line is removed.
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
    fn parts_are_replaced_in_any_order_and_only_removed_parts_may_overlap() {
        let splices = [Splice::new(4..5, "xyz"), Splice::remove(0..2), Splice::remove(1..3)];
        assert_eq!(apply("abcdef", &splices).as_deref(), Some("dxyzf"));
        assert_eq!(apply("abcdef", &[Splice::remove(0..2), Splice::new(1..3, "x")]), None);
        assert_eq!(apply("a", &[Splice::remove(0..2)]), None);
    }

    #[test]
    fn without_a_last_line_break_the_result_has_none() {
        assert_eq!(apply("a\r\nb", &[Splice::remove(3..4)]).as_deref(), Some("a"));
        assert_eq!(apply("a\nb\n", &[Splice::remove(2..4)]).as_deref(), Some("a\n"));
    }
}
