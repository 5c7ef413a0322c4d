//! The rule `label-value`: labels that the policy lists have an allowed value.

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::Reason;
use super::path::FieldPath;
use crate::api::names;
use crate::catalog::RuleId;
use crate::policy::LabelRule;

/// How similar an allowed value must be to the given one to be suggested (Jaro-Winkler, 0 to 1).
const NEAR_MISS: f64 = 0.85;

/// Checks the labels that the policy lists.
pub(super) fn label_values(evaluation: &mut Evaluation<'_>) {
    let policy = evaluation.policy;
    let kind = evaluation.request.kind;
    for label in policy.labels.iter().filter(|label| label.applies_to(kind)) {
        let given = evaluation.request.object.labels.get(&label.key);
        let stored = evaluation.request.stored().map(|stored| stored.labels.get(&label.key));
        let weight = Weight::ratchet(stored == Some(given));
        match given {
            Some(value) if label.allowed.contains(value) => {}
            Some(value) => {
                let problem = Problem::invalid(RuleId::LabelValue, field(label), value, choice(label, value))
                    .with_reason(Reason::NotSupported)
                    .with_suggestion(nearest(&label.allowed, value));
                evaluation.report(problem, weight);
            }
            None if label.required => {
                let text = format!("set it to one of {}", listed(label));
                evaluation.report(Problem::required(RuleId::LabelValue, field(label), text), weight);
            }
            None => {}
        }
    }
}

fn field(label: &LabelRule) -> FieldPath {
    FieldPath::label(&label.key)
}

/// The advice: the allowed value that the user probably meant, or all of them.
fn choice(label: &LabelRule, value: &str) -> String {
    match nearest(&label.allowed, value) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("supported values: {}", listed(label)),
    }
}

fn listed(label: &LabelRule) -> String {
    let quoted: Vec<String> = label.allowed.iter().map(|value| format!("\"{value}\"")).collect();
    quoted.join(", ")
}

/// The value that the user probably meant, if any is similar.
pub(super) fn nearest<'v>(values: &'v [String], written: &str) -> Option<&'v str> {
    names::nearest(values.iter().map(String::as_str), written, NEAR_MISS)
}
