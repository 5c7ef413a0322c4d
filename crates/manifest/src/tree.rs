//! A document as a tree in which every node knows its bytes in the text.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::{Map, Value};

/// The maximum number of values of a document with aliases expanded, so that a few lines cannot fill the memory.
pub(crate) const MAX_VALUES: usize = 1_000_000;
/// The maximum depth of a document with aliases expanded, so that a file cannot exhaust the stack.
pub(crate) const MAX_DEPTH: usize = 128;

/// Identifies a node within its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

/// The values of one document.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The node of the whole document.
    pub root: NodeId,
}

/// One value as it is written.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its content.
    pub content: Content,
    /// Its bytes in the text, without an anchor or tag before it. A block scalar starts at its indicator and ends
    /// with the text of its last line. The range of a missing value is empty.
    pub range: Range<usize>,
    /// The number of values in it, including itself, with aliases expanded.
    pub size: usize,
    /// Its depth with aliases expanded; 0 for a scalar.
    pub height: usize,
}

/// The content of a node.
#[derive(Clone, Debug)]
pub enum Content {
    /// A string, number, boolean or null.
    Scalar {
        /// Its value, as kubectl reads it.
        value: Value,
        /// How it is written.
        style: Style,
    },
    /// A list.
    Sequence {
        /// Its entries, in order.
        entries: Vec<NodeId>,
        /// How it is written.
        layout: Layout,
    },
    /// A map.
    Mapping {
        /// Its fields, in order.
        entries: Vec<Entry>,
        /// How it is written.
        layout: Layout,
    },
    /// An alias of another node.
    Alias(NodeId),
}

/// One field of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key. One that is not a string has its JSON form, as in kubectl.
    pub key: String,
    /// The bytes of the key.
    pub key_range: Range<usize>,
    /// The value.
    pub value: NodeId,
    /// Whether it is a merge key (`<<`). The fields of its value count as fields of the map.
    pub merge: bool,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// Between `'`.
    SingleQuoted,
    /// Between `"`.
    DoubleQuoted,
    /// After `|` or `>`.
    Block,
    /// Any JSON scalar.
    Json,
}

/// How a collection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// By indentation.
    Block,
    /// Between brackets.
    Flow,
}

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A field of a map.
    Name(String),
    /// An entry of a list, from 0.
    Index(usize),
}

/// The result of following a path.
#[derive(Clone, Debug)]
pub struct Found {
    /// The node, with its aliases not followed; `None` if it does not exist.
    pub node: Option<NodeId>,
    /// The byte to point at.
    pub position: usize,
    /// The byte of the key that leads to it; `None` for a list entry, the root and a missing node.
    pub key: Option<usize>,
}

impl Tree {
    /// A tree of nodes in the order of their creation; the last one is the root.
    fn new(nodes: Vec<Node>) -> Option<Self> {
        let root = NodeId(nodes.len().checked_sub(1)?);
        Some(Self { nodes, root })
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        node(&self.nodes, id)
    }

    /// Every node once, each after its children.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The target of an alias; any other node is itself.
    pub fn resolve(&self, mut id: NodeId) -> NodeId {
        // Targets come before their aliases, so this ends.
        while let Content::Alias(target) = self.node(id).content {
            id = target;
        }
        id
    }

    /// The value of a node, aliases and merge keys expanded.
    pub fn value(&self, id: NodeId) -> Value {
        match &self.node(id).content {
            Content::Scalar { value, .. } => value.clone(),
            Content::Alias(target) => self.value(*target),
            Content::Sequence { entries, .. } => entries.iter().map(|entry| self.value(*entry)).collect(),
            Content::Mapping { entries, .. } => Value::Object(self.fields(entries)),
        }
    }

    /// Whether the value of a node is null.
    pub fn is_null(&self, id: NodeId) -> bool {
        matches!(&self.node(self.resolve(id)).content, Content::Scalar { value: Value::Null, .. })
    }

    fn fields(&self, entries: &[Entry]) -> Map<String, Value> {
        let effective = self.effective(entries).into_iter();
        effective.map(|entry| (entry.key.clone(), self.value(entry.value))).collect()
    }

    /// The fields of a map, including those of its merge keys.
    pub(crate) fn effective<'t>(&'t self, entries: &'t [Entry]) -> Vec<&'t Entry> {
        let own = entries.iter().filter(|entry| !entry.merge);
        let mut fields: Vec<&Entry> = own.collect();
        let sources = entries.iter().filter(|entry| entry.merge);
        let mut maps = sources.flat_map(|source| self.merged(source.value)).peekable();
        if maps.peek().is_none() {
            return fields;
        }
        // Own fields win over merged ones, and of those the earlier.
        let mut known: HashSet<&str> = fields.iter().map(|entry| entry.key.as_str()).collect();
        for map in maps {
            if let Content::Mapping { entries, .. } = &self.node(self.resolve(map)).content {
                let merged = self.effective(entries).into_iter();
                fields.extend(merged.filter(|entry| known.insert(entry.key.as_str())));
            }
        }
        fields
    }

    /// The maps in the value of a merge key.
    pub(crate) fn merged(&self, source: NodeId) -> Vec<NodeId> {
        match &self.node(self.resolve(source)).content {
            Content::Sequence { entries, .. } => entries.clone(),
            _ => vec![source],
        }
    }

    /// The field with this key, its own or from a merge key, with the map that it comes from.
    pub(crate) fn entry(&self, mapping: NodeId, key: &str) -> Option<(&Entry, Option<NodeId>)> {
        let Content::Mapping { entries, .. } = &self.node(self.resolve(mapping)).content else {
            return None;
        };
        if let Some(own) = entries.iter().find(|entry| !entry.merge && entry.key == key) {
            return Some((own, None));
        }
        let sources = entries.iter().filter(|entry| entry.merge);
        let mut maps = sources.flat_map(|source| self.merged(source.value));
        maps.find_map(|map| self.entry(map, key).map(|(entry, _)| (entry, Some(map))))
    }

    /// Follows a path from a node.
    ///
    /// The position of a value is its start; of a value behind an alias, the alias; of a missing one, the key of its
    /// parent. A block collection has no visible start, so its position is its key.
    pub fn find(&self, from: NodeId, path: &[Step]) -> Found {
        let mut at = from;
        let mut key: Option<usize> = None;
        let mut through: Option<usize> = None;
        for step in path {
            let is_alias = matches!(self.node(at).content, Content::Alias(_));
            // A missing field is reported at the key of its map.
            let missing_at = through.or(key);
            if through.is_none() && is_alias {
                through = Some(self.node(at).range.start);
            }
            let next = match step {
                Step::Name(name) => self.entry(at, name).map(|(entry, merged)| {
                    let by = merged.map(|map| self.node(map).range.start);
                    (entry.value, Some(entry.key_range.start), by)
                }),
                Step::Index(index) => self.index(at, *index).map(|entry| (entry, None, None)),
            };
            let Some((node, next_key, by)) = next else {
                return Found { node: None, position: missing_at.unwrap_or(self.start(at)), key: None };
            };
            through = through.or(by);
            (at, key) = (node, next_key);
        }
        let position = through.unwrap_or_else(|| self.shown_at(at, key));
        Found { node: Some(at), position, key: key.filter(|_| through.is_none()) }
    }

    fn index(&self, sequence: NodeId, index: usize) -> Option<NodeId> {
        match &self.node(self.resolve(sequence)).content {
            Content::Sequence { entries, .. } => entries.get(index).copied(),
            _ => None,
        }
    }

    fn start(&self, id: NodeId) -> usize {
        self.node(id).range.start
    }

    fn shown_at(&self, id: NodeId, key: Option<usize>) -> usize {
        let node = self.node(id);
        let by_key = match &node.content {
            Content::Scalar { .. } => node.range.is_empty(),
            Content::Sequence { layout, .. } | Content::Mapping { layout, .. } => *layout == Layout::Block,
            Content::Alias(_) => false,
        };
        key.filter(|_| by_key).unwrap_or(node.range.start)
    }
}

/// Collects the nodes of a tree, each after its children.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
}

/// A document is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooLarge {
    #[error("more than {MAX_VALUES} values with aliases expanded")]
    Values,
    #[error("nested deeper than {MAX_DEPTH} levels with aliases expanded")]
    Depth,
}

impl Builder {
    pub(crate) fn add(&mut self, content: Content, range: Range<usize>) -> Result<NodeId, TooLarge> {
        let held: Vec<NodeId> = match &content {
            Content::Scalar { .. } => Vec::new(),
            Content::Alias(target) => vec![*target],
            Content::Sequence { entries, .. } => entries.clone(),
            Content::Mapping { entries, .. } => entries.iter().map(|entry| entry.value).collect(),
        };
        let size = held.iter().fold(1, |sum: usize, id| sum.saturating_add(self.get(*id).size));
        let height = held.iter().map(|id| self.get(*id).height + 1).max().unwrap_or(0);
        if size > MAX_VALUES {
            return Err(TooLarge::Values);
        }
        if height > MAX_DEPTH {
            return Err(TooLarge::Depth);
        }
        self.nodes.push(Node { content, range, size, height });
        Ok(NodeId(self.nodes.len() - 1))
    }

    pub(crate) fn get(&self, id: NodeId) -> &Node {
        node(&self.nodes, id)
    }

    pub(crate) fn finish(self) -> Option<Tree> {
        Tree::new(self.nodes)
    }
}

fn node(nodes: &[Node], id: NodeId) -> &Node {
    static NOTHING: Node = Node {
        content: Content::Scalar { value: Value::Null, style: Style::Plain },
        range: 0..0,
        size: 1,
        height: 0,
    };
    // Ids come from the tree that they are used with, so the node always exists.
    nodes.get(id.0).unwrap_or(&NOTHING)
}
