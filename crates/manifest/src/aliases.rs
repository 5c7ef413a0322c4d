//! Limits how many values aliases may stand for, as kubectl does, so that a few lines cannot fill the memory.

use std::collections::HashSet;

use crate::tree::{Content, Entry, NodeId, Tree};

/// Up to this number of aliased values, and of values in all, kubectl accepts any document.
const FREE: (u32, u32) = (100, 1000);
/// Documents up to this number of values may have the larger share of aliased ones.
const SMALL: (u32, f64) = (400_000, 0.99);
/// Documents from this number of values on may have the smaller share.
const LARGE: (u32, f64) = (4_000_000, 0.1);

/// Too many values are behind aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("aliases stand for more values than kubectl accepts")]
pub(crate) struct TooMany {
    /// The byte of the alias with which it became too many.
    pub(crate) at: usize,
}

/// Fails if too many values of a document are behind aliases. `alias_keys` are the starts of the keys that are aliases.
pub(crate) fn limit(tree: &Tree, alias_keys: &HashSet<usize>) -> Result<(), TooMany> {
    Count { tree, alias_keys, values: 0, aliased: 0, at: 0 }.visit(tree.root, false)
}

/// Counts the values in the order in which kubectl decodes them.
struct Count<'t> {
    tree: &'t Tree,
    alias_keys: &'t HashSet<usize>,
    values: u32,
    aliased: u32,
    /// The last alias that is not behind another one.
    at: usize,
}

impl Count<'_> {
    fn visit(&mut self, id: NodeId, is_aliased: bool) -> Result<(), TooMany> {
        let node = self.tree.node(id);
        self.add(is_aliased)?;
        match &node.content {
            Content::Scalar { .. } => Ok(()),
            Content::Alias(target) => {
                if !is_aliased {
                    self.at = node.range.start;
                }
                self.visit(*target, true)
            }
            Content::Sequence { entries, .. } => {
                entries.iter().try_for_each(|entry| self.visit(*entry, is_aliased))
            }
            Content::Mapping { entries, .. } => {
                entries.iter().try_for_each(|entry| self.visit_entry(entry, is_aliased))
            }
        }
    }

    fn visit_entry(&mut self, entry: &Entry, is_aliased: bool) -> Result<(), TooMany> {
        if entry.merge {
            let maps = self.tree.merged(entry.value);
            return maps.into_iter().rev().try_for_each(|map| self.visit(map, is_aliased));
        }
        self.add(is_aliased)?;
        if self.alias_keys.contains(&entry.key_range.start) {
            self.add(true)?;
        }
        self.visit(entry.value, is_aliased)
    }

    fn add(&mut self, is_aliased: bool) -> Result<(), TooMany> {
        self.values += 1;
        self.aliased += u32::from(is_aliased);
        if self.aliased <= FREE.0 || self.values <= FREE.1 {
            return Ok(());
        }
        if f64::from(self.aliased) / f64::from(self.values) <= allowed_share(self.values) {
            return Ok(());
        }
        Err(TooMany { at: self.at })
    }
}

/// The share of aliased values that a document may have after this number of values.
fn allowed_share(values: u32) -> f64 {
    if values <= SMALL.0 {
        return SMALL.1;
    }
    if values >= LARGE.0 {
        return LARGE.1;
    }
    SMALL.1 - (SMALL.1 - LARGE.1) * (f64::from(values - SMALL.0) / f64::from(LARGE.0 - SMALL.0))
}

#[cfg(test)]
mod tests {
    use crate::documents::documents;

    #[test]
    fn a_bomb_of_aliases_is_an_error_and_is_not_expanded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
        }
        let error = documents(&text).unwrap_err();
        assert_eq!((error.line, error.column), (4, 20), "{error}");
        assert_eq!(error.message, "aliases stand for more values than kubectl accepts");
    }

    #[test]
    fn aliases_may_stand_for_most_values_and_a_document_without_them_may_have_any_number() {
        let aliases = format!("a: &a [1, 2, 3]\nb: [{}]\n", "*a, ".repeat(10_000));
        assert!(documents(&aliases).is_ok());
        let plain = "- [1, 2]\n".repeat(400_000);
        assert!(documents(&plain).is_ok());
    }
}
