//! Finds records that are in the files twice. Whatever applies the files keeps the one that it sends last.
//!
//! Two units of kustomize can have the same record: they are deployed in different places.

use std::collections::HashMap;

use crm_core::catalog::{Action, DUPLICATE_OBJECT, RuleId};
use crm_core::rules::{FieldPath, Finding, Reason, Shown};

use super::file::{Placed, Standing};
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
    let mut earlier: HashMap<_, Vec<&Placed<'b>>> = HashMap::new();
    let mut findings = Vec::new();
    let identity =
        [&["metadata", "name"][..], &["metadata", "namespace"]].map(|path| steps(&FieldPath::of(path)));
    let is_known = |placed: &&Placed<'b>| !identity.iter().any(|path| placed.object.substitution.hides(path));
    for placed in objects.iter().filter(is_known) {
        let metadata = &placed.object.value["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty());
        let (Some(kind), Some(name)) = (placed.object.identity.kind(), name) else { continue };
        if placed.file.standing == Standing::Named {
            continue;
        }
        let same = earlier.entry((kind, metadata["namespace"].as_str(), name)).or_default();
        let Some(first) = same.iter().copied().find(|first| are_together(first, placed)) else {
            same.push(placed);
            continue;
        };
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
            suggestion: None,
            denies_from: None,
        };
        findings.push((placed, finding));
    }
    findings
}

/// Whether two records can be deployed in the same place: those of two units are not, and those of no unit can be everywhere.
fn are_together(one: &Placed<'_>, other: &Placed<'_>) -> bool {
    match (one.rendering, other.rendering) {
        (Some(one), Some(other)) => one.build == other.build,
        (Some(_), None) => other.file.units.is_empty(),
        (None, Some(_)) => one.file.units.is_empty(),
        (None, None) => {
            let (one, other) = (&one.file.units, &other.file.units);
            one.is_empty() || other.is_empty() || !one.is_disjoint(other)
        }
    }
}
