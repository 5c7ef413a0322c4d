//! The rules for a Note: its subject, its content and its next action.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::evaluation::{Evaluation, Problem, Weight};
use super::finding::{Change, Effect, Reason};
use super::labels::nearest;
use super::path::FieldPath;
use super::references::{NAMESPACE_FORM, SUBDOMAIN_FORM, existence};
use super::request::{Operation, Reference, Request, StringValue};
use super::text;
use crate::api::names::{is_label, is_subdomain, parse_time};
use crate::api::{CrmKind, ResourceKind, Target};
use crate::catalog::RuleId;
use crate::links::{SUBJECT, subject_kind, target_in};
use crate::policy::Policy;
use crate::quote::quote;

/// How far in the past a next action may be, because clocks differ and a request takes time.
const PAST_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Evaluates the rules for a Note.
pub(super) fn note(evaluation: &mut Evaluation<'_>) {
    subject(evaluation);
    subject_immutable(evaluation);
    text::content(evaluation);
    time(evaluation, "interactionTime");
    next_action_time(evaluation);
}

/// The fields that identify the subject.
const SUBJECT_FIELDS: [&str; 4] = [GROUP, "kind", "name", "namespace"];

/// The field with the API group.
const GROUP: &str = "apiGroup";

fn subject_path() -> FieldPath {
    FieldPath::of(&["spec", SUBJECT.field])
}

/// The fields of `spec.subjectRef`.
struct Subject<'a> {
    group: StringValue<'a>,
    kind: StringValue<'a>,
    name: StringValue<'a>,
    namespace: Option<&'a str>,
    /// The group, if it is missing and can only be this one.
    filled_group: Option<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(request: &Request<'a>, policy: &'a Policy) -> Self {
        let path = subject_path();
        let text = |field| StringValue::of(request.get(&path.field(field)));
        let namespace = match text("namespace") {
            // As in the API machinery, an empty namespace means no namespace.
            StringValue::Given(namespace) if !namespace.is_empty() => Some(namespace),
            _ => None,
        };
        let (kind, name) = (text("kind"), text("name"));
        let filled_group = match (text("apiGroup"), kind) {
            (StringValue::Missing, StringValue::Given(kind)) if fills_group(request, policy) => {
                only_group(&policy.references.subjects, kind)
            }
            _ => None,
        };
        let group = filled_group.map_or(text("apiGroup"), StringValue::Given);
        Self { group, kind, name, namespace, filled_group }
    }

    /// The accepted kind that group and kind name.
    fn accepted<'p>(&self, policy: &'p Policy) -> Option<&'p Arc<ResourceKind>> {
        let group = match self.group {
            StringValue::Given(group) => group,
            StringValue::Missing => "",
            StringValue::WrongType(_) => return None,
        };
        let StringValue::Given(kind) = self.kind else { return None };
        subject_kind(&policy.references, group, kind)
    }

    /// The target to look up; `None` if the reference is invalid.
    fn target(&self, policy: &Policy) -> Option<Target> {
        let kind = self.accepted(policy)?;
        let StringValue::Given(name) = self.name else { return None };
        target_in(kind, self.namespace, name)
    }
}

/// Whether a missing group is filled in: not without a write, nor if the update leaves the subject unchanged.
fn fills_group(request: &Request<'_>, policy: &Policy) -> bool {
    let is_written = match request.operation {
        Operation::Create => true,
        Operation::Update(stored) => SUBJECT_FIELDS.iter().any(|field| {
            let path = subject_path().field(*field);
            or_empty(StringValue::of(request.get(&path))) != or_empty(StringValue::of(stored.get(&path)))
        }),
        Operation::Stored => false,
    };
    is_written && policy.is_enabled(RuleId::SubjectKind)
}

/// The group of the only accepted kind of that name. If a kind of the core group has the name, no group is missing.
fn only_group<'p>(subjects: &'p [Arc<ResourceKind>], kind: &str) -> Option<&'p str> {
    let mut groups = groups(subjects, kind);
    match (groups.next(), groups.next()) {
        (Some(group), None) if !group.is_empty() => Some(group),
        _ => None,
    }
}

/// The groups of the accepted kinds of that name.
fn groups<'p>(subjects: &'p [Arc<ResourceKind>], kind: &str) -> impl Iterator<Item = &'p str> {
    subjects.iter().filter(move |known| known.kind == kind).map(|known| known.group.as_str())
}

/// The subject of a Note; `None` if the reference is invalid.
pub(super) fn target(request: &Request<'_>, policy: &Policy) -> Option<Target> {
    Subject::of(request, policy).target(policy)
}

/// The reference to the subject of a Note, to be looked up.
pub(super) fn question(request: &Request<'_>, policy: &Policy) -> Option<Reference> {
    if !policy.is_enabled(RuleId::SubjectExists) {
        return None;
    }
    let target = target(request, policy)?;
    Some(Reference { key: RuleId::SubjectExists.into(), target })
}

fn subject(evaluation: &mut Evaluation<'_>) {
    let path = subject_path();
    if evaluation.object(&path).is_none() {
        return;
    }
    for field in SUBJECT_FIELDS {
        // This reports a value of the wrong type. The other fields are still checked.
        evaluation.string(&path.field(field));
    }
    let subject = Subject::of(evaluation.request, evaluation.policy);
    let weight = Weight::ratchet(is_unchanged(evaluation.request, &subject));
    if let Some(group) = subject.filled_group {
        evaluation.change(Change {
            rule: RuleId::SubjectKind,
            field: path.field(GROUP),
            before: None,
            after: Some(group.to_owned()),
            effect: Effect::Defaulted,
            was_stored: false,
        });
    }
    match subject.accepted(evaluation.policy) {
        Some(kind) if scope(evaluation, kind, weight) => namespace(evaluation, &subject, kind, weight),
        Some(_) => {}
        None => unaccepted(evaluation, &subject, weight),
    }
    subject_name(evaluation, &subject, weight);
}

/// Whether an update leaves the subject unchanged. An empty field is equal to a missing one.
fn is_unchanged(request: &Request<'_>, subject: &Subject<'_>) -> bool {
    let Some(stored) = request.stored() else { return false };
    SUBJECT_FIELDS.iter().all(|field| {
        let path = subject_path().field(*field);
        let now = if *field == GROUP { subject.group } else { StringValue::of(request.get(&path)) };
        or_empty(now) == or_empty(StringValue::of(stored.get(&path)))
    })
}

fn unaccepted(evaluation: &mut Evaluation<'_>, subject: &Subject<'_>, weight: Weight) {
    let path = subject_path();
    let subjects = &evaluation.policy.references.subjects;
    let kind = match (subject.kind, subject.group) {
        // The wrong type is reported already.
        (StringValue::WrongType(_), _) | (_, StringValue::WrongType(_)) => return,
        (StringValue::Given(kind), _) if !kind.is_empty() => kind,
        _ => {
            let text = format!("set it to one of {}", listed(subjects));
            let problem = Problem::required(RuleId::SubjectKind, path.field("kind"), text);
            return evaluation.report(problem, weight);
        }
    };
    let groups: Vec<String> = groups(subjects, kind).map(quote).collect();
    let problem = match groups.is_empty() {
        // The kind is accepted, so the group is wrong.
        false => {
            let text = format!("{kind} is in the API group {}", groups.join(" or "));
            match subject.group {
                StringValue::Given(group) if !group.is_empty() => {
                    Problem::invalid(RuleId::SubjectKind, path.field(GROUP), group, text)
                        .with_reason(Reason::NotSupported)
                }
                _ => Problem::required(RuleId::SubjectKind, path.field(GROUP), text),
            }
        }
        true => {
            let kinds: Vec<String> = subjects.iter().map(|known| known.kind.clone()).collect();
            let meant = nearest(&kinds, kind);
            let text = match meant {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("notes may be about {}", listed(subjects)),
            };
            Problem::invalid(RuleId::SubjectKind, path.field("kind"), kind, text)
                .with_reason(Reason::NotSupported)
                .with_suggestion(meant)
        }
    };
    evaluation.report(problem, weight);
}

fn listed(subjects: &[Arc<ResourceKind>]) -> String {
    let kinds: Vec<&str> = subjects.iter().map(|kind| kind.kind.as_str()).collect();
    kinds.join(", ")
}

/// Whether a note of this kind can be about an object of the scope of that kind. If not, it is reported.
fn scope(evaluation: &mut Evaluation<'_>, kind: &ResourceKind, weight: Weight) -> bool {
    let text = match (evaluation.request.kind, kind.namespaced) {
        (CrmKind::ClusterNote, true) => {
            "a ClusterNote is about a cluster-scoped object; write a Note in the namespace of the object"
        }
        (CrmKind::NamespacedNote, false) => {
            "a Note of notes.miloapis.com is about an object in its own namespace; write a ClusterNote"
        }
        _ => return true,
    };
    let problem = Problem::invalid(RuleId::SubjectKind, subject_path().field("kind"), &kind.kind, text)
        .with_reason(Reason::NotSupported);
    evaluation.report(problem, weight);
    false
}

fn namespace(evaluation: &mut Evaluation<'_>, subject: &Subject<'_>, kind: &ResourceKind, weight: Weight) {
    let path = subject_path().field("namespace");
    let problem = match (subject.namespace, kind.namespaced) {
        (Some(_), false) => {
            let text = format!("{} is a cluster-scoped kind; leave it out", kind.kind);
            Problem::required(RuleId::SubjectKind, path, text).with_reason(Reason::Forbidden)
        }
        (None, true) => {
            let text = format!("{} is a namespaced kind; set the namespace", kind.kind);
            Problem::required(RuleId::SubjectKind, path, text)
        }
        (Some(name), true) if !is_label(name) => {
            Problem::invalid(RuleId::SubjectKind, path, name, NAMESPACE_FORM)
        }
        (Some(name), true) => match own_namespace(evaluation.request) {
            Some(own) if own != name => {
                let text = format!("must be the namespace of the Note, {}", quote(own));
                Problem::invalid(RuleId::SubjectKind, path, name, text)
            }
            _ => return,
        },
        (None, false) => return,
    };
    evaluation.report(problem, weight);
}

/// The namespace of a note that is in one, if it is known. A file need not have it.
fn own_namespace<'a>(request: &Request<'a>) -> Option<&'a str> {
    request.object.namespace.as_deref().filter(|_| request.kind.is_namespaced())
}

fn subject_name(evaluation: &mut Evaluation<'_>, subject: &Subject<'_>, weight: Weight) {
    let path = subject_path().field("name");
    match subject.name {
        StringValue::Given(name) if is_subdomain(name) => {
            if let Some(kind) = subject.accepted(evaluation.policy) {
                existence(evaluation, RuleId::SubjectExists, path, name, kind, weight);
            }
        }
        StringValue::Given(name) => {
            let problem = Problem::invalid(RuleId::SubjectExists, path, name, SUBDOMAIN_FORM);
            evaluation.report(problem, weight);
        }
        StringValue::Missing => {
            let problem = Problem::required(RuleId::SubjectExists, path, "set the name of the subject");
            evaluation.report(problem, weight);
        }
        StringValue::WrongType(_) => {}
    }
}

fn subject_immutable(evaluation: &mut Evaluation<'_>) {
    let Some(stored) = evaluation.request.stored() else { return };
    let filled_group = Subject::of(evaluation.request, evaluation.policy).filled_group;
    let path = subject_path();
    if !stored.get(&path).is_some_and(Value::is_object) {
        return;
    }
    let is_readable = evaluation.request.get(&path).is_some_and(Value::is_object);
    // A subject that is removed or has the wrong type is one change, not four.
    let fields = if is_readable { &SUBJECT_FIELDS[..] } else { &["name"] };
    for field in fields {
        let path = path.field(*field);
        let now = or_empty(StringValue::of(evaluation.request.get(&path)));
        let before = or_empty(StringValue::of(stored.get(&path)));
        let StringValue::Given(before) = before else { continue };
        let is_filled = *field == GROUP && filled_group == Some(before);
        if is_filled || now == StringValue::Given(before) {
            continue;
        }
        let text = match before {
            "" => "field is immutable: leave it out".to_owned(),
            before => format!("field is immutable: keep {}", quote(before)),
        };
        let now = if let StringValue::Given(now) = now { now } else { "" };
        evaluation.report(Problem::invalid(RuleId::SubjectImmutable, path, now, text), Weight::Full);
    }
}

/// In a subject, a missing string means the same as an empty one.
fn or_empty(text: StringValue<'_>) -> StringValue<'_> {
    if text == StringValue::Missing { StringValue::Given("") } else { text }
}

/// The time in a field of `spec`, as string and as time. An invalid time is a finding.
fn time<'a>(evaluation: &mut Evaluation<'a>, field: &'static str) -> Option<(&'a str, Timestamp)> {
    let path = FieldPath::of(&["spec", field]);
    let Some(StringValue::Given(text)) = evaluation.string(&path) else { return None };
    let time = parse_time(text);
    if time.is_none() {
        let weight = Weight::ratchet(evaluation.request.leaves_unchanged(&path));
        let advice = "must be a time such as 2027-01-15T09:00:00Z";
        evaluation.report(Problem::invalid(RuleId::Schema, path, text, advice), weight);
    }
    time.map(|time| (text, time))
}

fn next_action_time(evaluation: &mut Evaluation<'_>) {
    let Some((written, time)) = time(evaluation, "nextActionTime") else { return };
    if matches!(evaluation.request.operation, Operation::Stored) {
        // The time was in the future when the record was written.
        return;
    }
    let path = FieldPath::of(&["spec", "nextActionTime"]);
    let stored = evaluation.request.stored().map(|stored| StringValue::of(stored.get(&path)));
    // The same instant in another format is no change.
    if matches!(stored, Some(StringValue::Given(stored)) if parse_time(stored) == Some(time)) {
        return;
    }
    let latest_past = evaluation.now.checked_sub(PAST_TOLERANCE).unwrap_or(Timestamp::MIN);
    if time < latest_past {
        let text = "is in the past; set a future time, or leave it out";
        evaluation.report(Problem::invalid(RuleId::NextActionTime, path, written, text), Weight::Full);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::super::{Facts, Record, evaluate};
    use super::*;
    use crate::quote::quote;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        policy.references.subjects.push(Arc::new(ResourceKind {
            group: "notification.miloapis.com".to_owned(),
            version: "v1alpha1".to_owned(),
            kind: "Contact".to_owned(),
            plural: "contacts".to_owned(),
            namespaced: true,
        }));
        policy
    }

    /// The findings about a new note about such a subject; a note that is in a namespace is in `crm`.
    fn findings(kind: CrmKind, subject: Value) -> Vec<String> {
        let object = Record {
            spec: json!({"subjectRef": subject, "content": "Called.", "creatorRef": {"name": "zoe"}}),
            namespace: kind.is_namespaced().then(|| "crm".to_owned()),
            ..Record::default()
        };
        let operation = Operation::Create;
        let request = Request {
            kind,
            object: &object,
            operation,
            requester: None,
            dry_run: false,
            field_manager: None,
        };
        let verdict = evaluate(&request, &Facts::default(), &policy(), Timestamp::UNIX_EPOCH);
        let line = |finding: &super::super::Finding| format!("{}: {}", finding.field, finding.message());
        verdict.findings.iter().map(line).collect()
    }

    fn company() -> Value {
        json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"})
    }

    fn contact(namespace: &str) -> Value {
        json!({"apiGroup": "notification.miloapis.com", "kind": "Contact", "name": "ada", "namespace": namespace})
    }

    #[rstest]
    #[case::ours_about_a_company(CrmKind::Note, company())]
    #[case::ours_about_a_contact(CrmKind::Note, contact("other"))]
    #[case::milos_about_a_company(CrmKind::ClusterNote, company())]
    #[case::milos_about_a_contact(CrmKind::NamespacedNote, contact("crm"))]
    fn a_note_is_about_a_subject_of_its_scope(#[case] kind: CrmKind, #[case] subject: Value) {
        assert_eq!(findings(kind, subject), [] as [&str; 0]);
    }

    #[test]
    fn a_cluster_note_is_not_about_a_namespaced_object() {
        let expected = "spec.subjectRef.kind: Unsupported value: \"Contact\": a ClusterNote is about a cluster-scoped \
                        object; write a Note in the namespace of the object [subject-kind]";
        assert_eq!(findings(CrmKind::ClusterNote, contact("crm")), [expected]);
        let mut company = company();
        company["namespace"] = json!("crm");
        let expected = "spec.subjectRef.namespace: Forbidden: Company is a cluster-scoped kind; leave it out [subject-kind]";
        assert_eq!(findings(CrmKind::ClusterNote, company.clone()), [expected]);
        company["namespace"] = json!("");
        assert_eq!(findings(CrmKind::ClusterNote, company), [] as [&str; 0]);
    }

    #[test]
    fn a_namespaced_note_is_only_about_an_object_in_its_namespace() {
        let expected = "spec.subjectRef.kind: Unsupported value: \"Company\": a Note of notes.miloapis.com is about an \
                        object in its own namespace; write a ClusterNote [subject-kind]";
        assert_eq!(findings(CrmKind::NamespacedNote, company()), [expected]);
        for (namespace, problem) in [
            (
                "other",
                format!("Invalid value: {}: must be the namespace of the Note, \"crm\"", quote("other")),
            ),
            ("a.b", format!("Invalid value: {}: must be the name of a namespace", quote("a.b"))),
            ("", "Required value: Contact is a namespaced kind; set the namespace".to_owned()),
        ] {
            let expected = format!("spec.subjectRef.namespace: {problem} [subject-kind]");
            assert_eq!(findings(CrmKind::NamespacedNote, contact(namespace)), [expected]);
        }
    }
}
