//! The part of a line that shows a problem: short, and without characters that a terminal obeys.

use std::ops::Range;

use crm_core::characters::push_printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The maximum width, in columns of a terminal. With the line number it fits into 80.
const WIDTH: usize = 72;
/// The maximum width of what comes before the problem in a longer line.
const WIDTH_BEFORE: usize = 32;
/// Marks what is left out.
const ELLIPSIS: char = '…';
/// What a tab becomes.
const TAB: &str = "    ";

/// A part of one line, printable, with the problem marked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    pub(super) text: String,
    /// The bytes of `text` to mark; empty if the problem is between two characters.
    pub(super) marked: Range<usize>,
}

impl Excerpt {
    /// Shows `line` around `column`, which counts from 1 in characters, as far as there is room. `problem` is the text
    /// there; of one with several lines, the first is marked.
    pub fn new(line: &str, column: usize, problem: &str) -> Self {
        let start = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        Self::at_byte(line, start, problem)
    }

    /// The same for a byte of the line. A line of any length takes the same time, because all records of a JSON file can
    /// be on one line.
    pub fn at_byte(line: &str, start: usize, problem: &str) -> Self {
        let (before, rest) = line.split_at_checked(start).unwrap_or((line, ""));
        let problem = problem.lines().next().unwrap_or_default().trim_end();
        let mut excerpt = Self::default();
        let mut room = WIDTH;
        let room_before = if fits(line, WIDTH) { WIDTH } else { WIDTH_BEFORE };
        let shown = before.get(last_start(before, room_before)..).unwrap_or_default();
        if shown.len() < before.len() {
            excerpt.text.push(ELLIPSIS);
        }
        shown.chars().for_each(|c| push(&mut excerpt.text, c));
        room = room.saturating_sub(excerpt.text.width());
        excerpt.marked = excerpt.text.len()..excerpt.text.len();
        for (at, c) in rest.char_indices() {
            let Some(left) = room.checked_sub(width(c)) else {
                excerpt.text.push(ELLIPSIS);
                break;
            };
            room = left;
            push(&mut excerpt.text, c);
            if at < problem.len() {
                excerpt.marked.end = excerpt.text.len();
            }
        }
        excerpt
    }
}

/// Whether a text fits into this width. A text of any length takes the same time.
fn fits(text: &str, room: usize) -> bool {
    text.chars().try_fold(room, |room, c| room.checked_sub(width(c))).is_some()
}

/// The byte at which the longest end of a text starts that fits into this width.
fn last_start(text: &str, mut room: usize) -> usize {
    let fitting = text.char_indices().rev().map_while(|(at, c)| {
        room = room.checked_sub(width(c))?;
        Some(at)
    });
    fitting.last().unwrap_or(text.len())
}

fn push(into: &mut String, c: char) {
    match c {
        '\t' => into.push_str(TAB),
        c => push_printable(into, c),
    }
}

/// The width of a character as it is shown.
fn width(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        '\t' => TAB.len(),
        c => {
            let mut shown = String::new();
            push(&mut shown, c);
            shown.chars().map(|c| c.width().unwrap_or(0)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The excerpt, with brackets around what is marked.
    fn bracketed(line: &str, column: usize, problem: &str) -> String {
        let Excerpt { mut text, marked } = Excerpt::new(line, column, problem);
        text.insert(marked.end, ']');
        text.insert(marked.start, '[');
        text
    }

    #[rstest]
    #[case::in_the_middle("a: Acme.com # x", 4, "Acme.com", "a: [Acme.com] # x")]
    #[case::nothing("a:", 1, "", "[]a:")]
    #[case::at_the_end("a: [", 5, "", "a: [[]")]
    #[case::after_the_end("a", 9, "x", "a[]")]
    #[case::of_several_lines("a: 'x  ", 4, "'x  \n  y'", "a: ['x]  ")]
    #[case::of_lines_with_cr("a: 'x", 4, "'x\r\n y'", "a: ['x]")]
    #[case::tab("a:\tb", 4, "b", "a:    [b]")]
    #[case::wide("a: 会社🏢 # x", 4, "会社🏢", "a: [会社🏢] # x")]
    #[case::control("a: \u{1b}[31m\u{202e}x\u{0}", 4, "\u{1b}[31m\u{202e}x", r"a: [\u001b[31m\u202ex]\u0000")]
    fn the_problem_is_marked(
        #[case] line: &str,
        #[case] column: usize,
        #[case] problem: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(bracketed(line, column, problem), expected);
    }

    #[test]
    fn a_long_line_is_cut_around_the_problem() {
        let (a, b) = ("a".repeat(100_000), "b".repeat(100_000));
        let shown = bracketed(&format!("{a}X{b}"), 100_001, "X");
        assert_eq!(shown, format!("…{}[X]{}…", "a".repeat(32), "b".repeat(38)));
        // A long problem is marked as far as it is shown.
        let shown = bracketed(&format!("k: {b}"), 4, &b);
        assert_eq!(shown, format!("k: [{}]…", "b".repeat(69)));
        // Wide characters take two columns, and escapes several.
        for c in ['会', '\u{1b}', '\t', '\u{301}'] {
            let long: String = std::iter::repeat_n(c, 1000).collect();
            let Excerpt { text, .. } = Excerpt::new(&long, 500, "");
            assert!(text.width() <= WIDTH + 2, "{c:?}: {text}");
        }
    }
}
