//! Counts the findings of an audit. Only the counts stay in memory.

use std::collections::BTreeMap;

use crm_core::api::CrmKind;
use crm_core::catalog::NOT_CANONICAL;
use crm_core::catalog::{Action, RuleId};
use crm_core::comparison::Differences;
use crm_core::existence::UNRESOLVED;
use crm_core::rules::{Finding, Reason};

use super::examine::{Examined, Standing};

/// The key by which findings are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TallyKey {
    /// The kind of the record.
    pub kind: CrmKind,
    /// The rule.
    pub rule: RuleId,
    /// The action.
    pub action: Action,
}

/// The counts of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that were checked.
    pub records: u64,
    /// Records that would be denied if they were written today.
    pub denied: u64,
    /// The differences to the policy in force, if there are two policies.
    pub differences: Differences,
    /// Values that are valid but not canonical.
    pub not_canonical: u64,
    /// References that could not be looked up.
    pub unresolved: u64,
    /// Findings by kind, rule and action.
    pub findings: BTreeMap<TallyKey, u64>,
    /// References to missing objects, by kind and rule.
    pub dangling: BTreeMap<(CrmKind, RuleId), u64>,
}

impl Tally {
    /// Counts one record.
    pub fn add(&mut self, kind: CrmKind, examined: &Examined) {
        self.records += 1;
        self.denied += u64::from(examined.standing != Standing::Admitted);
        if let Some(difference) = examined.difference {
            self.differences.add(difference);
        }
        for finding in &examined.findings {
            let key = TallyKey { kind, rule: finding.rule, action: finding.action };
            *self.findings.entry(key).or_default() += 1;
            self.not_canonical += u64::from(finding.code == Some(NOT_CANONICAL));
            self.unresolved += u64::from(finding.code == Some(UNRESOLVED));
            if is_dangling(finding) {
                *self.dangling.entry((kind, finding.rule)).or_default() += 1;
            }
        }
    }

    /// The number of findings with this action.
    pub fn count(&self, action: Action) -> u64 {
        self.findings.iter().filter(|(key, _)| key.action == action).map(|(_, count)| count).sum()
    }

    /// The number of findings of a rule in records of a kind.
    pub fn of(&self, kind: CrmKind, rule: RuleId) -> u64 {
        self.findings
            .iter()
            .filter(|(key, _)| key.kind == kind && key.rule == rule)
            .map(|(_, count)| count)
            .sum()
    }

    /// The strictest action of the findings of a rule.
    pub fn strictest(&self, rule: RuleId) -> Action {
        let actions = self.findings.keys().filter(|key| key.rule == rule).map(|key| key.action);
        actions.max().unwrap_or(Action::Disabled)
    }

    /// The number of references to missing objects.
    pub fn all_dangling(&self) -> u64 {
        self.dangling.values().sum()
    }
}

/// Whether a finding is about a reference to an object that is missing or being deleted.
pub(super) fn is_dangling(finding: &Finding) -> bool {
    finding.reason == Reason::NotFound && finding.code != Some(UNRESOLVED)
}
