//! Composes YAML documents into trees, with anchors, merge keys and scalars as kubectl reads them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::Value;

use crate::scalar;
use crate::tree::{Builder, Content, Entry, Layout, MAX_DEPTH, NodeId, Style, TooLarge, Tree};

/// A problem in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The byte in the text.
    pub(crate) at: usize,
    pub(crate) message: String,
}

// The parser is stricter than kubectl about white space, and only its messages show the reason for an error. The test
// `the_parser_words_its_messages_as_expected` fails if a new version words them differently. Remove these constants
// when the parser accepts such text or has error codes.

/// The messages for a line between brackets that is indented too little.
const TOO_FAR_LEFT: [&str; 2] = ["invalid indentation", "invalid indentation in flow construct"];
/// The message for such a line in a quoted scalar, at the quote.
const QUOTED_TOO_FAR_LEFT: &str = "invalid indentation in quoted scalar";
/// The message for a tab after a colon, at the text after the tab.
const TAB_AFTER_COLON: &str = "':' must be followed by a valid YAML whitespace";
/// The number of spaces that are inserted before such text. Nobody indents by more.
const FURTHER_RIGHT: usize = 128;
/// The maximum number of attempts, since each costs as much as the first.
const MAX_ATTEMPTS: usize = 200;

/// The trees of all documents of a text. Empty documents are omitted. `base` is added to every place.
///
/// In some places the specification requires more white space than kubectl. Where the parser does not accept a text for
/// this reason, it reads the text again with more white space.
pub(crate) fn compose(text: &str, base: usize) -> Result<Vec<Tree>, Fault> {
    let mut wider = BTreeSet::new();
    let mut first: Option<Fault> = None;
    for _ in 0..MAX_ATTEMPTS {
        let (read, bytes) = widened(text, &wider);
        let fault = match Composer::new(&read, bytes, text, base).trees() {
            Ok(trees) => return Ok(trees),
            Err(fault) => fault,
        };
        let places = to_be_widened(text, fault.at.saturating_sub(base), &fault.message);
        let is_at_end = fault.at.saturating_sub(base) >= text.trim_end().len();
        let before = wider.len();
        wider.extend(places);
        if wider.len() == before {
            // If the text ends too early, its first problem is the better place.
            return Err(first.filter(|_| is_at_end).unwrap_or(fault));
        }
        first.get_or_insert(fault);
    }
    Err(first.unwrap_or(Fault { at: base, message: "too many lines that are not indented".to_owned() }))
}

/// The bytes before which the parser needs more white space.
fn to_be_widened(text: &str, at: usize, message: &str) -> Vec<usize> {
    let (before, rest) = text.split_at_checked(at).unwrap_or_default();
    if TOO_FAR_LEFT.contains(&message) {
        return vec![at];
    }
    match message {
        QUOTED_TOO_FAR_LEFT => {
            let Some(end) = rest.chars().next().and_then(|mark| closing(rest, mark)) else {
                return Vec::new();
            };
            let lines = rest.get(..end).unwrap_or_default().match_indices('\n').map(|(line, _)| line + 1);
            // The scalar ends before the next document, wherever its quote is.
            let is_text = |line: &usize| {
                !rest.get(*line..).is_some_and(|line| line.starts_with("---") || line.starts_with("..."))
            };
            lines.filter(is_text).map(|line| at + line).collect()
        }
        TAB_AFTER_COLON => before.rfind(':').map(|colon| colon + 1).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The text with more white space before these bytes, and the byte in the original text of each character, unless it
/// equals the number of the character.
fn widened<'t>(text: &'t str, wider: &BTreeSet<usize>) -> (Cow<'t, str>, Option<Vec<usize>>) {
    if wider.is_empty() {
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(byte, _)| byte).collect());
        return (Cow::Borrowed(text), bytes);
    }
    let mut widened = String::with_capacity(text.len() + wider.len() * FURTHER_RIGHT);
    let mut bytes = Vec::with_capacity(widened.capacity());
    for (byte, c) in text.char_indices() {
        if wider.contains(&byte) {
            widened.extend(std::iter::repeat_n(' ', FURTHER_RIGHT));
            bytes.extend(std::iter::repeat_n(byte, FURTHER_RIGHT));
        }
        widened.push(c);
        bytes.push(byte);
    }
    (Cow::Owned(widened), Some(bytes))
}

struct Composer<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    base: usize,
    /// The byte in `text` of each character that the parser reads, unless it equals the number of the character.
    bytes: Option<Vec<usize>>,
    nodes: Builder,
    anchors: HashMap<usize, NodeId>,
    /// The byte in `text` at which the previous event ends.
    done: usize,
    last: Marker,
}

impl<'t> Composer<'t> {
    fn new(read: &'t str, bytes: Option<Vec<usize>>, text: &'t str, base: usize) -> Self {
        Self {
            parser: Parser::new_from_str(read),
            text,
            base,
            bytes,
            nodes: Builder::default(),
            anchors: HashMap::new(),
            done: 0,
            last: Marker::new(0, 1, 0),
        }
    }

    fn trees(mut self) -> Result<Vec<Tree>, Fault> {
        let mut trees = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(trees),
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => {
                    let root = self.node(event, span, 0)?;
                    self.anchors.clear();
                    let is_null =
                        matches!(&self.nodes.get(root).content, Content::Scalar { value: Value::Null, .. });
                    let nodes = std::mem::take(&mut self.nodes);
                    trees.extend(nodes.finish().filter(|_| !is_null));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.last = span.start;
                Ok((event, span))
            }
            Some(Err(error)) => Err(self.fault(*error.marker(), error.info())),
            None => Ok((Event::StreamEnd, Span::new(self.last, self.last))),
        }
    }

    /// The byte in `text` of a place of the parser, which counts characters.
    fn byte(&self, marker: Marker) -> usize {
        let byte = match &self.bytes {
            None => marker.index(),
            Some(bytes) => bytes.get(marker.index()).copied().unwrap_or(self.text.len()),
        };
        byte.min(self.text.len())
    }

    fn fault(&self, marker: Marker, message: impl Into<String>) -> Fault {
        Fault { at: self.base + self.byte(marker), message: message.into() }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<NodeId, Fault> {
        if depth > MAX_DEPTH {
            return Err(self.fault(span.start, TooLarge::Depth.to_string()));
        }
        let (anchor, content, range) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let (content, range) = self.scalar(text.as_ref(), style, tag.as_deref(), span)?;
                (anchor, content, range)
            }
            Event::SequenceStart(anchor, _) => {
                let start = self.after_properties(self.byte(span.start));
                let layout = self.layout(start, '[');
                let (entries, end) = self.sequence(depth)?;
                (anchor, Content::Sequence { entries, layout }, start..end)
            }
            Event::MappingStart(anchor, _) => {
                let start = self.after_properties(self.byte(span.start));
                let layout = self.layout(start, '{');
                let (entries, end) = self.mapping(depth)?;
                (anchor, Content::Mapping { entries, layout }, start..end)
            }
            Event::Alias(anchor) => {
                let no_anchor = "alias to an anchor that does not exist";
                let target = self.anchors.get(&anchor).copied();
                let target = target.ok_or_else(|| self.fault(span.start, no_anchor))?;
                (0, Content::Alias(target), self.byte(span.start)..self.byte(span.end))
            }
            _ => return Err(self.fault(span.start, "the document is incomplete")),
        };
        self.done = range.end.max(self.done);
        let range = range.start + self.base..range.end + self.base;
        let added = self.nodes.add(content, range);
        let id = added.map_err(|error| self.fault(span.start, error.to_string()))?;
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        Ok(id)
    }

    fn sequence(&mut self, depth: usize) -> Result<(Vec<NodeId>, usize), Fault> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((entries, self.byte(span.end)));
            }
            entries.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<(Vec<Entry>, usize), Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = std::collections::HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok((entries, self.byte(span.end)));
            }
            let merge = matches!(&event, Event::Scalar(key, ScalarStyle::Plain, ..) if key == "<<");
            let key_node = self.node(event, span, depth + 1)?;
            let (key, key_range) = self.key(key_node, span)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if merge && !self.can_be_merged(value) {
                return Err(
                    self.fault(value_span.start, "the value of a merge key must be a map or a list of maps")
                );
            }
            if !merge && !known.insert(key.clone()) {
                return Err(self.fault(span.start, format!("duplicate key {key:?}")));
            }
            entries.push(Entry { key, key_range, value, merge });
        }
    }

    /// JSON keys are strings. Any other key becomes its JSON form, as in kubectl.
    fn key(&self, node: NodeId, span: Span) -> Result<(String, Range<usize>), Fault> {
        let shown = self.nodes.get(node);
        let target = match shown.content {
            Content::Alias(target) => self.nodes.get(target),
            _ => shown,
        };
        let key = match &target.content {
            Content::Scalar { value: Value::String(key), .. } => key.clone(),
            Content::Scalar { value, .. } => value.to_string(),
            _ => return Err(self.fault(span.start, "a key must be a scalar")),
        };
        Ok((key, shown.range.clone()))
    }

    fn can_be_merged(&self, id: NodeId) -> bool {
        match &self.nodes.get(id).content {
            Content::Mapping { .. } => true,
            Content::Alias(target) => self.can_be_merged(*target),
            Content::Sequence { entries, .. } => entries.iter().all(|entry| self.can_be_merged(*entry)),
            Content::Scalar { .. } => false,
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(Content, Range<usize>), Fault> {
        let value = match (tag, style) {
            (Some(tag), _) => {
                let name = tag_name(tag);
                let mistyped = || self.fault(span.start, format!("{text:?} cannot be read as {tag}"));
                scalar::tagged(text, &name).ok_or_else(mistyped)?
            }
            (None, ScalarStyle::Plain) => scalar::plain(text)
                .ok_or_else(|| self.fault(span.start, format!("{text} has no form in JSON")))?,
            (None, _) => Value::String(text.to_owned()),
        };
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        let (style, range) = match style {
            ScalarStyle::Plain => (Style::Plain, self.after_properties(start).min(end)..end),
            ScalarStyle::SingleQuoted => (Style::SingleQuoted, self.quoted(start, end, '\'')),
            ScalarStyle::DoubleQuoted => (Style::DoubleQuoted, self.quoted(start, end, '"')),
            ScalarStyle::Literal | ScalarStyle::Folded => (Style::Block, self.block(start, end)),
        };
        Ok((Content::Scalar { value, style }, range))
    }

    /// The parser's span of a quoted scalar includes the text around it, even comments with quotes.
    fn quoted(&self, start: usize, end: usize, mark: char) -> Range<usize> {
        let start = self.after_properties(start);
        let inside = self.text.get(start..end).unwrap_or_default();
        start..closing(inside, mark).map_or(end, |close| start + close + mark.len_utf8())
    }

    /// The parser's span of a block scalar starts at its text if it has neither anchor nor tag, and ends after the
    /// blank lines that follow it.
    fn block(&self, start: usize, end: usize) -> Range<usize> {
        let has_properties = self.rest(start).starts_with(['&', '!']);
        let from = if has_properties { start } else { self.done.min(start) };
        let header = self.block_indicator(from).unwrap_or(start);
        let text = self.text.get(header..end).unwrap_or_default();
        let last = text.trim_end().len();
        // White space at the end of the last line is part of the text.
        let line_end = text.get(last..).and_then(|rest| rest.find(['\r', '\n'])).unwrap_or(text.len() - last);
        header..header + last + line_end
    }

    fn rest(&self, from: usize) -> &str {
        self.text.get(from..).unwrap_or_default()
    }

    /// The byte of the `|` or `>` of a block scalar that starts after `from`.
    fn block_indicator(&self, from: usize) -> Option<usize> {
        let mut at = self.after_blanks(from);
        loop {
            let skipped = match self.rest(at).chars().next()? {
                '|' | '>' => return Some(at),
                '-' | ':' | '?' => at + 1,
                '&' | '!' => self.after_word(at),
                _ => return None,
            };
            at = self.after_blanks(skipped);
        }
    }

    /// The byte after the anchor and the tag at `from`, if there are any.
    fn after_properties(&self, from: usize) -> usize {
        let mut at = from;
        while self.rest(at).starts_with(['&', '!']) {
            at = self.after_blanks(self.after_word(at));
        }
        at
    }

    fn after_word(&self, from: usize) -> usize {
        from + self.rest(from).find(char::is_whitespace).unwrap_or(self.rest(from).len())
    }

    /// The first byte from `from` that is neither white space nor part of a comment.
    fn after_blanks(&self, from: usize) -> usize {
        let mut at = from;
        loop {
            let rest = self.rest(at);
            at += rest.len() - rest.trim_start().len();
            if !self.rest(at).starts_with('#') {
                return at;
            }
            at += self.rest(at).find('\n').unwrap_or(self.rest(at).len());
        }
    }

    /// A block collection cannot start with a bracket, because none of its keys is a collection.
    fn layout(&self, start: usize, bracket: char) -> Layout {
        if self.rest(start).starts_with(bracket) { Layout::Flow } else { Layout::Block }
    }
}

/// The byte of the closing quote of a scalar.
fn closing(quoted: &str, mark: char) -> Option<usize> {
    let mut characters = quoted.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        let is_escape = c == '\\' && mark == '"';
        let is_doubled =
            c == mark && mark == '\'' && characters.peek().is_some_and(|(_, next)| *next == mark);
        if is_escape || is_doubled {
            characters.next();
        } else if c == mark {
            return Some(at);
        }
    }
    None
}

/// The long form of a tag.
fn tag_name(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_words_its_messages_as_expected() {
        let message = |text: &str| {
            let mut parser = Parser::new_from_str(text);
            loop {
                match parser.next_event() {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.info().to_owned(),
                    None => panic!("{text:?} has no error"),
                }
            }
        };
        assert_eq!(message("s:\n  a: {\n b: c\n  }\n"), TOO_FAR_LEFT[0]);
        assert_eq!(message("a: [b,\nc]\n"), TOO_FAR_LEFT[1]);
        assert_eq!(message("a: 'x\ny'\n"), QUOTED_TOO_FAR_LEFT);
        assert_eq!(message("a:\tb\n"), TAB_AFTER_COLON);
    }
}
