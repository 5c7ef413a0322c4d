//! The place of the cursor between brackets: in JSON, and in flow collections of YAML.

use std::ops::Range;

use crm_manifest::Step;

use super::cursor::{Cursor, Scalars, Slot, Style, object_depth};

/// A map or a list that is open somewhere.
#[derive(Debug, Default)]
struct Frame {
    is_map: bool,
    /// The key whose value comes next.
    key: Option<String>,
    /// A scalar that a colon would make a key.
    last: Option<String>,
    /// The number of commas so far.
    index: usize,
    fields: Scalars,
}

/// A part of the text.
#[derive(Debug)]
enum Token {
    Open { is_map: bool },
    Close,
    Comma,
    Colon,
    Scalar { is_quoted: bool },
}

/// What is known when the reading passes the cursor.
struct Passed {
    path: Vec<Step>,
    slot: Slot,
    bytes: Range<usize>,
    style: Style,
    /// The frames that hold the cursor, the innermost last.
    frames: Vec<usize>,
}

/// The place of the byte `cursor` in a text that starts with a bracket at `start`.
pub(super) fn at(text: &str, start: usize, cursor: usize, is_json: bool) -> Option<Cursor> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut passed: Option<Passed> = None;
    let mut at = start;
    while let Some((token, bytes)) = next(text, at) {
        if passed.is_none() && cursor <= bytes.end && !(cursor == bytes.end && is_before(&token)) {
            passed = Some(pass(&frames, &open, &At { token: &token, bytes: &bytes, cursor, text })?);
        }
        at = bytes.end;
        step(&mut frames, &mut open, token, text.get(bytes).unwrap_or_default());
        if open.is_empty() {
            break;
        }
    }
    let passed = match passed {
        Some(passed) => passed,
        None => {
            let end = At { token: &Token::Comma, bytes: &(cursor..cursor), cursor, text };
            pass(&frames, &open, &end)?
        }
    };
    let fields = |depth: usize| {
        let frame = passed.frames.get(depth).and_then(|frame| frames.get(*frame));
        frame.map(|frame| frame.fields.clone()).unwrap_or_default()
    };
    let innermost = passed.frames.len().checked_sub(1)?;
    Some(Cursor {
        siblings: fields(innermost),
        object: fields(object_depth(&passed.path)),
        path: passed.path,
        slot: passed.slot,
        bytes: passed.bytes,
        style: Style { is_json, ..passed.style },
    })
}

/// Whether a cursor right after this token is behind it.
fn is_before(token: &Token) -> bool {
    !matches!(token, Token::Scalar { is_quoted: false })
}

/// A cursor in or before a token.
struct At<'t> {
    token: &'t Token,
    bytes: &'t Range<usize>,
    cursor: usize,
    text: &'t str,
}

/// The place of a cursor.
fn pass(frames: &[Frame], open: &[usize], at: &At<'_>) -> Option<Passed> {
    let At { token, bytes, cursor, text } = *at;
    let innermost = frames.get(*open.last()?)?;
    let mut path = Vec::new();
    for frame in open.iter().filter_map(|frame| frames.get(*frame)) {
        match (frame.is_map, &frame.key) {
            (true, Some(key)) => path.push(Step::Name(key.clone())),
            (true, None) => {}
            (false, _) => path.push(Step::Index(frame.index)),
        }
    }
    let slot = if innermost.is_map && innermost.key.is_none() { Slot::Key } else { Slot::Value };
    let is_in = cursor > bytes.start || (cursor == bytes.start && matches!(token, Token::Scalar { .. }));
    let (bytes, is_quoted) = match token {
        Token::Scalar { is_quoted: true } if cursor > bytes.start => {
            let written = text.get(bytes.clone())?;
            let is_closed = written.len() > 1 && written.ends_with(written.chars().next()?);
            (bytes.start + 1..bytes.end - usize::from(is_closed), true)
        }
        Token::Scalar { is_quoted: false } if is_in => (bytes.clone(), false),
        _ => (cursor..cursor, false),
    };
    let after = text.get(bytes.end..)?.trim_start_matches(['"', '\'', ' ']);
    let style = Style {
        is_quoted,
        is_flow: true,
        needs_space: slot == Slot::Value && text.get(..bytes.start)?.ends_with(':'),
        has_colon: after.starts_with(':'),
        ..Style::default()
    };
    Some(Passed { path, slot, bytes, style, frames: open.to_vec() })
}

/// Reads a token.
fn step(frames: &mut Vec<Frame>, open: &mut Vec<usize>, token: Token, written: &str) {
    let innermost = open.last().copied();
    match token {
        Token::Open { is_map } => {
            frames.push(Frame { is_map, ..Frame::default() });
            open.push(frames.len() - 1);
        }
        Token::Close => {
            open.pop();
        }
        Token::Comma | Token::Colon | Token::Scalar { .. } => {
            if let Some(frame) = innermost.and_then(|frame| frames.get_mut(frame)) {
                frame.step(&token, written);
            }
        }
    }
}

impl Frame {
    fn step(&mut self, token: &Token, written: &str) {
        match token {
            Token::Comma => {
                self.index += 1;
                (self.key, self.last) = (None, None);
            }
            Token::Scalar { is_quoted } => {
                let scalar = if *is_quoted { written.trim_matches(['"', '\'']) } else { written };
                match &self.key {
                    Some(key) => {
                        self.fields.insert(key.clone(), scalar.to_owned());
                    }
                    None => self.last = Some(scalar.to_owned()),
                }
            }
            Token::Colon if self.key.is_none() => {
                self.key = self.last.take();
                self.fields.extend(self.key.clone().map(|key| (key, String::new())));
            }
            _ => {}
        }
    }
}

/// The token at or after a byte, with its bytes.
fn next(text: &str, from: usize) -> Option<(Token, Range<usize>)> {
    let rest = text.get(from..)?;
    let start = from + rest.find(|c: char| !c.is_whitespace())?;
    let rest = text.get(start..)?;
    let first = rest.chars().next()?;
    let single = |token| Some((token, start..start + first.len_utf8()));
    match first {
        '{' => single(Token::Open { is_map: true }),
        '[' => single(Token::Open { is_map: false }),
        '}' | ']' => single(Token::Close),
        ',' => single(Token::Comma),
        ':' => single(Token::Colon),
        '"' | '\'' => Some((Token::Scalar { is_quoted: true }, start..start + quoted(rest, first))),
        _ => {
            let end = rest.find(|c: char| c.is_whitespace() || ",:{}[]\"".contains(c)).unwrap_or(rest.len());
            Some((Token::Scalar { is_quoted: false }, start..start + end))
        }
    }
}

/// The length of a quoted scalar. One that is not closed ends with its line.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' | '\r' => return at,
            _ if is_escaped => is_escaped = false,
            '\\' if quote == '"' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of `|` in a text.
    fn place(text: &str) -> (String, Slot, String, Cursor) {
        let byte = text.find('|').unwrap();
        let text = text.replace('|', "");
        let cursor = at(&text, 0, byte, true).unwrap();
        let path = cursor.path.iter().map(|step| match step {
            Step::Name(name) => format!(".{name}"),
            Step::Index(index) => format!("[{index}]"),
        });
        (path.collect(), cursor.slot, text[cursor.bytes.clone()].to_owned(), cursor)
    }

    #[test]
    fn keys_and_values_are_told_apart() {
        let (path, slot, token, cursor) = place(r#"{"kind": "Person", "spec": {"dis|": 1, "x": "y"}}"#);
        assert_eq!((path.as_str(), slot, token.as_str()), (".spec", Slot::Key, "dis"));
        assert!(cursor.style.is_quoted && cursor.style.has_colon);
        assert_eq!(cursor.object["kind"], "Person");
        assert!(cursor.siblings.contains_key("x"));
        let (path, slot, token, _) = place(r#"{"spec": {"companyRef": {"name": "ac|"}}}"#);
        assert_eq!((path.as_str(), slot, token.as_str()), (".spec.companyRef.name", Slot::Value, "ac"));
    }

    #[test]
    fn a_text_that_is_not_complete_has_places_too() {
        let (path, slot, token, cursor) = place("{\"kind\": \"Note\", \"spec\": {|");
        assert_eq!((path.as_str(), slot, token.as_str()), (".spec", Slot::Key, ""));
        assert_eq!(cursor.object["kind"], "Note");
        let (path, slot, token, _) = place("{spec: {subjectRef: {kind: Company, name: ac|\nmore: 1");
        assert_eq!((path.as_str(), slot, token.as_str()), (".spec.subjectRef.name", Slot::Value, "ac"));
        let (path, slot, _, _) = place("{items: [{kind: A}, {kind: Note, spec: {|}}]}");
        assert_eq!((path.as_str(), slot), (".items[1].spec", Slot::Key));
    }

    #[test]
    fn the_object_of_an_item_is_the_item() {
        let (_, _, _, cursor) = place("{kind: List, items: [{kind: A}, {spec: {|}, kind: Note}]}");
        assert_eq!(cursor.object["kind"], "Note");
        let (path, slot, token, cursor) = place("{domains: [a.com, b|]}");
        assert_eq!((path.as_str(), slot, token.as_str()), (".domains[1]", Slot::Value, "b"));
        assert!(!cursor.style.has_colon);
    }

    #[test]
    fn a_colon_without_a_space_is_seen() {
        let (_, slot, _, cursor) = place("{name:|}");
        assert!(slot == Slot::Value && cursor.style.needs_space);
        assert!(at("{a: 1}", 0, 6, true).is_none());
    }
}
