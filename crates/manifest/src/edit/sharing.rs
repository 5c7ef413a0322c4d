//! Finds all uses of a value, so that a shared value changes for all of them or for none.

use std::collections::{HashMap, HashSet};

use super::change::Change;
use crate::tree::{Content, NodeId, Step, Tree};

/// The change that all uses of a node require.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish<'w> {
    /// It gets this value.
    Become(&'w str),
    /// It is an entry to remove.
    Remove,
    /// Some uses require the old value, or they require different ones.
    Stay,
}

/// The nodes to change, and all nodes that share them.
pub(super) struct Sharing<'w> {
    changes: &'w [Change],
    /// The scalars to change, as they are in the file, each once.
    pub(super) scalars: Vec<NodeId>,
    aliases: HashMap<NodeId, Vec<NodeId>>,
    /// For each of the scalars and their aliases: the index of the change at each place where it is used.
    uses: HashMap<NodeId, Vec<Option<usize>>>,
}

impl<'w> Sharing<'w> {
    pub(super) fn new(tree: &Tree, changes: &'w [Change]) -> Self {
        let mut scalars: Vec<NodeId> =
            changes.iter().filter_map(|change| scalar(tree, &change.path)).collect();
        scalars.sort_unstable();
        scalars.dedup();
        let mut aliases: HashMap<NodeId, Vec<NodeId>> =
            scalars.iter().map(|scalar| (*scalar, Vec::new())).collect();
        for id in tree.ids().filter(|id| matches!(tree.node(*id).content, Content::Alias(_))) {
            if let Some(of_scalar) = aliases.get_mut(&tree.resolve(id)) {
                of_scalar.push(id);
            }
        }
        let nodes: HashSet<NodeId> = scalars.iter().chain(aliases.values().flatten()).copied().collect();
        let mut walk = Walk { tree, nodes, uses: HashMap::new() };
        walk.visit(tree.root, Some(&Wishes::new(changes)));
        Self { changes, scalars, aliases, uses: walk.uses }
    }

    /// The aliases of a scalar.
    pub(super) fn aliases(&self, scalar: NodeId) -> &[NodeId] {
        self.aliases.get(&scalar).map(Vec::as_slice).unwrap_or_default()
    }

    /// The change of a node itself, not of its aliases. A node that is not a value, such as a key, stays.
    pub(super) fn wish(&self, node: NodeId) -> Wish<'w> {
        let mut wishes = self.uses.get(&node).into_iter().flatten().map(|index| self.wish_at(*index));
        match wishes.next() {
            Some(first) if wishes.all(|wish| wish == first) => first,
            _ => Wish::Stay,
        }
    }

    fn wish_at(&self, index: Option<usize>) -> Wish<'w> {
        match index.and_then(|index| self.changes.get(index)) {
            Some(Change { value: Some(value), .. }) => Wish::Become(value),
            Some(Change { value: None, .. }) => Wish::Remove,
            None => Wish::Stay,
        }
    }

    /// The indexes of the changes that a change of this node makes.
    pub(super) fn changes_at(&self, node: NodeId) -> impl Iterator<Item = usize> {
        self.uses.get(&node).into_iter().flatten().flatten().copied()
    }
}

fn scalar(tree: &Tree, path: &[Step]) -> Option<NodeId> {
    let id = tree.resolve(tree.find(tree.root, path).node?);
    matches!(tree.node(id).content, Content::Scalar { .. }).then_some(id)
}

/// The changes by the steps of their paths.
#[derive(Default)]
struct Wishes<'w> {
    here: Option<usize>,
    within: HashMap<&'w Step, Wishes<'w>>,
}

impl<'w> Wishes<'w> {
    fn new(changes: &'w [Change]) -> Self {
        let mut root = Self::default();
        for (index, change) in changes.iter().enumerate() {
            let place = change.path.iter().fold(&mut root, |at, step| at.within.entry(step).or_default());
            place.here = Some(index);
        }
        root
    }
}

/// Visits every value, with aliases and merge keys expanded.
struct Walk<'t> {
    tree: &'t Tree,
    nodes: HashSet<NodeId>,
    uses: HashMap<NodeId, Vec<Option<usize>>>,
}

impl Walk<'_> {
    fn visit(&mut self, id: NodeId, wishes: Option<&Wishes<'_>>) {
        if self.nodes.contains(&id) {
            self.uses.entry(id).or_default().push(wishes.and_then(|wishes| wishes.here));
        }
        let tree = self.tree;
        let within = |step: &Step| wishes.and_then(|wishes| wishes.within.get(step));
        match &tree.node(id).content {
            Content::Scalar { .. } => {}
            // Aliases of a scalar are counted separately.
            Content::Alias(target) if self.nodes.contains(target) => {}
            Content::Alias(target) => self.visit(*target, wishes),
            Content::Sequence { entries, .. } => {
                for (index, entry) in entries.iter().enumerate() {
                    self.visit(*entry, within(&Step::Index(index)));
                }
            }
            Content::Mapping { entries, .. } => {
                for entry in tree.effective(entries) {
                    self.visit(entry.value, within(&Step::Name(entry.key.clone())));
                }
            }
        }
    }
}
