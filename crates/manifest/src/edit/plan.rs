//! Plans which scalars to rewrite, which aliases to replace by literals, and which entries to remove.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::change::{Candidate, Change};
use super::sharing::{Sharing, Wish};
use super::splice::Splice;
use super::{entries, lists, scalar};
use crate::text::Text;
use crate::tree::{Content, Layout, NodeId, Step, Tree};

/// The candidates of a document, before the resulting text is read.
pub(super) fn plan(text: &Text, tree: &Tree, changes: &[Change], document: usize) -> Vec<Candidate> {
    let plan = Plan { text, tree, document, sharing: Sharing::new(tree, changes), flows: flows(tree) };
    let mut candidates = Vec::new();
    for scalar in &plan.sharing.scalars {
        if plan.sharing.wish(*scalar) == Wish::Stay {
            let replaced = plan.sharing.aliases(*scalar).iter();
            candidates.extend(replaced.filter_map(|alias| plan.alone(plan.replaced(*alias)?, *alias)));
        } else {
            candidates.extend(plan.rewritten(*scalar));
        }
    }
    // Last, because an anchor can be removed only after its aliases.
    candidates.extend(plan.removals(changes));
    let planned = candidates.iter().flat_map(|candidate| &candidate.makes).copied().collect();
    candidates.extend(lists::written_out(tree, changes, &planned, document));
    candidates
}

struct Plan<'p> {
    text: &'p Text,
    tree: &'p Tree,
    document: usize,
    sharing: Sharing<'p>,
    /// The outermost flow collections, in text order.
    flows: Vec<Range<usize>>,
}

impl Plan<'_> {
    /// Rewrites a scalar, and replaces each of its aliases that needs a different value.
    fn rewritten(&self, scalar: NodeId) -> Option<Candidate> {
        let wish = self.sharing.wish(scalar);
        let mut splices = Vec::new();
        let mut makes = Vec::new();
        if let Wish::Become(value) = wish {
            let layout = self.layout_at(self.tree.node(scalar).range.start);
            splices.push(scalar::rewrite(self.text.as_str(), self.tree.node(scalar), value, layout)?);
            makes.extend(self.sharing.changes_at(scalar));
        }
        for alias in self.sharing.aliases(scalar) {
            match self.sharing.wish(*alias) {
                Wish::Become(_) if self.sharing.wish(*alias) != wish => splices.push(self.replaced(*alias)?),
                Wish::Become(_) => {}
                Wish::Stay if matches!(wish, Wish::Become(_)) => splices.push(self.spelled_out(*alias)?),
                Wish::Remove | Wish::Stay => continue,
            }
            makes.extend(self.sharing.changes_at(*alias));
        }
        (!splices.is_empty()).then_some(Candidate { splices, document: self.document, makes })
    }

    /// Replaces an alias by its new value.
    fn replaced(&self, alias: NodeId) -> Option<Splice> {
        let range = self.tree.node(alias).range.clone();
        match self.sharing.wish(alias) {
            Wish::Become(value) => {
                Some(Splice::new(range.clone(), scalar::literal(value, self.layout_at(range.start))))
            }
            Wish::Remove | Wish::Stay => None,
        }
    }

    /// Replaces an alias by its old value.
    fn spelled_out(&self, alias: NodeId) -> Option<Splice> {
        let range = self.tree.node(alias).range.clone();
        let value = self.tree.value(alias);
        Some(Splice::new(range.clone(), scalar::literal(value.as_str()?, self.layout_at(range.start))))
    }

    fn alone(&self, splice: Splice, node: NodeId) -> Option<Candidate> {
        let makes = self.sharing.changes_at(node).collect();
        Some(Candidate { splices: vec![splice], document: self.document, makes })
    }

    fn removals(&self, changes: &[Change]) -> Vec<Candidate> {
        let mut removed: BTreeMap<NodeId, BTreeSet<usize>> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.value.is_none()) {
            let Some((Step::Index(index), list)) = change.path.split_last() else {
                continue;
            };
            let list = self.tree.find(self.tree.root, list).node.map(|list| self.tree.resolve(list));
            let entry = self.tree.find(self.tree.root, &change.path).node;
            if let (Some(list), Some(entry)) = (list, entry)
                && self.sharing.wish(entry) == Wish::Remove
            {
                removed.entry(list).or_default().insert(*index);
            }
        }
        removed.iter().flat_map(|(list, indexes)| self.removed(*list, indexes)).collect()
    }

    fn removed(&self, list: NodeId, indexes: &BTreeSet<usize>) -> Vec<Candidate> {
        let Content::Sequence { entries: held, .. } = &self.tree.node(list).content else {
            return Vec::new();
        };
        let candidate = |(run, mut splices): (Range<usize>, Vec<Splice>)| {
            let removed = held.get(run).unwrap_or_default();
            // Aliases that keep the old value lose their anchor.
            let aliases = removed.iter().flat_map(|entry| self.sharing.aliases(*entry));
            let needing = aliases.filter(|alias| self.sharing.wish(**alias) == Wish::Stay);
            splices.extend(needing.filter_map(|alias| self.spelled_out(*alias)));
            let makes = removed.iter().flat_map(|entry| self.sharing.changes_at(*entry)).collect();
            Candidate { splices, document: self.document, makes }
        };
        entries::removals(self.text, self.tree, list, indexes).into_iter().map(candidate).collect()
    }

    /// The layout around a byte. Between brackets, fewer strings can be plain.
    fn layout_at(&self, byte: usize) -> Layout {
        let before = self.flows.partition_point(|flow| flow.start <= byte);
        let around = before.checked_sub(1).and_then(|index| self.flows.get(index));
        if around.is_some_and(|flow| byte < flow.end) { Layout::Flow } else { Layout::Block }
    }
}

fn flows(tree: &Tree) -> Vec<Range<usize>> {
    let flow = |id: NodeId| {
        let node = tree.node(id);
        let is_flow = matches!(
            node.content,
            Content::Sequence { layout: Layout::Flow, .. } | Content::Mapping { layout: Layout::Flow, .. }
        );
        is_flow.then(|| node.range.clone())
    };
    let mut all: Vec<Range<usize>> = tree.ids().filter_map(flow).collect();
    all.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    all.retain(|range| {
        let is_outermost = range.start >= end;
        end = end.max(range.end);
        is_outermost
    });
    all
}
