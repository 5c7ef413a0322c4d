//! Replaces the alias of a list by a literal list, if other uses of the list must stay unchanged.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::change::{Candidate, Change};
use super::scalar;
use super::splice::Splice;
use crate::tree::{Content, Layout, NodeId, Step, Tree};

/// The candidates for changes that are not `planned` otherwise.
pub(super) fn written_out(
    tree: &Tree,
    changes: &[Change],
    planned: &HashSet<usize>,
    document: usize,
) -> Vec<Candidate> {
    let mut lists: BTreeMap<(NodeId, &[Step]), Vec<usize>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate().filter(|(index, _)| !planned.contains(index)) {
        if let Some((alias, path)) = alias_of_list(tree, &change.path) {
            lists.entry((alias, path)).or_default().push(index);
        }
    }
    let candidate = |((alias, path), makes): (_, Vec<usize>)| {
        let literal = literal(tree.value(alias), changes, path)?;
        let splices = vec![Splice::new(tree.node(alias).range.clone(), literal)];
        Some(Candidate { splices, document, makes })
    };
    lists.into_iter().filter_map(candidate).collect()
}

/// The alias of the list that has an entry, and the path of the list.
fn alias_of_list<'w>(tree: &Tree, entry: &'w [Step]) -> Option<(NodeId, &'w [Step])> {
    let (Step::Index(_), path) = entry.split_last()? else {
        return None;
    };
    let list = tree.find(tree.root, path).node?;
    matches!(tree.node(list).content, Content::Alias(_)).then_some((list, path))
}

/// A list of strings after the changes, between brackets.
fn literal(list: Value, changes: &[Change], path: &[Step]) -> Option<String> {
    let Value::Array(entries) = list else {
        return None;
    };
    let mut texts = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let is_entry = |change: &&Change| {
            change.path.split_last().is_some_and(|(last, list)| *last == Step::Index(index) && list == path)
        };
        match changes.iter().find(is_entry) {
            Some(Change { value: Some(value), .. }) => texts.push(scalar::literal(value, Layout::Flow)),
            Some(Change { value: None, .. }) => {}
            None => texts.push(scalar::literal(entry.as_str()?, Layout::Flow)),
        }
    }
    Some(format!("[{}]", texts.join(", ")))
}
