//! The rules `domain` and `linkedin-profile`: values that are brought to one canonical form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::{Change, Effect, Shown};
use super::path::FieldPath;
use super::request::Text;
use crate::catalog::RuleId;
use crate::normalize::{self, Code, Field, MAX_DOMAINS, ProfileKind};
use crate::policy::NormalizationMode;
use crate::quote::quote;

/// The code of a value that is valid but not in its canonical form.
pub const NOT_CANONICAL: &str = "not-canonical";

/// Past this many entries a list is not looked at one by one, so that a request's work is bounded.
const MAX_JUDGED_DOMAINS: usize = 1000;

/// Judges `spec.domains`.
pub(super) fn domains(evaluation: &mut Evaluation<'_>) {
    let path = FieldPath::of(&["spec", "domains"]);
    let left = evaluation.request.leaves(&path);
    let entries = match evaluation.request.get(&path) {
        None => return,
        Some(Value::Array(entries)) => entries,
        Some(other) => return evaluation.wrong_type(&path, other, "list", Weight::ratchet(left)),
    };
    if entries.len() > MAX_JUDGED_DOMAINS {
        return too_many(evaluation, &path, entries.len(), left);
    }
    let mut list = DomainList::new(evaluation.request.stored().and_then(|stored| stored.get(&path)), left);
    for (index, entry) in entries.iter().enumerate() {
        list.judge(evaluation, path.index(index), index, entry);
    }
    // Rejected entries have findings of their own, and will not stay.
    let remaining = list.canonical.len();
    if remaining > MAX_DOMAINS {
        too_many(evaluation, &path, remaining, left);
    }
}

fn too_many(evaluation: &mut Evaluation<'_>, path: &FieldPath, count: usize, left: bool) {
    let problem = Problem::invalid(
        RuleId::Domain,
        path.clone(),
        &format!("{count} domains"),
        Code::TooMany.text(Field::Domain),
    );
    evaluation.report(problem.with_code(Code::TooMany.as_str()), Weight::ratchet(left));
}

/// What has been seen of a list of domains so far.
struct DomainList<'a> {
    stored_entries: &'a [Value],
    /// How often each text stands in the stored list and has not come up yet.
    stored: BTreeMap<&'a str, usize>,
    /// The index at which each canonical form came up first.
    canonical: BTreeMap<Cow<'a, str>, usize>,
    left: bool,
}

impl<'a> DomainList<'a> {
    fn new(stored: Option<&'a Value>, left: bool) -> Self {
        let mut counts = BTreeMap::new();
        let stored_entries = stored.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for text in stored_entries.iter().filter_map(Value::as_str) {
            *counts.entry(text).or_insert(0) += 1;
        }
        Self { stored_entries, stored: counts, canonical: BTreeMap::new(), left }
    }

    fn judge(&mut self, evaluation: &mut Evaluation<'_>, path: FieldPath, index: usize, entry: &'a Value) {
        let Value::String(text) = entry else {
            let stood = self.stored_entries.contains(entry);
            return evaluation.wrong_type(&path, entry, "string", Weight::ratchet(stood));
        };
        // A copy that was not there before is new, although the same text stood in the list.
        let copies = self.stored.get_mut(text.as_str());
        let stood = copies.is_some_and(|copies| {
            let is_left = *copies > 0;
            *copies = copies.saturating_sub(1);
            is_left
        });
        match normalize::domain(text) {
            Err(code) => {
                let weight = Weight::ratchet(self.stored.contains_key(text.as_str()));
                evaluation.report(rejection(RuleId::Domain, path, text, code), weight);
            }
            Ok(canonical) => match self.canonical.get(canonical.as_ref()) {
                Some(&first) => {
                    let effect = Effect::DuplicateRemoved { first };
                    self.rewrite(evaluation, domain_change(path, text, None, effect, stood));
                }
                None => {
                    if canonical != *text {
                        let after = Some(canonical.to_string());
                        let change = domain_change(path, text, after, Effect::Normalized, stood);
                        self.rewrite(evaluation, change);
                    }
                    self.canonical.insert(canonical, index);
                }
            },
        }
    }

    fn rewrite(&self, evaluation: &mut Evaluation<'_>, change: Change) {
        let mode = evaluation.policy.normalization.domains;
        rewrite(evaluation, change, mode, self.left);
    }
}

fn domain_change(
    field: FieldPath,
    before: &str,
    after: Option<String>,
    effect: Effect,
    stood: bool,
) -> Change {
    Change { rule: RuleId::Domain, field, before: Some(before.to_owned()), after, effect, stood }
}

/// Judges `spec.linkedinProfile`.
pub(super) fn linkedin_profile(evaluation: &mut Evaluation<'_>, kind: ProfileKind) {
    let path = FieldPath::of(&["spec", "linkedinProfile"]);
    let Some(Text::Given(text)) = evaluation.text(&path) else {
        return;
    };
    let left = evaluation.request.leaves(&path);
    match normalize::linkedin_profile(text, kind) {
        Err(code) => {
            let problem = rejection(RuleId::LinkedinProfile, path, text, code);
            evaluation.report(problem, Weight::ratchet(left));
        }
        Ok(canonical) if canonical == text => {}
        Ok(canonical) => {
            let change = Change {
                rule: RuleId::LinkedinProfile,
                field: path,
                before: Some(text.to_owned()),
                after: Some(canonical.into_owned()),
                effect: Effect::Normalized,
                stood: left,
            };
            let mode = evaluation.policy.normalization.linkedin_profile;
            rewrite(evaluation, change, mode, left);
        }
    }
}

/// Makes a change, or a finding of it where the value must stay: the policy says so, or the update left it alone.
fn rewrite(evaluation: &mut Evaluation<'_>, change: Change, mode: NormalizationMode, left: bool) {
    if left || mode == NormalizationMode::RequireCanonical {
        let weight = Weight::ratchet(left || change.stood);
        return evaluation.report(not_canonical(&change), weight);
    }
    evaluation.change(change);
}

/// The finding that a change was not made.
pub(super) fn not_canonical(change: &Change) -> Problem {
    let text = match (change.effect, &change.after) {
        (Effect::DuplicateRemoved { first }, _) => format!("duplicate of spec.domains[{first}]; remove it"),
        (Effect::Trimmed, Some(after)) => format!("has white space around it; write {}", quote(after)),
        (_, Some(after)) => format!("not in its canonical form; write \"{after}\""),
        (_, None) => "remove it".to_owned(),
    };
    let before = change.before.as_deref().unwrap_or_default();
    Problem::invalid(change.rule, change.field.clone(), "", text)
        .with_code(NOT_CANONICAL)
        .with_value(shown(change.rule, before))
}

fn rejection(rule: RuleId, path: FieldPath, text: &str, code: Code) -> Problem {
    let field = if rule == RuleId::Domain { Field::Domain } else { Field::LinkedinProfile };
    Problem::invalid(rule, path, "", code.text(field)).with_code(code.as_str()).with_value(shown(rule, text))
}

/// What a message may repeat of a value: nothing of an address with an `@`, which may hold a password or a
/// personal address.
pub fn shown(rule: RuleId, text: &str) -> Shown {
    let address = matches!(rule, RuleId::Domain | RuleId::LinkedinProfile);
    if address && text.contains('@') { Shown::Hidden } else { Shown::Text(text.to_owned()) }
}
