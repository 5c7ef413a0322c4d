//! Turns tokens into events.

use std::ops::Range;

use super::Problem;
use super::scanner::{Scanner, Token, TokenKind};
use crate::tree::{Layout, Style};

/// The tags that need no directive.
const DEFAULT_TAGS: [(&str, &str); 2] = [("!", "!"), ("!!", "tag:yaml.org,2002:")];

const NO_START: &str = "did not find the --- that has to follow a directive, where kubectl cuts the text";

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    StreamEnd,
    DocumentStart,
    DocumentEnd,
    Alias {
        name: String,
        range: Range<usize>,
    },
    Scalar {
        anchor: Option<String>,
        /// In its long form; empty if there is none.
        tag: String,
        value: String,
        style: Style,
        /// Whether the text decides what type it has.
        is_implicit: bool,
        /// Its first byte, or that of the anchor or tag before it.
        start: usize,
        /// Its bytes, without anchor and tag.
        range: Range<usize>,
    },
    SequenceStart {
        anchor: Option<String>,
        layout: Layout,
        start: usize,
    },
    MappingStart {
        anchor: Option<String>,
        layout: Layout,
        start: usize,
    },
    /// The end of a list or map, with the byte after the last part of it.
    End {
        at: usize,
    },
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceFirstEntry,
    BlockSequenceEntry,
    IndentlessSequenceEntry,
    BlockMappingFirstKey,
    BlockMappingKey,
    BlockMappingValue,
    FlowSequenceFirstEntry,
    FlowSequenceEntry,
    FlowSequencePairKey,
    FlowSequencePairValue,
    FlowSequencePairEnd,
    FlowMappingFirstKey,
    FlowMappingKey,
    FlowMappingValue,
    FlowMappingEmptyValue,
    End,
}

/// Which values are possible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Flow,
    Block,
    /// As `Block`, and a list may have no indentation of its own.
    BlockOrIndentless,
}

/// The anchor and the tag of a value.
#[derive(Default)]
struct Properties {
    anchor: Option<String>,
    tag: String,
}

pub(crate) struct Parser<'t> {
    scanner: Scanner<'t>,
    state: State,
    /// What comes after the values that are not complete.
    states: Vec<State>,
    /// The starts of the lists and maps that are not complete.
    starts: Vec<usize>,
    /// The handles of tags and what they stand for.
    tags: Vec<(String, String)>,
    /// The end of the last token that is written.
    end: usize,
}

impl<'t> Parser<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            scanner: Scanner::new(text),
            state: State::ImplicitDocumentStart,
            states: Vec::new(),
            starts: Vec::new(),
            tags: Vec::new(),
            end: 0,
        }
    }

    /// The bytes of all comments so far.
    pub(crate) fn comments(&mut self) -> Vec<Range<usize>> {
        std::mem::take(&mut self.scanner.reader.comments)
    }

    /// The end of the last part that was read.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn next(&mut self) -> Result<Event, Problem> {
        match self.state {
            State::ImplicitDocumentStart => self.document_start(true),
            State::DocumentStart => self.document_start(false),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(Place::Block),
            State::BlockSequenceFirstEntry => self.first(Self::block_sequence_entry),
            State::BlockSequenceEntry => self.block_sequence_entry(),
            State::IndentlessSequenceEntry => self.indentless_sequence_entry(),
            State::BlockMappingFirstKey => self.first(Self::block_mapping_key),
            State::BlockMappingKey => self.block_mapping_key(),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceFirstEntry => self.first(|parser| parser.flow_sequence_entry(true)),
            State::FlowSequenceEntry => self.flow_sequence_entry(false),
            State::FlowSequencePairKey => self.flow_sequence_pair_key(),
            State::FlowSequencePairValue => self.flow_sequence_pair_value(),
            State::FlowSequencePairEnd => {
                self.state = State::FlowSequenceEntry;
                Ok(Event::End { at: self.end })
            }
            State::FlowMappingFirstKey => self.first(|parser| parser.flow_mapping_key(true)),
            State::FlowMappingKey => self.flow_mapping_key(false),
            State::FlowMappingValue => self.flow_mapping_value(),
            State::FlowMappingEmptyValue => {
                self.state = State::FlowMappingKey;
                self.empty_here()
            }
            State::End => Ok(Event::StreamEnd),
        }
    }

    fn peek(&mut self) -> Result<&TokenKind, Problem> {
        Ok(&self.scanner.peek()?.kind)
    }

    fn peek_start(&mut self) -> Result<usize, Problem> {
        Ok(self.scanner.peek()?.start)
    }

    fn take(&mut self) -> Result<Token, Problem> {
        let token = self.scanner.take()?;
        if token.end > token.start {
            self.end = token.end;
        }
        Ok(token)
    }

    /// Takes the next token if it is of this kind, and says whether it was.
    fn skip(&mut self, kind: &TokenKind) -> Result<bool, Problem> {
        let is_next = self.peek()? == kind;
        if is_next {
            self.take()?;
        }
        Ok(is_next)
    }

    /// Returns to what comes after the value that is complete now.
    fn pop_state(&mut self) {
        self.state = self.states.pop().unwrap_or(State::End);
    }

    /// A value, after which comes `then`.
    fn node_then(&mut self, place: Place, then: State) -> Result<Event, Problem> {
        self.states.push(then);
        self.node(place)
    }

    /// A value that is not written.
    fn empty(&self, at: usize) -> Event {
        Event::Scalar {
            anchor: None,
            tag: String::new(),
            value: String::new(),
            style: Style::Plain,
            is_implicit: true,
            start: at,
            range: at..at,
        }
    }

    fn empty_here(&mut self) -> Result<Event, Problem> {
        let at = self.peek_start()?;
        Ok(self.empty(at))
    }

    /// A problem with the next token.
    fn problem<T>(&mut self, within: Option<usize>, message: &'static str) -> Result<T, Problem> {
        Err(Problem { at: self.peek_start()?, message, within })
    }

    fn document_start(&mut self, is_first: bool) -> Result<Event, Problem> {
        while !is_first && self.skip(&TokenKind::DocumentEnd)? {}
        let is_explicit = matches!(
            self.peek()?,
            TokenKind::VersionDirective(..) | TokenKind::TagDirective { .. } | TokenKind::DocumentStart
        );
        if *self.peek()? == TokenKind::StreamEnd {
            self.state = State::End;
            return Ok(Event::StreamEnd);
        }
        self.directives()?;
        self.states.push(State::DocumentEnd);
        if is_first && !is_explicit {
            self.state = State::BlockNode;
            return Ok(Event::DocumentStart);
        }
        if !self.skip(&TokenKind::DocumentStart)? {
            return self.problem(None, NO_START);
        }
        self.state = State::DocumentContent;
        Ok(Event::DocumentStart)
    }

    fn directives(&mut self) -> Result<(), Problem> {
        let mut has_version = false;
        loop {
            match self.peek()?.clone() {
                TokenKind::VersionDirective(major, minor) => {
                    if has_version {
                        return self.problem(None, "found duplicate %YAML directive");
                    }
                    if (major, minor) != (1, 1) {
                        return self.problem(None, "found a %YAML directive for a version other than 1.1");
                    }
                    has_version = true;
                }
                TokenKind::TagDirective { handle, prefix } => {
                    if self.tags.iter().any(|(known, _)| *known == handle) {
                        return self.problem(None, "found duplicate %TAG directive");
                    }
                    self.tags.push((handle, prefix));
                }
                _ => break,
            }
            self.take()?;
        }
        for (handle, prefix) in DEFAULT_TAGS {
            if !self.tags.iter().any(|(known, _)| known == handle) {
                self.tags.push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }

    fn document_content(&mut self) -> Result<Event, Problem> {
        match self.peek()? {
            TokenKind::VersionDirective(..)
            | TokenKind::TagDirective { .. }
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::StreamEnd => {
                self.pop_state();
                self.empty_here()
            }
            _ => self.node(Place::Block),
        }
    }

    fn document_end(&mut self) -> Result<Event, Problem> {
        self.skip(&TokenKind::DocumentEnd)?;
        self.tags.clear();
        self.state = State::DocumentStart;
        Ok(Event::DocumentEnd)
    }

    fn node(&mut self, place: Place) -> Result<Event, Problem> {
        let first = self.peek_start()?;
        if matches!(self.peek()?, TokenKind::Alias(_)) {
            return self.alias();
        }
        let Properties { anchor, tag } = self.properties()?;
        let has_properties = anchor.is_some() || !tag.is_empty();
        let start = self.peek_start()?;
        let (state, layout, is_map) = match (self.peek()?, place) {
            (TokenKind::Scalar { .. }, _) => return self.scalar(anchor, tag, first),
            (TokenKind::BlockEntry, Place::BlockOrIndentless) => {
                (State::IndentlessSequenceEntry, Layout::Block, false)
            }
            (TokenKind::FlowSequenceStart, _) => (State::FlowSequenceFirstEntry, Layout::Flow, false),
            (TokenKind::FlowMappingStart, _) => (State::FlowMappingFirstKey, Layout::Flow, true),
            (TokenKind::BlockSequenceStart, Place::Block | Place::BlockOrIndentless) => {
                (State::BlockSequenceFirstEntry, Layout::Block, false)
            }
            (TokenKind::BlockMappingStart, Place::Block | Place::BlockOrIndentless) => {
                (State::BlockMappingFirstKey, Layout::Block, true)
            }
            _ if has_properties => {
                self.pop_state();
                let is_implicit = tag.is_empty();
                let (value, range) = (String::new(), self.end..self.end);
                let (style, start) = (Style::Plain, first);
                return Ok(Event::Scalar { anchor, tag, value, style, is_implicit, start, range });
            }
            _ => return self.problem(Some(first), "did not find expected node content"),
        };
        self.state = state;
        Ok(if is_map {
            Event::MappingStart { anchor, layout, start }
        } else {
            Event::SequenceStart { anchor, layout, start }
        })
    }

    fn alias(&mut self) -> Result<Event, Problem> {
        let Token { kind: TokenKind::Alias(name), start, end } = self.take()? else {
            return self.problem(None, "did not find expected alias");
        };
        self.pop_state();
        Ok(Event::Alias { name, range: start..end })
    }

    fn scalar(&mut self, anchor: Option<String>, tag: String, first: usize) -> Result<Event, Problem> {
        let Token { kind: TokenKind::Scalar { value, style }, start, end } = self.take()? else {
            return self.problem(None, "did not find expected scalar");
        };
        self.pop_state();
        let is_implicit = tag == "!" || (tag.is_empty() && style == Style::Plain);
        let range = start..end;
        Ok(Event::Scalar { anchor, tag, value, style, is_implicit, start: first, range })
    }

    /// An anchor, a tag, or both in any order.
    fn properties(&mut self) -> Result<Properties, Problem> {
        let mut properties = Properties::default();
        let mut has_tag = false;
        loop {
            match self.peek()? {
                TokenKind::Anchor(_) if properties.anchor.is_none() => {
                    if let TokenKind::Anchor(name) = self.take()?.kind {
                        properties.anchor = Some(name);
                    }
                }
                TokenKind::Tag { .. } if !has_tag => {
                    has_tag = true;
                    let token = self.take()?;
                    properties.tag = self.long_tag(token)?;
                }
                _ => return Ok(properties),
            }
        }
    }

    fn long_tag(&self, token: Token) -> Result<String, Problem> {
        let TokenKind::Tag { handle, suffix } = token.kind else {
            return Ok(String::new());
        };
        if handle.is_empty() {
            return Ok(suffix);
        }
        let prefix = self.tags.iter().find(|(known, _)| *known == handle).map(|(_, prefix)| prefix);
        let tag = prefix.map(|prefix| format!("{prefix}{suffix}"));
        tag.ok_or(Problem { at: token.start, message: "found undefined tag handle", within: None })
    }

    /// The first entry of a list or map, after its start.
    fn first(&mut self, entry: impl FnOnce(&mut Self) -> Result<Event, Problem>) -> Result<Event, Problem> {
        let start = self.take()?.start;
        self.starts.push(start);
        entry(self)
    }

    /// The end of a list or map, which is the next token.
    fn close(&mut self) -> Result<Event, Problem> {
        self.take()?;
        self.starts.pop();
        self.pop_state();
        Ok(Event::End { at: self.end })
    }

    fn block_sequence_entry(&mut self) -> Result<Event, Problem> {
        match self.peek()? {
            TokenKind::BlockEntry => {}
            TokenKind::BlockEnd => return self.close(),
            _ => {
                let start = self.starts.last().copied();
                return self.problem(start, "did not find expected '-' indicator");
            }
        }
        let dash = self.take()?;
        match self.peek()? {
            TokenKind::BlockEntry | TokenKind::BlockEnd => {
                self.state = State::BlockSequenceEntry;
                Ok(self.empty(dash.end))
            }
            _ => self.node_then(Place::Block, State::BlockSequenceEntry),
        }
    }

    fn indentless_sequence_entry(&mut self) -> Result<Event, Problem> {
        if *self.peek()? != TokenKind::BlockEntry {
            self.pop_state();
            return Ok(Event::End { at: self.end });
        }
        let dash = self.take()?;
        match self.peek()? {
            TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => {
                self.state = State::IndentlessSequenceEntry;
                Ok(self.empty(dash.end))
            }
            _ => self.node_then(Place::Block, State::IndentlessSequenceEntry),
        }
    }

    fn block_mapping_key(&mut self) -> Result<Event, Problem> {
        match self.peek()? {
            TokenKind::Key => {}
            TokenKind::BlockEnd => return self.close(),
            _ => {
                let start = self.starts.last().copied();
                return self.problem(start, "did not find expected key");
            }
        }
        let key = self.take()?;
        match self.peek()? {
            TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => {
                self.state = State::BlockMappingValue;
                Ok(self.empty(key.end))
            }
            _ => self.node_then(Place::BlockOrIndentless, State::BlockMappingValue),
        }
    }

    fn block_mapping_value(&mut self) -> Result<Event, Problem> {
        if *self.peek()? != TokenKind::Value {
            self.state = State::BlockMappingKey;
            return self.empty_here();
        }
        let colon = self.take()?;
        match self.peek()? {
            TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => {
                self.state = State::BlockMappingKey;
                Ok(self.empty(colon.end))
            }
            _ => self.node_then(Place::BlockOrIndentless, State::BlockMappingKey),
        }
    }

    fn flow_sequence_entry(&mut self, is_first: bool) -> Result<Event, Problem> {
        if *self.peek()? == TokenKind::FlowSequenceEnd {
            return self.close();
        }
        if !is_first && !self.skip(&TokenKind::FlowEntry)? {
            let start = self.starts.last().copied();
            return self.problem(start, "did not find expected ',' or ']'");
        }
        match self.peek()? {
            TokenKind::FlowSequenceEnd => self.close(),
            TokenKind::Key => {
                let start = self.take()?.start;
                self.state = State::FlowSequencePairKey;
                Ok(Event::MappingStart { anchor: None, layout: Layout::Block, start })
            }
            _ => self.node_then(Place::Flow, State::FlowSequenceEntry),
        }
    }

    fn flow_sequence_pair_key(&mut self) -> Result<Event, Problem> {
        match self.peek()? {
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowSequenceEnd => {
                // The original takes the token, too.
                let token = self.take()?;
                self.state = State::FlowSequencePairValue;
                Ok(self.empty(token.end))
            }
            _ => self.node_then(Place::Flow, State::FlowSequencePairValue),
        }
    }

    fn flow_sequence_pair_value(&mut self) -> Result<Event, Problem> {
        if self.skip(&TokenKind::Value)?
            && !matches!(self.peek()?, TokenKind::FlowEntry | TokenKind::FlowSequenceEnd)
        {
            return self.node_then(Place::Flow, State::FlowSequencePairEnd);
        }
        self.state = State::FlowSequencePairEnd;
        self.empty_here()
    }

    fn flow_mapping_key(&mut self, is_first: bool) -> Result<Event, Problem> {
        if *self.peek()? == TokenKind::FlowMappingEnd {
            return self.close();
        }
        if !is_first && !self.skip(&TokenKind::FlowEntry)? {
            let start = self.starts.last().copied();
            return self.problem(start, "did not find expected ',' or '}'");
        }
        match self.peek()? {
            TokenKind::FlowMappingEnd => return self.close(),
            TokenKind::Key => {}
            _ => return self.node_then(Place::Flow, State::FlowMappingEmptyValue),
        }
        self.take()?;
        match self.peek()? {
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowMappingEnd => {
                self.state = State::FlowMappingValue;
                self.empty_here()
            }
            _ => self.node_then(Place::Flow, State::FlowMappingValue),
        }
    }

    fn flow_mapping_value(&mut self) -> Result<Event, Problem> {
        if self.skip(&TokenKind::Value)?
            && !matches!(self.peek()?, TokenKind::FlowEntry | TokenKind::FlowMappingEnd)
        {
            return self.node_then(Place::Flow, State::FlowMappingKey);
        }
        self.state = State::FlowMappingKey;
        self.empty_here()
    }
}
