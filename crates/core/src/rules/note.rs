//! The rules for a Note: its subject, its content and its next action.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::Reason;
use super::labels::nearest;
use super::path::FieldPath;
use super::references::{SUBDOMAIN_FORM, existence};
use super::request::{Operation, Reference, Request, Text};
use super::text;
use crate::api::names::{is_label, is_subdomain, parse_time};
use crate::api::{ResourceKind, Target};
use crate::catalog::RuleId;
use crate::links::{SUBJECT, subject_kind, target_in};
use crate::policy::Policy;
use crate::quote::quote;

/// How far in the past a next action may lie: clocks differ, and a form takes a moment to send.
const PAST_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Judges what is particular to a Note.
pub(super) fn note(evaluation: &mut Evaluation<'_>) {
    subject(evaluation);
    subject_immutable(evaluation);
    text::content(evaluation);
    time(evaluation, "interactionTime");
    next_action_time(evaluation);
}

/// The fields that say together what a note is about.
const SUBJECT_FIELDS: [&str; 4] = ["apiGroup", "kind", "name", "namespace"];

pub(super) fn subject_path() -> FieldPath {
    FieldPath::of(&["spec", SUBJECT.field])
}

/// `spec.subjectRef` as far as it can be read.
struct Subject<'a> {
    group: Text<'a>,
    kind: Text<'a>,
    name: Text<'a>,
    namespace: Option<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(request: &Request<'a>) -> Self {
        let path = subject_path();
        let text = |field| Text::of(request.get(&path.field(field)));
        let namespace = match text("namespace") {
            // The API machinery takes an empty namespace for none.
            Text::Given(namespace) if !namespace.is_empty() => Some(namespace),
            _ => None,
        };
        Self { group: text("apiGroup"), kind: text("kind"), name: text("name"), namespace }
    }

    /// The accepted kind that group and kind name.
    fn accepted<'p>(&self, policy: &'p Policy) -> Option<&'p Arc<ResourceKind>> {
        let group = match self.group {
            Text::Given(group) => group,
            Text::Absent => "",
            Text::Wrong(_) => return None,
        };
        let Text::Given(kind) = self.kind else { return None };
        subject_kind(&policy.references, group, kind)
    }

    /// What to look up, where the reference can be looked up at all.
    fn target(&self, policy: &Policy) -> Option<Target> {
        let kind = self.accepted(policy)?;
        let Text::Given(name) = self.name else { return None };
        target_in(kind, self.namespace, name)
    }
}

/// The question that a Note's subject asks.
pub(super) fn question(request: &Request<'_>, policy: &Policy) -> Option<Reference> {
    if !policy.is_enabled(RuleId::SubjectExists) {
        return None;
    }
    let target = Subject::of(request).target(policy)?;
    Some(Reference { rule: RuleId::SubjectExists, target })
}

fn subject(evaluation: &mut Evaluation<'_>) {
    let path = subject_path();
    if evaluation.object(&path).is_none() {
        return;
    }
    for field in SUBJECT_FIELDS {
        // Reports one of a wrong type; the others are judged all the same.
        evaluation.text(&path.field(field));
    }
    let subject = Subject::of(evaluation.request);
    let weight = Weight::ratchet(is_left(evaluation.request));
    match subject.accepted(evaluation.policy) {
        Some(kind) => namespace(evaluation, &subject, kind, weight),
        None => unaccepted(evaluation, &subject, weight),
    }
    subject_name(evaluation, &subject, weight);
}

/// Whether an update leaves the subject what it was, however it is spelled.
fn is_left(request: &Request<'_>) -> bool {
    let Some(stored) = request.stored() else { return false };
    SUBJECT_FIELDS.iter().all(|field| {
        let path = subject_path().field(*field);
        or_empty(Text::of(request.get(&path))) == or_empty(Text::of(stored.get(&path)))
    })
}

fn unaccepted(evaluation: &mut Evaluation<'_>, subject: &Subject<'_>, weight: Weight) {
    let path = subject_path();
    let subjects = &evaluation.policy.references.subjects;
    let kind = match (subject.kind, subject.group) {
        // Reported for its type.
        (Text::Wrong(_), _) | (_, Text::Wrong(_)) => return,
        (Text::Given(kind), _) if !kind.is_empty() => kind,
        _ => {
            let text = format!("set it to one of {}", listed(subjects));
            let problem = Problem::required(RuleId::SubjectKind, path.field("kind"), text);
            return evaluation.report(problem, weight);
        }
    };
    let problem = match subjects.iter().find(|known| known.kind == kind) {
        // The kind is right, so the group must be wrong.
        Some(known) => {
            let text = format!("{kind} is in the API group {}", quote(&known.group));
            match subject.group {
                Text::Given(group) if !group.is_empty() => {
                    Problem::invalid(RuleId::SubjectKind, path.field("apiGroup"), group, text)
                        .with_reason(Reason::NotSupported)
                }
                _ => Problem::required(RuleId::SubjectKind, path.field("apiGroup"), text),
            }
        }
        None => {
            let kinds: Vec<String> = subjects.iter().map(|known| known.kind.clone()).collect();
            let text = match nearest(&kinds, kind) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("notes may be about {}", listed(subjects)),
            };
            Problem::invalid(RuleId::SubjectKind, path.field("kind"), kind, text)
                .with_reason(Reason::NotSupported)
        }
    };
    evaluation.report(problem, weight);
}

fn listed(subjects: &[Arc<ResourceKind>]) -> String {
    let kinds: Vec<&str> = subjects.iter().map(|kind| kind.kind.as_str()).collect();
    kinds.join(", ")
}

fn namespace(evaluation: &mut Evaluation<'_>, subject: &Subject<'_>, kind: &ResourceKind, weight: Weight) {
    let path = subject_path().field("namespace");
    let problem = match (subject.namespace, kind.namespaced) {
        (Some(_), false) => {
            let text = format!("{} is not a namespaced kind; leave it out", kind.kind);
            Problem::required(RuleId::SubjectKind, path, text).with_reason(Reason::Forbidden)
        }
        (None, true) => {
            let text = format!("{} is a namespaced kind; say in which namespace", kind.kind);
            Problem::required(RuleId::SubjectKind, path, text)
        }
        (Some(name), true) if !is_label(name) => {
            Problem::invalid(RuleId::SubjectKind, path, name, "must be the name of a namespace")
        }
        _ => return,
    };
    evaluation.report(problem, weight);
}

fn subject_name(evaluation: &mut Evaluation<'_>, subject: &Subject<'_>, weight: Weight) {
    let path = subject_path().field("name");
    match subject.name {
        Text::Given(name) if is_subdomain(name) => {
            if let Some(kind) = subject.accepted(evaluation.policy) {
                existence(evaluation, RuleId::SubjectExists, path, name, kind, weight);
            }
        }
        Text::Given(name) => {
            let problem = Problem::invalid(RuleId::SubjectExists, path, name, SUBDOMAIN_FORM);
            evaluation.report(problem, weight);
        }
        Text::Absent => {
            let problem = Problem::required(RuleId::SubjectExists, path, "name what the note is about");
            evaluation.report(problem, weight);
        }
        Text::Wrong(_) => {}
    }
}

fn subject_immutable(evaluation: &mut Evaluation<'_>) {
    let Some(stored) = evaluation.request.stored() else { return };
    let path = subject_path();
    if !stored.get(&path).is_some_and(Value::is_object) {
        return;
    }
    let is_readable = evaluation.request.get(&path).is_some_and(Value::is_object);
    // A subject that is gone, or can no longer be read, is one change and not four.
    let fields = if is_readable { &SUBJECT_FIELDS[..] } else { &["name"] };
    for field in fields {
        let path = path.field(*field);
        let now = or_empty(Text::of(evaluation.request.get(&path)));
        let before = or_empty(Text::of(stored.get(&path)));
        let Text::Given(before) = before else { continue };
        if now == Text::Given(before) {
            continue;
        }
        let text = match before {
            "" => "field is immutable: leave it out".to_owned(),
            before => format!("field is immutable: keep {}", quote(before)),
        };
        let now = if let Text::Given(now) = now { now } else { "" };
        evaluation.report(Problem::invalid(RuleId::SubjectImmutable, path, now, text), Weight::Full);
    }
}

/// An absent text of a subject means the same as an empty one.
fn or_empty(text: Text<'_>) -> Text<'_> {
    if text == Text::Absent { Text::Given("") } else { text }
}

/// The time at a field of `spec`, as it is written and what it means; one that cannot be read is a finding.
fn time<'a>(evaluation: &mut Evaluation<'a>, field: &'static str) -> Option<(&'a str, Timestamp)> {
    let path = FieldPath::of(&["spec", field]);
    let Some(Text::Given(text)) = evaluation.text(&path) else { return None };
    let time = parse_time(text);
    if time.is_none() {
        let weight = Weight::ratchet(evaluation.request.leaves(&path));
        let advice = "must be a time such as 2027-01-15T09:00:00Z";
        evaluation.report(Problem::invalid(RuleId::Schema, path, text, advice), weight);
    }
    time.map(|time| (text, time))
}

fn next_action_time(evaluation: &mut Evaluation<'_>) {
    let Some((written, time)) = time(evaluation, "nextActionTime") else { return };
    if matches!(evaluation.request.operation, Operation::Stored) {
        // It was ahead when it was written; time has passed, and that is no fault of the record.
        return;
    }
    let path = FieldPath::of(&["spec", "nextActionTime"]);
    let stored = evaluation.request.stored().map(|stored| Text::of(stored.get(&path)));
    // The same instant in other words is no change.
    if matches!(stored, Some(Text::Given(stored)) if parse_time(stored) == Some(time)) {
        return;
    }
    let latest_past = evaluation.now.checked_sub(PAST_TOLERANCE).unwrap_or(Timestamp::MIN);
    if time < latest_past {
        let text = "lies in the past; give a time ahead, or leave it out";
        evaluation.report(Problem::invalid(RuleId::NextActionTime, path, written, text), Weight::Full);
    }
}
