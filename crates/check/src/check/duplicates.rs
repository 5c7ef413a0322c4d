//! Finds records that are in the files twice. Whatever applies the files keeps the one that it sends last.

use std::collections::HashMap;

use crm_core::catalog::{Action, DUPLICATE_OBJECT, RuleId};
use crm_core::rules::{FieldPath, Finding, Reason, Shown};

use super::bundle::Placed;
use super::steps::steps;

/// The findings, each with the record that has the kind, namespace and name of an earlier one. `position` gives the
/// place of a field as text.
pub(super) fn findings<'o, 'b>(
    objects: &'o [Placed<'b>],
    action: Action,
    position: impl Fn(&Placed<'b>, &FieldPath) -> String,
) -> Vec<(&'o Placed<'b>, Finding)> {
    if action == Action::Disabled {
        return Vec::new();
    }
    let field = FieldPath::of(&["metadata", "name"]);
    let mut firsts = HashMap::new();
    let mut findings = Vec::new();
    let identity =
        [&["metadata", "name"][..], &["metadata", "namespace"]].map(|path| steps(&FieldPath::of(path)));
    let is_known = |placed: &&Placed<'b>| !identity.iter().any(|path| placed.object.substitution.hides(path));
    for placed in objects.iter().filter(is_known) {
        let metadata = &placed.object.value["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty());
        let (Some(kind), Some(name)) = (placed.object.identity.kind(), name) else { continue };
        let first: &Placed<'b> = firsts.entry((kind, metadata["namespace"].as_str(), name)).or_insert(placed);
        if std::ptr::eq(first, placed) {
            continue;
        }
        let finding = Finding {
            rule: RuleId::Schema,
            code: Some(DUPLICATE_OBJECT),
            field: field.clone(),
            reason: Reason::Invalid,
            value: Shown::Text(name.to_owned()),
            text: format!(
                "another {} of this name is at {}, and the one that is applied last counts; remove or rename one",
                kind.as_str(),
                position(first, &field)
            ),
            action: action.min(Action::Warn),
            denies_from: None,
        };
        findings.push((placed, finding));
    }
    findings
}
