//! Makes the subject of a new Note its owner, if the policy says so, so that the garbage collector deletes it with the
//! subject. An owner reference needs the uid of the subject, which is a fact.

use super::evaluation::{Evaluation, Weight};
use super::finding::{Finding, OwnerReference, Reason, Shown};
use super::note;
use super::path::FieldPath;
use super::references::{are_looked_up, leniency};
use super::request::{Operation, Request};
use crate::api::{CrmKind, Target};
use crate::catalog::{Action, RuleId};
use crate::existence::{Fact, UNCHECKED};
use crate::links::SUBJECT;
use crate::policy::Policy;

/// The object whose uid [`evaluate`](super::evaluate) needs, besides the answers to the references: the subject of a new
/// Note that will be owned by it. A namespaced object cannot own a cluster-scoped one or one in another namespace.
pub fn owner(request: &Request<'_>, policy: &Policy) -> Option<Target> {
    let is_new_note = request.kind.model() == CrmKind::Note && matches!(request.operation, Operation::Create);
    if !policy.owned_by_subject || !is_new_note || !are_looked_up(request, policy) {
        return None;
    }
    let subject = note::target(request, policy)?;
    let is_same_scope = match (request.kind.is_namespaced(), &subject.namespace) {
        (false, None) => true,
        (true, Some(namespace)) => request.object.namespace.as_ref() == Some(namespace),
        (false, Some(_)) | (true, None) => false,
    };
    is_same_scope.then_some(subject)
}

/// Adds the owner reference. A reference that is there already stays.
pub(super) fn add(evaluation: &mut Evaluation<'_>) {
    let Some(subject) = owner(evaluation.request, evaluation.policy) else {
        return;
    };
    // Where the reference is not added, the uid is not asked for.
    let Some(uid) = evaluation.facts.subject_uid() else {
        return;
    };
    if evaluation.facts.get(RuleId::SubjectExists) == Some(&Fact::Unchecked) {
        unchecked(evaluation, &subject);
    }
    let Some(uid) = uid else {
        return;
    };
    let owners = evaluation.request.object.owners.as_deref().unwrap_or_default();
    if !owners.iter().any(|owner| owner == uid) {
        let Target { kind, name, .. } = subject;
        let api_version = match kind.group.as_str() {
            "" => kind.version.clone(),
            group => format!("{group}/{}", kind.version),
        };
        let (kind, uid) = (kind.kind.clone(), uid.to_owned());
        evaluation.verdict.owner = Some(OwnerReference { api_version, kind, name, uid });
    }
}

/// Reports a lookup that failed, whatever the action of the rule and whoever is exempt: without the uid,
/// the Note would stay when its subject is deleted.
fn unchecked(evaluation: &mut Evaluation<'_>, subject: &Target) {
    let rule = RuleId::SubjectExists;
    let action = match leniency(evaluation, Reason::Unchecked) {
        Weight::Full => Action::Deny,
        Weight::AtMostWarn | Weight::AtMostAudit => Action::Warn,
    };
    let is_reported = |finding: &&mut Finding| finding.rule == rule && finding.reason == Reason::Unchecked;
    if let Some(reported) = evaluation.verdict.findings.iter_mut().find(is_reported) {
        if reported.action < action {
            (reported.action, reported.denies_from) = (action, None);
        }
        return;
    }
    evaluation.verdict.findings.push(Finding {
        rule,
        code: None,
        field: FieldPath::of(&["spec", SUBJECT.field, "name"]),
        reason: Reason::Unchecked,
        value: Shown::Text(subject.name.clone()),
        text: UNCHECKED.to_owned(),
        suggestion: None,
        action,
        denies_from: None,
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::{Facts, Record, Verdict, evaluate};
    use super::*;
    use crate::api::ResourceKind;
    use crate::policy::{DryRunMode, LookupErrorMode, RuleSetting};

    fn policy() -> Policy {
        let mut policy = Policy::default();
        policy.owned_by_subject = true;
        policy.references.subjects.push(Arc::new(ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            plural: "secrets".to_owned(),
            namespaced: true,
        }));
        policy
    }

    fn note(subject: Value) -> Record {
        let spec = json!({"subjectRef": subject, "content": "Called.", "creatorRef": {"name": "zoe"}});
        Record { spec, ..Record::default() }
    }

    fn company() -> Value {
        json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"})
    }

    fn secret(namespace: &str) -> Value {
        json!({"apiGroup": "", "kind": "Secret", "name": "key", "namespace": namespace})
    }

    fn request<'a>(kind: CrmKind, object: &'a Record) -> Request<'a> {
        Request {
            kind,
            object,
            operation: Operation::Create,
            requester: None,
            dry_run: false,
            field_manager: None,
        }
    }

    fn verdict(kind: CrmKind, object: &Record, fact: Fact, uid: Option<&str>, policy: &Policy) -> Verdict {
        let facts: Facts = [(RuleId::SubjectExists.into(), fact)].into_iter().collect();
        let facts = facts.with_subject_uid(uid.map(str::to_owned));
        evaluate(&request(kind, object), &facts, policy, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_new_note_is_owned_by_its_subject() {
        for kind in [CrmKind::Note, CrmKind::ClusterNote] {
            let found = verdict(kind, &note(company()), Fact::Exists, Some("u-1"), &policy());
            let owner = serde_json::to_value(found.owner.unwrap()).unwrap();
            let expected = json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "name": "acme", "uid": "u-1"});
            assert_eq!((owner, found.findings), (expected, vec![]), "{kind:?}");
        }
    }

    #[test]
    fn a_namespaced_note_is_owned_by_a_subject_of_the_core_group_in_its_namespace() {
        let object = Record { namespace: Some("crm".to_owned()), ..note(secret("crm")) };
        let found = verdict(CrmKind::NamespacedNote, &object, Fact::Exists, Some("u-1"), &policy());
        let owner = found.owner.unwrap();
        assert_eq!((owner.api_version.as_str(), owner.kind.as_str()), ("v1", "Secret"));
    }

    #[rstest]
    #[case::cluster_scoped_about_a_namespaced_object(CrmKind::Note, secret("crm"))]
    #[case::about_an_object_of_another_namespace(CrmKind::NamespacedNote, secret("other"))]
    #[case::without_a_valid_subject(CrmKind::Note, json!({"kind": "Company"}))]
    #[case::no_note(CrmKind::Person, company())]
    fn no_uid_is_needed(#[case] kind: CrmKind, #[case] subject: Value) {
        let object = Record { namespace: Some("crm".to_owned()), ..note(subject) };
        assert_eq!(owner(&request(kind, &object), &policy()), None);
    }

    #[test]
    fn no_uid_is_needed_by_default_or_for_an_update_or_without_lookups() {
        let object = note(company());
        assert!(owner(&request(CrmKind::Note, &object), &policy()).is_some());
        assert_eq!(owner(&request(CrmKind::Note, &object), &Policy::default()), None);
        let update = Request { operation: Operation::Update(&object), ..request(CrmKind::Note, &object) };
        assert_eq!(owner(&update, &policy()), None);
        let dry_run = Request { dry_run: true, ..request(CrmKind::Note, &object) };
        assert!(owner(&dry_run, &policy()).is_some());
        let mut skipping = policy();
        skipping.references.on_dry_run = DryRunMode::Skip;
        assert_eq!(owner(&dry_run, &skipping), None);
    }

    #[test]
    fn an_owner_reference_with_the_uid_stays_and_others_do_not_replace_it() {
        let with = |uid: &str| Record { owners: Some(vec![uid.to_owned()]), ..note(company()) };
        let owner =
            |object: &Record| verdict(CrmKind::Note, object, Fact::Exists, Some("u-1"), &policy()).owner;
        assert_eq!(owner(&with("u-1")), None);
        assert!(owner(&with("u-2")).is_some());
    }

    #[test]
    fn a_lookup_that_fails_denies_even_if_the_rule_is_disabled() {
        let denied = |policy: &Policy| {
            let found = verdict(CrmKind::Note, &note(company()), Fact::Unchecked, None, policy);
            let shown = |finding: &Finding| format!("{} {}", finding.action, finding.message());
            (found.owner, found.findings.iter().map(shown).collect::<Vec<_>>())
        };
        let text = "Invalid value: \"acme\": could not be checked, try again [subject-exists]";
        assert_eq!(denied(&policy()), (None, vec![format!("Deny {text}")]));
        let mut disabled = policy();
        let setting = RuleSetting { action: Action::Disabled, enforce_after: None };
        disabled.set_rule(RuleId::SubjectExists, setting);
        assert_eq!(denied(&disabled), (None, vec![format!("Deny {text}")]));
        disabled.references.on_lookup_error = LookupErrorMode::Allow;
        assert_eq!(denied(&disabled), (None, vec![format!("Warn {text}")]));
    }

    #[rstest]
    #[case::warn(Action::Warn)]
    #[case::audit(Action::Audit)]
    fn a_lookup_that_fails_denies_even_if_the_rule_would_let_it_pass(#[case] action: Action) {
        let mut lenient = policy();
        lenient.set_rule(RuleId::SubjectExists, RuleSetting { action, enforce_after: None });
        let found = verdict(CrmKind::Note, &note(company()), Fact::Unchecked, None, &lenient);
        let actions: Vec<Action> = found.findings.iter().map(|finding| finding.action).collect();
        assert_eq!(actions, [Action::Deny]);
    }

    #[test]
    fn a_lookup_that_fails_is_left_to_the_rule_if_the_uid_was_not_asked_for() {
        let mut disabled = policy();
        let setting = RuleSetting { action: Action::Disabled, enforce_after: None };
        disabled.set_rule(RuleId::SubjectExists, setting);
        let object = note(company());
        let facts: Facts = [(RuleId::SubjectExists.into(), Fact::Unchecked)].into_iter().collect();
        let found = evaluate(&request(CrmKind::Note, &object), &facts, &disabled, Timestamp::UNIX_EPOCH);
        assert_eq!((found.owner, found.findings), (None, vec![]));
    }

    #[test]
    fn a_missing_subject_is_no_owner() {
        let missing = Fact::Missing { suggestion: None };
        let found = verdict(CrmKind::Note, &note(company()), missing, None, &policy());
        assert_eq!((found.owner, found.findings.len()), (None, 1));
    }
}
