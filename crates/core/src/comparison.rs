//! Compares what two policies find in the same record or write, counts the differences, and words the counts.
//!
//! `audit --policy` compares stored records with it, and `policy replay` compares writes.
//!
//! *Architecture invariant:* pure; knows findings and actions, but not where they come from.

use std::fmt;

use crate::catalog::Action;
use crate::counted::number;
use crate::rules::Finding;

/// What another policy changes for one record or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Only the other policy denies it.
    NewlyDenied,
    /// The other policy does not deny it any more.
    NoLongerDenied,
    /// Both policies allow it, but only the other one warns of something.
    NewlyWarned,
}

impl Difference {
    /// All differences, the most important first.
    pub const ALL: [Self; 3] = [Self::NewlyDenied, Self::NoLongerDenied, Self::NewlyWarned];

    /// The words for headings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly denied",
            Self::NoLongerDenied => "no longer denied",
            Self::NewlyWarned => "newly warned of",
        }
    }
}

/// A difference, and the findings that make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared<'f> {
    /// The difference.
    pub difference: Difference,
    /// The findings that deny or warn. For [`Difference::NoLongerDenied`], those of the old policy.
    pub findings: Vec<&'f Finding>,
}

/// Compares the findings of two policies; `None` if the other policy changes nothing that a user sees.
pub fn compare<'f>(before: &'f [Finding], after: &'f [Finding]) -> Option<Compared<'f>> {
    let of = |findings: &'f [Finding], action| -> Vec<&'f Finding> {
        findings.iter().filter(|finding| finding.action == action).collect()
    };
    let (denied_before, denied_after) = (of(before, Action::Deny), of(after, Action::Deny));
    let (difference, findings) = match (denied_before.is_empty(), denied_after.is_empty()) {
        (true, false) => (Difference::NewlyDenied, denied_after),
        (false, true) => (Difference::NoLongerDenied, denied_before),
        (false, false) => return None,
        (true, true) => {
            let is_new = |finding: &&Finding| !before.iter().any(|known| warns_of(known, finding));
            let new = of(after, Action::Warn).into_iter().filter(is_new).collect();
            (Difference::NewlyWarned, new)
        }
    };
    (!findings.is_empty()).then_some(Compared { difference, findings })
}

/// Whether the user was warned of the same before: the rule and the field decide, because a policy can change the code.
fn warns_of(known: &Finding, finding: &Finding) -> bool {
    known.action == Action::Warn && known.rule == finding.rule && known.field == finding.field
}

/// The number of each difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences([u64; Difference::ALL.len()]);

impl Differences {
    /// Counts one.
    pub fn add(&mut self, difference: Difference) {
        self.0[difference as usize] += 1;
    }

    /// How often this difference was counted.
    pub fn of(&self, difference: Difference) -> u64 {
        self.0[difference as usize]
    }
}

/// `4 would newly be denied, 2 no longer, 37 newly warned of`
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [denied, no_longer, warned] = self.0.map(number);
        write!(f, "{denied} would newly be denied, {no_longer} no longer, {warned} newly warned of")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::catalog::RuleId;
    use crate::rules::{FieldPath, Reason, Shown};

    fn finding(rule: RuleId, field: &'static str, action: Action) -> Finding {
        Finding {
            rule,
            code: None,
            field: FieldPath::of(&["spec", field]),
            reason: Reason::Invalid,
            value: Shown::Nothing,
            text: String::new(),
            suggestion: None,
            action,
            denies_from: None,
        }
    }

    fn domain(action: Action) -> Vec<Finding> {
        vec![finding(RuleId::Domain, "domains", action)]
    }

    fn difference(before: &[Finding], after: &[Finding]) -> Option<Difference> {
        compare(before, after).map(|compared| compared.difference)
    }

    #[rstest]
    #[case::denied_instead_of_warned_of(
        domain(Action::Warn),
        domain(Action::Deny),
        Some(Difference::NewlyDenied)
    )]
    #[case::denied_instead_of_nothing(vec![], domain(Action::Deny), Some(Difference::NewlyDenied))]
    #[case::warned_of_instead_of_denied(
        domain(Action::Deny),
        domain(Action::Warn),
        Some(Difference::NoLongerDenied)
    )]
    #[case::warned_of_instead_of_recorded(
        domain(Action::Audit),
        domain(Action::Warn),
        Some(Difference::NewlyWarned)
    )]
    #[case::recorded_instead_of_warned_of(domain(Action::Warn), domain(Action::Audit), None)]
    #[case::warned_of_by_both(domain(Action::Warn), domain(Action::Warn), None)]
    #[case::denied_by_both(domain(Action::Deny), domain(Action::Deny), None)]
    #[case::without_findings(vec![], vec![], None)]
    fn policies_differ(
        #[case] before: Vec<Finding>,
        #[case] after: Vec<Finding>,
        #[case] expected: Option<Difference>,
    ) {
        assert_eq!(difference(&before, &after), expected);
    }

    #[test]
    fn a_warning_of_another_field_or_rule_is_new() {
        let other_field = vec![finding(RuleId::Domain, "linkedinProfile", Action::Warn)];
        let other_rule = vec![finding(RuleId::DomainHint, "domains", Action::Warn)];
        for after in [other_field, other_rule] {
            assert_eq!(difference(&domain(Action::Warn), &after), Some(Difference::NewlyWarned));
        }
    }

    #[test]
    fn the_findings_are_those_that_deny() {
        let warned = finding(RuleId::LabelValue, "labels", Action::Warn);
        let denied = finding(RuleId::Domain, "domains", Action::Deny);
        let after = [warned, denied.clone()];
        assert_eq!(compare(&[], &after).unwrap().findings, [&denied]);
        assert_eq!(compare(&after, &[]).unwrap().findings, [&denied]);
    }

    #[test]
    fn the_counts_are_worded() {
        let mut differences = Differences::default();
        (0..4).for_each(|_| differences.add(Difference::NewlyDenied));
        (0..2).for_each(|_| differences.add(Difference::NoLongerDenied));
        (0..1037).for_each(|_| differences.add(Difference::NewlyWarned));
        assert_eq!(differences.to_string(), "4 would newly be denied, 2 no longer, 1,037 newly warned of");
    }
}
