//! Finds the tokens of a text.

use std::collections::VecDeque;

use super::Problem;
use super::reader::{Mark, Reader};
use crate::tree::Style;

/// The maximum length of a key that has no `?` before it, in characters.
const MAX_SIMPLE_KEY: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    StreamEnd,
    VersionDirective(u8, u8),
    TagDirective { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag { handle: String, suffix: String },
    Scalar { value: String, style: Style },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after it. Equal to `start` for a token that is not written, such as the start of a block.
    pub(super) end: usize,
}

/// A place where a key without `?` may start. It is known to be one when its colon is found.
#[derive(Clone, Copy, Debug, Default)]
struct SimpleKey {
    is_possible: bool,
    /// Whether nothing but a key may start there.
    is_required: bool,
    /// The number of its first token.
    token: usize,
    mark: Mark,
}

pub(super) struct Scanner<'t> {
    pub(super) reader: Reader<'t>,
    /// The number of brackets around the current place.
    pub(super) flow_level: usize,
    /// The column of the current block; -1 outside of blocks.
    pub(super) indent: isize,
    indents: Vec<isize>,
    tokens: VecDeque<Token>,
    /// The number of tokens that were taken from the queue.
    taken: usize,
    is_token_ready: bool,
    pub(super) is_simple_key_allowed: bool,
    /// For each level of brackets.
    simple_keys: Vec<SimpleKey>,
    /// The numbers of tokens that may start a key, in order, each with its level.
    ///
    /// As in the original, an entry may stay after its level has another key or is gone.
    keys_by_token: VecDeque<(usize, usize)>,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut reader = Reader::new(text);
        reader.fill(1);
        Self {
            reader,
            flow_level: 0,
            indent: -1,
            indents: Vec::new(),
            tokens: VecDeque::new(),
            // The original starts with a token for the start of the stream.
            taken: 1,
            is_token_ready: false,
            is_simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            keys_by_token: VecDeque::new(),
        }
    }

    /// The next token, which stays in the queue.
    pub(super) fn peek(&mut self) -> Result<&Token, Problem> {
        if !self.is_token_ready {
            self.fetch_more_tokens()?;
            self.is_token_ready = true;
        }
        let at = self.mark().byte;
        self.tokens.front().ok_or(Problem { at, message: "the text ends too early", within: None })
    }

    /// Takes the next token from the queue.
    pub(super) fn take(&mut self) -> Result<Token, Problem> {
        self.peek()?;
        self.is_token_ready = false;
        self.taken += 1;
        let at = self.mark().byte;
        self.tokens.pop_front().ok_or(Problem { at, message: "the text ends too early", within: None })
    }

    pub(super) fn mark(&self) -> Mark {
        self.reader.mark
    }

    /// The column in the type of `indent`.
    pub(super) fn column(&self) -> isize {
        isize::try_from(self.mark().column).unwrap_or(isize::MAX)
    }

    pub(super) fn problem<T>(&self, within: Option<Mark>, message: &'static str) -> Result<T, Problem> {
        Err(Problem { at: self.mark().byte, message, within: within.map(|mark| mark.byte) })
    }

    /// Adds a token that ends here.
    pub(super) fn push(&mut self, kind: TokenKind, start: Mark) {
        self.push_until(kind, start, self.mark().byte);
    }

    pub(super) fn push_until(&mut self, kind: TokenKind, start: Mark, end: usize) {
        self.tokens.push_back(Token { kind, start: start.byte, end });
    }

    /// Inserts a token that is not written before the token with this number, or adds it.
    fn insert(&mut self, kind: TokenKind, mark: Mark, before: Option<usize>) {
        let token = Token { kind, start: mark.byte, end: mark.byte };
        match before.and_then(|number| number.checked_sub(self.taken)) {
            Some(position) => self.tokens.insert(position.min(self.tokens.len()), token),
            None => self.tokens.push_back(token),
        }
    }

    /// The number that the next token gets.
    fn next_number(&self) -> usize {
        self.taken + self.tokens.len()
    }

    fn fetch_more_tokens(&mut self) -> Result<(), Problem> {
        while self.tokens.is_empty() || self.first_may_be_key()? {
            self.fetch_next_token()?;
        }
        Ok(())
    }

    /// Whether it depends on the text ahead whether the first token in the queue starts a key.
    fn first_may_be_key(&mut self) -> Result<bool, Problem> {
        while self.keys_by_token.front().is_some_and(|(token, _)| *token < self.taken) {
            self.keys_by_token.pop_front();
        }
        match self.keys_by_token.front() {
            Some((token, level)) if *token == self.taken => self.is_key_possible(*level),
            _ => Ok(false),
        }
    }

    fn is_key_possible(&mut self, level: usize) -> Result<bool, Problem> {
        let now = self.mark();
        let Some(key) = self.simple_keys.get_mut(level).filter(|key| key.is_possible) else {
            return Ok(false);
        };
        if key.mark.line == now.line && key.mark.index + MAX_SIMPLE_KEY >= now.index {
            return Ok(true);
        }
        if key.is_required {
            let mark = key.mark;
            return self.problem(Some(mark), "could not find expected ':'");
        }
        key.is_possible = false;
        Ok(false)
    }

    fn fetch_next_token(&mut self) -> Result<(), Problem> {
        self.reader.fill(1);
        self.skip_to_next_token();
        self.unroll_indent(self.column());
        self.reader.fill(4);
        let reader = &self.reader;
        let is_flow = self.flow_level > 0;
        match reader.peek(0) {
            0 => self.fetch_stream_end(),
            b'%' if reader.mark.column == 0 => self.fetch_directive(),
            b'-' if reader.is_document_indicator(b'-') => {
                self.fetch_document_indicator(TokenKind::DocumentStart)
            }
            b'.' if reader.is_document_indicator(b'.') => {
                self.fetch_document_indicator(TokenKind::DocumentEnd)
            }
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => self.fetch_flow_entry(),
            b'-' if reader.is_space_at(1) => self.fetch_block_entry(),
            b'?' if is_flow || reader.is_space_at(1) => self.fetch_key(),
            b':' if is_flow || reader.is_space_at(1) => self.fetch_value(),
            b'*' | b'&' => self.fetch_anchor(),
            b'!' => self.fetch_tag(),
            b'|' | b'>' if !is_flow => self.fetch_block_scalar(),
            b'\'' | b'"' => self.fetch_quoted(),
            b'\t' => self.problem(None, "found a tab where only spaces may indent"),
            b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => {
                self.problem(None, "found a character that no value can start with")
            }
            _ => self.fetch_plain(),
        }
    }

    /// Steps over white space and comments.
    fn skip_to_next_token(&mut self) {
        loop {
            self.reader.fill(1);
            if self.mark().column == 0 && self.reader.is_byte_order_mark() {
                self.reader.skip();
            }
            self.reader.fill(1);
            // A tab may not indent.
            let may_be_tab = self.flow_level > 0 || !self.is_simple_key_allowed;
            while self.reader.is(b' ') || (may_be_tab && self.reader.is(b'\t')) {
                self.reader.skip();
                self.reader.fill(1);
            }
            self.reader.skip_comment();
            if !self.reader.is_break() {
                return;
            }
            self.reader.fill(2);
            self.reader.skip_line();
            if self.flow_level == 0 {
                self.is_simple_key_allowed = true;
            }
        }
    }

    /// Notes that a key may start here.
    pub(super) fn save_simple_key(&mut self) -> Result<(), Problem> {
        if !self.is_simple_key_allowed {
            return Ok(());
        }
        let key = SimpleKey {
            is_possible: true,
            is_required: self.flow_level == 0 && self.indent == self.column(),
            token: self.next_number(),
            mark: self.mark(),
        };
        self.remove_simple_key()?;
        let level = self.simple_keys.len().saturating_sub(1);
        if let Some(last) = self.simple_keys.last_mut() {
            *last = key;
        }
        match self.keys_by_token.back_mut() {
            Some(last) if last.0 == key.token => last.1 = level,
            _ => self.keys_by_token.push_back((key.token, level)),
        }
        Ok(())
    }

    /// Notes that no key starts at the place that was noted last.
    pub(super) fn remove_simple_key(&mut self) -> Result<(), Problem> {
        let Some(key) = self.simple_keys.last_mut().filter(|key| key.is_possible) else {
            return Ok(());
        };
        let SimpleKey { is_required, token, mark, .. } = *key;
        if is_required {
            return self.problem(Some(mark), "could not find expected ':'");
        }
        key.is_possible = false;
        self.forget_token(token);
        Ok(())
    }

    fn forget_token(&mut self, number: usize) {
        if let Ok(position) = self.keys_by_token.binary_search_by_key(&number, |(token, _)| *token) {
            self.keys_by_token.remove(position);
        }
    }

    /// Starts a block if it is further to the right than the current one.
    fn roll_indent(&mut self, kind: TokenKind, mark: Mark, before: Option<usize>) {
        let column = isize::try_from(mark.column).unwrap_or(isize::MAX);
        if self.flow_level == 0 && self.indent < column {
            self.indents.push(self.indent);
            self.indent = column;
            self.insert(kind, mark, before);
        }
    }

    /// Ends the blocks that are further to the right than a column.
    pub(super) fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            self.insert(TokenKind::BlockEnd, self.mark(), None);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn fetch_stream_end(&mut self) -> Result<(), Problem> {
        if self.mark().column != 0 {
            self.reader.mark.column = 0;
            self.reader.mark.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.is_simple_key_allowed = false;
        self.push(TokenKind::StreamEnd, self.mark());
        Ok(())
    }

    fn fetch_document_indicator(&mut self, kind: TokenKind) -> Result<(), Problem> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.is_simple_key_allowed = false;
        let start = self.mark();
        for _ in 0..3 {
            self.reader.skip();
        }
        self.push(kind, start);
        Ok(())
    }

    /// Adds a token of one character.
    fn push_indicator(&mut self, kind: TokenKind) {
        let start = self.mark();
        self.reader.skip();
        self.push(kind, start);
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Result<(), Problem> {
        self.save_simple_key()?;
        let token = self.next_number();
        self.simple_keys.push(SimpleKey { token, mark: self.mark(), ..SimpleKey::default() });
        self.flow_level += 1;
        self.is_simple_key_allowed = true;
        self.push_indicator(kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Result<(), Problem> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            if let Some(key) = self.simple_keys.pop() {
                self.forget_token(key.token);
            }
        }
        self.is_simple_key_allowed = false;
        self.push_indicator(kind);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Result<(), Problem> {
        self.remove_simple_key()?;
        self.is_simple_key_allowed = true;
        self.push_indicator(TokenKind::FlowEntry);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), Problem> {
        if self.flow_level == 0 {
            if !self.is_simple_key_allowed {
                return self.problem(None, "block sequence entries are not allowed in this context");
            }
            self.roll_indent(TokenKind::BlockSequenceStart, self.mark(), None);
        }
        self.remove_simple_key()?;
        self.is_simple_key_allowed = true;
        self.push_indicator(TokenKind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), Problem> {
        if self.flow_level == 0 {
            if !self.is_simple_key_allowed {
                return self.problem(None, "mapping keys are not allowed in this context");
            }
            self.roll_indent(TokenKind::BlockMappingStart, self.mark(), None);
        }
        self.remove_simple_key()?;
        self.is_simple_key_allowed = self.flow_level == 0;
        self.push_indicator(TokenKind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), Problem> {
        let level = self.simple_keys.len().saturating_sub(1);
        if self.is_key_possible(level)? {
            let key = self.simple_keys.get(level).copied().unwrap_or_default();
            self.insert(TokenKind::Key, key.mark, Some(key.token));
            self.roll_indent(TokenKind::BlockMappingStart, key.mark, Some(key.token));
            if let Some(last) = self.simple_keys.last_mut() {
                last.is_possible = false;
            }
            self.forget_token(key.token);
            self.is_simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.is_simple_key_allowed {
                    return self.problem(None, "mapping values are not allowed in this context");
                }
                self.roll_indent(TokenKind::BlockMappingStart, self.mark(), None);
            }
            self.is_simple_key_allowed = self.flow_level == 0;
        }
        self.push_indicator(TokenKind::Value);
        Ok(())
    }
}
