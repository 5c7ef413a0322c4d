//! Cuts a log in JSON lines, as an API server writes it.

use std::io::{self, BufRead};

use memchr::memchr;

use super::{Cut, LONGEST_EVENT, Part};

/// A log with one event in each line. Empty lines are left out.
pub(super) struct Lines<R> {
    reader: R,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: 0 }
    }

    /// Reads one line without its end. Returns whether there was one, and whether all of it is in `buffer`.
    fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<(bool, bool)> {
        buffer.clear();
        let (mut is_there, mut is_whole) = (false, true);
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                return Ok((is_there, is_whole));
            }
            is_there = true;
            let end = memchr(b'\n', available);
            let text = &available[..end.unwrap_or(available.len())];
            let room = LONGEST_EVENT.saturating_sub(buffer.len());
            is_whole &= text.len() <= room;
            buffer.extend_from_slice(&text[..text.len().min(room)]);
            let read = text.len() + usize::from(end.is_some());
            self.reader.consume(read);
            if end.is_some() {
                return Ok((is_there, is_whole));
            }
        }
    }
}

impl<R: BufRead> Cut for Lines<R> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<(u64, Part)>> {
        loop {
            let (is_there, is_whole) = self.read(buffer)?;
            if !is_there {
                return Ok(None);
            }
            self.line += 1;
            if !is_whole {
                return Ok(Some((self.line, Part::TooLong)));
            }
            let part = match buffer.trim_ascii() {
                [] => continue,
                [b'{', .., b'}'] => Part::Whole,
                [b'{', ..] => Part::Fault("the line ends inside a JSON object"),
                _ => Part::Fault("the line is no JSON object"),
            };
            return Ok(Some((self.line, part)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_number() {
        let mut lines = Lines::new(&b"{\"a\":1}\r\n\n  \n{\"b\":2}\nend}\n{\"cut\":"[..]);
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        while let Some((line, part)) = lines.next(&mut buffer).unwrap() {
            seen.push((line, matches!(part, Part::Whole)));
        }
        assert_eq!(seen, [(1, true), (4, true), (5, false), (6, false)]);
    }

    #[test]
    fn a_long_line_is_not_kept_whole() {
        let text = [vec![b'x'; LONGEST_EVENT + 1], b"\n{}".to_vec()].concat();
        let mut lines = Lines::new(text.as_slice());
        let mut buffer = Vec::new();
        assert!(matches!(lines.next(&mut buffer), Ok(Some((1, Part::TooLong)))));
        assert_eq!(buffer.len(), LONGEST_EVENT);
        assert!(matches!(lines.next(&mut buffer), Ok(Some((2, Part::Whole)))));
    }
}
