//! A document as a tree whose nodes know where in the file they stand.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::{Map, Value};

/// How many values a document may hold once its aliases are expanded, so that a few lines cannot fill the memory.
pub(super) const MAX_VALUES: usize = 1_000_000;
/// How deep values may nest once aliases are expanded, so that a file cannot exhaust the stack.
pub(super) const MAX_DEPTH: usize = 128;

/// A node's place in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(usize);

/// One document.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub(super) root: NodeId,
}

/// One value as it is written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    /// Its bytes in the file, without an anchor or tag before it. A block scalar starts at its indicator and ends
    /// with its last line's text; what is left out is empty.
    pub(super) range: Range<usize>,
    /// How many values it holds, itself included and aliases expanded.
    pub(super) size: usize,
    /// How deep it nests, aliases expanded; 0 for a scalar.
    pub(super) height: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar {
        value: Value,
        style: Style,
    },
    Sequence {
        entries: Vec<NodeId>,
        layout: Layout,
    },
    Mapping {
        entries: Vec<Entry>,
        layout: Layout,
    },
    /// Stands for another node.
    Alias(NodeId),
}

/// One field of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_range: Range<usize>,
    pub(super) value: NodeId,
    /// Whether it is a merge key, whose value's fields count as the mapping's own.
    pub(super) merge: bool,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// After `|` or `>`.
    Block,
    /// A JSON value, text or not.
    Json,
}

/// How a collection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// By indentation.
    Block,
    /// Between brackets.
    Flow,
}

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// Where a path leads.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The node itself, its aliases not followed; `None` where there is none.
    pub(super) node: Option<NodeId>,
    /// Where in the file to point at, in bytes.
    pub(super) position: usize,
    /// The key that leads to it; `None` for entries of lists, the root, and what is not there.
    pub(super) key: Option<usize>,
}

impl Tree {
    /// A tree of nodes that were made in order; the last one is the root.
    pub(super) fn new(nodes: Vec<Node>) -> Option<Self> {
        let root = NodeId(nodes.len().checked_sub(1)?);
        Some(Self { nodes, root })
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        node(&self.nodes, id)
    }

    /// Every node as it is written, once, each after those that it holds.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The node that an alias stands for; any other is itself.
    pub(super) fn resolve(&self, mut id: NodeId) -> NodeId {
        // Targets come before their aliases, so this ends.
        while let Content::Alias(target) = self.node(id).content {
            id = target;
        }
        id
    }

    /// The value of a node, aliases and merge keys expanded.
    pub(super) fn value(&self, id: NodeId) -> Value {
        match &self.node(id).content {
            Content::Scalar { value, .. } => value.clone(),
            Content::Alias(target) => self.value(*target),
            Content::Sequence { entries, .. } => entries.iter().map(|entry| self.value(*entry)).collect(),
            Content::Mapping { entries, .. } => Value::Object(self.fields(entries)),
        }
    }

    /// Whether a node stands for nothing.
    pub(super) fn value_is_null(&self, id: NodeId) -> bool {
        matches!(&self.node(self.resolve(id)).content, Content::Scalar { value: Value::Null, .. })
    }

    fn fields(&self, entries: &[Entry]) -> Map<String, Value> {
        let effective = self.effective(entries).into_iter();
        effective.map(|entry| (entry.key.clone(), self.value(entry.value))).collect()
    }

    /// The fields of a mapping with those that merge keys bring in.
    pub(super) fn effective<'t>(&'t self, entries: &'t [Entry]) -> Vec<&'t Entry> {
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

    /// The maps that the value of a merge key names.
    pub(super) fn merged(&self, source: NodeId) -> Vec<NodeId> {
        match &self.node(self.resolve(source)).content {
            Content::Sequence { entries, .. } => entries.clone(),
            _ => vec![source],
        }
    }

    /// The own entry of that key, or the one that merge keys bring in; then with the merge key's map.
    pub(super) fn entry(&self, mapping: NodeId, key: &str) -> Option<(&Entry, Option<NodeId>)> {
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
    /// A value points at itself, one that comes through an alias at the alias, and a missing one at its parent's
    /// key. A block collection has no start that a reader would look for: it points at its key.
    pub(super) fn find(&self, from: NodeId, path: &[Step]) -> Found {
        let mut at = from;
        let mut key: Option<usize> = None;
        let mut through: Option<usize> = None;
        for step in path {
            let is_alias = matches!(self.node(at).content, Content::Alias(_));
            // What is missing in a mapping is missing under the mapping's key, however it is written.
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

/// Collects the nodes of a tree, each after those that it holds.
#[derive(Debug, Default)]
pub(super) struct Builder {
    nodes: Vec<Node>,
}

/// Why a node cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooLarge {
    #[error("holds more than {MAX_VALUES} values, aliases expanded")]
    Values,
    #[error("nested deeper than {MAX_DEPTH} levels, aliases expanded")]
    Depth,
}

impl Builder {
    pub(super) fn add(&mut self, content: Content, range: Range<usize>) -> Result<NodeId, TooLarge> {
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

    pub(super) fn get(&self, id: NodeId) -> &Node {
        node(&self.nodes, id)
    }

    pub(super) fn finish(self) -> Option<Tree> {
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
    // Ids come from the tree that they are used with, so this is always there.
    nodes.get(id.0).unwrap_or(&NOTHING)
}
