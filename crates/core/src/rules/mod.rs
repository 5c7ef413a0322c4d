//! The engine: decides about a record, given the policy, the time and the facts that were found out.
//!
//! *Architecture invariant:* it does no input or output, reads no clock and draws no random numbers; the webhook,
//! `check` and `audit` call it alike and agree by construction.

mod addresses;
mod company;
mod creator;
mod deletion;
mod evaluation;
mod finding;
mod labels;
mod note;
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

pub use addresses::{NOT_CANONICAL, shown};
pub use deletion::{CLEANERS, Deletion, dependants, evaluate_deletion};
pub use finding::{Change, Effect, Exempted, Finding, Reason, Shown, Verdict};
pub use path::{FieldPath, Segment};
pub use references::looked_up;
pub use request::{Facts, Operation, Record, Reference, Request};

/// What has to be looked up before [`evaluate`] can decide.
pub fn references(request: &Request<'_>, policy: &Policy) -> Vec<Reference> {
    if request.leaves_everything() || !references::are_looked_up(request, policy) {
        return Vec::new();
    }
    let mut questions = references::questions(request, policy);
    if request.kind == CrmKind::Note {
        questions.extend(note::question(request, policy));
    }
    questions
}

/// Decides about a record.
///
/// `facts` are the answers to [`references()`]; a reference without an answer is not judged. An update that leaves
/// spec and labels as they were has an empty verdict, so that nothing can block finalizers and garbage collection.
pub fn evaluate(request: &Request<'_>, facts: &Facts, policy: &Policy, now: Timestamp) -> Verdict {
    let mut evaluation = Evaluation::new(request, facts, policy, now, Verdict::default());
    if !request.leaves_everything() {
        judge(&mut evaluation);
    }
    evaluation.verdict
}

fn judge(evaluation: &mut Evaluation<'_>) {
    // Nothing below a spec of another type can be judged.
    if evaluation.object(&FieldPath::of(&["spec"])).is_some() {
        match evaluation.request.kind {
            CrmKind::Company => company::company(evaluation),
            CrmKind::Person => person::person(evaluation),
            CrmKind::Note => note::note(evaluation),
        }
        creator::creator(evaluation);
        references::references(evaluation);
    }
    labels::label_values(evaluation);
}

/// Turns the changes of a verdict into findings, for whoever judges an object that should have been changed
/// already: `/validate` sees the final object, so that a skipped mutation is never silent.
pub fn insist_on_changes(
    verdict: Verdict,
    request: &Request<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Verdict {
    let Verdict { changes, findings, exempted } = verdict;
    let kept = Verdict { changes: Vec::new(), findings, exempted };
    let facts = Facts::default();
    let mut evaluation = Evaluation::new(request, &facts, policy, now, kept);
    for change in &changes {
        evaluation.report(unmade(change), Weight::ratchet(change.stood));
    }
    evaluation.verdict
}

/// What a verdict means for a record in a file, or for a stored one: neither is a write. A change that the cluster
/// would make is a warning, except that it may be left to the cluster to say who creates the record, and a time that
/// was ahead when the file was written is no reason to refuse.
pub fn for_file(verdict: Verdict) -> Verdict {
    let Verdict { changes, mut findings, exempted } = verdict;
    for finding in findings.iter_mut().filter(|finding| finding.rule == RuleId::NextActionTime) {
        finding.action = finding.action.min(Action::Warn);
    }
    let values =
        changes.iter().filter(|change| !matches!(change.effect, Effect::Defaulted | Effect::Restored));
    findings.extend(values.map(|change| {
        let Problem { rule, code, field, reason, value, text } = unmade(change);
        Finding { rule, code, field, reason, value, text, action: Action::Warn, denies_from: None }
    }));
    Verdict { changes: Vec::new(), findings, exempted }
}

/// The problem that a change was not made.
fn unmade(change: &Change) -> Problem {
    match change.effect {
        Effect::Defaulted => {
            Problem::required(change.rule, change.field.clone(), "say who created the record")
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
