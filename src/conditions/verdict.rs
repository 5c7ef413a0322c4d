//! Turns findings into the condition of a record.

use std::fmt::Write;

use crm_core::catalog::Action;
use crm_core::characters::printable;
use crm_core::rules::Finding;
use jiff::Timestamp;

use crate::audit::{Compliance, Condition};

/// The maximum number of findings in a message.
const MOST_FINDINGS: usize = 10;
/// The maximum length of a message in characters.
const MOST_CHARACTERS: usize = 1024;
/// The characters that are kept for the number of the findings that are left out.
const FOR_THE_REST: usize = 24;

/// The condition for a record with these findings, whose spec has that number. `stored` is its condition so far.
pub(super) fn condition(
    findings: &[Finding],
    generation: Option<i64>,
    stored: Option<&Condition>,
    now: Timestamp,
) -> Condition {
    let compliance = Compliance::of(findings);
    let since = match stored {
        Some(stored) if stored.status == compliance.status() && !stored.last_transition_time.is_empty() => {
            stored.last_transition_time.clone()
        }
        _ => now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    Condition {
        status: compliance.status().to_owned(),
        reason: compliance.reason().to_owned(),
        message: message(findings),
        observed_generation: generation,
        last_transition_time: since,
    }
}

/// The findings that users see, those that deny first: `spec.domains[0]: no domain name [domain/bad-label]; …`.
fn message(findings: &[Finding]) -> String {
    let of_action = |action: Action| findings.iter().filter(move |finding| finding.action == action);
    let shown: Vec<String> = of_action(Action::Deny).chain(of_action(Action::Warn)).map(line).collect();
    if shown.is_empty() {
        return "The record complies with the policy.".to_owned();
    }
    let mut message = String::new();
    let mut length = 0;
    for (index, line) in shown.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let more = separator.chars().count() + line.chars().count();
        if index == MOST_FINDINGS || length + more > MOST_CHARACTERS - FOR_THE_REST {
            let rest = shown.len() - index;
            if index == 0 {
                message.extend(line.chars().take(MOST_CHARACTERS - FOR_THE_REST - 1));
                message.push('…');
            } else {
                // Writing to a string cannot fail.
                let _ = write!(message, "; and {rest} more");
            }
            break;
        }
        message.push_str(separator);
        message.push_str(line);
        length += more;
    }
    message
}

fn line(finding: &Finding) -> String {
    printable(&format!("{}: {}", finding.field, finding.rest()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crm_core::catalog::RuleId;
    use crm_core::rules::{FieldPath, Reason, Shown};
    use serde_json::Value;

    use super::*;
    use crate::audit::COMPLIANT;

    fn finding(action: Action, text: &str) -> Finding {
        Finding {
            rule: RuleId::Domain,
            code: None,
            field: FieldPath::of(&["spec", "domains"]).index(0),
            reason: Reason::Invalid,
            value: Shown::Hidden,
            text: text.to_owned(),
            suggestion: None,
            action,
            denies_from: None,
        }
    }

    fn many(number: usize, text: &str) -> Vec<Finding> {
        (0..number).map(|_| finding(Action::Warn, text)).collect()
    }

    #[test]
    fn a_message_has_the_field_the_text_and_the_rule_of_each_finding_and_denials_first() {
        let findings = [
            finding(Action::Warn, "a warning"),
            finding(Action::Audit, "only recorded"),
            finding(Action::Deny, "a denial"),
        ];
        assert_eq!(
            message(&findings),
            "spec.domains[0]: a denial [domain]; spec.domains[0]: a warning [domain]"
        );
        assert_eq!(message(&findings[1..2]), "The record complies with the policy.");
    }

    #[test]
    fn a_message_has_at_most_ten_findings() {
        assert_eq!(message(&many(10, "a text")).matches("[domain]").count(), 10);
        let message = message(&many(25, "a text"));
        assert_eq!(message.matches("[domain]").count(), 10);
        assert!(message.ends_with("[domain]; and 15 more"), "{message}");
    }

    #[test]
    fn a_message_has_at_most_1024_characters() {
        for length in [80, 200, 997, 1024, 5000] {
            for number in [1, 2, 10, 200] {
                let message = message(&many(number, &"ä".repeat(length)));
                let characters = message.chars().count();
                assert!(characters <= 1024, "{number} of {length}: {characters}");
                assert!(characters > 200 || number == 1, "{number} of {length}: {message}");
            }
        }
    }

    #[test]
    fn a_message_has_no_control_characters() {
        let message = message(&many(1, "a\u{1b}[31m\ntext\u{202e}"));
        assert!(
            !message.contains(|character: char| character.is_control() || character == '\u{202e}'),
            "{message}"
        );
    }

    /// `make formats` runs the health checks for Argo CD and Flux on these records.
    #[test]
    fn the_records_of_the_health_checks_have_the_conditions_that_are_written() {
        let file = include_str!("../../tests/health/records.yaml");
        let records: Value = serde_saphyr::from_str(file).unwrap();
        let conditions = records
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|record| record["status"]["conditions"].as_array().cloned().unwrap_or_default())
            .filter(|condition| condition["type"] == COMPLIANT);
        let mut seen = Vec::new();
        for mut written in conditions {
            let compliance = Compliance::ALL.into_iter().find(|it| written["reason"] == it.reason()).unwrap();
            assert_eq!(written["status"], compliance.status(), "{written}");
            written.as_object_mut().unwrap().remove("type");
            let fields = |condition: &Value| -> BTreeSet<String> {
                condition.as_object().unwrap().keys().cloned().collect()
            };
            let ours = condition(&[], Some(3), None, Timestamp::from_second(1_800_000_000).unwrap());
            assert_eq!(fields(&written), fields(&serde_json::to_value(ours).unwrap()));
            seen.push(compliance);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, Compliance::ALL);
    }

    #[test]
    fn the_time_changes_only_with_the_status() {
        let (then, now) = ("2026-01-01T00:00:00Z", Timestamp::from_second(1_800_000_000).unwrap());
        let before = |status: &str| Condition {
            status: status.to_owned(),
            last_transition_time: then.to_owned(),
            ..Condition::default()
        };
        let findings = many(1, "a text");
        let of = |stored: Option<&Condition>| condition(&findings, Some(3), stored, now);
        assert_eq!(of(Some(&before("False"))).last_transition_time, then);
        assert_eq!(of(Some(&before("True"))).last_transition_time, "2027-01-15T08:00:00Z");
        assert_eq!(of(None).last_transition_time, "2027-01-15T08:00:00Z");
        assert_eq!(of(None).observed_generation, Some(3));
        let twice = of(Some(&of(None)));
        assert_eq!(twice, of(None), "nothing differs, so nothing is written");
    }
}
