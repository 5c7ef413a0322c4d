//! Finds merge keys that override a key before them. kubectl lets the merge key win; other tools let the own key win, and
//! so read another record from the same file.

use std::ops::Range;

use crm_core::catalog::{Action, MERGE_ORDER, RuleId};
use crm_core::quote::quote;
use crm_core::rules::{Finding, Reason, Shown};
use crm_manifest::Overridden;

use super::file::Placed;
use super::steps::path;

/// The findings about an object, each with the bytes of its merge key.
pub(super) fn findings(placed: &Placed<'_>, action: Action) -> Vec<(Range<usize>, Finding)> {
    if action == Action::Disabled {
        return Vec::new();
    }
    let finding = |overridden: Overridden| {
        let text = format!(
            "kubectl takes the value of the merge key after {}, other tools take this one; move << before it",
            quote(&overridden.key)
        );
        let finding = Finding {
            rule: RuleId::Schema,
            code: Some(MERGE_ORDER),
            field: path(&overridden.map).field(overridden.key),
            reason: Reason::Invalid,
            value: Shown::Nothing,
            text,
            action: action.min(Action::Warn),
            suggestion: None,
            denies_from: None,
        };
        (overridden.at, finding)
    };
    placed.document.tree.overridden(placed.object.root).into_iter().map(finding).collect()
}
