//! Cuts a log that is not one event in each line: an `EventList`, or events that are spread over lines, as `jq` prints
//! them.

use std::io::{self, BufRead};

use super::{Cut, LONGEST_EVENT, Part};

/// The key of the events in an `EventList`.
const ITEMS: &[u8] = b"\"items\"";

/// Follows the structure of JSON, byte by byte.
#[derive(Debug, Default)]
struct Scanner {
    depth: u64,
    in_string: bool,
    is_escaped: bool,
}

/// What a byte does to the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    None,
    /// A string begins.
    Quote,
    /// A string ends.
    Unquote,
    /// An object or a list begins.
    Open,
    /// An object or a list ends.
    Close,
}

impl Scanner {
    fn step(&mut self, byte: u8) -> Step {
        if self.in_string {
            if self.is_escaped {
                self.is_escaped = false;
            } else if byte == b'\\' {
                self.is_escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
                return Step::Unquote;
            }
            return Step::None;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                Step::Quote
            }
            b'{' | b'[' => {
                self.depth += 1;
                Step::Open
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                Step::Close
            }
            _ => Step::None,
        }
    }
}

impl Scanner {
    /// Whether the next byte is in no string, object and list.
    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

impl Within {
    /// What follows the items of an `EventList`: the rest of its object.
    fn after_items() -> Self {
        Self::Rest(Scanner { depth: 1, ..Scanner::default() })
    }
}

/// Finds the list `items` at the top of an object.
#[derive(Debug, Default)]
struct Items {
    scanner: Scanner,
    /// The last string at the top, with its quotes, if it is as long as the key.
    string: Vec<u8>,
}

impl Items {
    /// Takes a byte, and returns what it does, and whether it opens the list.
    fn step(&mut self, byte: u8) -> (Step, bool) {
        let is_at_top = self.scanner.depth == 1;
        let was_string = self.scanner.in_string;
        let step = self.scanner.step(byte);
        if is_at_top && step == Step::Quote {
            self.string.clear();
        }
        if is_at_top && (was_string || step == Step::Quote) && self.string.len() <= ITEMS.len() {
            self.string.push(byte);
        }
        (step, is_at_top && step == Step::Open && byte == b'[' && self.string == ITEMS)
    }
}

/// Whether a log is cut by [`Values`]: it begins with an `EventList`, or with an object that is spread over lines.
pub(super) fn is_spread(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first_line.trim_ascii_end() == b"{" {
        return true;
    }
    let mut items = Items::default();
    for byte in first_line {
        match items.step(*byte) {
            (_, true) => return true,
            (Step::Close, _) if items.scanner.depth == 0 => return false,
            _ => {}
        }
    }
    false
}

/// The objects of a text, and the items of those that are an `EventList`.
pub(super) struct Values<R> {
    reader: R,
    position: Position,
}

/// Where in a text the next byte is.
struct Position {
    line: u64,
    within: Within,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Within {
    /// The top of the text.
    Top,
    /// The items of an `EventList`.
    Items,
    /// The rest of an item that is no object.
    Item(Scanner),
    /// The rest of an `EventList` after its items.
    Rest(Scanner),
    /// The rest of a line with something else than JSON.
    Line,
}

/// One value while it is read.
#[derive(Default)]
struct Value {
    items: Items,
    /// The line where it begins, from 1; 0 before it begins.
    begins: u64,
    is_whole: bool,
}

impl<R: BufRead> Values<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, position: Position { line: 1, within: Within::Top } }
    }
}

impl Position {
    /// Takes a byte. Returns the event that it ends, or what is wrong.
    fn take(&mut self, byte: u8, value: &mut Value, buffer: &mut Vec<u8>) -> Option<(u64, Part)> {
        if value.begins > 0 {
            return self.take_of_value(byte, value, buffer);
        }
        match (&mut self.within, byte) {
            (Within::Rest(rest), _) => {
                if rest.step(byte) == Step::Close && rest.depth == 0 {
                    self.within = Within::Top;
                }
            }
            (Within::Line, b'\n') => self.within = Within::Top,
            (Within::Line, _) => {}
            (Within::Item(item), b',') if item.is_outside() => self.within = Within::Items,
            (Within::Item(item), b']') if item.is_outside() => self.within = Within::after_items(),
            (Within::Item(item), _) => {
                item.step(byte);
            }
            (_, b'{') => {
                *value = Value { begins: self.line, is_whole: true, ..Value::default() };
                value.items.step(byte);
                buffer.push(byte);
            }
            (Within::Items, b']') => self.within = Within::after_items(),
            (Within::Items, b',') => {}
            _ if byte.is_ascii_whitespace() => {}
            (Within::Items, _) => {
                let mut item = Scanner::default();
                item.step(byte);
                self.within = Within::Item(item);
                return Some((self.line, Part::Fault("the item is no JSON object")));
            }
            _ => {
                self.within = Within::Line;
                return Some((self.line, Part::Fault("the line is no JSON object")));
            }
        }
        None
    }

    fn take_of_value(&mut self, byte: u8, value: &mut Value, buffer: &mut Vec<u8>) -> Option<(u64, Part)> {
        let (step, opens_items) = value.items.step(byte);
        if opens_items && matches!(self.within, Within::Top) {
            self.within = Within::Items;
            buffer.clear();
            *value = Value::default();
            return None;
        }
        if buffer.len() < LONGEST_EVENT {
            buffer.push(byte);
        } else {
            value.is_whole = false;
        }
        let ends = step == Step::Close && value.items.scanner.depth == 0;
        ends.then_some((value.begins, if value.is_whole { Part::Whole } else { Part::TooLong }))
    }

    /// What is wrong if the text ends here.
    fn end(&mut self, value: &Value) -> Option<(u64, Part)> {
        let is_inside = value.begins > 0 || !matches!(self.within, Within::Top | Within::Line);
        self.within = Within::Top;
        let line = if value.begins > 0 { value.begins } else { self.line };
        is_inside.then_some((line, Part::Fault("the file ends inside a JSON object")))
    }
}

impl<R: BufRead> Cut for Values<R> {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<(u64, Part)>> {
        buffer.clear();
        let mut value = Value::default();
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                return Ok(self.position.end(&value));
            }
            let (mut read, mut done) = (0, None);
            while let (None, Some(byte)) = (&done, available.get(read)) {
                done = self.position.take(*byte, &mut value, buffer);
                self.position.line += u64::from(*byte == b'\n');
                read += 1;
            }
            self.reader.consume(read);
            if done.is_some() {
                return Ok(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line and the text of each event; `None` for what is no event.
    fn events(text: &str) -> Vec<(u64, Option<String>)> {
        // One byte at a time, so that every position is the end of a buffer once.
        let mut values = Values::new(io::BufReader::with_capacity(1, text.as_bytes()));
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        while let Some((line, part)) = values.next(&mut buffer).unwrap() {
            let text = String::from_utf8(buffer.clone()).unwrap();
            found.push((line, matches!(part, Part::Whole).then_some(text)));
        }
        found
    }

    fn event(line: u64, text: &str) -> (u64, Option<String>) {
        (line, Some(text.to_owned()))
    }

    #[test]
    fn the_items_of_a_list_are_events() {
        let list = r#"{"kind":"EventList","metadata":{"items":[1]},"items":[{"a":"]}\""},{"b":[{}]}],"x":{"y":"]"}}"#;
        assert!(is_spread(list.as_bytes()));
        assert_eq!(events(list), [event(1, r#"{"a":"]}\""}"#), event(1, r#"{"b":[{}]}"#)]);
        assert_eq!(events(&format!("{list}\n{list}\n"))[2].0, 2);
    }

    #[test]
    fn the_kind_may_follow_the_items() {
        let list = "{\n  \"items\": [\n    {\"a\": 1},\n    {\n      \"items\": [2]\n    }\n  ],\n  \"kind\": \"EventList\"\n}\n";
        assert!(is_spread(list.as_bytes()));
        let second = "{\n      \"items\": [2]\n    }";
        assert_eq!(events(list), [event(3, "{\"a\": 1}"), event(4, second)]);
    }

    #[test]
    fn objects_may_be_spread_over_lines() {
        let text = "{\n  \"a\": \"}\"\n}\n{\n  \"b\": []\n}\n";
        assert!(is_spread(text.as_bytes()));
        assert_eq!(events(text), [event(1, "{\n  \"a\": \"}\"\n}"), event(4, "{\n  \"b\": []\n}")]);
    }

    #[test]
    fn json_lines_are_not_spread() {
        let event = r#"{"kind":"Event","requestObject":{"items":[1]},"verb":"items","x":[1]}"#;
        assert!(!is_spread(event.as_bytes()));
        assert!(!is_spread(br#"{"kind":"Event","cut"#));
        assert!(!is_spread(b"no JSON"));
        assert!(!is_spread(b""));
    }

    #[test]
    fn a_list_that_is_cut_off_is_a_fault_where_its_last_object_begins() {
        assert_eq!(events("{\"items\":[\n{\"a\":1},\n{\"b\""), [event(2, "{\"a\":1}"), (3, None)]);
        assert_eq!(events("{\"items\":[\n{\"a\":1}"), [event(2, "{\"a\":1}"), (2, None)]);
    }

    #[test]
    fn an_item_that_is_no_object_is_one_fault_and_the_others_are_read() {
        for item in ["1", "null", r#""},{\"]""#, r#"[{"b":2},3]"#, "}", "x y"] {
            let list = format!(r#"{{"items":[{{"a":1}},{item},{{"c":3}}],"kind":"EventList"}}"#);
            let expected = [event(1, r#"{"a":1}"#), (1, None), event(1, r#"{"c":3}"#)];
            assert_eq!(events(&list), expected, "{item}");
            let last = format!("{{\"items\":[\n{item}]}}\n{{\"items\":[{{\"d\":4}}]}}");
            assert_eq!(events(&last), [(2, None), event(3, r#"{"d":4}"#)], "{item}");
        }
    }

    #[test]
    fn other_text_is_one_fault_in_each_line() {
        assert_eq!(events("no JSON\n{\"a\":1}\nmore\n"), [(1, None), event(2, "{\"a\":1}"), (3, None)]);
    }
}
