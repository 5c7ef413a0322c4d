//! What the engine and the schema of a kind say of one record, put together.

use std::collections::BTreeMap;

use crm_core::catalog::{Action, RuleId};
use crm_core::policy::EffectiveAction;
use crm_core::rules::{Finding, Record};
use serde_json::Value;

use super::schema::Violation;

/// The parts that rules look at. What has another type is the schema's business.
pub(crate) fn record(object: &Value) -> Record {
    let labels = object["metadata"]["labels"].as_object();
    let labels = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Record { labels: labels.collect::<BTreeMap<_, _>>(), spec: object["spec"].clone() }
}

/// Violations as findings of the rule `schema`, with the action that it has now.
pub(crate) fn schema_findings(violations: Vec<Violation>, effective: EffectiveAction) -> Vec<Finding> {
    if effective.action == Action::Disabled {
        return Vec::new();
    }
    let finding = |Violation { field, reason, value, text }| Finding {
        rule: RuleId::Schema,
        code: None,
        field,
        reason,
        value,
        text,
        action: effective.action,
        denies_from: effective.denies_from,
    };
    violations.into_iter().map(finding).collect()
}

/// The findings of both. What the engine says of a field says more than the schema does, unless it lets pass what the
/// schema does not.
pub(crate) fn merged(engine: Vec<Finding>, mut schema: Vec<Finding>) -> Vec<Finding> {
    schema.retain(|schema| {
        let same =
            |finding: &Finding| finding.action >= schema.action && finding.field.overlaps(&schema.field);
        !engine.iter().any(same)
    });
    schema.extend(engine);
    schema
}
