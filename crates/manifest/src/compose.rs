//! Composes a YAML document into a tree, with anchors, merge keys and scalars as kubectl reads them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::aliases;
use crate::fault::Fault;
use crate::grammar::{Event, Parser, Problem};
use crate::scalar::{self, Resolved};
use crate::tree::{Builder, Content, Entry, MAX_DEPTH, NodeId, TooLarge, Tree};

/// The tag of a merge key.
const MERGE: &str = "tag:yaml.org,2002:merge";
/// The message for text that kubectl does not read.
const LEFT_OUT: &str = "kubectl leaves out the text from here on: start another document with a line ---";

/// The document in a text.
pub(crate) struct Composed {
    /// `None` if the document is empty.
    pub(crate) tree: Option<Tree>,
    /// The bytes of the comments, in order.
    pub(crate) comments: Vec<Range<usize>>,
}

/// Reads the document in a text. `base` is added to every place.
///
/// kubectl reads one document only. Any other is a fault.
pub(crate) fn compose(text: &str, base: usize) -> Result<Composed, Fault> {
    let lines = Lines::new(text, base);
    if let Some(at) = lines.text.find(is_not_allowed) {
        return Err(Fault { at: lines.place(at), message: "control characters are not allowed".to_owned() });
    }
    let mut composer = Composer {
        parser: Parser::new(&lines.text),
        lines: &lines,
        nodes: Builder::default(),
        anchors: HashMap::new(),
        has_aliases: false,
        alias_keys: HashSet::new(),
    };
    let tree = composer.document()?;
    let comments = composer.parser.comments().into_iter().map(|range| lines.range(range)).collect();
    let Some(tree) = tree else {
        return Ok(Composed { tree, comments });
    };
    if composer.has_aliases {
        let limit = aliases::limit(&tree, &composer.alias_keys);
        limit.map_err(|error| Fault { at: error.at, message: error.to_string() })?;
    }
    Ok(Composed { tree: Some(tree).filter(|tree| !tree.is_null(tree.root)), comments })
}

/// Whether kubectl does not accept a character wherever it is.
fn is_not_allowed(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

/// A text with the line ends that kubectl gives it before it parses it: each line, the last one too, ends with `\n`
/// instead of `\r\n`.
struct Lines<'t> {
    text: Cow<'t, str>,
    base: usize,
    /// The length of the text before that.
    length: usize,
    /// The bytes in `text` before which a `\r` was removed.
    removed: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(original: &'t str, base: usize) -> Self {
        let length = original.len();
        let mut removed = Vec::new();
        if original.ends_with('\n') && !original.contains("\r\n") {
            return Self { text: Cow::Borrowed(original), base, length, removed };
        }
        let mut text = String::with_capacity(length + 1);
        for line in original.split_inclusive('\n') {
            let content = line.strip_suffix('\n').unwrap_or(line);
            let kept =
                if content.len() < line.len() { content.strip_suffix('\r').unwrap_or(content) } else { line };
            text.push_str(kept);
            if kept.len() < content.len() {
                removed.push(text.len());
            }
            text.push('\n');
        }
        Self { text: Cow::Owned(text), base, length, removed }
    }

    /// The byte in the original text.
    fn place(&self, at: usize) -> usize {
        let removed = self.removed.partition_point(|line_end| *line_end < at);
        self.base + (at + removed).min(self.length)
    }

    fn range(&self, range: Range<usize>) -> Range<usize> {
        self.place(range.start)..self.place(range.end)
    }
}

/// What an alias can stand for.
#[derive(Clone)]
enum Anchored {
    /// A list or map that is not complete.
    Open,
    /// A value, and the key that it would be.
    Value(NodeId, Result<String, &'static str>),
}

struct Composer<'t> {
    parser: Parser<'t>,
    lines: &'t Lines<'t>,
    nodes: Builder,
    anchors: HashMap<String, Anchored>,
    has_aliases: bool,
    /// The starts of the keys that are aliases.
    alias_keys: HashSet<usize>,
}

/// A key as it is read.
struct Key {
    key: Result<String, &'static str>,
    range: Range<usize>,
    is_merge: bool,
}

const NO_SCALAR: &str = "a key must not be a list or a map";

impl Composer<'_> {
    fn document(&mut self) -> Result<Option<Tree>, Fault> {
        if self.next()? == Event::StreamEnd {
            return Ok(None);
        }
        let event = self.next()?;
        self.node(event, 0)?;
        self.next()?;
        self.has_ended()?;
        Ok(std::mem::take(&mut self.nodes).finish())
    }

    /// Fails if there is another document.
    fn has_ended(&mut self) -> Result<(), Fault> {
        let left_out = |at| Fault { at: self.lines.place(at), message: LEFT_OUT.to_owned() };
        match self.parser.next() {
            Ok(Event::StreamEnd) => Ok(()),
            Ok(_) => Err(left_out(self.parser.end())),
            Err(problem) => Err(left_out(problem.at)),
        }
    }

    fn next(&mut self) -> Result<Event, Fault> {
        self.parser.next().map_err(|Problem { at, message, within }| {
            // If the text ends too early, the place is where the unfinished value starts.
            let is_at_end = at >= self.lines.text.trim_end().len();
            let at = within.filter(|_| is_at_end).unwrap_or(at);
            Fault { at: self.lines.place(at), message: message.to_owned() }
        })
    }

    fn fault(&self, at: usize, message: impl Into<String>) -> Fault {
        Fault { at: self.lines.place(at), message: message.into() }
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<NodeId, Fault> {
        match event {
            Event::Scalar { anchor, tag, value, style, is_implicit, start, range } => {
                let resolved = self.resolved(&tag, value, is_implicit, start)?;
                let key = resolved.key();
                let value = resolved.value().map_err(|message| self.fault(range.start, message))?;
                let id = self.add(Content::Scalar { value, style }, range)?;
                self.anchor(anchor, Anchored::Value(id, key));
                Ok(id)
            }
            Event::SequenceStart { anchor, layout, start } => {
                self.open(anchor.as_ref(), start, depth)?;
                let (entries, end) = self.sequence(depth)?;
                let id = self.add(Content::Sequence { entries, layout }, start..end)?;
                self.anchor(anchor, Anchored::Value(id, Err(NO_SCALAR)));
                Ok(id)
            }
            Event::MappingStart { anchor, layout, start } => {
                self.open(anchor.as_ref(), start, depth)?;
                let (entries, end) = self.mapping(depth)?;
                let id = self.add(Content::Mapping { entries, layout }, start..end)?;
                self.anchor(anchor, Anchored::Value(id, Err(NO_SCALAR)));
                Ok(id)
            }
            Event::Alias { name, range } => {
                let (target, _) = self.target(&name, range.start)?;
                self.add(Content::Alias(target), range)
            }
            Event::StreamEnd | Event::DocumentStart | Event::DocumentEnd | Event::End { .. } => {
                Err(self.fault(self.parser.end(), "the document is incomplete"))
            }
        }
    }

    fn add(&mut self, content: Content, range: Range<usize>) -> Result<NodeId, Fault> {
        let start = range.start;
        let added = self.nodes.add(content, self.lines.range(range));
        added.map_err(|error| self.fault(start, error.to_string()))
    }

    /// Starts a list or map.
    fn open(&mut self, anchor: Option<&String>, start: usize, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(self.fault(start, TooLarge.to_string()));
        }
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.clone(), Anchored::Open);
        }
        Ok(())
    }

    fn anchor(&mut self, name: Option<String>, anchored: Anchored) {
        if let Some(name) = name {
            self.anchors.insert(name, anchored);
        }
    }

    /// What an alias stands for.
    fn target(&mut self, name: &str, at: usize) -> Result<(NodeId, Result<String, &'static str>), Fault> {
        self.has_aliases = true;
        match self.anchors.get(name) {
            Some(Anchored::Value(id, key)) => Ok((*id, key.clone())),
            Some(Anchored::Open) => {
                Err(self.fault(at, format!("the value of the anchor {name:?} contains itself")))
            }
            None => Err(self.fault(at, format!("there is no anchor {name:?} before this alias"))),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<(Vec<NodeId>, usize), Fault> {
        let mut entries = Vec::new();
        loop {
            match self.next()? {
                Event::End { at } => return Ok((entries, at)),
                event => entries.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<(Vec<Entry>, usize), Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = HashSet::new();
        loop {
            let Key { key, range, is_merge } = match self.next()? {
                Event::End { at } => return Ok((entries, at)),
                event => self.key(event, depth + 1)?,
            };
            let key = key.map_err(|message| self.fault(range.start, message))?;
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            if is_merge {
                self.check_merge(value)?;
            } else if !known.insert(key.clone()) {
                return Err(self.fault(range.start, format!("duplicate key {key:?}")));
            }
            entries.push(Entry { key, key_range: self.lines.range(range), value, merge: is_merge });
        }
    }

    fn key(&mut self, event: Event, depth: usize) -> Result<Key, Fault> {
        match event {
            Event::Scalar { anchor, tag, value, style, is_implicit, start, range } => {
                let is_merge = value == "<<" && (is_implicit || tag == MERGE);
                let resolved = self.resolved(&tag, value, is_implicit, start)?;
                let key = resolved.key();
                if anchor.is_some() {
                    let value = resolved.value().map_err(|message| self.fault(range.start, message))?;
                    let id = self.add(Content::Scalar { value, style }, range.clone())?;
                    self.anchor(anchor, Anchored::Value(id, key.clone()));
                }
                Ok(Key { key, range, is_merge })
            }
            Event::Alias { name, range } => {
                let (target, key) = self.target(&name, range.start)?;
                // An edit of the target must know about it.
                self.add(Content::Alias(target), range.clone())?;
                self.alias_keys.insert(self.lines.place(range.start));
                Ok(Key { key, range, is_merge: false })
            }
            Event::SequenceStart { start, .. } | Event::MappingStart { start, .. } => {
                // What is wrong inside of it is the better message.
                self.node(event, depth)?;
                Ok(Key { key: Err(NO_SCALAR), range: start..start, is_merge: false })
            }
            event => {
                self.node(event, depth).map(|_| Key { key: Err(NO_SCALAR), range: 0..0, is_merge: false })
            }
        }
    }

    /// Fails unless the value of a merge key is a map, an alias of one, or a list of these.
    fn check_merge(&self, value: NodeId) -> Result<(), Fault> {
        let node = |id: NodeId| &self.nodes.get(id).content;
        let is_map = |id: NodeId| match node(id) {
            Content::Mapping { .. } => true,
            Content::Alias(target) => matches!(node(*target), Content::Mapping { .. }),
            Content::Scalar { .. } | Content::Sequence { .. } => false,
        };
        let can_be_merged = match node(value) {
            Content::Sequence { entries, .. } => entries.iter().all(|entry| is_map(*entry)),
            _ => is_map(value),
        };
        if can_be_merged {
            return Ok(());
        }
        let at = self.nodes.get(value).range.start;
        Err(Fault { at, message: "a merge key takes a map or a list of maps".to_owned() })
    }

    fn resolved(&self, tag: &str, value: String, is_implicit: bool, at: usize) -> Result<Resolved, Fault> {
        if tag.is_empty() && !is_implicit {
            return Ok(Resolved::Text(value));
        }
        let resolved = scalar::resolve(tag, &value);
        resolved.ok_or_else(|| self.fault(at, format!("{value:?} cannot be read as {tag}")))
    }
}
