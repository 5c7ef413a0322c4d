//! Decides which scalars are written anew, which aliases give way to literals, and which entries go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::text::Text;
use super::super::tree::{Content, Layout, NodeId, Step, Tree};
use super::edits::Edit;
use super::sharing::{Sharing, Wish};
use super::{Change, Wanted, entries, lists, scalar};

/// The changes of a document that nothing speaks against as long as its text is not looked at.
pub(super) fn plan(text: &Text, tree: &Tree, wanted: &[Wanted], document: usize) -> Vec<Change> {
    let plan = Plan { text, tree, document, sharing: Sharing::new(tree, wanted), flows: flows(tree) };
    let mut changes = Vec::new();
    for scalar in &plan.sharing.scalars {
        if plan.sharing.wish(*scalar) == Wish::Stay {
            let replaced = plan.sharing.aliases(*scalar).iter();
            changes.extend(replaced.filter_map(|alias| plan.alone(plan.replaced(*alias)?, *alias)));
        } else {
            changes.extend(plan.rewritten(*scalar));
        }
    }
    // Last, since an anchor can only go after its aliases.
    changes.extend(plan.removals(wanted));
    let made = changes.iter().flat_map(|change| &change.serves).copied().collect();
    changes.extend(lists::written_out(tree, wanted, &made, document));
    changes
}

struct Plan<'p> {
    text: &'p Text,
    tree: &'p Tree,
    document: usize,
    sharing: Sharing<'p>,
    /// The outermost flow collections, in the order of the text.
    flows: Vec<Range<usize>>,
}

impl Plan<'_> {
    /// The scalar written anew and the aliases replaced that want something else, be it the old text.
    fn rewritten(&self, scalar: NodeId) -> Option<Change> {
        let wish = self.sharing.wish(scalar);
        let mut edits = Vec::new();
        let mut serves = Vec::new();
        if let Wish::Become(value) = wish {
            let layout = self.layout_at(self.tree.node(scalar).range.start);
            edits.push(scalar::rewrite(self.text.as_str(), self.tree.node(scalar), value, layout)?);
            serves.extend(self.sharing.served(scalar));
        }
        for alias in self.sharing.aliases(scalar) {
            match self.sharing.wish(*alias) {
                Wish::Become(_) if self.sharing.wish(*alias) != wish => edits.push(self.replaced(*alias)?),
                Wish::Become(_) => {}
                Wish::Stay if matches!(wish, Wish::Become(_)) => edits.push(self.spelled_out(*alias)?),
                Wish::Go | Wish::Stay => continue,
            }
            serves.extend(self.sharing.served(*alias));
        }
        (!edits.is_empty()).then_some(Change { edits, document: self.document, serves })
    }

    /// The literal in place of an alias.
    fn replaced(&self, alias: NodeId) -> Option<Edit> {
        let range = self.tree.node(alias).range.clone();
        match self.sharing.wish(alias) {
            Wish::Become(value) => {
                Some(Edit::new(range.clone(), scalar::literal(value, self.layout_at(range.start))))
            }
            Wish::Go | Wish::Stay => None,
        }
    }

    /// What an alias means by now, in its place.
    fn spelled_out(&self, alias: NodeId) -> Option<Edit> {
        let range = self.tree.node(alias).range.clone();
        let value = self.tree.value(alias);
        Some(Edit::new(range.clone(), scalar::literal(value.as_str()?, self.layout_at(range.start))))
    }

    fn alone(&self, edit: Edit, node: NodeId) -> Option<Change> {
        let serves = self.sharing.served(node).collect();
        Some(Change { edits: vec![edit], document: self.document, serves })
    }

    fn removals(&self, wanted: &[Wanted]) -> Vec<Change> {
        let mut going: BTreeMap<NodeId, BTreeSet<usize>> = BTreeMap::new();
        for wanted in wanted.iter().filter(|wanted| wanted.value.is_none()) {
            let Some((Step::Index(index), list)) = wanted.path.split_last() else {
                continue;
            };
            let list = self.tree.find(self.tree.root, list).node.map(|list| self.tree.resolve(list));
            let entry = self.tree.find(self.tree.root, &wanted.path).node;
            if let (Some(list), Some(entry)) = (list, entry)
                && self.sharing.wish(entry) == Wish::Go
            {
                going.entry(list).or_default().insert(*index);
            }
        }
        going.iter().flat_map(|(list, going)| self.removed(*list, going)).collect()
    }

    fn removed(&self, list: NodeId, going: &BTreeSet<usize>) -> Vec<Change> {
        let Content::Sequence { entries: held, .. } = &self.tree.node(list).content else {
            return Vec::new();
        };
        let change = |(indexes, mut edits): (Range<usize>, Vec<Edit>)| {
            let gone = held.get(indexes).unwrap_or_default();
            // Who needs the old text no longer finds it at the anchor.
            let aliases = gone.iter().flat_map(|entry| self.sharing.aliases(*entry));
            let needing = aliases.filter(|alias| self.sharing.wish(**alias) == Wish::Stay);
            edits.extend(needing.filter_map(|alias| self.spelled_out(*alias)));
            let serves = gone.iter().flat_map(|entry| self.sharing.served(*entry)).collect();
            Change { edits, document: self.document, serves }
        };
        entries::removals(self.text, self.tree, list, going).into_iter().map(change).collect()
    }

    /// Whether a place is between brackets, where less can be written plain.
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
