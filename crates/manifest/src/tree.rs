//! A document as a tree in which every node knows its bytes in the text.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};

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

/// A key that a merge key after it overrides. Other readers let the key win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The bytes of the merge key.
    pub at: Range<usize>,
    /// The path of the map with both keys.
    pub map: Vec<Step>,
    /// The key that it overrides.
    pub key: String,
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
    /// The byte after what is there: the value, the alias or the key.
    pub end: usize,
    /// The bytes of the key that leads to it; `None` for a list entry, the root and a missing node.
    pub key: Option<Range<usize>>,
}

/// What is written at a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointed {
    /// The path of the value, or of the value that the key belongs to.
    pub path: Vec<Step>,
    /// The bytes of the key or value.
    pub bytes: Range<usize>,
    /// Whether it is a key.
    pub is_key: bool,
}

impl Tree {
    /// The key or the scalar at a byte; `None` between them. One behind an alias is where its anchor is.
    pub fn pointed(&self, byte: usize) -> Option<Pointed> {
        self.pointed_in(self.root, byte, &mut Vec::new())
    }

    fn pointed_in(&self, id: NodeId, byte: usize, path: &mut Vec<Step>) -> Option<Pointed> {
        let touches = |range: &Range<usize>| range.start <= byte && byte <= range.end;
        let node = self.node(id);
        let here = |path: &[Step], bytes: &Range<usize>, is_key| {
            Some(Pointed { path: path.to_vec(), bytes: bytes.clone(), is_key })
        };
        match &node.content {
            Content::Scalar { .. } | Content::Alias(_) => {
                touches(&node.range).then(|| here(path, &node.range, false)).flatten()
            }
            Content::Sequence { entries, .. } => entries.iter().enumerate().find_map(|(index, entry)| {
                path.push(Step::Index(index));
                let found = self.pointed_in(*entry, byte, path);
                path.pop();
                found
            }),
            Content::Mapping { entries, .. } => entries.iter().find_map(|entry| {
                path.push(Step::Name(entry.key.clone()));
                let found = if touches(&entry.key_range) {
                    here(path, &entry.key_range, true)
                } else {
                    self.pointed_in(entry.value, byte, path)
                };
                path.pop();
                found
            }),
        }
    }

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

    /// The fields of a map, including those of its merge keys. As in kubectl, what comes later wins.
    pub(crate) fn effective<'t>(&'t self, entries: &'t [Entry]) -> Vec<&'t Entry> {
        if entries.iter().all(|entry| !entry.merge) {
            return entries.iter().collect();
        }
        let mut fields = Fields::default();
        for entry in entries {
            if entry.merge {
                self.merge(entry.value, &mut fields);
            } else {
                fields.set(entry);
            }
        }
        fields.entries
    }

    /// Adds the fields of the maps in the value of a merge key. Those of the first map win.
    fn merge<'t>(&'t self, source: NodeId, fields: &mut Fields<'t>) {
        for map in self.merged(source).iter().rev() {
            if let Content::Mapping { entries, .. } = &self.node(self.resolve(*map)).content {
                self.effective(entries).into_iter().for_each(|entry| fields.set(entry));
            }
        }
    }

    /// The maps in the value of a merge key.
    pub(crate) fn merged(&self, source: NodeId) -> Vec<NodeId> {
        match &self.node(source).content {
            Content::Sequence { entries, .. } => entries.clone(),
            _ => vec![source],
        }
    }

    /// The merge keys in a value that override a key before them, in the order of the text. Values behind aliases are
    /// not searched: they are where their anchors are.
    pub fn overridden(&self, from: NodeId) -> Vec<Overridden> {
        let mut overridden = Vec::new();
        self.search_overridden(from, &mut Vec::new(), &mut overridden);
        overridden.sort_by_key(|overridden| overridden.at.start);
        overridden
    }

    fn search_overridden(&self, node: NodeId, path: &mut Vec<Step>, overridden: &mut Vec<Overridden>) {
        let inner: Vec<(Step, NodeId)> = match &self.node(node).content {
            Content::Mapping { entries, .. } => {
                if entries.iter().skip(1).any(|entry| entry.merge) {
                    self.overridden_in(entries, path, overridden);
                }
                entries.iter().map(|entry| (Step::Name(entry.key.clone()), entry.value)).collect()
            }
            Content::Sequence { entries, .. } => {
                entries.iter().enumerate().map(|(index, entry)| (Step::Index(index), *entry)).collect()
            }
            Content::Scalar { .. } | Content::Alias(_) => return,
        };
        for (step, value) in inner {
            path.push(step);
            self.search_overridden(value, path, overridden);
            path.pop();
        }
    }

    fn overridden_in(&self, entries: &[Entry], map: &[Step], overridden: &mut Vec<Overridden>) {
        let mut known: HashSet<&str> = HashSet::new();
        for entry in entries {
            if !entry.merge {
                known.insert(&entry.key);
                continue;
            }
            let mut merged = Fields::default();
            self.merge(entry.value, &mut merged);
            for field in merged.entries {
                if !known.insert(&field.key) {
                    let key = field.key.clone();
                    overridden.push(Overridden { at: entry.key_range.clone(), map: map.to_vec(), key });
                }
            }
        }
    }

    /// The field with this key, and the alias behind which it is, if it comes from a merge key.
    pub(crate) fn entry(&self, mapping: NodeId, key: &str) -> Option<(&Entry, Option<NodeId>)> {
        let Content::Mapping { entries, .. } = &self.node(self.resolve(mapping)).content else {
            return None;
        };
        entries.iter().rev().find_map(|entry| {
            if !entry.merge {
                return (entry.key == key).then_some((entry, None));
            }
            self.merged(entry.value).into_iter().find_map(|map| {
                let is_alias = matches!(self.node(map).content, Content::Alias(_));
                let (entry, inner) = self.entry(map, key)?;
                Some((entry, Some(map).filter(|_| is_alias).or(inner)))
            })
        })
    }

    /// Follows a path from a node.
    ///
    /// The position of a value is its start; of a value behind an alias, the alias; of a missing one, the key of its
    /// parent. A block collection has no visible start, so its position is its key.
    pub fn find(&self, from: NodeId, path: &[Step]) -> Found {
        let mut at = from;
        let mut key: Option<Range<usize>> = None;
        let mut through: Option<Range<usize>> = None;
        for step in path {
            let is_alias = matches!(self.node(at).content, Content::Alias(_));
            // A missing field is reported at the key of its map.
            let missing_at = through.clone().or_else(|| key.clone());
            if through.is_none() && is_alias {
                through = Some(self.node(at).range.clone());
            }
            let next = match step {
                Step::Name(name) => self.entry(at, name).map(|(entry, alias)| {
                    let by = alias.map(|alias| self.node(alias).range.clone());
                    (entry.value, Some(entry.key_range.clone()), by)
                }),
                Step::Index(index) => self.index(at, *index).map(|entry| (entry, None, None)),
            };
            let Some((node, next_key, by)) = next else {
                let place = missing_at.unwrap_or_else(|| self.node(at).range.clone());
                return Found { node: None, position: place.start, end: place.end, key: None };
            };
            through = through.or(by);
            (at, key) = (node, next_key);
        }
        let key = key.filter(|_| through.is_none());
        let place = through.unwrap_or_else(|| self.shown_at(at, key.clone()));
        Found { node: Some(at), position: place.start, end: place.end, key }
    }

    fn index(&self, sequence: NodeId, index: usize) -> Option<NodeId> {
        match &self.node(self.resolve(sequence)).content {
            Content::Sequence { entries, .. } => entries.get(index).copied(),
            _ => None,
        }
    }

    fn shown_at(&self, id: NodeId, key: Option<Range<usize>>) -> Range<usize> {
        let node = self.node(id);
        let by_key = match &node.content {
            Content::Scalar { .. } => node.range.is_empty(),
            Content::Sequence { layout, .. } | Content::Mapping { layout, .. } => *layout == Layout::Block,
            Content::Alias(_) => false,
        };
        key.filter(|_| by_key).unwrap_or_else(|| node.range.clone())
    }
}

/// The fields of a map while they are collected, each once.
#[derive(Default)]
struct Fields<'t> {
    entries: Vec<&'t Entry>,
    places: HashMap<&'t str, usize>,
}

impl<'t> Fields<'t> {
    fn set(&mut self, entry: &'t Entry) {
        let place = *self.places.entry(&entry.key).or_insert(self.entries.len());
        match self.entries.get_mut(place) {
            Some(before) => *before = entry,
            None => self.entries.push(entry),
        }
    }
}

/// Collects the nodes of a tree, each after its children.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
}

/// A document has too many levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nested deeper than {MAX_DEPTH} levels with aliases expanded")]
pub(crate) struct TooLarge;

impl Builder {
    pub(crate) fn add(&mut self, content: Content, range: Range<usize>) -> Result<NodeId, TooLarge> {
        let above = |id: &NodeId| self.get(*id).height + 1;
        let height = match &content {
            Content::Scalar { .. } => None,
            Content::Alias(target) => Some(above(target)),
            Content::Sequence { entries, .. } => entries.iter().map(above).max(),
            Content::Mapping { entries, .. } => entries.iter().map(|entry| above(&entry.value)).max(),
        };
        let height = height.unwrap_or(0);
        if height > MAX_DEPTH {
            return Err(TooLarge);
        }
        self.nodes.push(Node { content, range, height });
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
    static NOTHING: Node =
        Node { content: Content::Scalar { value: Value::Null, style: Style::Plain }, range: 0..0, height: 0 };
    // Ids come from the tree that they are used with, so the node always exists.
    nodes.get(id.0).unwrap_or(&NOTHING)
}
