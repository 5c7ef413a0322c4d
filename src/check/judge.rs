//! Judges the records of a bundle: by the engine, as if each were created, and by the schemas of the definitions.

use std::collections::{HashMap, HashSet};

use crm_core::api::names::nearest;
use crm_core::api::{self, CrmKind, Target};
use crm_core::catalog::RuleId;
use crm_core::existence::{Fact, Presence};
use crm_core::patch;
use crm_core::policy::{NormalizationMode, Policy};
use crm_core::quote::quote;
use crm_core::rules::{
    self, Change, Effect, Facts, FieldPath, Finding, Operation, Reason, Record, Reference, Request, Segment,
    Shown, Verdict,
};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use rayon::prelude::*;
use serde_json::Value;

use super::bundle::{Bundle, Identity, Object};
use super::conform::{merged, record, schema_findings};
use super::fix::Wanted;
use super::order::{self, Applier};
use super::report::{InputError, Located, Report, Summary};
use super::schema::{Schemas, UnusableSchema, Violation};
use super::tree::Step;
use crate::directory::{LookUp, Memory};

/// How like a kind must be to what was written to be suggested (Jaro-Winkler, 0 to 1).
const NEAR_MISS: f64 = 0.8;

/// Decides about records in files.
pub struct Judge {
    policy: Policy,
    /// The same policy, which rewrites whatever can be.
    rewriting: Policy,
    requester: Option<UserInfo>,
    now: Timestamp,
    schemas: Schemas,
}

/// What is known to exist.
#[derive(Default)]
pub struct Known {
    /// The objects of the bundle.
    pub bundle: Memory,
    /// The objects in other files that stand for what exists.
    pub resources: Memory,
    /// What somebody was asked about.
    pub asked: HashMap<Target, Fact>,
    /// Whether that is all there is, so that whatever is not among it does not exist.
    pub complete: bool,
}

impl Judge {
    /// A judge who goes by `policy`. Without a `requester` nobody is known to create the records, and what depends
    /// on that is left to the cluster.
    ///
    /// # Errors
    /// The schemas of this program cannot be used.
    pub fn new(policy: Policy, requester: Option<UserInfo>, now: Timestamp) -> Result<Self, UnusableSchema> {
        let mut rewriting = policy.clone();
        rewriting.normalization.domains = NormalizationMode::Normalize;
        rewriting.normalization.linkedin_profile = NormalizationMode::Normalize;
        Ok(Self { policy, rewriting, requester, now, schemas: Schemas::new()? })
    }

    /// What the records refer to, each target once.
    pub fn targets(&self, bundle: &Bundle) -> HashSet<Target> {
        let objects = bundle.objects();
        objects.iter().flat_map(|object| self.references(object)).map(|reference| reference.target).collect()
    }

    /// What is wrong with the records of a bundle. `on_object` hears of each object that is done.
    pub fn report(
        &self,
        bundle: &Bundle,
        known: &Known,
        applier: Option<Applier>,
        on_object: &(dyn Fn() + Sync),
    ) -> Report {
        let objects = bundle.objects();
        let judge = |object: &Object<'_>| {
            let located: Vec<Located> =
                self.findings(object, known).iter().map(|finding| locate(object, finding)).collect();
            on_object();
            located
        };
        let mut findings: Vec<Located> = objects.par_iter().flat_map_iter(judge).collect();
        if let Some(applier) = applier {
            findings.extend(self.order(&objects, known, applier));
        }
        let rank: HashMap<&str, usize> =
            bundle.sources.iter().enumerate().map(|(rank, source)| (source.name.as_str(), rank)).collect();
        findings.sort_by_key(|found| (rank.get(found.file.as_str()).copied(), found.line, found.column));
        let other = objects.iter().filter(|object| object.identity == Identity::Other).count();
        Report {
            findings,
            errors: errors(bundle),
            summary: Summary {
                files: bundle.sources.len(),
                checked: objects.len() - other,
                other,
                fixed: bundle.fixed,
            },
        }
    }

    /// The references that an applier would send too early, as findings.
    fn order(&self, objects: &[Object<'_>], known: &Known, applier: Applier) -> Vec<Located> {
        let sequence = order::Sequence::new(objects, applier);
        let mut located = Vec::new();
        for (index, object) in objects.iter().enumerate() {
            let references = self.references(object).into_iter();
            for reference in references.filter(|reference| !known.is_there_already(&reference.target)) {
                let advice = sequence.advice(index, &reference, &self.policy);
                located.extend(advice.map(|finding| locate(object, &finding)));
            }
        }
        located
    }

    /// What `--fix` would change in an object.
    pub(super) fn wanted(&self, object: &Object<'_>) -> Vec<Wanted> {
        let Identity::Record(kind) = object.identity else {
            return Vec::new();
        };
        let record = record(&object.value);
        let verdict =
            rules::evaluate(&self.request(kind, &record), &Facts::default(), &self.rewriting, self.now);
        let values = verdict.changes.iter().filter(|change| !is_left_to_the_cluster(change));
        values.map(|change| Wanted { path: steps(&change.field), value: change.after.clone() }).collect()
    }

    fn request<'r>(&'r self, kind: CrmKind, record: &'r Record) -> Request<'r> {
        Request {
            kind,
            object: record,
            operation: Operation::Create,
            requester: self.requester.as_ref(),
            dry_run: false,
            field_manager: None,
        }
    }

    fn references(&self, object: &Object<'_>) -> Vec<Reference> {
        let Identity::Record(kind) = object.identity else {
            return Vec::new();
        };
        let record = record(&object.value);
        rules::references(&self.request(kind, &record), &self.policy)
    }

    fn findings(&self, object: &Object<'_>, known: &Known) -> Vec<Finding> {
        let kind = match object.identity {
            Identity::Other => return Vec::new(),
            Identity::Misfit(field) => return self.schema_findings(vec![misfit(field, &object.value)]),
            Identity::Record(kind) => kind,
        };
        let record = record(&object.value);
        let request = self.request(kind, &record);
        let references = rules::references(&request, &self.policy).into_iter();
        let facts = references.map(|Reference { rule, target }| (rule, known.fact(&target))).collect();
        let verdict = rules::evaluate(&request, &facts, &self.policy, self.now);
        let (stored, gone) = self.as_stored(&object.value, &record, &verdict);
        let findings = rules::for_file(verdict).findings;
        let mut violations = self.schemas.violations(kind, &stored);
        for violation in &mut violations {
            violation.field = before_removals(&violation.field, &gone);
        }
        merged(findings, self.schema_findings(violations))
    }

    /// The object as the webhook hands it on to the schemas, and the entries of lists that have gone from it.
    fn as_stored(&self, object: &Value, record: &Record, verdict: &Verdict) -> (Value, Vec<FieldPath>) {
        let mut stored = object.clone();
        let mut changes = verdict.changes.clone();
        let named = |creator: &Value| creator["name"].as_str().is_some_and(|name| !name.is_empty());
        let creator = &record.spec["creatorRef"];
        let is_left_open = match creator {
            Value::Null => true,
            Value::Object(fields) => {
                !named(creator) && fields.get("name").is_none_or(|name| name.is_null() || name == "")
            }
            _ => false,
        };
        if self.requester.is_none() && is_left_open && self.policy.is_enabled(RuleId::CreatorRef) {
            changes.push(Change {
                rule: RuleId::CreatorRef,
                field: FieldPath::of(&["spec", "creatorRef", "name"]),
                before: None,
                after: Some("whoever-applies-this".to_owned()),
                effect: Effect::Defaulted,
                stood: false,
            });
        }
        // A patch that cannot be applied leaves the object as it is; then the schema says what is wrong with it.
        let is_changed = json_patch::patch(&mut stored, &patch::patch(record, &changes)).is_ok();
        let gone = changes.into_iter().filter(|change| is_changed && change.after.is_none());
        (stored, gone.map(|change| change.field).collect())
    }

    fn schema_findings(&self, violations: Vec<Violation>) -> Vec<Finding> {
        let exempt = |user| self.policy.exemption(RuleId::Schema, user, self.now).is_some();
        if self.requester.as_ref().is_some_and(exempt) {
            return Vec::new();
        }
        schema_findings(violations, self.policy.action(RuleId::Schema, self.now))
    }
}

impl Known {
    fn fact(&self, target: &Target) -> Fact {
        if let Some(present) = self.bundle.recall(target).or_else(|| self.resources.recall(target)) {
            return present.into();
        }
        let suggestion = self.bundle.nearest(target).or_else(|| self.resources.nearest(target));
        match self.asked.get(target) {
            Some(Fact::Missing { suggestion: None }) => Fact::Missing { suggestion },
            Some(fact) => fact.clone(),
            None if self.complete => Fact::Missing { suggestion },
            None => Fact::Unresolved { suggestion },
        }
    }

    /// Whether a target is known to be there before anything of the bundle is applied.
    pub fn is_there_already(&self, target: &Target) -> bool {
        self.resources.recall(target) == Some(Presence::Exists)
            || self.asked.get(target) == Some(&Fact::Exists)
    }
}

fn errors(bundle: &Bundle) -> Vec<InputError> {
    let of_documents = bundle.sources.iter().flat_map(|source| {
        source.errors.iter().map(|error| InputError {
            file: source.name.clone(),
            place: Some((error.line, error.column)),
            message: error.message.clone(),
        })
    });
    let of_objects = bundle.misshapen().into_iter().map(|misshapen| InputError {
        file: misshapen.source.name.clone(),
        place: Some(misshapen.source.text.line_and_column(misshapen.at)),
        message: misshapen.message.to_owned(),
    });
    bundle.errors.iter().cloned().chain(of_documents).chain(of_objects).collect()
}

fn is_left_to_the_cluster(change: &Change) -> bool {
    matches!(change.effect, Effect::Defaulted | Effect::Restored)
}

/// Where a field was before these entries had gone, each list's in the order of their indexes.
fn before_removals(field: &FieldPath, gone: &[FieldPath]) -> FieldPath {
    let mut before = FieldPath::default();
    for segment in field.segments() {
        before = match segment {
            Segment::Field(name) => before.field(name.clone()),
            Segment::Key(key) => before.key(key),
            Segment::Index(index) => {
                let gone_index = |gone: &FieldPath| match gone.segments().split_last() {
                    Some((Segment::Index(index), list)) if list == before.segments() => Some(*index),
                    _ => None,
                };
                let gone_from_list = gone.iter().filter_map(gone_index);
                let index = gone_from_list.fold(*index, |index, gone| index + usize::from(gone <= index));
                before.index(index)
            }
        };
    }
    before
}

/// The violation of an object that is of our group and of no kind or version that there is.
fn misfit(field: &'static str, object: &Value) -> Violation {
    let path = FieldPath::of(&[field]);
    let value = &object[field];
    let version = format!("{}/{}", api::GROUP, api::VERSION);
    let kinds = CrmKind::ALL.map(CrmKind::as_str);
    let accepted = if field == "kind" { kinds.join(", ") } else { version };
    if value.is_null() {
        let text =
            format!("set it to {}", if field == "kind" { format!("one of {accepted}") } else { accepted });
        return Violation { field: path, reason: Reason::Required, value: Shown::Nothing, text };
    }
    let meant = value.as_str().filter(|_| field == "kind").and_then(|kind| nearest(kinds, kind, NEAR_MISS));
    let text = match meant {
        Some(kind) => format!("did you mean {}?", quote(kind)),
        None => format!("supported: {accepted}"),
    };
    Violation { field: path, reason: Reason::NotSupported, value: Shown::of(value), text }
}

/// A finding with its place in the file.
fn locate(object: &Object<'_>, finding: &Finding) -> Located {
    let found = object.document.tree.find(object.root, &steps(&finding.field));
    let is_unknown_field = finding.rule == RuleId::Schema && finding.reason == Reason::Forbidden;
    let at = found.key.filter(|_| is_unknown_field).unwrap_or(found.position);
    let (line, column) = object.source.text.line_and_column(at);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object.value["metadata"];
    let name = metadata["name"].as_str().filter(|name| !name.is_empty());
    Located {
        file: object.source.name.clone(),
        line,
        column,
        source: object.document.source.clone(),
        kind: text(&object.value["kind"]),
        name: name.map_or_else(|| text(&metadata["generateName"]), str::to_owned),
        field: finding.field.to_string(),
        rule: finding.rule,
        code: finding.code,
        action: finding.action,
        message: finding.message(),
    }
}

fn steps(path: &FieldPath) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Field(name) => Step::Name(name.clone().into_owned()),
        Segment::Key(key) => Step::Name(key.clone()),
        Segment::Index(index) => Step::Index(*index),
    };
    path.segments().iter().map(step).collect()
}
