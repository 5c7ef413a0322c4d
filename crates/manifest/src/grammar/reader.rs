//! The text, the current place in it, and the classes of characters.

use std::ops::Range;

/// A byte order mark is not part of the text.
pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";
/// The number of bytes that kubectl's parser reads at once.
const CHUNK: usize = 512;

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) byte: usize,
    /// The number of characters before it.
    pub(super) index: usize,
    /// From 0.
    pub(super) line: usize,
    /// In characters, from 0.
    pub(super) column: usize,
}

/// Reads a text without control characters.
pub(super) struct Reader<'t> {
    text: &'t str,
    pub(super) mark: Mark,
    /// The bytes of all comments so far.
    pub(super) comments: Vec<Range<usize>>,
    buffer: Buffer,
}

/// What kubectl's parser holds in its buffer.
///
/// It looks for a byte order mark at the start of the buffer when it should look at the current place. So where the
/// buffer starts decides which characters it skips.
struct Buffer {
    /// The byte of its first character.
    start: usize,
    /// The number of characters in it that are not read yet.
    unread: usize,
    /// The end of the characters in it.
    decoded: usize,
    /// The end of the bytes that were read, which may end within a character.
    read: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self {
            text,
            mark: Mark { byte: start, ..Mark::default() },
            comments: Vec::new(),
            buffer: Buffer { start, unread: 0, decoded: start, read: text.len().min(CHUNK) },
        }
    }

    /// Makes sure that the buffer has this number of unread characters.
    pub(super) fn fill(&mut self, length: usize) {
        if self.buffer.unread < length {
            self.refill(length);
        }
    }

    fn refill(&mut self, length: usize) {
        let Self { text, mark, buffer, .. } = self;
        buffer.start = mark.byte;
        while buffer.unread < length {
            if buffer.decoded == text.floor_char_boundary(buffer.read) {
                if buffer.read == text.len() {
                    // The character that stands for the end.
                    buffer.unread += 1;
                    return;
                }
                buffer.read = (buffer.decoded + CHUNK).min(text.len());
            }
            let end = text.floor_char_boundary(buffer.read);
            let decoded = text.as_bytes().get(buffer.decoded..end).unwrap_or_default();
            buffer.unread += decoded.iter().filter(|byte| !matches!(byte, 0x80..=0xbf)).count();
            buffer.decoded = end;
        }
    }

    /// Whether the parser takes the current character for a byte order mark.
    pub(super) fn is_byte_order_mark(&self) -> bool {
        self.text.get(self.buffer.start..).is_some_and(|buffer| buffer.starts_with(BYTE_ORDER_MARK))
    }

    /// The byte that is this number of bytes ahead; 0 after the end.
    pub(super) fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.mark.byte + ahead).copied().unwrap_or(0)
    }

    /// The text between a byte and the current place.
    pub(super) fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.mark.byte).unwrap_or_default()
    }

    pub(super) fn is(&self, byte: u8) -> bool {
        self.peek(0) == byte
    }

    pub(super) fn is_end(&self) -> bool {
        self.is(0)
    }

    pub(super) fn is_blank_at(&self, ahead: usize) -> bool {
        matches!(self.peek(ahead), b' ' | b'\t')
    }

    pub(super) fn is_blank(&self) -> bool {
        self.is_blank_at(0)
    }

    pub(super) fn is_break_at(&self, ahead: usize) -> bool {
        match self.peek(ahead) {
            b'\r' | b'\n' => true,
            0xc2 => self.peek(ahead + 1) == 0x85,
            0xe2 => self.peek(ahead + 1) == 0x80 && matches!(self.peek(ahead + 2), 0xa8 | 0xa9),
            _ => false,
        }
    }

    pub(super) fn is_break(&self) -> bool {
        self.is_break_at(0)
    }

    /// Whether a line break is ahead, or the end.
    pub(super) fn is_line_end(&self) -> bool {
        self.is_end() || self.is_break()
    }

    /// Whether white space is this number of bytes ahead, or the end.
    pub(super) fn is_space_at(&self, ahead: usize) -> bool {
        self.is_blank_at(ahead) || self.peek(ahead) == 0 || self.is_break_at(ahead)
    }

    pub(super) fn is_space(&self) -> bool {
        self.is_space_at(0)
    }

    /// Whether a letter, a digit, `_` or `-` is next.
    pub(super) fn is_word(&self) -> bool {
        matches!(self.peek(0), b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'-')
    }

    /// The value of the hexadecimal digit that is this number of bytes ahead.
    pub(super) fn hex_at(&self, ahead: usize) -> Option<u32> {
        char::from(self.peek(ahead)).to_digit(16)
    }

    /// Whether `---` or `...` is at the start of this line.
    pub(super) fn is_document_indicator(&self, indicator: u8) -> bool {
        self.mark.column == 0 && (0..3).all(|ahead| self.peek(ahead) == indicator) && self.is_space_at(3)
    }

    /// Steps over a character.
    pub(super) fn skip(&mut self) {
        let width = match self.peek(0) {
            0 => usize::from(self.mark.byte < self.text.len()),
            0x01..=0x7f => 1,
            0x80..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        };
        self.mark.byte += width;
        self.mark.index += 1;
        self.mark.column += 1;
        self.buffer.unread = self.buffer.unread.saturating_sub(1);
    }

    /// Steps over a line break.
    pub(super) fn skip_line(&mut self) {
        if self.peek(0) == b'\r' && self.peek(1) == b'\n' {
            self.skip();
            self.skip();
        } else if self.is_break() {
            self.skip();
        } else {
            return;
        }
        self.mark.column = 0;
        self.mark.line += 1;
    }

    /// Steps over a line break and adds it to a string. Most become a line feed.
    pub(super) fn read_line(&mut self, to: &mut String) {
        let start = self.mark.byte;
        self.skip_line();
        match self.since(start) {
            "" => {}
            unicode @ ("\u{2028}" | "\u{2029}") => to.push_str(unicode),
            _ => to.push('\n'),
        }
    }

    /// Steps over spaces and tabs.
    pub(super) fn skip_blanks(&mut self) {
        self.fill(1);
        while self.is_blank() {
            self.skip();
            self.fill(1);
        }
    }

    /// Steps over a comment, if one is next.
    pub(super) fn skip_comment(&mut self) {
        if self.is(b'#') {
            let start = self.mark.byte;
            while !self.is_line_end() {
                self.skip();
                self.fill(1);
            }
            self.comments.push(start..self.mark.byte);
        }
    }

    /// Steps over a word.
    pub(super) fn word(&mut self) -> &'t str {
        let start = self.mark.byte;
        self.fill(1);
        while self.is_word() {
            self.skip();
            self.fill(1);
        }
        self.since(start)
    }
}
