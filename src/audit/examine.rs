//! Checks stored records with the engine and the schemas, and compares two policies.

use std::collections::{BTreeSet, HashMap, HashSet};

use crm_core::api::{CrmKind, Target};
use crm_core::catalog::{Action, RuleId};
use crm_core::existence::Fact;
use crm_core::patch;
use crm_core::policy::{NormalizationMode, Policy};
use crm_core::rules::{self, Change, Effect, Facts, Finding, Operation, Record, Request, Verdict};
use jiff::Timestamp;
use serde_json::Value;

use super::lookup::{Existence, NoAnswer};
use crate::check::{Schemas, UnusableSchema, merged, record, schema_findings};

/// Decides about stored records.
pub struct Examiner {
    policy: Policy,
    /// The same policy, with all normalization on.
    rewriting: Policy,
    in_force: Option<Policy>,
    scope: Scope,
    schemas: Schemas,
    now: Timestamp,
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
    /// Its name.
    pub name: String,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// The changes that make its values canonical.
    pub changes: Vec<Change>,
    /// What would happen if it were written today.
    pub standing: Standing,
}

/// What would happen to a record if it were written today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It would be allowed.
    Admitted,
    /// It would be denied.
    Denied,
    /// It would be denied, but not by the policy in force.
    NewlyDenied,
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
        let mut rewriting = policy.clone();
        rewriting.normalization.domains = NormalizationMode::Normalize;
        rewriting.normalization.linkedin_profile = NormalizationMode::Normalize;
        Ok(Self { policy, rewriting, in_force, scope, schemas: Schemas::new()?, now })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy to compare with.
    pub fn in_force(&self) -> Option<&Policy> {
        self.in_force.as_ref()
    }

    /// The keys of the labels that are checked.
    pub fn labels(&self) -> BTreeSet<String> {
        let policies = [Some(&self.policy), self.in_force.as_ref()].into_iter().flatten();
        policies.flat_map(|policy| &policy.labels).map(|label| label.key.clone()).collect()
    }

    /// The results for these records, in the same order.
    ///
    /// # Errors
    /// The API server did not answer a lookup.
    pub async fn examine(
        &self,
        kind: CrmKind,
        objects: &[Value],
        existence: &Existence<'_>,
    ) -> Result<Vec<Examined>, NoAnswer> {
        let records: Vec<Record> = objects.iter().map(record).collect();
        let mut targets = HashSet::new();
        for record in &records {
            targets.extend(self.targets(kind, record));
        }
        let known = existence.facts(targets).await?;
        let judged = objects.iter().zip(&records);
        Ok(judged.map(|(object, record)| self.judge(kind, object, record, &known)).collect())
    }

    /// The changes that make the values of a record canonical.
    pub fn changes(&self, kind: CrmKind, record: &Record) -> Vec<Change> {
        let verdict = rules::evaluate(&stored(kind, record), &Facts::default(), &self.rewriting, self.now);
        let values = verdict.changes.into_iter();
        let ours = |change: &Change| {
            self.scope.holds(change.rule) && !matches!(change.effect, Effect::Defaulted | Effect::Restored)
        };
        values.filter(ours).collect()
    }

    fn targets(&self, kind: CrmKind, record: &Record) -> impl Iterator<Item = Target> {
        let request = stored(kind, record);
        let policies = [Some(&self.policy), self.in_force.as_ref()].into_iter().flatten();
        let references = policies.flat_map(move |policy| rules::references(&request, policy));
        let asked: Vec<_> = references.filter(|reference| self.scope.holds(reference.rule)).collect();
        asked.into_iter().map(|reference| reference.target)
    }

    fn judge(
        &self,
        kind: CrmKind,
        object: &Value,
        record: &Record,
        known: &HashMap<Target, Fact>,
    ) -> Examined {
        let findings = self.findings(kind, object, record, known, &self.policy);
        let denies = |findings: &[Finding]| findings.iter().any(|finding| finding.action == Action::Deny);
        let standing = match (&self.in_force, denies(&findings)) {
            (_, false) => Standing::Admitted,
            (Some(policy), true) if !denies(&self.findings(kind, object, record, known, policy)) => {
                Standing::NewlyDenied
            }
            (_, true) => Standing::Denied,
        };
        Examined {
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            findings,
            changes: self.changes(kind, record),
            standing,
        }
    }

    fn findings(
        &self,
        kind: CrmKind,
        object: &Value,
        record: &Record,
        known: &HashMap<Target, Fact>,
        policy: &Policy,
    ) -> Vec<Finding> {
        let request = stored(kind, record);
        let references = rules::references(&request, policy).into_iter();
        let facts =
            references.filter_map(|reference| Some((reference.rule, known.get(&reference.target)?.clone())));
        let verdict = rules::evaluate(&request, &facts.collect(), policy, self.now);
        let violations = self.schemas.violations(kind, &as_written(object, record, &verdict));
        let schema = schema_findings(violations, policy.action(RuleId::Schema, self.now));
        let mut findings = merged(rules::for_file(verdict).findings, schema);
        findings.retain(|finding| self.scope.holds(finding.rule));
        findings
    }
}

fn stored<'r>(kind: CrmKind, record: &'r Record) -> Request<'r> {
    Request {
        kind,
        object: record,
        operation: Operation::Stored,
        requester: None,
        dry_run: false,
        field_manager: None,
    }
}

/// The object as the webhook would store it.
fn as_written(object: &Value, record: &Record, verdict: &Verdict) -> Value {
    let mut written = object.clone();
    // If a patch cannot be applied, the object stays as it is, and the schema reports the problem.
    let _ = json_patch::patch(&mut written, &patch::patch(record, &verdict.changes));
    written
}
