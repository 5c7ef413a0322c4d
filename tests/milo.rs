//! Tests reviews of Milo's notes, and notes that are owned by their subject.

use std::sync::Arc;

use crate::common::{Answer, Ask, create, delete, pipeline_over, update};
use crm_admission::admission::Pipeline;
use crm_core::existence::Objects;
use crm_core::policy::{self, Policy};
use rstest::rstest;
use serde_json::{Value, json};

const GROUP: &str = "notes.miloapis.com";

fn document(text: &str) -> Value {
    crm_manifest::documents(text).unwrap().remove(0).1
}

/// The shipped policy.
fn shipped() -> Policy {
    policy::compile(&document(include_str!("../manifests/policy/milo.yaml")), "milo").unwrap()
}

fn owning() -> Policy {
    let mut policy = Policy::default();
    policy.owned_by_subject = true;
    policy
}

/// A directory with one object of each kind; the UID of alice is the name of her User.
fn objects() -> Objects {
    let object = |api_version: &str, kind: &str, metadata: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    let contact = json!({"name": "ada", "namespace": "crm", "uid": "u-contact"});
    Objects::new(&[
        object("crm.milo.io/v1alpha1", "Company", json!({"name": "acme-corp", "uid": "u-company"})),
        object("crm.milo.io/v1alpha1", "Company", json!({"name": "of-a-file"})),
        object("notification.miloapis.com/v1alpha1", "Contact", contact),
        object("iam.miloapis.com/v1alpha1", "User", json!({"name": "user-7f3"})),
    ])
}

fn pipeline(policy: Policy) -> Pipeline {
    pipeline_over(Arc::new(objects()), policy)
}

fn company() -> Value {
    json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp"})
}

fn contact(namespace: &str) -> Value {
    json!({"apiGroup": "notification.miloapis.com", "kind": "Contact", "name": "ada", "namespace": namespace})
}

fn spec(subject: &Value) -> Value {
    json!({"subjectRef": subject, "content": "Called."})
}

/// The same review about a kind of Milo, by alice; a Note is in the namespace `crm`.
fn of_milo(ask: Ask, kind: &str) -> Ask {
    let of_kind = json!({"group": GROUP, "version": "v1alpha1", "kind": kind});
    let ask = ask.with("/kind", of_kind).with("/userInfo/uid", json!("user-7f3"));
    let mut ask =
        ask.with("/object/apiVersion", json!(format!("{GROUP}/v1alpha1"))).with("/object/kind", json!(kind));
    if kind == "Note" {
        ask = ask.with("/namespace", json!("crm")).with("/object/metadata/namespace", json!("crm"));
    }
    ask
}

fn milo_note(kind: &str, subject: &Value) -> Ask {
    of_milo(create("Note", spec(subject)), kind)
}

fn owner(answer: &Answer) -> Value {
    answer.patched()["metadata"]["ownerReferences"].clone()
}

#[test]
fn a_cluster_note_is_completed_by_the_shipped_policy() {
    let answer = milo_note("ClusterNote", &company()).put_to(&pipeline(shipped()));
    answer.is_allowed_with(&[]);
    let patched = answer.patched();
    assert_eq!(patched["spec"]["creatorRef"], json!({"name": "user-7f3"}));
    let expected = json!([{
        "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "name": "acme-corp", "uid": "u-company",
    }]);
    assert_eq!(owner(&answer), expected);
    assert_eq!(answer.annotation("changes"), Some("spec.creatorRef.name,metadata.ownerReferences"));
    // What was mutated needs no more changes.
    let again = of_milo(create("Note", Value::Null).with("/object", patched), "ClusterNote");
    let second = again.clone().put_to(&pipeline(shipped()));
    assert_eq!((second.is_allowed(), second.patch()), (true, vec![]));
    again.validate().put_to(&pipeline(shipped())).is_allowed_with(&[]);
}

#[test]
fn a_note_in_a_namespace_is_about_an_object_there() {
    let answer = milo_note("Note", &contact("crm")).put_to(&pipeline(shipped()));
    answer.is_allowed_with(&[]);
    assert_eq!(owner(&answer)[0]["uid"], "u-contact");
    // Whether there is such a contact in the other namespace is not said.
    milo_note("Note", &contact("other")).put_to(&pipeline(shipped())).is_denied_for(&[(
        "Invalid spec.subjectRef.namespace",
        r#"must be the namespace of the Note, "crm" [subject-kind]"#,
    )]);
}

#[test]
fn a_denial_names_the_group() {
    let mut subject = company();
    subject["name"] = json!("acme-crop");
    let answer = milo_note("ClusterNote", &subject).put_to(&pipeline(shipped()));
    answer.is_denied_for(&[("NotFound spec.subjectRef.name", r#"did you mean "acme-corp"?"#)]);
    let status = &answer.response()["status"];
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .starts_with(r#"ClusterNote.notes.miloapis.com "acme" is invalid: "#),
        "{status}"
    );
    assert_eq!(
        (&status["details"]["group"], &status["details"]["kind"]),
        (&json!(GROUP), &json!("ClusterNote"))
    );
}

#[test]
fn an_update_of_milos_notes_keeps_creator_and_subject() {
    let mut old = spec(&company());
    old["creatorRef"] = json!({"name": "user-7f3"});
    let mut new = old.clone();
    new["subjectRef"]["name"] = json!("of-a-file");
    new["creatorRef"]["name"] = json!("zoe");
    of_milo(update("Note", old, new), "ClusterNote").put_to(&pipeline(shipped())).is_denied_for(&[
        ("Invalid spec.subjectRef.name", r#"keep "acme-corp" [subject-immutable]"#),
        ("Invalid spec.creatorRef.name", r#"keep "user-7f3" [creator-immutable]"#),
        ("NotFound spec.creatorRef.name", "[creator-exists]"),
    ]);
}

#[rstest]
#[case::another_group("notification.miloapis.com", "v1alpha1", "Note")]
#[case::another_version("notes.miloapis.com", "v1", "Note")]
#[case::another_kind("notes.miloapis.com", "v1alpha1", "Company")]
fn other_kinds_are_allowed_untouched(#[case] group: &str, #[case] version: &str, #[case] kind: &str) {
    let ask = create("Note", json!({"content": 7}));
    let ask = ask.with("/kind", json!({"group": group, "version": version, "kind": kind}));
    let answer = ask.put_to(&pipeline(shipped()));
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patch(), [] as [Value; 0]);
}

#[test]
fn a_note_is_owned_only_if_the_policy_says_so_and_only_on_create() {
    let note = |policy| create("Note", spec(&company())).put_to(&pipeline(policy));
    assert_eq!(owner(&note(Policy::default())), Value::Null);
    assert_eq!(owner(&note(owning()))[0]["uid"], "u-company");
    let dry_run = create("Note", spec(&company())).with("/dryRun", json!(true)).put_to(&pipeline(owning()));
    assert_eq!(owner(&dry_run)[0]["uid"], "u-company");
    let mut changed = spec(&company());
    changed["content"] = json!("Called twice.");
    let updated = update("Note", spec(&company()), changed).put_to(&pipeline(owning()));
    assert_eq!(owner(&updated), Value::Null);
    // `/validate` does not require it.
    let mut complete = spec(&company());
    complete["creatorRef"] = json!({"name": "alice"});
    create("Note", complete).validate().put_to(&pipeline(owning())).is_allowed_with(&[]);
}

#[test]
fn owners_that_are_there_stay() {
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "batch", "uid": "u-batch"});
    for (owners, expected) in [(json!([]), 1), (json!([other]), 2)] {
        let ask = create("Note", spec(&company())).with("/object/metadata/ownerReferences", owners.clone());
        let found = owner(&ask.put_to(&pipeline(owning())));
        assert_eq!(found.as_array().unwrap().len(), expected, "{found}");
        assert!(owners.as_array().unwrap().iter().all(|given| found.as_array().unwrap().contains(given)));
    }
    let null = create("Note", spec(&company())).with("/object/metadata/ownerReferences", Value::Null);
    assert_eq!(owner(&null.put_to(&pipeline(owning()))).as_array().unwrap().len(), 1);
}

#[test]
fn a_subject_without_a_uid_is_a_lookup_that_fails() {
    let mut subject = company();
    subject["name"] = json!("of-a-file");
    let answer = create("Note", spec(&subject)).put_to(&pipeline(owning()));
    answer.is_denied_for(&[(
        "Invalid spec.subjectRef.name",
        "could not be checked, try again [subject-exists]",
    )]);
    assert_eq!(answer.response()["status"]["code"], 503);
}

#[test]
fn a_deletion_says_which_notes_are_deleted_with_the_record() {
    let note = |kind: &str, group: &str, name: &str, owner: Value| {
        json!({
            "apiVersion": format!("{group}/v1alpha1"), "kind": kind,
            "metadata": {"name": name, "ownerReferences": owner},
            "spec": {"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"}},
        })
    };
    let acme =
        json!([{"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "name": "acme", "uid": "u-1"}]);
    let directory = |notes: &[Value]| pipeline_over(Arc::new(Objects::new(notes)), Policy::default());
    let owned = note("Note", "crm.milo.io", "n1", acme.clone());
    delete("Company")
        .put_to(&directory(std::slice::from_ref(&owned)))
        .is_allowed_with(&[r#"metadata.name: "acme": 1 Note will be deleted with it [delete-referenced]"#]);
    let others =
        [owned, note("ClusterNote", GROUP, "n2", acme), note("ClusterNote", GROUP, "n3", Value::Null)];
    delete("Company").put_to(&directory(&others)).is_allowed_with(&[
        r#"metadata.name: "acme": still referred to by 1 ClusterNote ("n3"); delete or change them first; 1 Note and 1 ClusterNote will be deleted with it [delete-referenced]"#,
    ]);
}
