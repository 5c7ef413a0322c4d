//! Scans scalars.

use super::Problem;
use super::reader::Mark;
use super::scanner::{Scanner, TokenKind};
use crate::tree::Style;

/// Line breaks between the parts of a scalar, of which the first one may become a space.
#[derive(Default)]
struct Folding {
    /// Spaces and tabs within a line.
    blanks: String,
    first: String,
    others: String,
}

impl Folding {
    /// Adds what stands for the breaks.
    fn breaks(&mut self, to: &mut String) {
        if !self.first.starts_with('\n') {
            to.push_str(&self.first);
            to.push_str(&self.others);
        } else if self.others.is_empty() {
            to.push(' ');
        } else {
            to.push_str(&self.others);
        }
        self.first.clear();
        self.others.clear();
    }
}

impl Scanner<'_> {
    pub(super) fn fetch_plain(&mut self) -> Result<(), Problem> {
        self.save_simple_key()?;
        self.is_simple_key_allowed = false;
        let start = self.mark();
        let (value, end) = self.scan_plain(start)?;
        self.push_until(TokenKind::Scalar { value, style: Style::Plain }, start, end);
        Ok(())
    }

    pub(super) fn fetch_quoted(&mut self) -> Result<(), Problem> {
        self.save_simple_key()?;
        self.is_simple_key_allowed = false;
        let start = self.mark();
        let style = if self.reader.is(b'\'') { Style::SingleQuoted } else { Style::DoubleQuoted };
        let value = self.scan_quoted(start, style)?;
        self.push(TokenKind::Scalar { value, style }, start);
        Ok(())
    }

    pub(super) fn fetch_block_scalar(&mut self) -> Result<(), Problem> {
        self.remove_simple_key()?;
        self.is_simple_key_allowed = true;
        let start = self.mark();
        let (value, end) = self.scan_block(start)?;
        self.push_until(TokenKind::Scalar { value, style: Style::Block }, start, end);
        Ok(())
    }

    /// Whether the next character ends a plain scalar.
    fn ends_plain(&self) -> bool {
        match self.reader.peek(0) {
            b':' => self.reader.is_space_at(1),
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => self.flow_level > 0,
            _ => false,
        }
    }

    /// The value of a plain scalar and the byte after it.
    fn scan_plain(&mut self, start: Mark) -> Result<(String, usize), Problem> {
        let mut value = String::new();
        let mut folding = Folding::default();
        let mut has_breaks = false;
        let mut end = start.byte;
        let indent = self.indent + 1;
        loop {
            self.reader.fill(4);
            if self.reader.is_document_indicator(b'-')
                || self.reader.is_document_indicator(b'.')
                || self.reader.is(b'#')
            {
                break;
            }
            let part = self.mark().byte;
            while !self.reader.is_space() && !self.ends_plain() {
                self.reader.skip();
                self.reader.fill(2);
            }
            let part = self.reader.since(part);
            if !part.is_empty() {
                if has_breaks {
                    folding.breaks(&mut value);
                    has_breaks = false;
                }
                value.push_str(&folding.blanks);
                folding.blanks.clear();
                value.push_str(part);
                end = self.mark().byte;
            }
            if !self.reader.is_blank() && !self.reader.is_break() {
                break;
            }
            self.reader.fill(1);
            self.scan_blanks(&mut folding, &mut has_breaks, Some((start, indent)))?;
            if self.flow_level == 0 && self.column() < indent {
                break;
            }
        }
        if has_breaks {
            self.is_simple_key_allowed = true;
        }
        Ok((value, end))
    }

    /// Scans spaces, tabs and line breaks within a scalar. In a plain scalar, a tab may not indent.
    fn scan_blanks(
        &mut self,
        folding: &mut Folding,
        has_breaks: &mut bool,
        plain: Option<(Mark, isize)>,
    ) -> Result<(), Problem> {
        let blanks = self.mark().byte;
        while self.reader.is_blank() || self.reader.is_break() {
            if self.reader.is_blank() {
                if let Some((start, indent)) = plain
                    && *has_breaks
                    && self.column() < indent
                    && self.reader.is(b'\t')
                {
                    return self.problem(Some(start), "found a tab where only spaces may indent");
                }
                self.reader.skip();
            } else {
                self.reader.fill(2);
                let to = if *has_breaks { &mut folding.others } else { &mut folding.first };
                self.reader.read_line(to);
                *has_breaks = true;
            }
            self.reader.fill(1);
        }
        // Blanks before a line break do not count.
        folding.blanks.clear();
        if !*has_breaks {
            folding.blanks.push_str(self.reader.since(blanks));
        }
        Ok(())
    }

    fn scan_quoted(&mut self, start: Mark, style: Style) -> Result<String, Problem> {
        let quote = self.reader.peek(0);
        self.reader.skip();
        let mut value = String::new();
        let mut folding = Folding::default();
        loop {
            self.reader.fill(4);
            if self.reader.is_document_indicator(b'-') || self.reader.is_document_indicator(b'.') {
                return self.problem(Some(start), "found unexpected document indicator in a quoted string");
            }
            if self.reader.is_end() {
                return self.problem(Some(start), "found no closing quote");
            }
            let mut has_breaks = self.scan_quoted_part(&mut value, start, style)?;
            self.reader.fill(1);
            if self.reader.is(quote) {
                self.reader.skip();
                return Ok(value);
            }
            self.reader.fill(1);
            self.scan_blanks(&mut folding, &mut has_breaks, None)?;
            if has_breaks {
                folding.breaks(&mut value);
            } else {
                value.push_str(&folding.blanks);
            }
            folding.blanks.clear();
        }
    }

    /// Scans up to white space or the closing quote, and says whether it ended with an escaped line break.
    fn scan_quoted_part(&mut self, value: &mut String, start: Mark, style: Style) -> Result<bool, Problem> {
        let is_double = style == Style::DoubleQuoted;
        let mut part = self.mark().byte;
        while !self.reader.is_space() {
            match self.reader.peek(0) {
                b'\'' if !is_double => {
                    value.push_str(self.reader.since(part));
                    if self.reader.peek(1) != b'\'' {
                        return Ok(false);
                    }
                    value.push('\'');
                    self.reader.skip();
                    self.reader.skip();
                    part = self.mark().byte;
                }
                b'"' if is_double => break,
                b'\\' if is_double => {
                    value.push_str(self.reader.since(part));
                    if self.reader.is_break_at(1) {
                        self.reader.fill(3);
                        self.reader.skip();
                        self.reader.skip_line();
                        return Ok(true);
                    }
                    value.push(self.scan_escape(start)?);
                    part = self.mark().byte;
                }
                _ => self.reader.skip(),
            }
            self.reader.fill(2);
        }
        value.push_str(self.reader.since(part));
        Ok(false)
    }

    fn scan_escape(&mut self, start: Mark) -> Result<char, Problem> {
        let (length, escaped) = match self.reader.peek(1) {
            b'0' => (0, '\0'),
            b'a' => (0, '\u{7}'),
            b'b' => (0, '\u{8}'),
            b't' | b'\t' => (0, '\t'),
            b'n' => (0, '\n'),
            b'v' => (0, '\u{b}'),
            b'f' => (0, '\u{c}'),
            b'r' => (0, '\r'),
            b'e' => (0, '\u{1b}'),
            b' ' => (0, ' '),
            b'"' => (0, '"'),
            b'\'' => (0, '\''),
            b'\\' => (0, '\\'),
            b'N' => (0, '\u{85}'),
            b'_' => (0, '\u{a0}'),
            b'L' => (0, '\u{2028}'),
            b'P' => (0, '\u{2029}'),
            b'x' => (2, '\0'),
            b'u' => (4, '\0'),
            b'U' => (8, '\0'),
            _ => return self.problem(Some(start), "found unknown escape character"),
        };
        self.reader.skip();
        self.reader.skip();
        if length == 0 {
            return Ok(escaped);
        }
        self.reader.fill(length);
        let mut code: u32 = 0;
        for ahead in 0..length {
            let Some(digit) = self.reader.hex_at(ahead) else {
                return self.problem(Some(start), "did not find expected hexadecimal number");
            };
            code = (code << 4) + digit;
        }
        let Some(escaped) = char::from_u32(code) else {
            return self.problem(Some(start), "found invalid Unicode character escape code");
        };
        for _ in 0..length {
            self.reader.skip();
        }
        Ok(escaped)
    }

    /// The value of a block scalar and the byte after the last line that is not blank.
    fn scan_block(&mut self, start: Mark) -> Result<(String, usize), Problem> {
        let is_literal = self.reader.is(b'|');
        let header = self.scan_block_header(start)?;
        let mut end = self.mark().byte;
        if self.reader.is_break() {
            self.reader.fill(2);
            self.reader.skip_line();
        }
        let mut indent = header.increment.map(|increment| self.indent.max(0) + increment);
        let mut value = String::new();
        let mut first = String::new();
        let mut others = String::new();
        self.scan_block_breaks(&mut indent, &mut others, start)?;
        self.reader.fill(1);
        let mut was_blank = false;
        while Some(self.column()) == indent && !self.reader.is_end() {
            let is_blank = self.reader.is_blank();
            let folds = !is_literal && !was_blank && !is_blank && first.starts_with('\n');
            if !folds {
                value.push_str(&first);
            } else if others.is_empty() {
                value.push(' ');
            }
            value.push_str(&others);
            first.clear();
            others.clear();
            was_blank = is_blank;
            let line = self.mark().byte;
            while !self.reader.is_line_end() {
                self.reader.skip();
                self.reader.fill(1);
            }
            let line = self.reader.since(line);
            value.push_str(line);
            if !line.trim().is_empty() {
                end = self.mark().byte;
            }
            self.reader.fill(2);
            self.reader.read_line(&mut first);
            self.scan_block_breaks(&mut indent, &mut others, start)?;
        }
        if header.chomping != Chomping::Strip {
            value.push_str(&first);
        }
        if header.chomping == Chomping::Keep {
            value.push_str(&others);
        }
        Ok((value, end))
    }

    /// Scans the indicators of a block scalar, and the comment after them.
    fn scan_block_header(&mut self, start: Mark) -> Result<Header, Problem> {
        self.reader.skip();
        self.reader.fill(1);
        let mut header = Header { chomping: self.scan_chomping(), increment: None };
        self.reader.fill(1);
        if let digit @ b'0'..=b'9' = self.reader.peek(0) {
            if digit == b'0' {
                return self.problem(Some(start), "found an indentation indicator equal to 0");
            }
            header.increment = Some(isize::from(digit - b'0'));
            self.reader.skip();
            if header.chomping == Chomping::Clip {
                self.reader.fill(1);
                header.chomping = self.scan_chomping();
            }
        }
        self.reader.skip_blanks();
        self.reader.skip_comment();
        if self.reader.is_line_end() {
            return Ok(header);
        }
        self.problem(Some(start), "did not find expected comment or line break")
    }

    fn scan_chomping(&mut self) -> Chomping {
        let chomping = match self.reader.peek(0) {
            b'+' => Chomping::Keep,
            b'-' => Chomping::Strip,
            _ => return Chomping::Clip,
        };
        self.reader.skip();
        chomping
    }

    /// Scans indentation and blank lines in a block scalar. The first call finds out the indentation if the header does
    /// not say it.
    fn scan_block_breaks(
        &mut self,
        indent: &mut Option<isize>,
        breaks: &mut String,
        start: Mark,
    ) -> Result<(), Problem> {
        let mut furthest = 0;
        loop {
            self.reader.fill(1);
            let is_indentation = |scanner: &Self| indent.is_none_or(|indent| scanner.column() < indent);
            while is_indentation(self) && self.reader.is(b' ') {
                self.reader.skip();
                self.reader.fill(1);
            }
            furthest = furthest.max(self.column());
            if is_indentation(self) && self.reader.is(b'\t') {
                return self.problem(Some(start), "found a tab where only spaces may indent");
            }
            if !self.reader.is_break() {
                break;
            }
            self.reader.fill(2);
            self.reader.read_line(breaks);
        }
        indent.get_or_insert(furthest.max(self.indent + 1).max(1));
        Ok(())
    }
}

/// The first line of a block scalar.
struct Header {
    chomping: Chomping,
    /// The indentation that it says.
    increment: Option<isize>,
}

/// What becomes of the line breaks at the end of a block scalar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Clip,
    Strip,
    Keep,
}
