//! Finds who uses a value, so that what several share is changed for all of them or for none.

use std::collections::{HashMap, HashSet};

use super::super::tree::{Content, NodeId, Step, Tree};
use super::Wanted;

/// What all that use a node want of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish<'w> {
    Become(&'w str),
    /// It is an entry that is to go.
    Go,
    /// Some want it as it is, or they want different things.
    Stay,
}

/// The nodes that wanted changes lead to, and all that share them.
pub(super) struct Sharing<'w> {
    wanted: &'w [Wanted],
    /// The scalars that changes lead to, as they stand in the file, each once.
    pub(super) scalars: Vec<NodeId>,
    aliases: HashMap<NodeId, Vec<NodeId>>,
    /// For each of the scalars and their aliases: what is wanted at each place of the document that it is read at.
    uses: HashMap<NodeId, Vec<Option<usize>>>,
}

impl<'w> Sharing<'w> {
    pub(super) fn new(tree: &Tree, wanted: &'w [Wanted]) -> Self {
        let mut scalars: Vec<NodeId> =
            wanted.iter().filter_map(|wanted| scalar(tree, &wanted.path)).collect();
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
        walk.visit(tree.root, Some(&Wishes::new(wanted)));
        Self { wanted, scalars, aliases, uses: walk.uses }
    }

    /// The aliases of a scalar.
    pub(super) fn aliases(&self, scalar: NodeId) -> &[NodeId] {
        self.aliases.get(&scalar).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is wanted of a node itself, not through an alias. A node that is no value, such as a key, stays.
    pub(super) fn wish(&self, node: NodeId) -> Wish<'w> {
        let mut wishes = self.uses.get(&node).into_iter().flatten().map(|index| self.wish_at(*index));
        match wishes.next() {
            Some(first) if wishes.all(|wish| wish == first) => first,
            _ => Wish::Stay,
        }
    }

    fn wish_at(&self, index: Option<usize>) -> Wish<'w> {
        match index.and_then(|index| self.wanted.get(index)) {
            Some(Wanted { value: Some(value), .. }) => Wish::Become(value),
            Some(Wanted { value: None, .. }) => Wish::Go,
            None => Wish::Stay,
        }
    }

    /// The wanted changes that are made once a node is what it should be.
    pub(super) fn served(&self, node: NodeId) -> impl Iterator<Item = usize> {
        self.uses.get(&node).into_iter().flatten().flatten().copied()
    }
}

fn scalar(tree: &Tree, path: &[Step]) -> Option<NodeId> {
    let id = tree.resolve(tree.find(tree.root, path).node?);
    matches!(tree.node(id).content, Content::Scalar { .. }).then_some(id)
}

/// The wanted changes, by the steps that lead to them.
#[derive(Default)]
struct Wishes<'w> {
    here: Option<usize>,
    within: HashMap<&'w Step, Wishes<'w>>,
}

impl<'w> Wishes<'w> {
    fn new(wanted: &'w [Wanted]) -> Self {
        let mut root = Self::default();
        for (index, wanted) in wanted.iter().enumerate() {
            let place = wanted.path.iter().fold(&mut root, |at, step| at.within.entry(step).or_default());
            place.here = Some(index);
        }
        root
    }
}

/// Goes through everything that is read, aliases and merge keys expanded.
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
            // A scalar's aliases are counted by themselves.
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
