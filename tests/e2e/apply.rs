//! Tests how users create records: defaults, canonical values, and denials.

use crate::stage;
use crate::support::manifest;
use crate::support::records::{bundle, company, note_about, person, record};
use serde_json::{Value, json};

#[test]
fn an_applied_company_gets_its_creator() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "apply-creator";
    let applied = alice.apply(&company(name, "{displayName: Acme, domains: [acme.com]}"));
    applied.succeeds().prints("created").without_warnings();
    assert_eq!(
        alice.get("company", name)["spec"],
        json!({"displayName": "Acme", "domains": ["acme.com"], "creatorRef": {"name": "alice"}})
    );
}

#[test]
fn a_company_can_be_applied_server_side() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "apply-server-side";
    alice.apply_server_side(&company(name, "{displayName: Acme, domains: [acme.com]}")).succeeds();
    assert_eq!(alice.get("company", name)["spec"]["creatorRef"], json!({"name": "alice"}));
}

#[test]
fn a_creator_that_is_given_is_kept() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "apply-given-creator";
    alice.apply(&company(name, "{displayName: Acme, creatorRef: {name: zoe}}")).succeeds();
    assert_eq!(alice.get("company", name)["spec"]["creatorRef"], json!({"name": "zoe"}));
}

#[test]
fn domains_and_profiles_are_stored_canonical_with_a_warning() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "apply-spelling";
    let spec = r#"{displayName: Acme, domains: ["HTTPS://Acme.com/", acme.io], linkedinProfile: linkedin.com/company/Acme/}"#;
    alice
        .apply(&company(name, spec))
        .succeeds()
        .warns(r#"spec.domains[0]: "HTTPS://Acme.com/" stored as "acme.com" [domain]"#)
        .warns(r#"spec.linkedinProfile: "linkedin.com/company/Acme/" stored as "https://linkedin.com/company/acme" [linkedin-profile]"#)
        .prints_no_error("spec.domains[1]");
    let stored = &alice.get("company", name)["spec"];
    assert_eq!(stored["domains"], json!(["acme.com", "acme.io"]));
    assert_eq!(stored["linkedinProfile"], "https://linkedin.com/company/acme");
}

#[test]
fn records_may_have_generated_names() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let unnamed = |spec| record("Company", "{generateName: apply-generated-}", spec);
    let created = alice.run_with(&unnamed("{displayName: Acme}"), ["create", "-o", "json", "-f", "-"]);
    let created = created.succeeds().json();
    assert!(created["metadata"]["name"].as_str().is_some_and(|name| name.len() > "apply-generated-".len()));
    assert_eq!(created["spec"]["creatorRef"], json!({"name": "alice"}));
    alice.create(&unnamed("{displayName: Acme, domains: [co.uk]}")).fails().prints_error(
        r#"The Company "apply-generated-" is invalid: spec.domains[0]: Invalid value: "co.uk": "#,
    );
}

#[test]
fn a_dry_run_gets_the_same_answer_and_stores_nothing() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "apply-dry-run";
    let dry_run = |spec: &str| {
        alice.run_with(&company(name, spec), ["apply", "--dry-run=server", "-o", "json", "-f", "-"])
    };
    let answered = dry_run("{displayName: Acme, domains: [Acme.com]}")
        .succeeds()
        .warns(r#"spec.domains[0]: "Acme.com" stored as "acme.com" [domain]"#)
        .json();
    assert_eq!(answered["spec"]["domains"], json!(["acme.com"]));
    assert_eq!(answered["spec"]["creatorRef"], json!({"name": "alice"}));
    dry_run("{displayName: Acme, domains: [co.uk]}").fails().prints_error("[domain/public-suffix]");
    assert!(!alice.has("company", name));
}

#[test]
fn a_bundle_is_applied_at_once() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let documents = bundle([
        company("apply-bundle", "{displayName: Acme}"),
        person("apply-bundle-ada", "{displayName: Ada, companyRef: {name: apply-bundle}}"),
        note_about("apply-bundle-ada", "apply-bundle-note"),
    ]);
    alice
        .apply(&documents)
        .succeeds()
        .prints("company.crm.milo.io/apply-bundle created")
        .prints("person.crm.milo.io/apply-bundle-ada created")
        .prints("note.crm.milo.io/apply-bundle-note created")
        .without_warnings();
}

#[test]
fn a_record_can_refer_to_one_that_was_just_created() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = |index: usize| format!("apply-moment-{index:02}");
    // Each record refers to the one before it, which kubectl created some milliseconds earlier.
    let documents = (0..50).map(name).flat_map(|name| {
        [
            company(&name, "{displayName: Acme}"),
            person(&name, &format!("{{displayName: Ada, companyRef: {{name: {name}}}}}")),
            note_about(&name, &name),
        ]
    });
    let created = alice.create(&bundle(documents)).succeeds();
    assert_eq!(created.stdout.lines().filter(|line| line.ends_with(" created")).count(), 150, "{created}");
}

#[test]
fn a_denial_lists_every_problem_with_its_rule() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let name = "apply-refused";
    let spec =
        r#"{displayName: " ", domains: [acme.com, co.uk], linkedinProfile: "https://example.com/acme"}"#;
    alice
        .apply(&company(name, spec))
        .fails()
        .prints_error(&format!(r#"The Company "{name}" is invalid: "#))
        .prints_error("* spec.displayName: Required value: ")
        .prints_error("[display-name")
        .prints_error(r#"* spec.domains[1]: Invalid value: "co.uk": is a public suffix under which others register names; give the company's own name under it [domain/public-suffix]"#)
        .prints_error(r#"* spec.linkedinProfile: Invalid value: "https://example.com/acme": is not an address on linkedin.com [linkedin-profile/not-linkedin]"#);
    assert!(!alice.has("company", name));
}

#[test]
fn users_who_may_list_companies_get_suggestions() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    alice.apply(&company("apply-acme-corp", "{displayName: Acme}")).succeeds();
    let misspelled = |name| person(name, "{displayName: Ada, companyRef: {name: apply-acme-crop}}");
    alice.apply(&misspelled("apply-misspelled")).fails().prints_error(
        r#"spec.companyRef.name: Not found: "apply-acme-crop": no Company of that name; did you mean "apply-acme-corp"? [company-exists]"#,
    );
    // dora may write people, but must not learn which companies exist.
    stage
        .plane
        .kubectl("dora")
        .apply(&misspelled("apply-misspelled-by-dora"))
        .fails()
        .prints_error(r#"spec.companyRef.name: Not found: "apply-acme-crop": no Company of that name"#)
        .prints_error("[company-exists]")
        .prints_no_error("did you mean")
        .prints_no_error("apply-acme-corp");
}

#[test]
fn users_who_may_not_list_companies_can_still_refer_to_one() {
    let stage = stage::shared();
    stage.plane.kubectl("alice").apply(&company("apply-known", "{displayName: Acme}")).succeeds();
    let dora = stage.plane.kubectl("dora");
    let ada = person("apply-known-ada", "{displayName: Ada, companyRef: {name: apply-known}}");
    dora.apply(&ada).succeeds().without_warnings();
    assert_eq!(dora.get("person", "apply-known-ada")["spec"]["creatorRef"], json!({"name": "dora"}));
}

#[test]
fn people_can_be_selected_by_their_company() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let at = |company: &str| format!("{{displayName: Ada, companyRef: {{name: {company}}}}}");
    let documents = bundle([
        company("apply-here", "{displayName: Here}"),
        company("apply-there", "{displayName: There}"),
        person("apply-ada", &at("apply-here")),
        person("apply-bob", &at("apply-here")),
        person("apply-eve", &at("apply-there")),
    ]);
    alice.apply(&documents).succeeds();
    let selected =
        alice.run(["get", "people", "--field-selector", "spec.companyRef.name=apply-here", "-o", "name"]);
    let selected = selected.succeeds().stdout;
    let people: Vec<&str> = selected.lines().collect();
    assert_eq!(people, ["person.crm.milo.io/apply-ada", "person.crm.milo.io/apply-bob"]);
}

#[test]
fn records_can_be_deleted() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    let documents = bundle([
        company("apply-deleted", "{displayName: Acme}"),
        person("apply-deleted", "{displayName: Ada}"),
        note_about("apply-deleted", "apply-deleted"),
    ]);
    alice.apply(&documents).succeeds();
    for resource in ["note", "person", "company"] {
        alice.run(["delete", resource, "apply-deleted"]).succeeds().without_warnings();
        assert!(!alice.has(resource, "apply-deleted"), "{resource}");
    }
}

#[test]
fn the_shipped_examples_are_admitted_without_a_warning() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    alice.apply_path(&manifest("examples")).succeeds().without_warnings();
    for example in alice.read(&manifest("examples")) {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let stored = alice.get(&text(&example["kind"]), &text(&example["metadata"]["name"]));
        assert!(stored["spec"]["creatorRef"]["name"].is_string(), "{stored}");
    }
}
