//! Checks stored records with the engine and the schemas, and compares two policies.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};

use crm_check::conformance::{Conformance, Subject, UnusableSchema};
use crm_core::api::{CrmKind, Target, names};
use crm_core::catalog::{Action, RuleId};
use crm_core::comparison::{Difference, compare};
use crm_core::existence::Fact;
use crm_core::policy::Policy;
use crm_core::rules::{Change, Finding};
use jiff::Timestamp;
use serde_json::Value;

use super::lookup::{Existence, NoAnswer};

/// Checks stored records.
pub struct Examiner {
    conformance: Conformance,
    in_force: Option<Conformance>,
    scope: Scope,
}

/// Which rules to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All rules that the policy enables.
    #[default]
    All,
    /// These rules, if the policy enables them.
    Only(BTreeSet<RuleId>),
}

/// The result for one record.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its name, after its namespace if it has one: `crm/call`.
    pub name: String,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// The changes that make its values canonical.
    pub changes: Vec<Change>,
    /// What would happen if it were written today.
    pub standing: Standing,
    /// What the policy changes, compared with the one in force.
    pub difference: Option<Difference>,
    /// The objects that were looked up for it.
    pub targets: Vec<Target>,
}

/// What would happen to a record if it were written today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It would be allowed.
    Admitted,
    /// It would be denied.
    Denied,
}

impl Scope {
    fn holds(&self, rule: RuleId) -> bool {
        match self {
            Self::All => true,
            Self::Only(rules) => rules.contains(&rule),
        }
    }
}

impl Examiner {
    /// An examiner for `policy`, which also compares with `in_force` if given.
    ///
    /// # Errors
    /// The schemas of this program are invalid.
    pub fn new(
        policy: Policy,
        in_force: Option<Policy>,
        scope: Scope,
        now: Timestamp,
    ) -> Result<Self, UnusableSchema> {
        let conformance = Conformance::new(policy, now)?;
        let in_force = in_force.map(|policy| conformance.with_policy(policy));
        Ok(Self { conformance, in_force, scope })
    }

    /// The same for this policy and time, without a comparison.
    #[must_use]
    pub fn renewed(&self, policy: Policy, now: Timestamp) -> Self {
        let mut conformance = self.conformance.with_policy(policy);
        conformance.set_now(now);
        Self { conformance, in_force: None, scope: self.scope.clone() }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.conformance.policy()
    }

    /// The policy to compare with.
    pub fn in_force(&self) -> Option<&Policy> {
        self.in_force.as_ref().map(Conformance::policy)
    }

    /// The policy, and the one to compare with if given.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.conformances().map(Conformance::policy)
    }

    /// The keys of the labels that are checked.
    pub fn labels(&self) -> BTreeSet<String> {
        self.policies().flat_map(|policy| &policy.labels).map(|label| label.key.clone()).collect()
    }

    /// Whether everything is audited, and by one policy.
    pub fn is_whole(&self) -> bool {
        self.scope == Scope::All && self.in_force.is_none()
    }

    /// The results for these records, in the same order.
    ///
    /// # Errors
    /// The API server did not answer a lookup.
    pub async fn examine<O: Borrow<Value>>(
        &self,
        kind: CrmKind,
        objects: &[O],
        existence: &Existence<'_>,
    ) -> Result<Vec<Examined>, NoAnswer> {
        let objects = || objects.iter().map(|object| -> &Value { object.borrow() });
        let subjects: Vec<Subject<'_>> = objects().map(|object| Subject::stored(kind, object)).collect();
        let targets: HashSet<Target> = subjects.iter().flat_map(|subject| self.targets(subject)).collect();
        let known = existence.facts(targets).await?;
        let judged = objects().zip(&subjects);
        Ok(judged.map(|(object, subject)| self.judge(object, subject, &known)).collect())
    }

    /// The changes that make the values of a record canonical.
    pub fn changes(&self, subject: &Subject<'_>) -> Vec<Change> {
        let mut changes = self.conformance.fixes(subject);
        changes.retain(|change| self.scope.holds(change.rule));
        changes
    }

    fn conformances(&self) -> impl Iterator<Item = &Conformance> {
        std::iter::once(&self.conformance).chain(&self.in_force)
    }

    fn targets<'s>(&'s self, subject: &'s Subject<'_>) -> impl Iterator<Item = Target> + 's {
        let references = self.conformances().flat_map(|conformance| conformance.references(subject));
        let asked = references.filter(|reference| self.scope.holds(reference.key.rule));
        asked.map(|reference| reference.target)
    }

    fn judge(&self, object: &Value, subject: &Subject<'_>, known: &HashMap<Target, Fact>) -> Examined {
        let findings = self.findings(subject, known, &self.conformance);
        let denies = |findings: &[Finding]| findings.iter().any(|finding| finding.action == Action::Deny);
        let standing = if denies(&findings) { Standing::Denied } else { Standing::Admitted };
        let difference = self.in_force.as_ref().and_then(|in_force| {
            let before = self.findings(subject, known, in_force);
            compare(&before, &findings).map(|compared| compared.difference)
        });
        Examined {
            name: full_name(object),
            findings,
            changes: self.changes(subject),
            standing,
            difference,
            targets: self.targets(subject).collect(),
        }
    }

    fn findings(
        &self,
        subject: &Subject<'_>,
        known: &HashMap<Target, Fact>,
        conformance: &Conformance,
    ) -> Vec<Finding> {
        let references = conformance.references(subject).into_iter();
        let facts =
            references.filter_map(|reference| Some((reference.key, known.get(&reference.target)?.clone())));
        let mut findings = conformance.findings(subject, &facts.collect());
        findings.retain(|finding| self.scope.holds(finding.rule));
        findings
    }
}

/// The name of an object, after its namespace if it has one.
pub(super) fn full_name(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    names::full_name(text("namespace"), text("name"))
}
