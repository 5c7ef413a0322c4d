//! Decides one write under two policies.

use crm_core::api::{CrmKind, ResourceKind};
use crm_core::comparison::{Compared, compare};
use crm_core::existence::Fact;
use crm_core::links::{Dependents, Tally};
use crm_core::policy::Policy;
use crm_core::rules::{self, Change, Deletion, Facts, Finding, Reference, Request};
use jiff::Timestamp;
use std::sync::Arc;

/// The two policies of a replay.
#[derive(Clone, Debug)]
pub struct Policies {
    /// The policy that is compared with, such as the one in force.
    pub before: Policy,
    /// The policy to try.
    pub after: Policy,
}

/// The findings of both policies.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    before: Vec<Finding>,
    after: Vec<Finding>,
    /// The changes under the policy that is compared with.
    pub(super) changes: Vec<Change>,
}

impl Verdicts {
    /// What the policy to try changes.
    pub(super) fn difference(&self) -> Option<Compared<'_>> {
        compare(&self.before, &self.after)
    }
}

impl Policies {
    /// The kinds that records may refer to.
    pub(super) fn looked_up(&self) -> Vec<Arc<ResourceKind>> {
        let each = [&self.before, &self.after].map(|policy| rules::looked_up(policy, &CrmKind::ALL));
        each.into_iter().flatten().collect()
    }

    /// The references that each policy looks up.
    pub(super) fn references(&self, request: &Request<'_>) -> [Vec<Reference>; 2] {
        [&self.before, &self.after].map(|policy| rules::references(request, policy))
    }

    /// Decides a create or an update.
    pub(super) fn decide(
        &self,
        request: &Request<'_>,
        references: &[Vec<Reference>; 2],
        fact: impl Fn(&Reference) -> Option<Fact>,
        now: Timestamp,
    ) -> Verdicts {
        let facts = |references: &[Reference]| -> Facts {
            references.iter().filter_map(|reference| Some((reference.key, fact(reference)?))).collect()
        };
        let [asked_before, asked_after] = references;
        let before = rules::evaluate(request, &facts(asked_before), &self.before, now);
        let after = rules::evaluate(request, &facts(asked_after), &self.after, now);
        Verdicts { before: before.findings, after: after.findings, changes: before.changes }
    }

    /// Decides a deletion.
    pub(super) fn decide_deletion(
        &self,
        deletion: &Deletion<'_>,
        mut count: impl FnMut(&Dependents) -> Tally,
        now: Timestamp,
    ) -> Verdicts {
        let mut findings = |policy: &Policy| {
            let questions = rules::dependents(deletion, policy, now);
            let found: Vec<_> =
                questions.iter().map(|question| (question.kind, Some(count(question)))).collect();
            rules::evaluate_deletion(deletion, &found, policy, now).findings
        };
        Verdicts { before: findings(&self.before), after: findings(&self.after), changes: Vec::new() }
    }
}
