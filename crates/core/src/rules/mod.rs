//! The engine: decides about a record, given the policy, the time and the facts about its references.
//!
//! *Architecture invariant:* it does no input or output, reads no clock and uses no random numbers. The webhook,
//! `check` and `audit` call the same engine.

mod addresses;
mod company;
mod contacts;
mod creator;
mod deletion;
mod evaluation;
mod finding;
mod labels;
mod note;
mod owner;
mod path;
mod person;
mod references;
mod request;
mod text;
mod wording;

use jiff::Timestamp;

use crate::api::CrmKind;
use crate::catalog::{Action, RuleId};
use crate::policy::Policy;
use crate::quote::quote;
use evaluation::{Evaluation, Problem, Weight};

pub use addresses::{canonical_form, shown};
pub use deletion::{Deletion, SKIPPED_USERS, dependents, evaluate_deletion};
pub use finding::{Change, Effect, Exempted, Finding, OwnerReference, Reason, Shown, Verdict};
pub use owner::owner;
pub use path::{FieldPath, Segment};
pub use references::looked_up;
pub use request::{AUTHENTICATED, Facts, Operation, Record, Reference, ReferenceKey, Request, authenticated};

/// The references to look up before [`evaluate`] can decide.
pub fn references(request: &Request<'_>, policy: &Policy) -> Vec<Reference> {
    if request.changes_nothing() || !references::are_looked_up(request, policy) {
        return Vec::new();
    }
    let mut questions = references::questions(request, policy);
    questions.extend(contacts::questions(request, policy));
    if request.kind.model() == CrmKind::Note {
        questions.extend(note::question(request, policy));
    }
    questions
}

/// Decides about a record.
///
/// `facts` are the answers to [`references()`]; a reference without an answer is not checked. An update that leaves
/// spec and labels unchanged has an empty verdict, so that no rule can block finalizers and garbage collection.
pub fn evaluate(request: &Request<'_>, facts: &Facts, policy: &Policy, now: Timestamp) -> Verdict {
    let mut evaluation = Evaluation::new(request, facts, policy, now, Verdict::default());
    if !request.changes_nothing() {
        evaluate_rules(&mut evaluation);
    }
    evaluation.verdict
}

fn evaluate_rules(evaluation: &mut Evaluation<'_>) {
    // A spec of the wrong type has no fields to check.
    if evaluation.object(&FieldPath::of(&["spec"])).is_some() {
        match evaluation.request.kind {
            CrmKind::Company => company::company(evaluation),
            CrmKind::Person => person::person(evaluation),
            CrmKind::Note | CrmKind::ClusterNote | CrmKind::NamespacedNote => note::note(evaluation),
        }
        creator::creator(evaluation);
        references::references(evaluation);
        contacts::contacts(evaluation);
        owner::add(evaluation);
    }
    labels::label_values(evaluation);
}

/// Turns the changes of a verdict into findings. `/validate` uses it, because its object must not need changes any
/// more, so a skipped mutation is reported.
pub fn changes_to_findings(
    verdict: Verdict,
    request: &Request<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Verdict {
    // An owner reference is not a part of the record, so it need not be there.
    let Verdict { changes, findings, exempted, owner: _ } = verdict;
    let kept = Verdict { findings, exempted, ..Verdict::default() };
    let facts = Facts::default();
    let mut evaluation = Evaluation::new(request, &facts, policy, now, kept);
    for change in &changes {
        evaluation.report(missing_change(change), Weight::ratchet(change.was_stored));
    }
    evaluation.verdict
}

/// Adjusts a verdict for a record in a file or a stored record, which are not writes. Changes become warnings, except
/// that the creator may be missing. A finding about a past `nextActionTime` is a warning at most, because the time may
/// have been in the future when the record was written.
pub fn without_write(verdict: Verdict) -> Verdict {
    let Verdict { changes, mut findings, exempted, owner: _ } = verdict;
    for finding in findings.iter_mut().filter(|finding| finding.rule == RuleId::NextActionTime) {
        finding.action = finding.action.min(Action::Warn);
    }
    let values =
        changes.iter().filter(|change| !matches!(change.effect, Effect::Defaulted | Effect::Restored));
    findings.extend(values.map(|change| {
        let Problem { rule, code, field, reason, value, text, suggestion } = missing_change(change);
        let action = Action::Warn;
        Finding { rule, code, field, reason, value, text, suggestion, action, denies_from: None }
    }));
    Verdict { findings, exempted, ..Verdict::default() }
}

/// The problem that a change is missing.
fn missing_change(change: &Change) -> Problem {
    match change.effect {
        Effect::Defaulted if change.rule == RuleId::SubjectKind => {
            let text = format!("set it to {}", quote(change.after.as_deref().unwrap_or_default()));
            Problem::required(change.rule, change.field.clone(), text)
        }
        Effect::Defaulted => {
            Problem::required(change.rule, change.field.clone(), "set the user who created the record")
        }
        Effect::Restored => {
            let text = format!("keep {}", quote(change.after.as_deref().unwrap_or_default()));
            Problem::required(change.rule, change.field.clone(), text)
        }
        Effect::Trimmed | Effect::Normalized | Effect::DuplicateRemoved { .. } => {
            addresses::not_canonical(change)
        }
    }
}
