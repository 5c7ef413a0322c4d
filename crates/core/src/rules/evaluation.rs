//! The state of one evaluation: the inputs that all rules read and the verdict that they write.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use super::finding::{Change, Exempted, Finding, Reason, Shown, Verdict};
use super::path::FieldPath;
use super::request::{Facts, Request, StringValue};
use crate::catalog::{Action, RuleId};
use crate::policy::{Exemption, Policy};
use crate::quote::wrong_type;

/// An evaluation of one request.
pub(super) struct Evaluation<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) facts: &'a Facts,
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
    pub(super) verdict: Verdict,
}

/// A problem that a rule found, before the policy sets the action.
pub(super) struct Problem {
    pub(super) rule: RuleId,
    pub(super) code: Option<&'static str>,
    pub(super) field: FieldPath,
    pub(super) reason: Reason,
    pub(super) value: Shown,
    pub(super) text: String,
    pub(super) suggestion: Option<String>,
}

/// The strictest action that a problem may have, whatever the policy says; the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// The action of the rule.
    Full,
    /// At most `Warn`.
    AtMostWarn,
    /// At most `Audit`, so that the requester does not see it.
    AtMostAudit,
}

impl Weight {
    /// A field that an update leaves unchanged is never a reason to deny.
    pub(super) fn ratchet(unchanged: bool) -> Self {
        if unchanged { Self::AtMostWarn } else { Self::Full }
    }

    /// The less strict of both.
    pub(super) fn at_most(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Problem {
    /// A missing value.
    pub(super) fn required(rule: RuleId, field: FieldPath, text: impl Into<String>) -> Self {
        let (reason, value) = (Reason::Required, Shown::Nothing);
        Self { rule, code: None, field, reason, value, text: text.into(), suggestion: None }
    }

    /// An invalid value.
    pub(super) fn invalid(rule: RuleId, field: FieldPath, value: &str, text: impl Into<String>) -> Self {
        let (reason, value) = (Reason::Invalid, Shown::Text(value.to_owned()));
        Self { rule, code: None, field, reason, value, text: text.into(), suggestion: None }
    }

    pub(super) fn with_reason(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(super) fn with_suggestion(self, meant: Option<&str>) -> Self {
        Self { suggestion: meant.map(str::to_owned), ..self }
    }

    pub(super) fn with_value(self, value: Shown) -> Self {
        Self { value, ..self }
    }
}

/// Turns problems into findings, by the policy, the requester and the time.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) policy: &'a Policy,
    pub(super) requester: Option<&'a UserInfo>,
    pub(super) now: Timestamp,
}

impl<'a> Judge<'a> {
    /// The exemption of the requester from a rule.
    pub(super) fn exemption(&self, rule: RuleId) -> Option<&'a Exemption> {
        self.requester.and_then(|user| self.policy.exemption(rule, user, self.now))
    }

    /// Adds the finding for a problem to the verdict, unless the rule is disabled or the requester exempt.
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
            Weight::AtMostWarn => effective.action.min(Action::Warn),
            Weight::AtMostAudit => effective.action.min(Action::Audit),
        };
        let Problem { rule, code, field, reason, value, text, suggestion } = problem;
        // The date matters only if the rule will deny from then on.
        let denies_from = effective.denies_from.filter(|_| weight == Weight::Full);
        let finding = Finding { rule, code, field, reason, value, text, suggestion, action, denies_from };
        verdict.findings.push(finding);
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

    /// Reports a problem. The policy sets the action and the exemptions.
    pub(super) fn report(&mut self, problem: Problem, weight: Weight) {
        let judge = Judge { policy: self.policy, requester: self.request.requester, now: self.now };
        judge.report(&mut self.verdict, problem, weight);
    }

    /// Adds a change, unless its rule is disabled.
    pub(super) fn change(&mut self, change: Change) {
        if self.policy.is_enabled(change.rule) {
            self.verdict.changes.push(change);
        }
    }

    /// The string at `path`. A value of another type is reported, and the result is `None`.
    pub(super) fn string(&mut self, path: &FieldPath) -> Option<StringValue<'a>> {
        match StringValue::of(self.request.get(path)) {
            StringValue::WrongType(value) => {
                let weight = Weight::ratchet(self.request.leaves_unchanged(path));
                self.wrong_type(path, value, "string", weight);
                None
            }
            string => Some(string),
        }
    }

    /// The object at `path`. A value of another type is reported, and the result is `None`.
    pub(super) fn object(&mut self, path: &FieldPath) -> Option<ObjectValue> {
        match self.request.get(path) {
            None => Some(ObjectValue::Missing),
            Some(Value::Object(_)) => Some(ObjectValue::Object),
            Some(other) => {
                let weight = Weight::ratchet(self.request.leaves_unchanged(path));
                self.wrong_type(path, other, "object", weight);
                None
            }
        }
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, path: &FieldPath, value: &Value, expected: &str, weight: Weight) {
        let text = wrong_type(expected, value);
        let problem = Problem::invalid(RuleId::Schema, path.clone(), "", text).with_value(Shown::of(value));
        self.report(problem, weight);
    }
}

/// Whether an optional object exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectValue {
    Missing,
    Object,
}
