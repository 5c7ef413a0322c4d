//! Writes a list out where an alias stood for one that others use as it is.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::super::tree::{Content, Layout, NodeId, Step, Tree};
use super::edits::Edit;
use super::{Change, Wanted, scalar};

/// The changes that are not `made` otherwise and can be so.
pub(super) fn written_out(
    tree: &Tree,
    wanted: &[Wanted],
    made: &HashSet<usize>,
    document: usize,
) -> Vec<Change> {
    let mut lists: BTreeMap<(NodeId, &[Step]), Vec<usize>> = BTreeMap::new();
    for (index, wanted) in wanted.iter().enumerate().filter(|(index, _)| !made.contains(index)) {
        if let Some((alias, path)) = alias_of_list(tree, &wanted.path) {
            lists.entry((alias, path)).or_default().push(index);
        }
    }
    let change = |((alias, path), serves): (_, Vec<usize>)| {
        let literal = literal(tree.value(alias), wanted, path)?;
        let edits = vec![Edit::new(tree.node(alias).range.clone(), literal)];
        Some(Change { edits, document, serves })
    };
    lists.into_iter().filter_map(change).collect()
}

/// The alias that stands for the whole list of an entry, and its path.
fn alias_of_list<'w>(tree: &Tree, entry: &'w [Step]) -> Option<(NodeId, &'w [Step])> {
    let (Step::Index(_), path) = entry.split_last()? else {
        return None;
    };
    let list = tree.find(tree.root, path).node?;
    matches!(tree.node(list).content, Content::Alias(_)).then_some((list, path))
}

/// A list of texts as it should be, between brackets.
fn literal(list: Value, wanted: &[Wanted], path: &[Step]) -> Option<String> {
    let Value::Array(entries) = list else {
        return None;
    };
    let mut texts = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let is_entry = |wanted: &&Wanted| {
            wanted.path.split_last().is_some_and(|(last, list)| *last == Step::Index(index) && list == path)
        };
        match wanted.iter().find(is_entry) {
            Some(Wanted { value: Some(value), .. }) => texts.push(scalar::literal(value, Layout::Flow)),
            Some(Wanted { value: None, .. }) => {}
            None => texts.push(scalar::literal(entry.as_str()?, Layout::Flow)),
        }
    }
    Some(format!("[{}]", texts.join(", ")))
}
