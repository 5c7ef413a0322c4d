//! Tests the optional floor: the API server itself requires canonical values, without a webhook.

use crate::support::control_plane::ControlPlane;
use crate::support::kubectl::{Kubectl, Outcome};
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, company, person, record};
use crate::support::{manifest, repository};
use crm_core::normalize::{CANONICAL_DOMAIN_PATTERN, CANONICAL_LINKEDIN_PATTERN};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

/// The first minor version with stable MutatingAdmissionPolicies (KEP-3962).
const MUTATING_POLICIES: u32 = 36;

/// A control plane with the floor, and records that were stored before it.
fn plane() -> &'static ControlPlane {
    static PLANE: LazyLock<ControlPlane> = LazyLock::new(|| {
        let plane = ControlPlane::start();
        plane.install_kinds(&manifest("crds"));
        plane.install_roles();
        plane.kubectl("alice").create(&older_than_the_floor()).succeeds();
        let floor = manifest("floor");
        plane.kubectl("admin").run(["apply", "-k", floor.to_str().expect("a path in UTF-8")]).succeeds();
        poll::until("a floor", Duration::from_secs(60), || {
            match for_show(
                &plane.kubectl("alice"),
                &company("floor", &spec(json!({"domains": ["Acme.com"]}))),
            ) {
                tried if tried.stderr.contains("crm-admission-floor") => Seen::Ready(()),
                tried => Seen::NotYet(tried.to_string()),
            }
        });
        plane
    });
    &PLANE
}

/// Records that the floor would deny, one for each test that changes one.
fn older_than_the_floor() -> String {
    let messy = json!({
        "displayName": " ",
        "domains": ["HTTPS://Old.example/", "old.example"],
        "linkedinProfile": "linkedin.com/company/Old",
    });
    bundle(["old-edited", "old-extended", "old-worsened"].map(|name| company(name, &spec(messy.clone()))))
}

/// A spec with these fields and the other required fields.
fn spec(fields: Value) -> String {
    let mut spec = json!({"displayName": "Acme", "creatorRef": {"name": "zoe"}});
    let Value::Object(fields) = fields else { panic!("not fields: {fields}") };
    spec.as_object_mut().expect("fields").extend(fields);
    spec.to_string()
}

fn for_show(user: &Kubectl, manifests: &str) -> Outcome {
    user.run_with(manifests, ["create", "--dry-run=server", "-o", "name", "-f", "-"])
}

/// One example: an input, and its stored value if it is valid.
#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) kind: Option<String>,
    pub(crate) input: String,
    pub(crate) expect: Option<String>,
}

pub(crate) fn vectors(file: &str) -> Vec<Vector> {
    let text = std::fs::read_to_string(repository().join("tests/vectors").join(file)).expect("vectors");
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).expect("a vector")).collect()
}

/// The values that the API server admits, each in a record of its kind.
fn admitted(field: &str, values: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    let value = |text: &str| if field == "domains" { json!([text]) } else { json!(text) };
    let named: BTreeMap<String, &(String, String)> =
        values.iter().enumerate().map(|(index, value)| (format!("vector-{index}"), value)).collect();
    let records = named.iter().map(|(name, (kind, text))| {
        record(kind, &format!("{{name: {name}}}"), &spec(json!({field: value(text)})))
    });
    // All in one call of kubectl, which continues after a denial.
    let outcome = for_show(&plane().kubectl("alice"), &bundle(records));
    let passed: BTreeSet<&str> = outcome.stdout.lines().filter_map(|line| line.rsplit('/').next()).collect();
    for name in named.keys().filter(|name| !passed.contains(name.as_str())) {
        // Denied only by the floor, except values that are too long for the schema.
        let quoted = format!("\"{name}\" is ");
        let told = outcome.stderr.lines().find(|line| line.contains(&quoted)).unwrap_or_default();
        assert!(
            told.contains("crm-admission-floor") || told.contains("Too long"),
            "{name}: {told}\n{outcome}"
        );
    }
    named
        .iter()
        .filter(|(name, _)| passed.contains(name.as_str()))
        .map(|(_, value)| (*value).clone())
        .collect()
}

/// Asserts that every canonical value of the vectors is admitted, and of all others only `blind`, which look canonical.
fn tries_every_vector(field: &str, file: &str, pattern: &str, blind: &[&str]) {
    let vectors = vectors(file);
    let of = |vector: &Vector, text: &str| {
        (vector.kind.clone().unwrap_or_else(|| "Company".to_owned()), text.to_owned())
    };
    let canonical: BTreeSet<_> =
        vectors.iter().filter_map(|vector| Some(of(vector, vector.expect.as_deref()?))).collect();
    let inputs: BTreeSet<_> = vectors.iter().map(|vector| of(vector, &vector.input)).collect();
    let all = canonical.union(&inputs).cloned().collect();
    let admitted = admitted(field, &all);
    let refused: Vec<_> = canonical.difference(&admitted).collect();
    assert!(refused.is_empty(), "canonical and refused: {refused:?}");
    let others: BTreeSet<&str> = admitted.difference(&canonical).map(|(_, text)| text.as_str()).collect();
    assert_eq!(others, blind.iter().copied().collect(), "not canonical and admitted");
    // The pattern in the code cannot distinguish them either.
    let pattern = Regex::new(pattern).expect("a pattern");
    assert!(others.iter().all(|text| pattern.is_match(text)));
}

#[test]
fn every_domain_of_the_vectors_is_checked_by_the_pattern() {
    let addresses = ["0x7f.1", "127.0x1", "192.168.0.1", "acme.123", "acme.com.1"];
    let suffixes = ["co.uk", "com.au", "test.ck"];
    let hosts = ["www.acme.com", "www.bbc.co.uk", "www.www.acme.com", "www.www.com"];
    let undecodable = ["xn--a.com"];
    let blind = [&addresses[..], &suffixes, &hosts, &undecodable].concat();
    tries_every_vector("domains", "domains.jsonl", CANONICAL_DOMAIN_PATTERN, &blind);
}

#[test]
fn every_profile_of_the_vectors_is_checked_by_the_pattern() {
    tries_every_vector("linkedinProfile", "linkedin.jsonl", CANONICAL_LINKEDIN_PATTERN, &[]);
}

#[test]
fn a_denial_has_the_field_and_the_fix() {
    let alice = plane().kubectl("alice");
    let refused = |fields| for_show(&alice, &company("floor", &spec(fields))).fails();
    refused(json!({"domains": ["acme.com", "Acme.io"]})).prints_error(
        "spec.domains: every entry must be in the form in which it is stored, such as acme.com",
    );
    refused(json!({"linkedinProfile": "linkedin.com/company/acme"}))
        .prints_error("spec.linkedinProfile: must be in the form in which it is stored")
        .prints_error("crm-admission check --fix FILE");
    // All white space is blank, as for the webhook. (The schema denies an empty string.)
    for blank in [" ", "\t\n", "\u{a0}\u{2003}\u{3000}\u{85}", "\u{200b}\u{3164} \u{feff}"] {
        refused(json!({"displayName": blank}))
            .prints_error("spec.displayName: give the name that people know");
    }
}

#[test]
fn a_profile_must_match_the_kind() {
    let alice = plane().kubectl("alice");
    let profile = |page| spec(json!({"linkedinProfile": format!("https://linkedin.com/{page}/acme")}));
    for_show(&alice, &company("floor", &profile("company"))).succeeds();
    for_show(&alice, &person("floor", &profile("in"))).succeeds();
    for_show(&alice, &company("floor", &profile("in"))).fails().prints_error("spec.linkedinProfile");
    for_show(&alice, &person("floor", &profile("company"))).fails().prints_error("spec.linkedinProfile");
}

#[test]
fn missing_fields_are_allowed() {
    let alice = plane().kubectl("alice");
    for fields in [json!({}), json!({"domains": null, "linkedinProfile": null}), json!({"domains": []})] {
        for_show(&alice, &company("floor", &spec(fields))).succeeds();
    }
    for_show(&alice, &person("floor", &spec(json!({"linkedinProfile": null})))).succeeds();
}

#[test]
fn the_maximum_number_of_domains_is_within_the_cost_limit_of_expressions() {
    let name = "floor-many";
    let alice = plane().kubectl("alice");
    let label = "x".repeat(60);
    let domains = |end: &str| -> Vec<String> {
        (0..100).map(|index| format!("d{index}.{label}.{label}.{label}.{end}")).collect()
    };
    alice.create(&company(name, &spec(json!({"domains": domains("example")})))).succeeds();
    // Every entry is searched among the same number of old ones.
    alice.patch("company", name, &json!({"spec": {"domains": domains("test")}})).succeeds();
}

#[test]
fn other_fields_of_an_old_record_can_be_edited() {
    let alice = plane().kubectl("alice");
    alice.patch("company", "old-edited", &json!({"spec": {"description": "Anvils"}})).succeeds();
    alice.run(["annotate", "company", "old-edited", "example.com/seen=yes"]).succeeds();
}

#[test]
fn a_list_with_old_entries_can_grow() {
    let grown = json!({"spec": {"domains": ["acme.io", "HTTPS://Old.example/"]}});
    plane().kubectl("alice").patch("company", "old-extended", &grown).succeeds();
}

#[test]
fn an_old_record_cannot_get_more_invalid_values() {
    let alice = plane().kubectl("alice");
    for (change, field) in [
        (json!({"domains": ["HTTPS://Old.example/", "Acme.com"]}), "spec.domains"),
        (json!({"linkedinProfile": "linkedin.com/company/Older"}), "spec.linkedinProfile"),
        (json!({"displayName": "  "}), "spec.displayName"),
    ] {
        alice.patch("company", "old-worsened", &json!({"spec": change})).fails().prints_error(field);
    }
}

#[test]
fn the_api_server_adds_nothing_to_the_floor() {
    let admin = plane().kubectl("admin");
    for object in admin.read(&manifest("floor/floor.yaml")) {
        let kind = object["kind"].as_str().expect("a kind");
        let stored = admin.get(kind, "crm-admission-floor");
        assert_eq!(stored["spec"], object["spec"], "GitOps tools would see drift in {kind}");
    }
}

#[test]
fn the_creator_of_a_stored_record_cannot_change() {
    let alice = plane().kubectl("alice");
    let name = "floor-creator";
    alice.create(&company(name, &spec(json!({})))).succeeds();
    let change = |fields: Value| alice.patch("company", name, &json!({"spec": fields}));
    change(json!({"creatorRef": {"name": "eve"}}))
        .fails()
        .prints_error("crm-admission-floor")
        .prints_error("spec.creatorRef.name: field is immutable: keep the creator of the stored record");
    change(json!({"displayName": "Acme Corporation"})).succeeds();
    // A record from before the floor, too.
    alice.patch("company", "old-edited", &json!({"spec": {"creatorRef": {"name": "eve"}}})).fails();
}

#[test]
fn the_subject_of_a_stored_note_cannot_change() {
    let alice = plane().kubectl("alice");
    let name = "floor-note";
    let subject = json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"});
    let note = json!({"subjectRef": subject, "content": "called", "creatorRef": {"name": "zoe"}}).to_string();
    alice.create(&record("Note", &format!("{{name: {name}}}"), &note)).succeeds();
    let change = |subject: Value, content: &str| {
        alice.patch("note", name, &json!({"spec": {"subjectRef": subject, "content": content}}))
    };
    for fields in [
        json!({"name": "globex"}),
        json!({"kind": "Person"}),
        json!({"apiGroup": "example.com"}),
        json!({"apiGroup": null}),
        json!({"namespace": "crm"}),
    ] {
        change(fields, "called")
            .fails()
            .prints_error("crm-admission-floor")
            .prints_error("spec.subjectRef: field is immutable: keep the subject of the stored note");
    }
    // An empty namespace is none.
    change(json!({"namespace": ""}), "called twice").succeeds();
    change(json!({"namespace": null}), "called again").succeeds();
}

#[test]
fn a_missing_creator_is_filled_in_with_the_name_of_the_user() {
    let (admin, alice) = (plane().kubectl("admin"), plane().kubectl("alice"));
    let directory = manifest("floor/creator");
    let applied = admin.run(["apply", "-k", directory.to_str().expect("a path in UTF-8")]);
    if plane().minor() < MUTATING_POLICIES {
        applied.fails().prints_error("no matches for kind \"MutatingAdmissionPolicy\"");
        return;
    }
    applied.succeeds();
    let shown = |user: &Kubectl, kind: &str, fields: Value, more: &[&str]| {
        let show = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let record = record(kind, "{name: floor-filled}", &fields.to_string());
        user.run_with(&record, show.into_iter().chain(more.iter().copied()))
    };
    let acme = || json!({"displayName": "Acme"});
    poll::until("a creator from the floor", Duration::from_secs(60), || {
        match shown(&alice, "Company", acme(), &[]) {
            tried if tried.ok() => Seen::Ready(()),
            tried => Seen::NotYet(tried.to_string()),
        }
    });
    let creator = |outcome: Outcome| outcome.succeeds().json()["spec"]["creatorRef"].clone();
    let note = json!({
        "subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"}, "content": "called",
    });
    for (kind, fields) in [("Company", acme()), ("Person", acme()), ("Note", note)] {
        assert_eq!(creator(shown(&alice, kind, fields.clone(), &[])), json!({"name": "alice"}), "{kind}");
        let mut given = fields;
        given["creatorRef"] = json!({"name": "zoe"});
        assert_eq!(creator(shown(&alice, kind, given, &[])), json!({"name": "zoe"}), "{kind}");
    }
    // No creator can have such a name.
    for name in ["a/b", "a b", ".."] {
        let user = format!("--as={name}");
        shown(&admin, "Company", acme(), &[&user, "--as-group=crm-editors"])
            .fails()
            .prints_error("spec.creatorRef: Required value");
    }
    for object in admin.read(&manifest("floor/creator/creator.yaml")) {
        let kind = object["kind"].as_str().expect("a kind");
        let stored = admin.get(kind, "crm-admission-floor");
        assert_eq!(stored["spec"], object["spec"], "GitOps tools would see drift in {kind}");
    }
}
