//! Counts what an audit found: all that is kept of the findings, however many there are.

use std::collections::BTreeMap;

use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};
use crm_core::rules::{Finding, NOT_CANONICAL, Reason, UNRESOLVED};

use super::examine::{Examined, Standing};

/// By what findings are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TallyKey {
    /// The kind of the record.
    pub kind: CrmKind,
    /// The rule that is broken.
    pub rule: RuleId,
    /// What that leads to.
    pub action: Action,
}

/// What an audit has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that were looked at.
    pub records: u64,
    /// Those of them that would be refused, were they written today.
    pub refused: u64,
    /// Those of them that the policy in force would not refuse.
    pub newly_refused: u64,
    /// Values that are valid and not in their canonical form.
    pub not_canonical: u64,
    /// References that could not be looked up.
    pub unresolved: u64,
    /// Findings by kind, rule and action.
    pub findings: BTreeMap<TallyKey, u64>,
    /// References that point at nothing, by kind and rule.
    pub dangling: BTreeMap<(CrmKind, RuleId), u64>,
}

impl Tally {
    /// Counts one record.
    pub fn add(&mut self, kind: CrmKind, examined: &Examined) {
        self.records += 1;
        self.refused += u64::from(examined.standing != Standing::Admitted);
        self.newly_refused += u64::from(examined.standing == Standing::NewlyRefused);
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

    /// How many findings have this action.
    pub fn count(&self, action: Action) -> u64 {
        self.findings.iter().filter(|(key, _)| key.action == action).map(|(_, count)| count).sum()
    }

    /// How many findings of a rule there are in records of a kind.
    pub fn of(&self, kind: CrmKind, rule: RuleId) -> u64 {
        self.findings
            .iter()
            .filter(|(key, _)| key.kind == kind && key.rule == rule)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many references point at nothing.
    pub fn all_dangling(&self) -> u64 {
        self.dangling.values().sum()
    }
}

/// Whether a finding is that a reference points at nothing, or at something that is being deleted.
pub(super) fn is_dangling(finding: &Finding) -> bool {
    finding.reason == Reason::NotFound && finding.code != Some(UNRESOLVED)
}
