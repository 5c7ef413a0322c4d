//! The text of a file, with the line and column of each byte.

use std::ops::Range;

/// A text with an index of its lines.
///
/// Editors and reports count lines by `\n`, `\r\n` and `\r`. For YAML, U+0085, U+2028 and U+2029 end a line, too.
#[derive(Clone, Debug)]
pub struct Text {
    text: String,
    /// The byte at which each line starts.
    lines: Vec<usize>,
    /// The same for the lines of YAML, if they are others.
    yaml_lines: Option<Vec<usize>>,
}

/// Editors may write it at the start of a file. It is not part of the first line.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';
/// The line breaks of YAML that are no line breaks elsewhere.
pub(crate) const YAML_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

impl Text {
    /// Indexes the lines of a text.
    pub fn new(text: String) -> Self {
        let start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        let bytes = text.as_bytes();
        let ends_line = |at: &usize| match bytes.get(*at) {
            Some(b'\n') => true,
            // A line break in YAML, too.
            Some(b'\r') => bytes.get(*at + 1) != Some(&b'\n'),
            _ => false,
        };
        let lines = std::iter::once(start).chain((start..bytes.len()).filter(ends_line).map(|at| at + 1));
        let lines: Vec<usize> = lines.collect();
        let mut others =
            text.match_indices(YAML_BREAKS).map(|(at, line_break)| at + line_break.len()).peekable();
        let yaml_lines = others.peek().is_some().then(|| {
            let mut all: Vec<usize> = lines.iter().copied().chain(others).collect();
            all.sort_unstable();
            all
        });
        Self { text, lines, yaml_lines }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, without the index.
    pub fn into_string(self) -> String {
        self.text
    }

    /// The line and the column of a byte, both from 1, the column in Unicode characters.
    pub fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..byte).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The byte at a line and a column, both from 1, the column in Unicode characters.
    pub fn byte(&self, line: usize, column: usize) -> usize {
        let Some(bytes) = line.checked_sub(1).and_then(|line| self.line_bytes(line)) else {
            return self.text.len();
        };
        let content = self.text.get(bytes.clone()).unwrap_or_default();
        let before = content.char_indices().nth(column.saturating_sub(1));
        before.map_or(bytes.end, |(at, _)| bytes.start + at)
    }

    /// The line with this number, from 1, without its line break; empty if there is none.
    pub fn line(&self, line: usize) -> &str {
        let bytes = line.checked_sub(1).and_then(|line| self.line_bytes(line));
        bytes.and_then(|bytes| self.text.get(bytes)).unwrap_or_default()
    }

    /// The bytes of a line, from 0, without its line break; `None` after the last line.
    pub fn line_bytes(&self, line: usize) -> Option<Range<usize>> {
        let start = *self.lines.get(line)?;
        let end = self.lines.get(line + 1).copied().unwrap_or(self.text.len());
        let content = self.text.get(start..end)?;
        let content = content.strip_suffix('\n').unwrap_or(content);
        let content = content.strip_suffix('\r').unwrap_or(content);
        Some(start..start + content.len())
    }

    /// The line that a byte is on, as [`Self::line`] returns it, and the byte of this line.
    pub fn line_around(&self, byte: usize) -> (&str, usize) {
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (self.line(line), byte.saturating_sub(start))
    }

    /// The first byte of the line of YAML that a byte is on.
    pub fn line_start(&self, byte: usize) -> usize {
        let lines = self.yaml_lines();
        let line = lines.partition_point(|start| *start <= byte).max(1);
        lines.get(line - 1).copied().unwrap_or(0)
    }

    /// The byte after the line of YAML that a byte is on, including its line break.
    pub fn line_end(&self, byte: usize) -> usize {
        let lines = self.yaml_lines();
        let next = lines.partition_point(|start| *start <= byte).max(1);
        lines.get(next).copied().unwrap_or(self.text.len())
    }

    fn yaml_lines(&self) -> &[usize] {
        self.yaml_lines.as_deref().unwrap_or(&self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_without_its_line_break() {
        let text = Text::new("\u{feff}a: é\r\nb\u{85}\rc\n".to_owned());
        let lines = [0, 1, 2, 3, 4, 5].map(|line| text.line(line));
        assert_eq!(lines, ["", "a: é", "b\u{85}", "c", "", ""]);
    }

    #[test]
    fn a_byte_has_its_line_and_its_place_in_it() {
        let text = Text::new("\u{feff}a: é\r\nb".to_owned());
        let at = [0, 3, 6, 8, 10, 11].map(|byte| text.line_around(byte));
        assert_eq!(at, [("a: é", 0), ("a: é", 0), ("a: é", 3), ("a: é", 5), ("b", 0), ("b", 1)]);
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = Text::new("\u{feff}a: é x\r\nb: y\rc".to_owned());
        let at = |needle: &str| text.line_and_column(text.as_str().find(needle).unwrap());
        assert_eq!((at("a"), at("x"), at("b"), at("y"), at("c")), ((1, 1), (1, 6), (2, 1), (2, 4), (3, 1)));
        assert_eq!(Text::new(String::new()).line_and_column(0), (1, 1));
    }

    #[test]
    fn a_place_has_its_byte_and_a_line_its_bytes() {
        let text = Text::new("\u{feff}a: é x\r\nb: y\rc".to_owned());
        for needle in ["a", "é", "x", "b", "y", "c"] {
            let at = text.as_str().find(needle).unwrap();
            let (line, column) = text.line_and_column(at);
            assert_eq!(text.byte(line, column), at, "{needle}");
        }
        assert_eq!((text.byte(1, 99), text.byte(9, 1), text.byte(0, 0)), (10, 18, 18));
        let lines: Vec<&str> =
            (0..4).filter_map(|line| text.line_bytes(line)).map(|bytes| &text.as_str()[bytes]).collect();
        assert_eq!(lines, ["a: é x", "b: y", "c"]);
    }

    #[test]
    fn lines_have_their_start_and_end() {
        let text = Text::new("ab\r\ncd".to_owned());
        assert_eq!((text.line_start(1), text.line_end(1)), (0, 4));
        assert_eq!((text.line_start(4), text.line_end(5)), (4, 6));
    }

    #[test]
    fn the_line_breaks_of_yaml_alone_end_lines_of_yaml_alone() {
        let text = Text::new("ab\u{85}cd\u{2028}e\nf".to_owned());
        assert_eq!(text.line_and_column(4), (1, 4));
        assert_eq!((text.line_start(5), text.line_end(5)), (4, 9));
        assert_eq!(text.line_and_column(11), (2, 1));
    }
}
