//! The condition `Compliant` of a record: what it says, and what findings say it should.

use crm_core::catalog::Action;
use crm_core::existence::UNRESOLVED;
use crm_core::rules::{Finding, Reason};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The type of the condition.
pub const COMPLIANT: &str = "Compliant";

/// What the policy says about a stored record today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compliance {
    /// It would be accepted without a warning.
    Compliant,
    /// It would be accepted with a warning.
    Warned,
    /// It would be denied.
    Denied,
    /// A lookup failed, so it may be any of these. If it would be denied in any case, it is [`Self::Denied`].
    NotChecked,
}

impl Compliance {
    /// All values.
    pub const ALL: [Self; 4] = [Self::Compliant, Self::Warned, Self::Denied, Self::NotChecked];

    /// What these findings say. Those that are only recorded do not count.
    pub fn of(findings: &[Finding]) -> Self {
        let shown = || findings.iter().filter(|finding| finding.action >= Action::Warn);
        if shown().any(|finding| finding.action == Action::Deny && !is_open(finding)) {
            Self::Denied
        } else if shown().any(is_open) {
            Self::NotChecked
        } else if shown().next().is_some() {
            Self::Warned
        } else {
            Self::Compliant
        }
    }

    /// The status of the condition.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Compliant => "True",
            Self::Warned | Self::Denied => "False",
            Self::NotChecked => "Unknown",
        }
    }

    /// The reason of the condition.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Compliant => "Compliant",
            Self::Warned => "Warned",
            Self::Denied => "Denied",
            Self::NotChecked => "NotChecked",
        }
    }

    /// Whether a condition says this. The status alone does not tell a warning from a denial.
    pub fn is_said_by(self, condition: &Condition) -> bool {
        condition.status == self.status() && condition.reason == self.reason()
    }
}

/// Whether a finding only says that a lookup failed.
fn is_open(finding: &Finding) -> bool {
    finding.reason == Reason::Unchecked || finding.code == Some(UNRESOLVED)
}

/// The condition as it is stored. A field of a wrong type counts as missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason in one word.
    pub reason: String,
    /// The findings.
    pub message: String,
    /// The number of the spec that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Since when it has had this status.
    pub last_transition_time: String,
}

impl Condition {
    /// Reads the condition out of the status of a record.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn of_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let status = Value::deserialize(deserializer)?;
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let condition = conditions.find(|condition| condition["type"] == COMPLIANT);
        Ok(condition.map(|condition| {
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            Self {
                status: text("status"),
                reason: text("reason"),
                message: text("message"),
                observed_generation: condition["observedGeneration"].as_i64(),
                last_transition_time: text("lastTransitionTime"),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use crm_core::catalog::RuleId;
    use crm_core::rules::{FieldPath, Shown};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn finding(action: Action, reason: Reason, code: Option<&'static str>) -> Finding {
        Finding {
            rule: RuleId::CompanyExists,
            code,
            field: FieldPath::of(&["spec", "companyRef", "name"]),
            reason,
            value: Shown::Nothing,
            text: "a text".to_owned(),
            suggestion: None,
            action,
            denies_from: None,
        }
    }

    #[rstest]
    #[case::the_same("False", "Denied", true)]
    #[case::other_status("True", "Denied", false)]
    #[case::other_reason("False", "Warned", false)]
    fn a_condition_says_it_with_status_and_reason(
        #[case] status: &str,
        #[case] reason: &str,
        #[case] says: bool,
    ) {
        let condition =
            Condition { status: status.to_owned(), reason: reason.to_owned(), ..Condition::default() };
        assert_eq!(Compliance::Denied.is_said_by(&condition), says);
    }

    #[rstest]
    #[case::nothing(vec![], Compliance::Compliant)]
    #[case::recorded(vec![finding(Action::Audit, Reason::Invalid, None)], Compliance::Compliant)]
    #[case::warned(vec![finding(Action::Warn, Reason::Invalid, None)], Compliance::Warned)]
    #[case::denied(vec![finding(Action::Deny, Reason::NotFound, None)], Compliance::Denied)]
    #[case::failed(vec![finding(Action::Deny, Reason::Unchecked, None)], Compliance::NotChecked)]
    #[case::may_not(vec![finding(Action::Warn, Reason::NotFound, Some(UNRESOLVED))], Compliance::NotChecked)]
    #[case::failed_and_warned(
        vec![finding(Action::Warn, Reason::Invalid, None), finding(Action::Deny, Reason::Unchecked, None)],
        Compliance::NotChecked
    )]
    #[case::failed_and_denied(
        vec![finding(Action::Deny, Reason::Unchecked, None), finding(Action::Deny, Reason::Invalid, None)],
        Compliance::Denied
    )]
    fn findings_decide(#[case] findings: Vec<Finding>, #[case] expected: Compliance) {
        assert_eq!(Compliance::of(&findings), expected);
    }

    #[rstest]
    #[case::none(json!(null))]
    #[case::of_another_type(json!({"conditions": [{"type": "Ready", "status": "True"}]}))]
    #[case::no_list(json!({"conditions": {"type": "Compliant"}}))]
    #[case::no_status(json!("Compliant"))]
    fn a_status_without_the_condition_has_none(#[case] status: Value) {
        assert_eq!(Condition::of_status(status).unwrap(), None);
    }

    #[test]
    fn the_condition_is_found_among_others() {
        let status = json!({"conditions": [
            {"type": "Ready", "status": "False"},
            {"type": "Compliant", "status": "True", "reason": "Compliant", "message": 7, "observedGeneration": 3,
                "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]});
        let expected = Condition {
            status: "True".to_owned(),
            reason: "Compliant".to_owned(),
            message: String::new(),
            observed_generation: Some(3),
            last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
        };
        assert_eq!(Condition::of_status(status).unwrap(), Some(expected));
    }
}
