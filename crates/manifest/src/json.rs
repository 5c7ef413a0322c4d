//! Reads JSON into trees, one value after another, as kubectl does.

use std::ops::Range;

use serde_json::Value;

use crate::fault::Fault;
use crate::tree::{Builder, Content, Entry, Layout, NodeId, Style, Tree};

/// The values of a text.
pub(crate) struct Read {
    /// Those that are valid.
    pub(crate) trees: Vec<Tree>,
    /// The problems of the others.
    pub(crate) faults: Vec<Fault>,
    /// The first one that is not JSON at all.
    pub(crate) first_broken: Option<Broken>,
}

/// A place at which no JSON value starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Whether it starts like an object or a list.
    pub(crate) starts_like_json: bool,
    /// The end of the value before it.
    pub(crate) after: usize,
    /// The number of values before it.
    pub(crate) values_before: usize,
}

impl Read {
    /// What was read before a byte.
    pub(crate) fn before(mut self, end: usize) -> Self {
        self.trees.retain(|tree| tree.node(tree.root).range.start < end);
        self.faults.retain(|fault| fault.at < end);
        self
    }
}

/// Reads all JSON values in a text. `base` is added to every place.
pub(crate) fn read(text: &str, base: usize) -> Read {
    let mut scanner = Scanner { text, base, at: 0, nodes: Builder::default() };
    let mut read = Read { trees: Vec::new(), faults: Vec::new(), first_broken: None };
    let mut values = 0;
    loop {
        let after = scanner.at;
        if scanner.peek().is_none() {
            return read;
        }
        let start = scanner.at;
        let length = match well_formed(scanner.rest(), base + start) {
            Ok(length) => length,
            Err(fault) => {
                read.faults.push(fault);
                let starts_like_json = scanner.rest().starts_with(['{', '[']);
                read.first_broken.get_or_insert(Broken { starts_like_json, after, values_before: values });
                let Some(next) = next_document(text, start) else {
                    return read;
                };
                scanner.at = next;
                continue;
            }
        };
        values += 1;
        scanner.text = text.get(..start + length).unwrap_or(text);
        let value = scanner.value();
        scanner.text = text;
        let nodes = std::mem::take(&mut scanner.nodes);
        match value {
            Ok(_) => read.trees.extend(nodes.finish().filter(|tree| !tree.is_null(tree.root))),
            Err(fault) => {
                read.faults.push(fault);
                scanner.at = start + length;
            }
        }
    }
}

/// The length of the value at the start of a text. The library checks the syntax, so that the scanner can rely on it.
///
/// As in kubectl, a number ends where it cannot go on, whatever follows it.
fn well_formed(text: &str, base: usize) -> Result<usize, Fault> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.strip_prefix('0').is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit())) {
        return Ok(text.len() - unsigned.len() + 1);
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let result = values.next();
    // The library wants white space after a number, but says where the number ends.
    let (Some(Err(error)), 0) = (result, values.byte_offset()) else {
        return Ok(values.byte_offset());
    };
    let at = base + byte(text, error.line(), error.column());
    // The place is given beside the message.
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    Err(Fault { at, message: format!("not JSON: {message}") })
}

/// The first line after a broken document, which starts at `from`, on which another document may start.
fn next_document(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let may_start = |at: &usize| {
        // After one of these, the broken document continues.
        let before = rest.get(..*at).unwrap_or_default().trim_end();
        !before.ends_with([',', ':', '[', '{'])
    };
    rest.match_indices("\n{").map(|(at, _)| at).find(may_start).map(|at| from + at + 1)
}

/// The byte at a line and column of the library, both from 1, the column in bytes.
fn byte(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Walks a text that is known to be JSON.
struct Scanner<'t> {
    text: &'t str,
    base: usize,
    at: usize,
    nodes: Builder,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.rest().chars().next()
    }

    /// Steps over the next character if it is this one.
    fn skip(&mut self, expected: char) -> bool {
        let is_next = self.peek() == Some(expected);
        if is_next {
            self.at += expected.len_utf8();
        }
        is_next
    }

    fn fault(&self, at: usize, message: impl Into<String>) -> Fault {
        Fault { at: self.base + at, message: message.into() }
    }

    fn value(&mut self) -> Result<NodeId, Fault> {
        let first = self.peek();
        let start = self.at;
        let content = match first {
            Some('[') => self.sequence()?,
            Some('{') => self.mapping()?,
            _ => {
                let range = self.scalar();
                let text = self.text.get(range).unwrap_or_default();
                let value =
                    serde_json::from_str(text).map_err(|error| self.fault(start, error.to_string()))?;
                Content::Scalar { value, style: Style::Json }
            }
        };
        let range = start + self.base..self.at + self.base;
        self.nodes.add(content, range).map_err(|error| self.fault(start, error.to_string()))
    }

    /// Steps over a scalar.
    fn scalar(&mut self) -> Range<usize> {
        let start = self.at;
        if self.rest().starts_with('"') {
            let mut escaped = false;
            let close = self.rest().char_indices().skip(1).find(|(_, c)| {
                let closes = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            });
            self.at += close.map_or(self.rest().len(), |(at, _)| at + 1);
        } else {
            let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '[' | '{' | '"');
            self.at += self.rest().find(ends).unwrap_or(self.rest().len());
        }
        start..self.at
    }

    fn sequence(&mut self) -> Result<Content, Fault> {
        self.skip('[');
        let mut entries = Vec::new();
        while !self.skip(']') && self.peek().is_some() {
            entries.push(self.value()?);
            self.skip(',');
        }
        Ok(Content::Sequence { entries, layout: Layout::Flow })
    }

    fn mapping(&mut self) -> Result<Content, Fault> {
        self.skip('{');
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = std::collections::HashSet::new();
        while !self.skip('}') && self.peek().is_some() {
            let range = self.scalar();
            let text = self.text.get(range.clone()).unwrap_or_default();
            let key: String =
                serde_json::from_str(text).map_err(|error| self.fault(range.start, error.to_string()))?;
            if !known.insert(key.clone()) {
                return Err(self.fault(range.start, format!("duplicate key {key:?}")));
            }
            self.skip(':');
            let value = self.value()?;
            self.skip(',');
            let key_range = range.start + self.base..range.end + self.base;
            entries.push(Entry { key, key_range, value, merge: false });
        }
        Ok(Content::Mapping { entries, layout: Layout::Flow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_and_their_places_are_read() {
        let text = "{\"a\": [1, \"\\u00e9\\ud83d\\ude00\\\"\"],\n \"yes\": true}\n{\"b\": -1e3}";
        let Read { trees, faults, first_broken } = read(text, 10);
        assert_eq!((faults, first_broken), (vec![], None));
        let values: Vec<Value> = trees.iter().map(|tree| tree.value(tree.root)).collect();
        assert_eq!(values, [json!({"a": [1, "é😀\""], "yes": true}), json!({"b": -1000.0})]);
        let root = trees[1].node(trees[1].root);
        assert_eq!(text.get(root.range.start - 10..root.range.end - 10), Some("{\"b\": -1e3}"));
    }

    #[test]
    fn invalid_json_is_found_at_its_byte() {
        let fault = |text: &str| read(text, 0).faults.remove(0);
        let not_json = fault("{\"a\": 1,\n \"b\": x}");
        assert_eq!((not_json.at, not_json.message.as_str()), (15, "not JSON: expected value"));
        let twice = fault("{\"a\": 1, \"a\": 2}");
        assert_eq!((twice.at, twice.message.as_str()), (9, "duplicate key \"a\""));
        fault(&"[".repeat(100_000));
        let values =
            |text: &str| read(text, 0).trees.iter().map(|tree| tree.value(tree.root)).collect::<Vec<_>>();
        assert_eq!(values("00 -01_"), [json!(0), json!(0), json!(-0.0), json!(1)]);
    }
}
