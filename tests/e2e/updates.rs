//! Tests how users change records: repeated applies, edits by others, and records that are older than the rules.

use crate::stage;
use crate::support::kubectl::{Kubectl, Outcome};
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, company, note_about, person, record};
use serde_json::{Value, json};
use std::time::Duration;

fn version(kubectl: &Kubectl, name: &str) -> Value {
    kubectl.get("company", name)["metadata"]["resourceVersion"].clone()
}

#[test]
fn applying_the_same_file_twice_changes_nothing() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "update-twice";
    let file = company(name, "{displayName: Acme, domains: [acme.com]}");
    alice.apply(&file).succeeds();
    let first = version(&alice, name);
    alice.apply(&file).succeeds().prints("unchanged").without_warnings();
    assert_eq!(version(&alice, name), first);
}

#[test]
fn an_applied_canonical_file_has_no_diff() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let file = records_named("update-diff");
    alice.apply(&file).succeeds();
    alice.run_with(&file, ["diff", "-f", "-"]).succeeds().prints_nothing();
    let file = records_named("update-diff-server-side");
    alice.apply_server_side(&file).succeeds();
    alice.run_with(&file, ["diff", "--server-side", "-f", "-"]).succeeds().prints_nothing();
}

/// A canonical record of every kind.
fn records_named(name: &str) -> String {
    bundle([
        company(name, "{displayName: Acme, domains: [acme.com]}"),
        person(name, &format!("{{displayName: Ada, companyRef: {{name: {name}}}}}")),
        note_about(name, name),
    ])
}

#[test]
fn applying_a_file_that_is_not_canonical_again_changes_nothing() {
    stays_the_same("update-raw", Kubectl::apply);
    stays_the_same("update-raw-server-side", Kubectl::apply_server_side);
}

fn stays_the_same(name: &str, apply: fn(&Kubectl, &str) -> Outcome) {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let file = company(name, r#"{displayName: Acme, domains: ["HTTPS://Acme.com/"]}"#);
    let warning = r#"spec.domains[0]: "HTTPS://Acme.com/" stored as "acme.com" [domain]"#;
    apply(&alice, &file).succeeds().warns(warning);
    let first = alice.get("company", name);
    apply(&alice, &file).succeeds().warns(warning);
    assert_eq!(alice.get("company", name), first);
}

#[test]
fn a_record_can_be_patched_and_labelled() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "update-patched";
    alice.apply(&company(name, "{displayName: Acme, domains: [acme.com]}")).succeeds();
    alice.patch("company", name, &json!({"spec": {"description": "Anvils"}})).succeeds().without_warnings();
    let addition = r#"[{"op": "add", "path": "/spec/domains/-", "value": "HTTPS://Acme.io/"}]"#;
    alice
        .run(["patch", "company", name, "--type=json", "-p", addition])
        .succeeds()
        .warns(r#"spec.domains[1]: "HTTPS://Acme.io/" stored as "acme.io" [domain]"#);
    alice.run(["label", "company", name, "crm.milo.io/source=referral"]).succeeds().without_warnings();
    let stored = alice.get("company", name);
    assert_eq!(stored["spec"]["description"], "Anvils");
    assert_eq!(stored["spec"]["domains"], json!(["acme.com", "acme.io"]));
    assert_eq!(stored["metadata"]["labels"]["crm.milo.io/source"], "referral");
}

#[test]
fn an_unlisted_label_value_is_stored_with_a_warning() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "update-label";
    alice.apply(&company(name, "{displayName: Acme}")).succeeds();
    alice
        .run(["label", "company", name, "crm.milo.io/source=referal"])
        .succeeds()
        .warns_about("metadata.labels[crm.milo.io/source]: ", "label-value")
        .prints_error(r#"did you mean "referral"?"#);
}

#[test]
fn replacing_a_record_keeps_its_creator() {
    let stage = stage::shared();
    let name = "update-replaced";
    stage.plane.kubectl("alice").create(&company(name, "{displayName: Acme}")).succeeds();
    let carol = stage.plane.kubectl("carol");
    carol.replace(&company(name, "{displayName: Acme Ltd}")).succeeds().without_warnings();
    assert_eq!(
        carol.get("company", name)["spec"],
        json!({"displayName": "Acme Ltd", "creatorRef": {"name": "alice"}})
    );
}

#[test]
fn the_creator_of_a_record_cannot_be_changed() {
    let stage = stage::shared();
    let name = "update-creator";
    stage.plane.kubectl("alice").create(&company(name, "{displayName: Acme}")).succeeds();
    stage
        .plane
        .kubectl("carol")
        .patch("company", name, &json!({"spec": {"creatorRef": {"name": "carol"}}}))
        .fails()
        .prints_error(r#"spec.creatorRef.name: Invalid value: "carol": field is immutable: "#)
        .prints_error("[creator-immutable");
}

/// Records that break the rules, stored before the webhook is registered: one for each test that changes one.
pub(crate) fn older_than_the_rules() -> String {
    let spec = r#"{displayName: Old, domains: ["HTTPS://Old.example/", co.uk], linkedinProfile: "https://example.com/old", creatorRef: {name: zoe}}"#;
    bundle([
        record("Company", "{name: old-finalized, finalizers: [crm.milo.io/hold]}", spec),
        company("old-annotated", spec),
        company("old-edited", spec),
        company("old-worsened", spec),
        company("old-fixed", spec),
        person("old-dangling", "{displayName: Old, companyRef: {name: old-gone}, creatorRef: {name: zoe}}"),
    ])
}

#[test]
fn an_old_record_can_lose_its_finalizer() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "old-finalized";
    alice.run(["delete", "company", name, "--wait=false"]).succeeds();
    assert!(alice.has("company", name), "the finalizer keeps it");
    alice.patch("company", name, &json!({"metadata": {"finalizers": null}})).succeeds().without_warnings();
    poll::until("the deletion of a company", Duration::from_secs(30), || {
        if alice.has("company", name) { Seen::NotYet("it is there".to_owned()) } else { Seen::Ready(()) }
    });
}

#[test]
fn an_old_record_can_be_annotated() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    alice.run(["annotate", "company", "old-annotated", "example.com/seen=yes"]).succeeds().without_warnings();
}

#[test]
fn another_field_of_an_old_record_can_be_edited() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "old-edited";
    let before = alice.get("company", name)["spec"].clone();
    alice
        .patch("company", name, &json!({"spec": {"description": "Anvils"}}))
        .succeeds()
        .warns_about("spec.domains[1]: ", "domain")
        .warns_about("spec.linkedinProfile: ", "linkedin-profile");
    let mut expected = before;
    expected["description"] = "Anvils".into();
    assert_eq!(alice.get("company", name)["spec"], expected, "unchanged fields are not rewritten");
}

#[test]
fn an_old_record_cannot_get_more_invalid_values() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "old-worsened";
    let before = alice.get("company", name);
    alice
        .patch("company", name, &json!({"spec": {"domains": ["HTTPS://Old.example/", "co.uk", "com.au"]}}))
        .fails()
        // A single problem is on the same line, so the old one does not count.
        .prints_error(&format!(r#"The Company "{name}" is invalid: spec.domains[2]: Invalid value: "com.au": "#));
    assert_eq!(alice.get("company", name), before);
}

#[test]
fn an_old_record_can_be_fixed() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let fixed = json!({"spec": {"domains": ["old.example"], "linkedinProfile": null}});
    alice.patch("company", "old-fixed", &fixed).succeeds().without_warnings();
    assert_eq!(alice.get("company", "old-fixed")["spec"]["domains"], json!(["old.example"]));
}

#[test]
fn a_person_with_a_missing_company_can_be_edited_but_not_get_another_missing_one() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "old-dangling";
    alice
        .patch("person", name, &json!({"spec": {"jobTitle": "Smith"}}))
        .succeeds()
        .warns_about("spec.companyRef.name: ", "company-exists");
    alice
        .patch("person", name, &json!({"spec": {"companyRef": {"name": "old-missing"}}}))
        .fails()
        .prints_error(r#"spec.companyRef.name: Not found: "old-missing": "#)
        .prints_error("[company-exists]");
}
