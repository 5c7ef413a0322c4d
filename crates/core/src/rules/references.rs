//! The `…-exists` rules: which targets to look up, and what the answers mean.

use std::collections::HashSet;
use std::sync::Arc;

use super::creator::{Creator, name_path, segment_problem, stored_creator};
use super::evaluation::{Evaluation, ObjectValue, Problem, Weight};
use super::finding::{Reason, Shown};
use super::path::FieldPath;
use super::request::{Operation, Reference, ReferenceKey, Request, StringValue};
use crate::api::names::is_path_segment;
use crate::api::{CrmKind, ResourceKind, Target};
use crate::catalog::RuleId;
use crate::existence::{Fact, Origin, TargetProblem};
use crate::links::{LINKS, Link, NameFormat, SUBJECT};
use crate::policy::{DryRunMode, LookupErrorMode, Policy};

/// The text about an invalid name.
pub(super) const SUBDOMAIN_FORM: &str =
    "must consist of lower-case letters, digits, \"-\" and \".\", such as acme-corp";

/// The text about an invalid namespace.
pub(super) const NAMESPACE_FORM: &str = "must be the name of a namespace";

/// The references of a kind that consist of a name only and whose rules are enabled. The subject of a Note, contacts
/// and the creator have their own files.
fn plain_links(kind: CrmKind, policy: &Policy) -> impl Iterator<Item = (Link, RuleId)> {
    let is_plain =
        |rule| matches!(rule, RuleId::OrganizationExists | RuleId::CompanyExists | RuleId::UserExists);
    Link::of(kind)
        .filter_map(|link| Some((link, link.rule?)))
        .filter(move |(_, rule)| is_plain(*rule) && policy.is_enabled(*rule))
}

/// The problem with a name that does not have the format, and the fix.
fn name_problem(format: NameFormat, name: &str) -> String {
    match format {
        NameFormat::Subdomain => SUBDOMAIN_FORM.to_owned(),
        NameFormat::PathSegment => segment_problem(name),
    }
}

/// Whether the references of this request are looked up under the policy.
pub(super) fn are_looked_up(request: &Request<'_>, policy: &Policy) -> bool {
    !request.dry_run || policy.references.dry_run_mode(request.field_manager) != DryRunMode::Skip
}

/// The kinds of targets that the enabled rules look up for records of these kinds.
pub fn looked_up(policy: &Policy, kinds: &[CrmKind]) -> Vec<Arc<ResourceKind>> {
    let asks = |rule: RuleId| policy.is_enabled(rule) && kinds.iter().any(|kind| rule.rule().checks(*kind));
    let asked = LINKS.into_iter().filter(|link| link.rule.is_some_and(asks));
    let mut found: Vec<_> = asked.flat_map(|link| link.to.kinds(&policy.references)).cloned().collect();
    let mut seen = HashSet::new();
    found.retain(|kind| seen.insert(Arc::clone(kind)));
    found
}

/// The plain references of a request, to be looked up.
pub(super) fn questions(request: &Request<'_>, policy: &Policy) -> Vec<Reference> {
    let of_link = |(link, rule): (Link, RuleId)| {
        let path = FieldPath::of(&["spec", link.field, "name"]);
        let StringValue::Given(name) = StringValue::of(request.get(&path)) else {
            return None;
        };
        let kind = Arc::clone(link.to.kinds(&policy.references).first()?);
        let target = Target { kind, namespace: None, name: name.to_owned() };
        link.to.name_format().accepts(name).then_some(Reference { key: rule.into(), target })
    };
    let mut questions: Vec<Reference> = plain_links(request.kind, policy).filter_map(of_link).collect();
    questions.extend(creator_question(request, policy));
    questions
}

fn creator_question(request: &Request<'_>, policy: &Policy) -> Option<Reference> {
    if !policy.is_enabled(RuleId::CreatorExists) {
        return None;
    }
    let creator = Creator::of(request, policy);
    let name = creator.name(policy).filter(|name| is_path_segment(name))?;
    let kind = Arc::clone(policy.references.user.as_ref()?);
    let target = Target { kind, namespace: None, name: name.to_owned() };
    Some(Reference { key: RuleId::CreatorExists.into(), target })
}

impl Reference {
    /// The field with the name of the target.
    pub fn field(&self) -> FieldPath {
        // Every rule that looks up a target is in the table.
        let link = Link::of_rule(self.key.rule).unwrap_or(SUBJECT);
        let field = FieldPath::of(&["spec", link.field]);
        let reference = self.key.entry.map_or_else(|| field.clone(), |entry| field.index(entry));
        reference.field("name")
    }
}

/// Checks the plain references of a record.
pub(super) fn references(evaluation: &mut Evaluation<'_>) {
    for (link, rule) in plain_links(evaluation.request.kind, evaluation.policy) {
        check(evaluation, link, rule);
    }
    creator_exists(evaluation);
}

fn check(evaluation: &mut Evaluation<'_>, link: Link, rule: RuleId) {
    let parent = FieldPath::of(&["spec", link.field]);
    if evaluation.object(&parent) != Some(ObjectValue::Object) {
        return;
    }
    let path = parent.field("name");
    let Some(name) = evaluation.string(&path) else {
        return;
    };
    // A missing name is unchanged only if the whole reference is unchanged.
    let field = if name == StringValue::Missing { &parent } else { &path };
    let weight = Weight::ratchet(evaluation.request.leaves_unchanged(field));
    let format = link.to.name_format();
    match name {
        StringValue::Given(name) if format.accepts(name) => {
            if let Some(kind) = link.to.kinds(&evaluation.policy.references).first() {
                existence(evaluation, rule, path, name, kind, weight);
            }
        }
        StringValue::Given(name) => {
            evaluation.report(Problem::invalid(rule, path, name, name_problem(format, name)), weight);
        }
        _ => {
            let text = format!("set it, or leave spec.{} out", link.field);
            evaluation.report(Problem::required(rule, path, text), weight);
        }
    }
}

fn creator_exists(evaluation: &mut Evaluation<'_>) {
    // Without a fact there is no need to find the creator.
    if evaluation.facts.get(RuleId::CreatorExists).is_none() {
        return;
    }
    let policy = evaluation.policy;
    let Some(kind) = policy.references.user.as_ref() else {
        return;
    };
    let creator = Creator::of(evaluation.request, policy);
    if let Some(name) = creator.name(policy) {
        let stored = evaluation.request.stored().and_then(stored_creator);
        let weight = Weight::ratchet(stored == Some(name));
        existence(evaluation, RuleId::CreatorExists, name_path(), name, kind, weight);
    }
}

/// Reports the problem with the target of a rule's reference, if there is a fact about it. `weight` says whether the
/// update leaves the reference unchanged.
pub(super) fn existence(
    evaluation: &mut Evaluation<'_>,
    key: impl Into<ReferenceKey>,
    path: FieldPath,
    name: &str,
    kind: &ResourceKind,
    weight: Weight,
) {
    let key = key.into();
    let Some(fact) = evaluation.facts.get(key) else {
        return;
    };
    let rule = key.rule;
    let origin = match evaluation.request.operation {
        Operation::Stored => Origin::Stored,
        Operation::Create | Operation::Update(_) => Origin::Written,
    };
    let Some(TargetProblem { code, text, suggestion }) = fact.problem(kind, origin) else {
        return;
    };
    let reason = match fact {
        // The reference was valid when it was written, and the update leaves it unchanged.
        Fact::Terminating if weight == Weight::AtMostWarn => return,
        Fact::Unchecked => Reason::Unchecked,
        _ => Reason::NotFound,
    };
    let weight = weight.at_most(leniency(evaluation, reason)).at_most(Weight::ratchet(code.is_some()));
    let value = Shown::Text(name.to_owned());
    evaluation.report(Problem { rule, code, field: path, reason, value, text, suggestion }, weight);
}

/// The weight that the policy allows for a problem with a reference in this request.
pub(super) fn leniency(evaluation: &Evaluation<'_>, reason: Reason) -> Weight {
    let references = &evaluation.policy.references;
    let request = evaluation.request;
    let lenient_dry_run =
        request.dry_run && references.dry_run_mode(request.field_manager) != DryRunMode::Enforce;
    let lenient_error = reason == Reason::Unchecked && references.on_lookup_error == LookupErrorMode::Allow;
    Weight::ratchet(lenient_dry_run || lenient_error)
}
