//! Finds records that are in the files twice. Whatever applies the files keeps the one that it sends last.
//!
//! Two builds of kustomize can have the same record: they are deployed in different places.

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
    let mut firsts = HashMap::new();
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
        let build = placed.rendering.map(|rendering| rendering.build);
        let record = (kind, metadata["namespace"].as_str(), name);
        // Objects without a build come first.
        let earlier = firsts.get(&(None, record)).or_else(|| firsts.get(&(build, record)));
        let Some(first): Option<&&Placed<'b>> = earlier else {
            firsts.insert((build, record), placed);
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
            denies_from: None,
        };
        findings.push((placed, finding));
    }
    findings
}
