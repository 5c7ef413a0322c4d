//! Tests deletions: the dependents of a record, and the action of the policy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Answer, Ask, delete, noon, pipeline_over};
use crm_admission::directory::{CountDependents, Found, LookUp, LookupError, PartStatus};
use crm_core::api::Target;
use crm_core::catalog::{Action, RuleId};
use crm_core::existence::Objects;
use crm_core::existence::Presence;
use crm_core::links::{Count, Dependents, Tally, Visibility};
use crm_core::policy::{Exemption, Policy, RuleSetting};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use jiff::ToSpan;
use k8s_openapi::api::authentication::v1::UserInfo;
use rstest::rstest;
use serde_json::{Value, json};

const RULE: RuleId = RuleId::DeleteReferenced;

fn record(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn person(name: &str) -> Value {
    record("Person", name, json!({"companyRef": {"name": "acme"}}))
}

fn note(name: &str, kind: &str) -> Value {
    record("Note", name, json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": kind, "name": "acme"}}))
}

/// Two people and a note refer to the company, one note to the person of the same name.
fn memory() -> Objects {
    Objects::new(&[person("ada"), person("bob"), note("n1", "Company"), note("n2", "Person")])
}

fn policy(action: Action) -> Policy {
    let mut policy = Policy::default();
    policy.set_rule(RULE, RuleSetting { action, enforce_after: None });
    policy
}

fn ask_under(ask: Ask, policy: Policy) -> Answer {
    ask.put_to(&pipeline_over(Arc::new(memory()), policy))
}

#[test]
fn a_warning_counts_and_names_the_dependents() {
    let answer = ask_under(delete("Company"), Policy::default());
    answer.is_allowed_with(&[
        r#"metadata.name: "acme": still referred to by 2 People ("ada", "bob") and 1 Note ("n1") [delete-referenced]"#,
    ]);
    assert_eq!(answer.annotation("rules"), Some("delete-referenced=Warn"));
    ask_under(delete("Person"), Policy::default()).is_allowed_with(&[
        r#"metadata.name: "acme": still referred to by 1 Note ("n2"); delete or change them first [delete-referenced]"#,
    ]);
    ask_under(delete("Note"), Policy::default()).is_allowed_with(&[]);
}

#[test]
fn a_record_without_dependents_is_deleted_without_a_warning() {
    let answer = delete("Company").put_to(&pipeline_over(Arc::new(Objects::default()), policy(Action::Deny)));
    answer.is_allowed_with(&[]);
    assert_eq!(answer.annotation("rules"), None);
}

#[test]
fn a_denial_is_a_conflict_with_the_fix() {
    let answer = ask_under(delete("Company"), policy(Action::Deny));
    let message = r#"still referred to by 2 People ("ada", "bob") and 1 Note ("n1"); delete or change them first [delete-referenced]"#;
    answer.is_denied_for(&[("Forbidden metadata.name", message)]);
    let status = &answer.response()["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(409), &json!("Conflict")));
    assert_eq!(status["message"], format!(r#"Company.crm.milo.io "acme" cannot be deleted: {message}"#));
    assert_eq!(status["details"]["name"], "acme");
    assert_eq!(answer.warnings(), [] as [&str; 0]);
}

#[test]
fn a_dry_run_gets_the_same_answer() {
    let dry = || delete("Company").with("/dryRun", json!(true));
    assert_eq!(ask_under(dry(), Policy::default()).warnings().len(), 1);
    assert!(!ask_under(dry(), policy(Action::Deny)).is_allowed());
}

#[test]
fn audit_records_the_finding_without_a_warning() {
    let answer = ask_under(delete("Company"), policy(Action::Audit));
    answer.is_allowed_with(&[]);
    assert_eq!(answer.annotation("rules"), Some("delete-referenced=Audit"));
}

#[test]
fn before_its_start_date_a_denial_is_a_warning_that_names_the_date() {
    let mut policy = Policy::default();
    let enforce_after = Some(noon() + 24.hours());
    policy.set_rule(RULE, RuleSetting { action: Action::Deny, enforce_after });
    let answer = ask_under(delete("Company"), policy);
    assert!(answer.is_allowed());
    let warnings = answer.warnings();
    assert!(warnings[0].contains("; denied from 2026-11-24T12:00:00Z [delete-referenced]"), "{warnings:?}");
}

#[test]
fn a_collection_request_is_decided_by_its_old_object() {
    let one_of_many = delete("Company").with("/name", json!(""));
    let answer = ask_under(one_of_many, policy(Action::Deny));
    answer.is_denied_for(&[("Forbidden metadata.name", r#"2 People ("ada", "bob")"#)]);
    assert_eq!(answer.response()["status"]["details"]["name"], "acme");
}

#[test]
fn an_old_object_that_is_not_needed_may_be_unreadable() {
    let odd = delete("Company").with("/oldObject", json!({"metadata": 7}));
    assert!(ask_under(odd, Policy::default()).is_allowed());
    let none = delete("Company").with("/oldObject", Value::Null);
    assert_eq!(ask_under(none, Policy::default()).warnings().len(), 1);
}

/// A directory that counts the lookups and always has the same answer.
struct Asked {
    times: AtomicUsize,
    answer: Result<Tally, Duration>,
}

impl Asked {
    fn new(answer: Result<Tally, Duration>) -> Arc<Self> {
        Arc::new(Self { times: AtomicUsize::new(0), answer })
    }

    fn hidden() -> Arc<Self> {
        Self::new(Ok(Tally {
            count: Count::Exactly(3),
            owned: Count::Exactly(0),
            names: vec!["secret".into()],
            visibility: Visibility::Hidden,
        }))
    }
}

impl LookUp for Asked {
    fn recall(&self, _: &Target) -> Option<Presence> {
        None
    }

    fn confirm<'a>(&'a self, _: &'a Target, limit: Duration) -> BoxFuture<'a, Result<Presence, LookupError>> {
        ready(Err(LookupError::Late(limit))).boxed()
    }

    fn identify<'a>(
        &'a self,
        _target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        ready(Err(LookupError::Late(limit))).boxed()
    }

    fn suggest<'a>(&'a self, _: &'a Target, _: &'a UserInfo, _: Duration) -> BoxFuture<'a, Option<String>> {
        ready(None).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        Vec::new()
    }
}

impl CountDependents for Asked {
    fn dependents<'a>(
        &'a self,
        _: &'a Dependents,
        _: &'a UserInfo,
        _: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        ready(self.answer.clone().map_err(LookupError::Late)).boxed()
    }
}

#[rstest]
#[case::garbage_collector("system:serviceaccount:kube-system:generic-garbage-collector")]
#[case::namespace_controller("system:serviceaccount:kube-system:namespace-controller")]
fn requests_of_the_cluster_itself_are_not_checked(#[case] user: &str) {
    let directory = Asked::hidden();
    let by_cleaner = delete("Company").with("/userInfo/username", json!(user));
    by_cleaner.put_to(&pipeline_over(directory.clone(), policy(Action::Deny))).is_allowed_with(&[]);
    assert_eq!(directory.times.load(Ordering::Relaxed), 0);
}

#[test]
fn a_disabled_rule_does_no_lookups() {
    let directory = Asked::hidden();
    delete("Company")
        .put_to(&pipeline_over(directory.clone(), policy(Action::Disabled)))
        .is_allowed_with(&[]);
    assert_eq!(directory.times.load(Ordering::Relaxed), 0);
}

#[test]
fn exempt_users_are_not_checked_and_are_recorded() {
    let directory = Asked::hidden();
    let mut policy = policy(Action::Deny);
    policy.exemptions.push(Exemption {
        name: "spring-cleaning".into(),
        users: vec!["alice".into()],
        groups: Vec::new(),
        rules: vec![RULE],
        reason: None,
        expires: None,
    });
    let answer = delete("Company").put_to(&pipeline_over(directory.clone(), policy));
    answer.is_allowed_with(&[]);
    assert_eq!(answer.annotation("exempted-by"), Some("spring-cleaning"));
    assert_eq!(directory.times.load(Ordering::Relaxed), 0);
}

#[test]
fn a_user_who_may_not_list_the_dependents_gets_no_warning() {
    let answer = delete("Company").put_to(&pipeline_over(Asked::hidden(), Policy::default()));
    answer.is_allowed_with(&[]);
    // The audit log may contain it.
    assert_eq!(answer.annotation("rules"), Some("delete-referenced=Audit"));
}

#[test]
fn a_user_who_may_not_list_the_dependents_is_denied_without_kind_count_or_name() {
    let answer = delete("Company").put_to(&pipeline_over(Asked::hidden(), policy(Action::Deny)));
    let message = "still referred to by records that you may not list; ask someone who may list them [delete-referenced]";
    answer.is_denied_for(&[("Forbidden metadata.name", message)]);
    let all = answer.response().to_string();
    for secret in ["Note", "Person", "People", "secret", "3"] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[test]
fn a_failed_count_is_a_warning_and_never_blocks() {
    for action in [Action::Warn, Action::Deny] {
        let late = Asked::new(Err(Duration::from_secs(1)));
        delete("Company").put_to(&pipeline_over(late, policy(action))).is_allowed_with(&[
            r#"metadata.name: "acme": could not check whether People or Notes or ClusterNotes refer to it [delete-referenced]"#,
        ]);
    }
}

/// A note about the company, and its owners: the company and others.
fn owned_note(others: &[&str]) -> Value {
    let owner = |kind: &str, version: &str| json!({"apiVersion": version, "kind": kind, "name": "acme", "uid": "u-1"});
    let company = owner("Company", "crm.milo.io/v1alpha1");
    let owners: Vec<Value> =
        std::iter::once(company).chain(others.iter().map(|kind| owner(kind, "v1"))).collect();
    let mut note = note("n1", "Company");
    note["metadata"]["ownerReferences"] = json!(owners);
    note
}

fn deleted_with(note: Value, options: Value) -> Answer {
    let objects = Arc::new(Objects::new(&[note]));
    delete("Company").with("/options", options).put_to(&pipeline_over(objects, policy(Action::Deny)))
}

#[rstest]
#[case::in_the_background(json!({"propagationPolicy": "Background"}))]
#[case::by_an_older_client(json!({"orphanDependents": false}))]
#[case::without_options(json!({}))]
fn a_note_that_only_the_record_owns_is_deleted_with_it(#[case] options: Value) {
    deleted_with(owned_note(&[]), options)
        .is_allowed_with(&[r#"metadata.name: "acme": 1 Note will be deleted with it [delete-referenced]"#]);
}

#[rstest]
#[case::orphaned(json!({"propagationPolicy": "Orphan"}), &[])]
#[case::orphaned_by_an_older_client(json!({"orphanDependents": true}), &[])]
#[case::of_another_owner_too(json!({}), &["Namespace"])]
fn a_note_that_stays_is_a_dependent(#[case] options: Value, #[case] others: &[&str]) {
    deleted_with(owned_note(others), options)
        .is_denied_for(&[("Forbidden metadata.name", "still referred to by 1 Note")]);
}
