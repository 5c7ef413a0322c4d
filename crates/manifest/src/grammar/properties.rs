//! Scans anchors, aliases, tags and directives.

use super::Problem;
use super::reader::Mark;
use super::scanner::{Scanner, TokenKind};

/// Version numbers have at most this number of digits.
const MAX_VERSION_DIGITS: usize = 2;

impl Scanner<'_> {
    pub(super) fn fetch_anchor(&mut self) -> Result<(), Problem> {
        self.save_simple_key()?;
        self.is_simple_key_allowed = false;
        let start = self.mark();
        let is_alias = self.reader.is(b'*');
        self.reader.skip();
        let name = self.reader.word().to_owned();
        let next = self.reader.peek(0);
        let ends =
            self.reader.is_space() || matches!(next, b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return self.problem(Some(start), "the name of an anchor has only letters, digits, '_' and '-'");
        }
        self.push(if is_alias { TokenKind::Alias(name) } else { TokenKind::Anchor(name) }, start);
        Ok(())
    }

    pub(super) fn fetch_tag(&mut self) -> Result<(), Problem> {
        self.save_simple_key()?;
        self.is_simple_key_allowed = false;
        let start = self.mark();
        self.reader.fill(2);
        let (handle, suffix) = if self.reader.peek(1) == b'<' {
            (String::new(), self.scan_verbatim_tag(start)?)
        } else {
            self.scan_short_tag(start)?
        };
        self.reader.fill(1);
        if !self.reader.is_space() {
            return self.problem(Some(start), "did not find expected whitespace or line break after a tag");
        }
        self.push(TokenKind::Tag { handle, suffix }, start);
        Ok(())
    }

    /// Scans `!<tag>`.
    fn scan_verbatim_tag(&mut self, start: Mark) -> Result<String, Problem> {
        self.reader.skip();
        self.reader.skip();
        let tag = self.scan_uri("", start)?;
        if !self.reader.is(b'>') {
            return self.problem(Some(start), "did not find the expected '>' of a tag");
        }
        self.reader.skip();
        Ok(tag)
    }

    /// Scans `!tag` or `!handle!tag`.
    fn scan_short_tag(&mut self, start: Mark) -> Result<(String, String), Problem> {
        let handle = self.scan_tag_handle(start)?;
        if handle.len() > 1 && handle.ends_with('!') {
            let suffix = self.scan_uri("", start)?;
            return Ok((handle, suffix));
        }
        // It is the start of the tag itself.
        let suffix = self.scan_uri(&handle, start)?;
        Ok(if suffix.is_empty() { (suffix, "!".to_owned()) } else { ("!".to_owned(), suffix) })
    }

    fn scan_tag_handle(&mut self, start: Mark) -> Result<String, Problem> {
        self.reader.fill(1);
        if !self.reader.is(b'!') {
            return self.problem(Some(start), "did not find expected '!'");
        }
        let from = self.mark().byte;
        self.reader.skip();
        self.reader.word();
        if self.reader.is(b'!') {
            self.reader.skip();
        }
        Ok(self.reader.since(from).to_owned())
    }

    /// Scans the rest of a tag of which `head` is known. Its first `!` is not part of it.
    fn scan_uri(&mut self, head: &str, start: Mark) -> Result<String, Problem> {
        let mut uri: Vec<u8> = head.bytes().skip(1).collect();
        let mut is_empty = head.is_empty();
        self.reader.fill(1);
        loop {
            match self.reader.peek(0) {
                b'%' => self.scan_uri_escape(&mut uri, start)?,
                b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',' | b'.' | b'!' | b'~'
                | b'*' | b'\'' | b'(' | b')' | b'[' | b']' => {
                    uri.push(self.reader.peek(0));
                    self.reader.skip();
                }
                byte if self.reader.is_word() => {
                    uri.push(byte);
                    self.reader.skip();
                }
                _ => break,
            }
            self.reader.fill(1);
            is_empty = false;
        }
        if is_empty {
            return self.problem(Some(start), "did not find expected tag URI");
        }
        Ok(String::from_utf8_lossy(&uri).into_owned())
    }

    /// Scans the escaped bytes of one character.
    fn scan_uri_escape(&mut self, uri: &mut Vec<u8>, start: Mark) -> Result<(), Problem> {
        let mut missing = None;
        while missing != Some(0) {
            self.reader.fill(3);
            let digits = (self.reader.hex_at(1), self.reader.hex_at(2));
            let (true, (Some(high), Some(low))) = (self.reader.is(b'%'), digits) else {
                return self.problem(Some(start), "did not find URI escaped octet");
            };
            let byte = u8::try_from(high << 4 | low).unwrap_or_default();
            let left: u8 = match (missing, byte) {
                (None, 0x00..=0x7f) => 0,
                (None, 0xc0..=0xdf) => 1,
                (None, 0xe0..=0xef) => 2,
                (None, 0xf0..=0xf7) => 3,
                (Some(left), 0x80..=0xbf) => left - 1,
                (None, _) => return self.problem(Some(start), "found an incorrect leading UTF-8 octet"),
                (Some(_), _) => return self.problem(Some(start), "found an incorrect trailing UTF-8 octet"),
            };
            missing = Some(left);
            uri.push(byte);
            for _ in 0..3 {
                self.reader.skip();
            }
        }
        Ok(())
    }

    pub(super) fn fetch_directive(&mut self) -> Result<(), Problem> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.is_simple_key_allowed = false;
        let start = self.mark();
        let directive = self.scan_directive(start)?;
        self.push(directive, start);
        self.reader.skip_blanks();
        self.reader.skip_comment();
        if !self.reader.is_line_end() {
            return self
                .problem(Some(start), "did not find expected comment or line break after a directive");
        }
        self.reader.fill(2);
        self.reader.skip_line();
        Ok(())
    }

    fn scan_directive(&mut self, start: Mark) -> Result<TokenKind, Problem> {
        self.reader.skip();
        let name = self.reader.word();
        if name.is_empty() || !self.reader.is_space() {
            return self.problem(Some(start), "could not find expected directive name");
        }
        match name {
            "YAML" => {
                self.reader.skip_blanks();
                let major = self.scan_version(start)?;
                if !self.reader.is(b'.') {
                    return self.problem(Some(start), "did not find expected digit or '.' character");
                }
                self.reader.skip();
                Ok(TokenKind::VersionDirective(major, self.scan_version(start)?))
            }
            "TAG" => self.scan_tag_directive(start),
            _ => self.problem(Some(start), "found unknown directive name"),
        }
    }

    fn scan_version(&mut self, start: Mark) -> Result<u8, Problem> {
        let from = self.mark().byte;
        self.reader.fill(1);
        while self.reader.peek(0).is_ascii_digit() {
            self.reader.skip();
            self.reader.fill(1);
        }
        let digits = self.reader.since(from);
        if digits.len() > MAX_VERSION_DIGITS {
            return self.problem(Some(start), "found extremely long version number");
        }
        digits.parse().or_else(|_| self.problem(Some(start), "did not find expected version number"))
    }

    fn scan_tag_directive(&mut self, start: Mark) -> Result<TokenKind, Problem> {
        self.reader.skip_blanks();
        let handle = self.scan_tag_handle(start)?;
        if handle != "!" && !handle.ends_with('!') {
            return self.problem(Some(start), "did not find expected '!'");
        }
        self.reader.fill(1);
        if !self.reader.is_blank() {
            return self.problem(Some(start), "did not find expected whitespace in a directive");
        }
        self.reader.skip_blanks();
        let prefix = self.scan_uri("", start)?;
        self.reader.fill(1);
        if !self.reader.is_space() {
            return self
                .problem(Some(start), "did not find expected whitespace or line break in a directive");
        }
        Ok(TokenKind::TagDirective { handle, prefix })
    }
}
