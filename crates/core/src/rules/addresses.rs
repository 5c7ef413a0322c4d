//! The rules `domain` and `linkedin-profile`, which normalize values, and `domain-hint`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::{Change, Effect, Shown};
use super::path::FieldPath;
use super::request::StringValue;
use crate::catalog::{NOT_CANONICAL, RuleId};
use crate::characters::push_truncated;
use crate::normalize::{self, Code, Field, Invalid, MAX_DOMAINS, ProfileKind};
use crate::policy::NormalizationMode;
use crate::quote::{MAX_QUOTED_CHARS, quote};

/// The entries of a longer list are not checked, so that the work for a request is limited.
const MAX_CHECKED_DOMAINS: usize = 1000;

/// Checks `spec.domains`.
pub(super) fn domains(evaluation: &mut Evaluation<'_>) {
    let path = FieldPath::of(&["spec", "domains"]);
    let unchanged = evaluation.request.leaves_unchanged(&path);
    let entries = match evaluation.request.get(&path) {
        None => return,
        Some(Value::Array(entries)) => entries,
        Some(other) => return evaluation.wrong_type(&path, other, "list", Weight::ratchet(unchanged)),
    };
    if entries.len() > MAX_CHECKED_DOMAINS {
        return too_many(evaluation, &path, entries.len(), unchanged);
    }
    let mut list =
        DomainList::new(evaluation.request.stored().and_then(|stored| stored.get(&path)), unchanged);
    for (index, entry) in entries.iter().enumerate() {
        list.check(evaluation, path.index(index), index, entry);
    }
    // Invalid entries have their own findings and do not count.
    let remaining = list.canonical.len();
    if remaining > MAX_DOMAINS {
        too_many(evaluation, &path, remaining, unchanged);
    }
}

fn too_many(evaluation: &mut Evaluation<'_>, path: &FieldPath, count: usize, unchanged: bool) {
    let problem =
        Problem::invalid(RuleId::Domain, path.clone(), &format!("{count} domains"), Code::TooMany.text());
    evaluation.report(problem.with_code(Code::TooMany.as_str()), Weight::ratchet(unchanged));
}

/// The state while the entries of a list of domains are checked.
struct DomainList<'a> {
    stored_entries: &'a [Value],
    /// For each domain in the stored list, the number of copies that have not been found in the new list yet.
    stored: BTreeMap<&'a str, usize>,
    /// The index of the first entry with each canonical value.
    canonical: BTreeMap<Cow<'a, str>, usize>,
    unchanged: bool,
}

impl<'a> DomainList<'a> {
    fn new(stored: Option<&'a Value>, unchanged: bool) -> Self {
        let mut counts = BTreeMap::new();
        let stored_entries = stored.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for text in stored_entries.iter().filter_map(Value::as_str) {
            *counts.entry(text).or_insert(0) += 1;
        }
        Self { stored_entries, stored: counts, canonical: BTreeMap::new(), unchanged }
    }

    fn check(&mut self, evaluation: &mut Evaluation<'_>, path: FieldPath, index: usize, entry: &'a Value) {
        let Value::String(text) = entry else {
            let was_stored = self.stored_entries.contains(entry);
            return evaluation.wrong_type(&path, entry, "string", Weight::ratchet(was_stored));
        };
        // An additional copy is new, although the stored list has the same domain.
        let copies = self.stored.get_mut(text.as_str());
        let was_stored = copies.is_some_and(|copies| {
            let is_old = *copies > 0;
            *copies = copies.saturating_sub(1);
            is_old
        });
        match normalize::domain(text, &evaluation.policy.domains) {
            Err(invalid) => {
                let weight = Weight::ratchet(self.stored.contains_key(text.as_str()));
                evaluation.report(invalid_value(RuleId::Domain, Field::Domain, path, text, invalid), weight);
            }
            Ok(canonical) => match self.canonical.get(canonical.as_ref()) {
                Some(&first) => {
                    let effect = Effect::DuplicateRemoved { first };
                    self.rewrite(evaluation, domain_change(path, text, None, effect, was_stored));
                }
                None => {
                    if canonical != *text {
                        let after = Some(canonical.to_string());
                        let change = domain_change(path.clone(), text, after, Effect::Normalized, was_stored);
                        self.rewrite(evaluation, change);
                    }
                    self.hint(evaluation, path, text, &canonical);
                    self.canonical.insert(canonical, index);
                }
            },
        }
    }

    /// Reports a valid domain that deserves a second look.
    fn hint(&self, evaluation: &mut Evaluation<'_>, path: FieldPath, text: &str, canonical: &str) {
        if let Some(hint) = normalize::domain_hint(canonical, &evaluation.policy.domains) {
            let problem = Problem::invalid(RuleId::DomainHint, path, "", hint.text())
                .with_code(hint.as_str())
                .with_value(shown(RuleId::DomainHint, text));
            evaluation.report(problem, Weight::ratchet(self.stored.contains_key(text)));
        }
    }

    fn rewrite(&self, evaluation: &mut Evaluation<'_>, change: Change) {
        let mode = evaluation.policy.normalization.domains;
        rewrite(evaluation, change, mode, self.unchanged);
    }
}

fn domain_change(
    field: FieldPath,
    before: &str,
    after: Option<String>,
    effect: Effect,
    was_stored: bool,
) -> Change {
    Change { rule: RuleId::Domain, field, before: Some(before.to_owned()), after, effect, was_stored }
}

/// Checks `spec.linkedinProfile`.
pub(super) fn linkedin_profile(evaluation: &mut Evaluation<'_>, kind: ProfileKind) {
    let path = FieldPath::of(&["spec", "linkedinProfile"]);
    let Some(StringValue::Given(text)) = evaluation.string(&path) else {
        return;
    };
    let unchanged = evaluation.request.leaves_unchanged(&path);
    match normalize::linkedin_profile(text, kind) {
        Err(invalid) => {
            let field = Field::LinkedinProfile(kind);
            let problem = invalid_value(RuleId::LinkedinProfile, field, path, text, invalid);
            evaluation.report(problem, Weight::ratchet(unchanged));
        }
        Ok(canonical) if canonical == text => {}
        Ok(canonical) => {
            let change = Change {
                rule: RuleId::LinkedinProfile,
                field: path,
                before: Some(text.to_owned()),
                after: Some(canonical.into_owned()),
                effect: Effect::Normalized,
                was_stored: unchanged,
            };
            let mode = evaluation.policy.normalization.linkedin_profile;
            rewrite(evaluation, change, mode, unchanged);
        }
    }
}

/// Adds a change. If the value must not change, because of the policy or because the update leaves it unchanged, adds a
/// finding instead.
fn rewrite(evaluation: &mut Evaluation<'_>, change: Change, mode: NormalizationMode, unchanged: bool) {
    if unchanged || mode == NormalizationMode::RequireCanonical {
        let weight = Weight::ratchet(unchanged || change.was_stored);
        return evaluation.report(not_canonical(&change), weight);
    }
    evaluation.change(change);
}

/// The problem that a value is not canonical.
pub(super) fn not_canonical(change: &Change) -> Problem {
    let text = match (change.effect, &change.after) {
        (Effect::DuplicateRemoved { first }, _) => format!("duplicate of spec.domains[{first}]; remove it"),
        (Effect::Trimmed, Some(after)) => {
            format!("has leading or trailing white space; write {}", quote(after))
        }
        (_, Some(after)) => {
            format!("not in its canonical form; write {}", canonical_form(change.rule, after))
        }
        (_, None) => "remove it".to_owned(),
    };
    let before = change.before.as_deref().unwrap_or_default();
    Problem::invalid(change.rule, change.field.clone(), "", text)
        .with_code(NOT_CANONICAL)
        .with_value(shown(change.rule, before))
}

fn invalid_value(rule: RuleId, field: Field, path: FieldPath, text: &str, invalid: Invalid) -> Problem {
    // A character of a value that may contain a password is not shown either.
    let invalid = if text.contains('@') { invalid.without_character() } else { invalid };
    Problem::invalid(rule, path, "", invalid.text(field))
        .with_code(invalid.code().as_str())
        .with_value(shown(rule, text))
}

/// The part of a value that a message may show. An address with an `@` may contain a password or a personal address, so
/// only the host after the last `@` is shown, and only if it is certain to be one.
pub fn shown(rule: RuleId, text: &str) -> Shown {
    let is_address = matches!(rule, RuleId::Domain | RuleId::DomainHint | RuleId::LinkedinProfile);
    if !is_address || !text.contains('@') {
        return Shown::Text(text.to_owned());
    }
    normalize::host_after_user(text).map_or(Shown::Hidden, |host| Shown::Text(format!("…@{host}")))
}

/// A canonical value as messages show it: whole, in quotes, and a domain with A-labels with its form in Unicode.
pub fn canonical_form(rule: RuleId, canonical: &str) -> String {
    let mut form = format!("\"{canonical}\"");
    if rule == RuleId::Domain
        && let Some(unicode) = normalize::unicode_form(canonical)
    {
        form.push_str(" (");
        push_truncated(&mut form, &unicode, MAX_QUOTED_CHARS, &[]);
        form.push(')');
    }
    form
}
