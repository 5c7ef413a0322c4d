//! The state of one evaluation: the inputs that every rule reads and the verdict that they write.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use super::finding::{Change, Exempted, Finding, Reason, Shown, Verdict};
use super::path::FieldPath;
use super::request::{Facts, Request, Text};
use crate::catalog::{Action, RuleId};
use crate::policy::{Exemption, Policy};
use crate::quote::wrong_type;

/// One evaluation under way.
pub(super) struct Evaluation<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) facts: &'a Facts,
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
    pub(super) verdict: Verdict,
}

/// A problem as a rule sees it, before the policy has its say.
pub(super) struct Problem {
    pub(super) rule: RuleId,
    pub(super) code: Option<&'static str>,
    pub(super) field: FieldPath,
    pub(super) reason: Reason,
    pub(super) value: Shown,
    pub(super) text: String,
}

/// Whether a problem may be a reason to refuse; the heaviest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// As the rule's action says.
    Full,
    /// At most a warning.
    Advice,
    /// At most recorded, so that the requester does not hear of it.
    Record,
}

impl Weight {
    /// What an update leaves as it was is never a reason to refuse.
    pub(super) fn ratchet(left_as_it_was: bool) -> Self {
        if left_as_it_was { Self::Advice } else { Self::Full }
    }

    /// The lesser of both.
    pub(super) fn or(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Problem {
    /// A missing value.
    pub(super) fn required(rule: RuleId, field: FieldPath, text: impl Into<String>) -> Self {
        Self { rule, code: None, field, reason: Reason::Required, value: Shown::Nothing, text: text.into() }
    }

    /// A value that is wrong.
    pub(super) fn invalid(rule: RuleId, field: FieldPath, value: &str, text: impl Into<String>) -> Self {
        let value = Shown::Text(value.to_owned());
        Self { rule, code: None, field, reason: Reason::Invalid, value, text: text.into() }
    }

    pub(super) fn with_reason(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(super) fn with_value(self, value: Shown) -> Self {
        Self { value, ..self }
    }
}

/// What makes a problem a finding: the policy, and for whom and when it is asked.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) policy: &'a Policy,
    pub(super) requester: Option<&'a UserInfo>,
    pub(super) now: Timestamp,
}

impl<'a> Judge<'a> {
    /// Why a rule does not hold for the requester.
    pub(super) fn exemption(&self, rule: RuleId) -> Option<&'a Exemption> {
        self.requester.and_then(|user| self.policy.exemption(rule, user, self.now))
    }

    /// Adds the finding that a problem is, if it is one, to the verdict.
    pub(super) fn report(&self, verdict: &mut Verdict, problem: Problem, weight: Weight) {
        let effective = self.policy.action(problem.rule, self.now);
        if effective.action == Action::Disabled {
            return;
        }
        if let Some(exemption) = self.exemption(problem.rule) {
            let exempted = Exempted { rule: problem.rule, exemption: exemption.name.clone() };
            verdict.exempted.push(exempted);
            return;
        }
        let action = match weight {
            Weight::Full => effective.action,
            Weight::Advice => effective.action.min(Action::Warn),
            Weight::Record => effective.action.min(Action::Audit),
        };
        let Problem { rule, code, field, reason, value, text } = problem;
        // The date matters only to those whom the rule would refuse once it has come.
        let denies_from = effective.denies_from.filter(|_| weight == Weight::Full);
        verdict.findings.push(Finding { rule, code, field, reason, value, text, action, denies_from });
    }
}

impl<'a> Evaluation<'a> {
    /// An evaluation that adds to `verdict`.
    pub(super) fn new(
        request: &'a Request<'a>,
        facts: &'a Facts,
        policy: &'a Policy,
        now: Timestamp,
        verdict: Verdict,
    ) -> Self {
        Self { request, facts, policy, now, verdict }
    }

    /// Makes a finding of a problem: the policy decides what it leads to and who is exempt.
    pub(super) fn report(&mut self, problem: Problem, weight: Weight) {
        let judge = Judge { policy: self.policy, requester: self.request.requester, now: self.now };
        judge.report(&mut self.verdict, problem, weight);
    }

    /// Notes a change, unless its rule is disabled.
    pub(super) fn change(&mut self, change: Change) {
        if self.policy.is_enabled(change.rule) {
            self.verdict.changes.push(change);
        }
    }

    /// The text at `path`; a value of another type is reported and given as `None`.
    pub(super) fn text(&mut self, path: &FieldPath) -> Option<Text<'a>> {
        match Text::of(self.request.get(path)) {
            Text::Wrong(value) => {
                let weight = Weight::ratchet(self.request.leaves(path));
                self.wrong_type(path, value, "string", weight);
                None
            }
            text => Some(text),
        }
    }

    /// The object at `path` or its absence; a value of another type is reported and given as `None`.
    pub(super) fn object(&mut self, path: &FieldPath) -> Option<Shape> {
        match self.request.get(path) {
            None => Some(Shape::Absent),
            Some(Value::Object(_)) => Some(Shape::Object),
            Some(other) => {
                let weight = Weight::ratchet(self.request.leaves(path));
                self.wrong_type(path, other, "object", weight);
                None
            }
        }
    }

    /// Reports that a value has another type than a rule needs.
    pub(super) fn wrong_type(&mut self, path: &FieldPath, value: &Value, expected: &str, weight: Weight) {
        let text = wrong_type(expected, value);
        let problem = Problem::invalid(RuleId::Schema, path.clone(), "", text).with_value(Shown::of(value));
        self.report(problem, weight);
    }
}

/// Whether an optional object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Absent,
    Object,
}
