//! The rules that a reference names something that exists: which questions they ask, and what the answers mean.

use std::collections::HashSet;
use std::sync::Arc;

use super::creator::{Creator, name_path, segment_fault, stored_creator};
use super::evaluation::{Evaluation, Problem, Shape, Weight};
use super::finding::{Reason, Shown};
use super::path::FieldPath;
use super::request::{Operation, Reference, Request, Text};
use crate::api::names::is_path_segment;
use crate::api::{CrmKind, ResourceKind, Target};
use crate::catalog::RuleId;
use crate::existence::{Fact, Fault, Holder};
use crate::links::{LINKS, Link, NameForm, SUBJECT};
use crate::policy::{DryRunMode, LookupErrorMode, Policy};

/// What a malformed name is told.
pub(super) const SUBDOMAIN_FORM: &str =
    "must be lower-case letters, digits, \"-\" and \".\", such as acme-corp";

/// The references of a kind that are judged by their name alone, as far as their rules are enabled. A Note's subject and
/// the creator have files of their own.
fn plain_links(kind: CrmKind, policy: &Policy) -> impl Iterator<Item = (Link, RuleId)> {
    let is_plain =
        |rule| matches!(rule, RuleId::OrganizationExists | RuleId::CompanyExists | RuleId::UserExists);
    Link::of(kind)
        .filter_map(|link| Some((link, link.rule?)))
        .filter(move |(_, rule)| is_plain(*rule) && policy.is_enabled(*rule))
}

/// What is wrong with a name that does not have the form, and the fix.
fn fault(form: NameForm, name: &str) -> String {
    match form {
        NameForm::Subdomain => SUBDOMAIN_FORM.to_owned(),
        NameForm::PathSegment => segment_fault(name),
    }
}

/// Whether the policy wants references of this request looked up.
pub(super) fn are_looked_up(request: &Request<'_>, policy: &Policy) -> bool {
    !request.dry_run || policy.references.dry_run_mode(request.field_manager) != DryRunMode::Skip
}

/// The kinds that references of these records point at under a policy.
pub fn looked_up(policy: &Policy, kinds: &[CrmKind]) -> Vec<Arc<ResourceKind>> {
    let asks =
        |rule: RuleId| policy.is_enabled(rule) && rule.rule().kinds.iter().any(|kind| kinds.contains(kind));
    let asked = LINKS.into_iter().filter(|link| link.rule.is_some_and(asks));
    let mut found: Vec<_> = asked.flat_map(|link| link.to.kinds(&policy.references)).cloned().collect();
    let mut seen = HashSet::new();
    found.retain(|kind| seen.insert(Arc::clone(kind)));
    found
}

/// The questions that the plain references of a request ask.
pub(super) fn questions(request: &Request<'_>, policy: &Policy) -> Vec<Reference> {
    let of_link = |(link, rule): (Link, RuleId)| {
        let path = FieldPath::of(&["spec", link.field, "name"]);
        let Text::Given(name) = Text::of(request.get(&path)) else {
            return None;
        };
        let kind = Arc::clone(link.to.kinds(&policy.references).first()?);
        let target = Target { kind, namespace: None, name: name.to_owned() };
        link.to.name_form().accepts(name).then_some(Reference { rule, target })
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
    Some(Reference { rule: RuleId::CreatorExists, target })
}

impl Reference {
    /// The field that holds the target's name.
    pub fn field(&self) -> FieldPath {
        // Only rules of the table ask.
        let link = Link::of_rule(self.rule).unwrap_or(SUBJECT);
        FieldPath::of(&["spec", link.field, "name"])
    }
}

/// Judges the plain references of a record.
pub(super) fn references(evaluation: &mut Evaluation<'_>) {
    for (link, rule) in plain_links(evaluation.request.kind, evaluation.policy) {
        judge(evaluation, link, rule);
    }
    creator_exists(evaluation);
}

fn judge(evaluation: &mut Evaluation<'_>, link: Link, rule: RuleId) {
    let parent = FieldPath::of(&["spec", link.field]);
    if evaluation.object(&parent) != Some(Shape::Object) {
        return;
    }
    let path = parent.field("name");
    let Some(name) = evaluation.text(&path) else {
        return;
    };
    // A name that is absent as before is left only where all of the reference is.
    let left = if name == Text::Absent { &parent } else { &path };
    let weight = Weight::ratchet(evaluation.request.leaves(left));
    let form = link.to.name_form();
    match name {
        Text::Given(name) if form.accepts(name) => {
            if let Some(kind) = link.to.kinds(&evaluation.policy.references).first() {
                existence(evaluation, rule, path, name, kind, weight);
            }
        }
        Text::Given(name) => {
            evaluation.report(Problem::invalid(rule, path, name, fault(form, name)), weight);
        }
        _ => {
            let text = format!("set it, or leave spec.{} out", link.field);
            evaluation.report(Problem::required(rule, path, text), weight);
        }
    }
}

fn creator_exists(evaluation: &mut Evaluation<'_>) {
    // Not asked: finding out who the creator is would be for nothing.
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

/// Judges what the directory said about the target of a rule's reference. Nothing asked, nothing said.
/// `weight` says whether the update leaves the reference as it was.
pub(super) fn existence(
    evaluation: &mut Evaluation<'_>,
    rule: RuleId,
    path: FieldPath,
    name: &str,
    kind: &ResourceKind,
    weight: Weight,
) {
    let Some(fact) = evaluation.facts.get(rule) else {
        return;
    };
    let holder = match evaluation.request.operation {
        Operation::Stored => Holder::Stored,
        Operation::Create | Operation::Update(_) => Holder::Written,
    };
    let Some(Fault { code, text }) = fact.fault(kind, holder) else {
        return;
    };
    let reason = match fact {
        // What was right when it was written is no problem of an update that leaves it.
        Fact::Terminating if weight == Weight::Advice => return,
        Fact::Unchecked => Reason::Unchecked,
        _ => Reason::NotFound,
    };
    let weight = weight.or(leniency(evaluation, reason)).or(Weight::ratchet(code.is_some()));
    let value = Shown::Text(name.to_owned());
    evaluation.report(Problem { rule, code, field: path, reason, value, text }, weight);
}

/// How much the policy lets a problem with a reference weigh in this request.
fn leniency(evaluation: &Evaluation<'_>, reason: Reason) -> Weight {
    let references = &evaluation.policy.references;
    let request = evaluation.request;
    let lenient_dry_run =
        request.dry_run && references.dry_run_mode(request.field_manager) != DryRunMode::Enforce;
    let lenient_error = reason == Reason::Unchecked && references.on_lookup_error == LookupErrorMode::Allow;
    Weight::ratchet(lenient_dry_run || lenient_error)
}
