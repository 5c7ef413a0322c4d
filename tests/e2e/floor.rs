//! Tests which requests the schema denies without a webhook.

use crate::stage;
use crate::support::installation::{Installation, Witnessed};
use crate::support::kubectl::Outcome;
use crate::support::manifest;
use crate::support::records::{company, person, record};
use serde_json::{Value, json};
use std::sync::MutexGuard;

/// An installation whose webhook is not registered.
struct Floor(Witnessed<MutexGuard<'static, Installation>>);

impl Floor {
    fn stand() -> Self {
        let stage = stage::exclusive();
        stage.webhook.unregister();
        Self(stage)
    }

    /// alice creates a record as a dry run.
    fn create(&self, manifest: &str) -> Outcome {
        self.0.plane.kubectl("alice").run_with(manifest, ["create", "--dry-run=server", "-f", "-"])
    }

    /// Asserts that records which differ in one field from a valid one are denied.
    #[track_caller]
    fn refuses(&self, kind: &str, spec: &Value, field: &str, value: Value) {
        let mut spec = spec.clone();
        spec[field] = value;
        let refused = self.create(&record(kind, "{name: floor}", &spec.to_string())).fails();
        refused.prints_error(&format!("spec.{field}"));
    }
}

fn acceptable_company() -> Value {
    json!({"displayName": "Acme", "creatorRef": {"name": "zoe"}})
}

fn acceptable_note() -> Value {
    json!({
        "subjectRef": {"apiGroup": "crm.milo.io", "kind": "Person", "name": "ada"},
        "content": "met at the fair",
        "creatorRef": {"name": "zoe"},
    })
}

fn acceptable_person() -> Value {
    json!({"displayName": "Ada", "creatorRef": {"name": "zoe"}})
}

#[test]
fn records_without_a_required_field_are_denied() {
    let floor = Floor::stand();
    for (kind, acceptable) in
        [("Company", acceptable_company()), ("Person", acceptable_person()), ("Note", acceptable_note())]
    {
        floor.create(&record(kind, "{name: floor}", &acceptable.to_string())).succeeds();
        for field in acceptable.as_object().expect("fields").keys() {
            let mut spec = acceptable.clone();
            spec.as_object_mut().expect("fields").remove(field);
            let refused = floor.create(&record(kind, "{name: floor}", &spec.to_string())).fails();
            refused.prints_error(&format!("spec.{field}: Required value"));
        }
    }
    floor.create(&company("floor", "{}")).fails().prints_error("spec.displayName: Required value");
}

#[test]
fn values_of_the_wrong_type_are_denied() {
    let floor = Floor::stand();
    floor.refuses("Company", &acceptable_company(), "displayName", json!(7));
    floor.refuses("Company", &acceptable_company(), "domains", json!("acme.com"));
    floor.refuses(
        "Company",
        &acceptable_company(),
        "linkedinProfile",
        json!(["https://linkedin.com/company/acme"]),
    );
    floor.refuses("Company", &acceptable_company(), "creatorRef", json!("zoe"));
    floor.refuses("Person", &acceptable_person(), "companyRef", json!("acme"));
    floor.refuses("Note", &acceptable_note(), "followUp", json!("maybe"));
    floor.refuses("Note", &acceptable_note(), "interactionTime", json!("yesterday"));
}

#[test]
fn values_that_are_too_large_are_denied() {
    let floor = Floor::stand();
    floor.refuses("Company", &acceptable_company(), "displayName", json!("x".repeat(257)));
    floor.refuses("Company", &acceptable_company(), "domains", json!(vec!["acme.com"; 101]));
    floor.refuses("Note", &acceptable_note(), "content", json!("x".repeat(1001)));
}

#[test]
fn values_of_the_maximum_size_are_allowed() {
    let floor = Floor::stand();
    let mut company = acceptable_company();
    company["displayName"] = "ü".repeat(256).into();
    company["domains"] = vec!["acme.com"; 100].into();
    floor.create(&record("Company", "{name: floor}", &company.to_string())).succeeds();
    let mut note = acceptable_note();
    note["content"] = "ü".repeat(1000).into();
    floor.create(&record("Note", "{name: floor}", &note.to_string())).succeeds();
}

#[test]
fn a_person_has_at_most_one_primary_contact() {
    let floor = Floor::stand();
    let contact = |name| json!({"name": name, "namespace": "default", "type": "email", "primary": true});
    let mut spec = acceptable_person();
    spec["contactRefs"] = json!([contact("work")]);
    floor.create(&person("floor", &spec.to_string())).succeeds();
    floor.refuses("Person", &spec, "contactRefs", json!([contact("work"), contact("home")]));
}

#[test]
fn an_unknown_field_is_denied() {
    let floor = Floor::stand();
    floor
        .create(&company("floor", "{displayName: Acme, displyName: Acme, creatorRef: {name: zoe}}"))
        .fails()
        .prints_error(r#"unknown field "spec.displyName""#);
}

#[test]
fn values_that_are_not_canonical_are_left_to_the_webhook() {
    let floor = Floor::stand();
    let spec = r#"{displayName: Acme, domains: ["HTTPS://Acme.com/"], linkedinProfile: linkedin.com/company/Acme/, creatorRef: {name: zoe}}"#;
    floor.create(&company("floor", spec)).succeeds();
}

#[test]
fn every_shipped_example_is_allowed() {
    let floor = Floor::stand();
    let examples = floor.0.plane.kubectl("alice").read(&manifest("examples"));
    assert!(!examples.is_empty());
    for mut example in examples {
        let spec = &mut example["spec"];
        if spec["creatorRef"].is_null() {
            // The webhook would set the creator.
            spec["creatorRef"] = json!({"name": "alice"});
        }
        floor.create(&example.to_string()).succeeds();
    }
}
