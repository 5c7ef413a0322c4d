//! Finds merge keys that override a key before them. kubectl lets the merge key win; other tools let the own key win, and
//! so read another record from the same file.

use crm_core::catalog::{Action, MERGE_ORDER, RuleId};
use crm_core::quote::quote;
use crm_core::rules::{FieldPath, Finding, Reason, Shown};
use crm_manifest::{Content, NodeId, Tree};

use super::bundle::Placed;

/// The findings about an object, each with the byte of its merge key.
pub(super) fn findings(placed: &Placed<'_>, action: Action) -> Vec<(usize, Finding)> {
    let tree = &placed.document.tree;
    let finding = |overridden: &crm_manifest::Overridden| {
        let map = path(tree, placed.object.root, overridden.at, &FieldPath::default())?;
        let text = format!(
            "kubectl takes the value of the merge key after {}, other tools take this one; move << before it",
            quote(&overridden.key)
        );
        let finding = Finding {
            rule: RuleId::Schema,
            code: Some(MERGE_ORDER),
            field: map.field(overridden.key.clone()),
            reason: Reason::Invalid,
            value: Shown::Nothing,
            text,
            action: action.min(Action::Warn),
            denies_from: None,
        };
        Some((overridden.at, finding))
    };
    let enabled = action != Action::Disabled;
    placed.document.overridden.iter().filter(|_| enabled).filter_map(finding).collect()
}

/// The path of the map with a merge key at a byte.
fn path(tree: &Tree, node: NodeId, at: usize, here: &FieldPath) -> Option<FieldPath> {
    match &tree.node(node).content {
        Content::Mapping { entries, .. } => {
            if entries.iter().any(|entry| entry.merge && entry.key_range.start == at) {
                return Some(here.clone());
            }
            entries.iter().find_map(|entry| path(tree, entry.value, at, &here.field(entry.key.clone())))
        }
        Content::Sequence { entries, .. } => {
            let entries = entries.iter().enumerate();
            entries.into_iter().find_map(|(index, entry)| path(tree, *entry, at, &here.index(index)))
        }
        Content::Scalar { .. } | Content::Alias(_) => None,
    }
}
