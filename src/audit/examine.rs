//! Puts stored records to the engine and to the schemas, and weighs one policy against another.

use std::collections::{BTreeSet, HashMap, HashSet};

use crm_core::api::{CrmKind, Target};
use crm_core::catalog::{Action, RuleId};
use crm_core::patch;
use crm_core::policy::{NormalizationMode, Policy};
use crm_core::rules::{self, Change, Effect, Fact, Facts, Finding, Operation, Record, Request, Verdict};
use jiff::Timestamp;
use serde_json::Value;

use super::lookup::{Existence, NoAnswer};
use crate::check::{Schemas, UnusableSchema, merged, record, schema_findings};

/// Decides about stored records.
pub struct Examiner {
    policy: Policy,
    /// The same policy, which rewrites whatever can be.
    rewriting: Policy,
    in_force: Option<Policy>,
    scope: Scope,
    schemas: Schemas,
    now: Timestamp,
}

/// Which rules are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All that the policy has enabled.
    #[default]
    All,
    /// These, as far as the policy has them enabled.
    Only(BTreeSet<RuleId>),
}

/// What is to be said of one record.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// What would bring its values to their canonical form.
    pub changes: Vec<Change>,
    /// What would become of it, were it written today.
    pub standing: Standing,
}

/// What would become of a record, were it written today as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It would be admitted.
    Admitted,
    /// It would be refused.
    Refused,
    /// It would be refused, and would not be by the policy in force.
    NewlyRefused,
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
    /// One who goes by `policy`, and says where `in_force` decides otherwise if one is given.
    ///
    /// # Errors
    /// The schemas of this program cannot be used.
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

    /// The policy by which is judged.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy with which it is compared.
    pub fn in_force(&self) -> Option<&Policy> {
        self.in_force.as_ref()
    }

    /// The keys of the labels that are looked at.
    pub fn labels(&self) -> BTreeSet<String> {
        let policies = [Some(&self.policy), self.in_force.as_ref()].into_iter().flatten();
        policies.flat_map(|policy| &policy.labels).map(|label| label.key.clone()).collect()
    }

    /// What is to be said of each of these records, in their order.
    ///
    /// # Errors
    /// The API server gives no answer about something that a record refers to.
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

    /// What would bring the values of a record to their canonical form.
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
        let refuses = |findings: &[Finding]| findings.iter().any(|finding| finding.action == Action::Deny);
        let standing = match (&self.in_force, refuses(&findings)) {
            (_, false) => Standing::Admitted,
            (Some(policy), true) if !refuses(&self.findings(kind, object, record, known, policy)) => {
                Standing::NewlyRefused
            }
            (_, true) => Standing::Refused,
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

/// The object as the webhook would hand it on to the schemas.
fn as_written(object: &Value, record: &Record, verdict: &Verdict) -> Value {
    let mut written = object.clone();
    // A patch that cannot be applied leaves the object as it is; then the schema says what is wrong with it.
    let _ = json_patch::patch(&mut written, &patch::patch(record, &verdict.changes));
    written
}
