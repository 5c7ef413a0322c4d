//! Checks one whole object with the engine and the schema of its kind.

mod identity;
mod metadata;
mod published;
mod schema;
mod violation;

use std::collections::BTreeMap;
use std::sync::Arc;

use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};
use crm_core::patch;
use crm_core::policy::{NormalizationMode, Policy};
use crm_core::rules::{
    self, Change, Effect, Facts, FieldPath, Finding, Operation, Record, Reference, Request, Segment, Verdict,
};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use schema::Schemas;
use violation::Violation;

pub use identity::Identity;
pub use published::ManifestSchema;
pub use schema::UnusableSchema;

/// Checks objects under one policy.
pub struct Conformance {
    policy: Policy,
    /// The same policy, with all normalization on.
    fixing: Policy,
    schemas: Arc<Schemas>,
    now: Timestamp,
}

/// One object, and whether it is created or already stored.
pub struct Subject<'o> {
    kind: CrmKind,
    object: &'o Value,
    record: Record,
    operation: Operation<'o>,
    requester: Option<&'o UserInfo>,
}

impl<'o> Subject<'o> {
    /// An object that `requester` will create; `None` if the user is unknown.
    pub fn created(kind: CrmKind, object: &'o Value, requester: Option<&'o UserInfo>) -> Self {
        Self { kind, object, record: record(object), operation: Operation::Create, requester }
    }

    /// An object that is stored in a cluster.
    pub fn stored(kind: CrmKind, object: &'o Value) -> Self {
        Self { kind, object, record: record(object), operation: Operation::Stored, requester: None }
    }

    fn request(&self) -> Request<'_> {
        Request {
            kind: self.kind,
            object: &self.record,
            operation: self.operation,
            requester: self.requester,
            dry_run: false,
            field_manager: None,
        }
    }

    /// Whether the webhook would default the creator from a user that is unknown here.
    fn creator_is_open(&self) -> bool {
        if !matches!(self.operation, Operation::Create) || self.requester.is_some() {
            return false;
        }
        match &self.record.spec["creatorRef"] {
            Value::Null => true,
            Value::Object(fields) => fields.get("name").is_none_or(|name| name.is_null() || name == ""),
            _ => false,
        }
    }
}

impl Conformance {
    /// A check under `policy`, at the time `now`.
    ///
    /// # Errors
    /// The schemas of this program are invalid.
    pub fn new(policy: Policy, now: Timestamp) -> Result<Self, UnusableSchema> {
        Ok(Self { fixing: fixing(&policy), policy, schemas: Arc::new(Schemas::new()?), now })
    }

    /// The same check under another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self { fixing: fixing(&policy), policy, schemas: Arc::clone(&self.schemas), now: self.now }
    }

    /// Checks as at this time from now on.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The action of the rule `schema`.
    pub fn schema_action(&self) -> Action {
        self.policy.action(RuleId::Schema, self.now).action
    }

    /// The references that the rules look up.
    pub fn references(&self, subject: &Subject<'_>) -> Vec<Reference> {
        rules::references(&subject.request(), &self.policy)
    }

    /// The changes that make the values of an object canonical. Defaults are left to the webhook.
    pub fn fixes(&self, subject: &Subject<'_>) -> Vec<Change> {
        let verdict = rules::evaluate(&subject.request(), &Facts::default(), &self.fixing, self.now);
        let mut changes = verdict.changes;
        changes.retain(|change| !matches!(change.effect, Effect::Defaulted | Effect::Restored));
        changes
    }

    /// All findings of the engine and of the schema. `facts` has the answers about the references.
    pub fn findings(&self, subject: &Subject<'_>, facts: &Facts) -> Vec<Finding> {
        let verdict = rules::evaluate(&subject.request(), facts, &self.policy, self.now);
        let (object, removed) = self.as_admitted(subject, &verdict);
        let mut violations = self.schemas.violations(subject.kind, &object);
        for violation in &mut violations {
            violation.field = before_removals(&violation.field, &removed);
        }
        merged(rules::without_write(verdict).findings, self.schema_findings(violations, subject.requester))
    }

    /// The finding for an object of our group whose kind or version does not exist, at this field.
    pub fn misfit(&self, field: &'static str, object: &Value, requester: Option<&UserInfo>) -> Vec<Finding> {
        self.schema_findings(vec![identity::violation(field, object)], requester)
    }

    /// The object that the webhook passes on to the schemas, and the list entries that it removes.
    fn as_admitted(&self, subject: &Subject<'_>, verdict: &Verdict) -> (Value, Vec<FieldPath>) {
        let mut admitted = subject.object.clone();
        let mut changes = verdict.changes.clone();
        if subject.creator_is_open() && self.policy.is_enabled(RuleId::CreatorRef) {
            changes.push(Change {
                rule: RuleId::CreatorRef,
                field: FieldPath::of(&["spec", "creatorRef", "name"]),
                before: None,
                after: Some("whoever-applies-this".to_owned()),
                effect: Effect::Defaulted,
                was_stored: false,
            });
        }
        // If the patch cannot be applied, the object stays as it is, and the schema reports the problem.
        let is_changed = json_patch::patch(&mut admitted, &patch::patch(&subject.record, &changes)).is_ok();
        let removed = changes.into_iter().filter(|change| is_changed && change.after.is_none());
        (admitted, removed.map(|change| change.field).collect())
    }

    /// Violations as findings of the rule `schema`, with its action under the policy.
    fn schema_findings(&self, violations: Vec<Violation>, requester: Option<&UserInfo>) -> Vec<Finding> {
        let exempt = |user| self.policy.exemption(RuleId::Schema, user, self.now).is_some();
        let effective = self.policy.action(RuleId::Schema, self.now);
        if effective.action == Action::Disabled || requester.is_some_and(exempt) {
            return Vec::new();
        }
        let finding = |Violation { field, reason, value, text, suggestion }| Finding {
            rule: RuleId::Schema,
            code: None,
            field,
            reason,
            value,
            text,
            suggestion,
            action: effective.action,
            denies_from: effective.denies_from,
        };
        violations.into_iter().map(finding).collect()
    }
}

fn fixing(policy: &Policy) -> Policy {
    let mut fixing = policy.clone();
    fixing.normalization.domains = NormalizationMode::Normalize;
    fixing.normalization.linkedin_profile = NormalizationMode::Normalize;
    fixing
}

/// The fields that the rules read. The schema validates types.
pub fn record(object: &Value) -> Record {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    // A file need not have the namespace, and nothing here depends on owners.
    let namespace = object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty());
    Record {
        labels: labels.collect::<BTreeMap<_, _>>(),
        spec: object["spec"].clone(),
        namespace: namespace.map(str::to_owned),
        owners: None,
    }
}

/// The findings of engine and schema. A finding of the engine replaces one of the schema about the same field, unless
/// its action is weaker.
fn merged(engine: Vec<Finding>, mut schema: Vec<Finding>) -> Vec<Finding> {
    schema.retain(|schema| {
        let same =
            |finding: &Finding| finding.action >= schema.action && finding.field.overlaps(&schema.field);
        !engine.iter().any(same)
    });
    schema.extend(engine);
    schema
}

/// The path of a field before these entries were removed. The entries of each list are in the order of their indexes.
fn before_removals(field: &FieldPath, removed: &[FieldPath]) -> FieldPath {
    let mut before = FieldPath::default();
    for segment in field.segments() {
        before = match segment {
            Segment::Field(name) => before.field(name.clone()),
            Segment::Key(key) => before.key(key),
            Segment::Index(index) => {
                let removed_index = |removed: &FieldPath| match removed.segments().split_last() {
                    Some((Segment::Index(index), list)) if list == before.segments() => Some(*index),
                    _ => None,
                };
                let from_this_list = removed.iter().filter_map(removed_index);
                let index =
                    from_this_list.fold(*index, |index, removed| index + usize::from(removed <= index));
                before.index(index)
            }
        };
    }
    before
}
