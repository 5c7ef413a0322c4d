//! Converts between bytes of a text and positions of the protocol, which count in UTF-8 or UTF-16.

use std::ops::Range as Bytes;

use crm_manifest::Text;
use gen_lsp_types::{Position, PositionEncodingKind, Range};

/// The unit in which positions count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    /// Every client knows it.
    #[default]
    Utf16,
}

impl Encoding {
    /// UTF-8 if the client offers it.
    pub(super) fn negotiated(offered: &[&str]) -> Self {
        if offered.contains(&"utf-8") { Self::Utf8 } else { Self::Utf16 }
    }

    pub(super) fn kind(self) -> PositionEncodingKind {
        match self {
            Self::Utf8 => PositionEncodingKind::UTF8,
            Self::Utf16 => PositionEncodingKind::UTF16,
        }
    }

    /// The position of a byte.
    pub(super) fn position(self, text: &Text, byte: usize) -> Position {
        let (line, _) = text.line_and_column(byte);
        let line = line - 1;
        let before = text.as_str().get(start(text, line)..byte).unwrap_or_default();
        Position { line: unsigned(line), character: unsigned(self.length(before)) }
    }

    pub(super) fn range(self, text: &Text, bytes: &Bytes<usize>) -> Range {
        Range { start: self.position(text, bytes.start), end: self.position(text, bytes.end) }
    }

    /// The byte of a position. One behind the end of its line is that end, and one in a character is its start.
    pub(super) fn byte(self, text: &Text, position: Position) -> usize {
        let line = position.line as usize;
        let Some(bytes) = text.line_bytes(line) else {
            return text.as_str().len();
        };
        let start = start(text, line);
        let mut left = position.character as usize;
        let content = text.as_str().get(start..bytes.end).unwrap_or_default();
        for (at, character) in content.char_indices() {
            let units = self.units(character);
            if left < units {
                return start + at;
            }
            left -= units;
        }
        bytes.end
    }

    fn length(self, text: &str) -> usize {
        match self {
            Self::Utf8 => text.len(),
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
        }
    }

    fn units(self, character: char) -> usize {
        match self {
            Self::Utf8 => character.len_utf8(),
            Self::Utf16 => character.len_utf16(),
        }
    }
}

/// The first byte of a line. For the protocol, a byte order mark is a character of the first line.
fn start(text: &Text, line: usize) -> usize {
    if line == 0 { 0 } else { text.line_bytes(line).map_or(text.as_str().len(), |bytes| bytes.start) }
}

fn unsigned(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}a: é😀x\r\nb: y\rc\n";

    fn at(encoding: Encoding, needle: &str) -> (u32, u32) {
        let text = Text::new(TEXT.to_owned());
        let byte = TEXT.find(needle).unwrap();
        let position = encoding.position(&text, byte);
        assert_eq!(encoding.byte(&text, position), byte, "{needle}");
        (position.line, position.character)
    }

    #[test]
    fn positions_count_in_the_negotiated_unit() {
        assert_eq!((at(Encoding::Utf16, "x"), at(Encoding::Utf8, "x")), ((0, 7), (0, 12)));
        assert_eq!((at(Encoding::Utf16, "😀"), at(Encoding::Utf8, "😀")), ((0, 5), (0, 8)));
        for encoding in [Encoding::Utf8, Encoding::Utf16] {
            assert_eq!((at(encoding, "y"), at(encoding, "c")), ((1, 3), (2, 0)));
        }
    }

    #[test]
    fn a_position_out_of_the_text_is_the_nearest_in_it() {
        let text = Text::new("ab\r\nc".to_owned());
        let byte = |line, character| Encoding::Utf16.byte(&text, Position { line, character });
        assert_eq!((byte(0, 99), byte(1, 99), byte(9, 0)), (2, 5, 5));
        let text = Text::new("😀".to_owned());
        assert_eq!(Encoding::Utf16.byte(&text, Position { line: 0, character: 1 }), 0);
        assert_eq!(Encoding::Utf8.byte(&text, Position { line: 0, character: 3 }), 0);
    }

    #[test]
    fn utf_8_is_used_if_it_is_offered() {
        assert_eq!(Encoding::negotiated(&["utf-16", "utf-8"]), Encoding::Utf8);
        assert_eq!(Encoding::negotiated(&["utf-32"]), Encoding::Utf16);
    }
}
