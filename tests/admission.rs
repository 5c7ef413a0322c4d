//! Tests the answers of the two endpoints: patches, denials with every cause, warnings, annotations.

use std::sync::Arc;

use crate::common::{create, error_of, update};
use arc_swap::ArcSwap;
use crm_admission::admission::Pipeline;
use crm_admission::telemetry::Metrics;
use crm_core::catalog::{Action, RuleId};
use crm_core::policy::{Policy, RuleSetting};
use rstest::rstest;
use serde_json::{Value, json};

fn subject() -> Value {
    json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp"})
}

fn note() -> Value {
    json!({"subjectRef": subject(), "content": "Called.", "creatorRef": {"name": "alice"}})
}

fn setting(rule: RuleId, action: Action) -> Policy {
    let mut policy = Policy::default();
    policy.set_rule(rule, RuleSetting { action, enforce_after: None });
    policy
}

// ---- The envelope

#[test]
fn an_answer_has_the_version_and_the_uid_of_its_request() {
    let answer = create("Company", json!({"displayName": "Acme"})).ask();
    assert_eq!(answer.review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer.review["kind"], "AdmissionReview");
    assert_eq!(answer.response()["uid"], "u-1");
}

#[rstest]
#[case::not_json(b"hello", "not JSON")]
#[case::empty(b"", "not JSON")]
#[case::cut_off(br#"{"apiVersion": "admission.k8s.io/v1""#, "not JSON")]
#[case::not_utf8(b"{\"apiVersion\": \"\xff\"}", "not JSON")]
#[case::two_documents(b"{} {}", "not JSON")]
#[case::a_list(b"[]", "the body")]
#[case::a_number(b"7", "the body")]
#[case::other_kind(br#"{"apiVersion": "v1", "kind": "Pod"}"#, "kind AdmissionReview")]
#[case::no_request(
    br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#,
    "request is missing"
)]
fn a_body_that_is_not_a_review_gets_the_reason(#[case] body: &[u8], #[case] part: &str) {
    let reason = error_of(body).to_string();
    assert!(reason.contains(part) && !reason.contains('\n'), "{reason}");
}

#[rstest]
#[case::no_operation("/operation", json!(null), "request.operation")]
#[case::operation_of_a_wrong_type("/operation", json!(7), "request.operation")]
#[case::kind_a_list("/kind", json!([]), "request.kind")]
#[case::options_a_list("/options", json!(["x"]), "request.options")]
#[case::no_uid("/uid", json!(null), "request.uid")]
#[case::empty_uid("/uid", json!(""), "request.uid")]
#[case::uid_of_a_wrong_type("/uid", json!(7), "request.uid")]
#[case::a_long_uid("/uid", json!("u".repeat(257)), "request.uid is longer than 256 bytes")]
#[case::no_user("/userInfo", json!(null), "request.userInfo")]
#[case::user_of_a_wrong_type("/userInfo", json!("alice"), "request.userInfo")]
#[case::no_object("/object", json!(null), "request.object")]
#[case::object_of_a_wrong_type("/object", json!("acme"), "request.object")]
#[case::object_a_list("/object", json!([]), "request.object")]
#[case::metadata_a_text("/object/metadata", json!("acme"), "request.object.metadata")]
#[case::metadata_a_list("/object/metadata", json!([]), "request.object.metadata")]
#[case::labels_a_list("/object/metadata/labels", json!(["a"]), "request.object.metadata")]
#[case::a_label_a_number("/object/metadata/labels", json!({"a": 1}), "request.object.metadata")]
fn a_request_that_cannot_be_answered_gets_the_reason(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] part: &str,
) {
    let body = create("Company", json!({"displayName": "Acme"})).with(pointer, value).body();
    let reason = error_of(&body).to_string();
    assert!(reason.contains(part) && !reason.contains('\n'), "{reason}");
}

#[test]
fn a_long_version_is_not_repeated() {
    let version = format!("admission.k8s.io/{}", "v".repeat(1000));
    let body = json!({"apiVersion": version, "kind": "AdmissionReview", "request": {"uid": "u-1"}});
    let reason = error_of(body.to_string().as_bytes()).to_string();
    assert!(reason.contains("apiVersion is longer than 256 bytes"), "{reason}");
}

#[test]
fn an_object_that_is_nested_too_deep_is_unreadable() {
    let body = format!("{}{}", "{\"request\":".repeat(100_000), "}".repeat(100_000));
    assert!(error_of(body.as_bytes()).to_string().contains("not JSON"));
    let spec = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let body = String::from_utf8(create("Company", json!("SPEC")).body()).unwrap().replace("\"SPEC\"", &spec);
    assert!(
        error_of(body.as_bytes())
            .to_string()
            .contains("request.object cannot be read: it is nested too deep")
    );
}

#[rstest]
#[case::in_a_list("/object/metadata/managedFields", json!([nest(500)]))]
#[case::in_a_map("/object/metadata/annotations", json!({"a": nest(500)}))]
#[case::beside_the_spec("/object/status", nest(500))]
fn fields_that_no_rule_checks_may_have_any_depth(#[case] pointer: &str, #[case] value: Value) {
    let answer = create("Company", json!({"displayName": "Acme"})).with(pointer, value).ask();
    answer.is_allowed_with(&[]);
}

/// The limit of an object is the same, whether it is parsed with its review or separately.
#[test]
fn the_levels_above_an_object_do_not_count() {
    let spec = json!({"displayName": "Acme", "creatorRef": {"name": "alice"}, "unknown": nest(124)});
    create("Company", spec).ask().is_allowed_with(&[]);
}

#[test]
fn an_object_of_another_kind_may_be_unreadable() {
    let review = || create("Company", json!({"displayName": "Acme"})).with("/object", json!(["no object"]));
    let reason = error_of(&review().body()).to_string();
    assert!(reason.contains("request.object is missing or has a wrong type"), "{reason}");
    review().with("/kind/kind", json!("Deployment")).ask().is_allowed_with(&[]);
}

/// This many nested lists.
fn nest(depth: usize) -> Value {
    (0..depth).fold(json!([]), |inner, _| json!([inner]))
}

#[rstest]
#[case::label("/object/metadata/labels", json!({"example.com/pin-4711": 1}), "request.object.metadata")]
#[case::user("/userInfo/extra", json!({"example.com/pin-4711": 1}), "request.userInfo")]
fn a_reason_repeats_no_key_of_a_map(#[case] pointer: &str, #[case] value: Value, #[case] field: &str) {
    let body = create("Company", json!({"displayName": "Acme"})).with(pointer, value).body();
    let reason = error_of(&body).to_string();
    assert!(reason.contains(&format!("{field} is missing or has a wrong type")), "{reason}");
}

#[test]
fn the_reason_has_the_place_of_invalid_utf8() {
    let reason = error_of(b"{\n  \"kind\": \"\xff\"}").to_string();
    assert_eq!(reason, "the body is not JSON: error at line 2, column 12");
}

#[rstest]
#[case::other_group("/kind/group", json!("apps"))]
#[case::other_kind("/kind/kind", json!("Deployment"))]
#[case::other_version("/kind/version", json!("v2"))]
#[case::status("/subResource", json!("status"))]
#[case::connect("/operation", json!("CONNECT"))]
fn other_kinds_and_subresources_are_allowed_unchanged(#[case] pointer: &str, #[case] value: Value) {
    let answer = create("Company", json!({"displayName": 7})).with(pointer, value).ask();
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patch(), [] as [Value; 0]);
}

// ---- Changes

#[test]
fn a_missing_creator_is_set_from_the_user_without_a_warning() {
    let answer = create("Company", json!({"displayName": "Acme"})).ask();
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patched()["spec"]["creatorRef"], json!({"name": "alice"}));
    assert_eq!(answer.patch().len(), 1);
    assert_eq!(answer.annotation("changes"), Some("spec.creatorRef.name"));
    assert_eq!(answer.annotation("decision"), Some("allowed"));
    assert_eq!(answer.annotation("policy"), Some("built-in"));
}

#[rstest]
#[case::null(json!(null))]
#[case::empty(json!({}))]
#[case::empty_name(json!({"name": ""}))]
#[case::null_name(json!({"name": null}))]
fn a_creator_without_a_name_counts_as_missing(#[case] creator: Value) {
    let answer = create("Company", json!({"displayName": "Acme", "creatorRef": creator})).ask();
    assert_eq!(answer.patched()["spec"]["creatorRef"]["name"], "alice");
}

#[test]
fn other_fields_of_a_creator_stay() {
    let answer = create("Company", json!({"displayName": "Acme", "creatorRef": {"note": "kept"}})).ask();
    assert_eq!(answer.patched()["spec"]["creatorRef"], json!({"note": "kept", "name": "alice"}));
}

#[test]
fn a_given_creator_is_never_overwritten() {
    let answer = create("Company", json!({"displayName": "Acme", "creatorRef": {"name": "bob"}})).ask();
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patch(), [] as [Value; 0]);
}

#[test]
fn addresses_are_normalized_duplicates_removed_and_everything_else_stays() {
    let spec = json!({
        "displayName": "  Acme  ",
        "unknown": {"deep": [1, null]},
        "domains": ["HTTPS://Acme.com/", "acme.io", "https://www.acme.com", "ACME.io"],
        "linkedinProfile": "www.linkedin.com/company/Acme-Corp/",
        "creatorRef": {"name": "alice"},
    });
    let answer = create("Company", spec).ask();
    answer.is_allowed_with(&[
        r#"spec.displayName: "  Acme  " stored as "Acme" [display-name]"#,
        r#"spec.domains[0]: "HTTPS://Acme.com/" stored as "acme.com" [domain]"#,
        r#"spec.domains[2]: "https://www.acme.com" duplicate removed [domain]"#,
        r#"spec.domains[3]: "ACME.io" duplicate removed [domain]"#,
        r#"spec.linkedinProfile: "www.linkedin.com/company/…" stored as "https://linkedin.com/company/acme-corp" [linkedin-profile]"#,
    ]);
    let spec = json!({
        "displayName": "Acme",
        "unknown": {"deep": [1, null]},
        "domains": ["acme.com", "acme.io"],
        "linkedinProfile": "https://linkedin.com/company/acme-corp",
        "creatorRef": {"name": "alice"},
    });
    assert_eq!(answer.patched()["spec"], spec);
    // The stored object does not change again, and the other endpoint allows it.
    let again = create("Company", spec.clone()).ask();
    again.is_allowed_with(&[]);
    assert_eq!(again.patch(), [] as [Value; 0]);
    create("Company", spec).validate().ask().is_allowed_with(&[]);
}

#[test]
fn a_skipped_mutation_is_denied_by_validate() {
    let spec = json!({
        "displayName": " Acme",
        "domains": ["Acme.com", "acme.com"],
        "linkedinProfile": "linkedin.com/company/acme",
    });
    create("Company", spec).validate().ask().is_denied_for(&[
        ("Invalid spec.displayName", r#"write "Acme" [display-name/not-canonical]"#),
        ("Invalid spec.domains[0]", r#"Invalid value: "Acme.com": not in its canonical form; write "acme.com" [domain/not-canonical]"#),
        ("Invalid spec.domains[1]", "duplicate of spec.domains[0]; remove it [domain/not-canonical]"),
        ("Invalid spec.linkedinProfile", r#"write "https://linkedin.com/company/acme" [linkedin-profile/not-canonical]"#),
        ("Required spec.creatorRef.name", "[creator-ref]"),
    ]);
}

#[test]
fn a_missing_spec_counts_as_empty_and_is_created_by_the_patch() {
    let answer = create("Company", json!(null)).ask();
    answer.is_denied_for(&[("Required spec.displayName", "[display-name]")]);
    let answer = create("Company", json!(null)).ask_under(setting(RuleId::DisplayName, Action::Audit));
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patched()["spec"], json!({"creatorRef": {"name": "alice"}}));
    assert_eq!(answer.annotation("rules"), Some("display-name=Audit"));
}

// ---- Denials

#[test]
fn a_denial_is_a_status_with_every_cause() {
    let spec = json!({
        "displayName": " ",
        "domains": ["acme.com", "co.uk", "bob@acme.com"],
        "linkedinProfile": "https://example.com/acme",
        "creatorRef": {"name": "a/b"},
    });
    let answer = create("Company", spec).ask();
    answer.is_denied_for(&[
        ("Required spec.displayName", "Required value: give the name"),
        ("Invalid spec.domains[1]", r#"Invalid value: "co.uk": is a public suffix"#),
        ("Invalid spec.domains[2]", r#"Invalid value: "…@acme.com": looks like an e-mail address"#),
        ("Invalid spec.linkedinProfile", "[linkedin-profile/not-linkedin]"),
        ("Invalid spec.creatorRef.name", r#"Invalid value: "a/b": must be 1-253"#),
    ]);
    let status = &answer.response()["status"];
    assert_eq!(
        (&status["code"], &status["reason"], &status["status"]),
        (&json!(422), &json!("Invalid"), &json!("Failure"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with(r#"Company.crm.milo.io "acme" is invalid: [spec.displayName: Required value"#),
        "{message}"
    );
    let details = &status["details"];
    assert_eq!(
        (&details["group"], &details["kind"], &details["name"]),
        (&json!("crm.milo.io"), &json!("Company"), &json!("acme"))
    );
    assert_eq!(answer.patch(), [] as [Value; 0], "a denial has no patch");
    assert_eq!(answer.annotation("decision"), Some("denied"));
    assert_eq!(
        answer.annotation("rules"),
        Some("display-name=Deny,creator-ref=Deny,domain=Deny,linkedin-profile=Deny")
    );
    assert_eq!(answer.annotation("changes"), None);
}

#[test]
fn a_single_cause_has_no_brackets_in_the_message() {
    let answer = create("Company", json!({"displayName": "Acme", "domains": ["localhost"]})).ask();
    let message = answer.response()["status"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        r#"Company.crm.milo.io "acme" is invalid: spec.domains[0]: Invalid value: "localhost": is not a full domain name; give one with a dot, such as acme.com [domain/single-label]"#
    );
}

#[test]
fn an_object_with_a_generated_name_is_named_by_its_prefix() {
    let ask = create("Company", json!({}))
        .with("/name", json!(""))
        .with("/object/metadata", json!({"generateName": "acme-"}));
    let answer = ask.ask();
    let status = &answer.response()["status"];
    assert_eq!(status["details"]["name"], "acme-");
    assert!(status["message"].as_str().unwrap().starts_with(r#"Company.crm.milo.io "acme-" is invalid"#));
}

#[test]
fn at_most_fifty_causes_and_one_that_counts_the_rest() {
    let domains: Vec<String> = (0..60).map(|n| format!("bad_{n}.com")).collect();
    let causes = create("Company", json!({"displayName": "Acme", "domains": domains})).ask().causes();
    assert_eq!(causes.len(), 51);
    assert!(causes[50].contains("10 more"), "{}", causes[50]);
}

#[rstest]
#[case::spec("Company", json!("acme"), "Invalid spec")]
#[case::spec_list("Company", json!([]), "Invalid spec")]
#[case::display_name("Company", json!({"displayName": 42}), "Invalid spec.displayName")]
#[case::display_name_of_a_person("Person", json!({"displayName": ["Jane"]}), "Invalid spec.displayName")]
#[case::domains("Company", json!({"displayName": "A", "domains": "acme.com"}), "Invalid spec.domains")]
#[case::domain("Company", json!({"displayName": "A", "domains": ["acme.com", 7]}), "Invalid spec.domains[1]")]
#[case::null_domain("Company", json!({"displayName": "A", "domains": [null]}), "Invalid spec.domains[0]")]
#[case::linkedin("Person", json!({"displayName": "A", "linkedinProfile": {}}), "Invalid spec.linkedinProfile")]
#[case::creator("Person", json!({"displayName": "A", "creatorRef": "alice"}), "Invalid spec.creatorRef")]
#[case::creator_name("Person", json!({"displayName": "A", "creatorRef": {"name": 7}}), "Invalid spec.creatorRef.name")]
#[case::company("Person", json!({"displayName": "A", "companyRef": "acme-corp"}), "Invalid spec.companyRef")]
#[case::company_name("Person", json!({"displayName": "A", "companyRef": {"name": true}}), "Invalid spec.companyRef.name")]
#[case::subject("Note", json!({"subjectRef": "acme-corp", "content": "x"}), "Invalid spec.subjectRef")]
#[case::subject_kind("Note", json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": 7, "name": "acme-corp"}, "content": "x"}), "Invalid spec.subjectRef.kind")]
#[case::content("Note", json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp"}, "content": 7}), "Invalid spec.content")]
#[case::time("Note", json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp"}, "content": "x", "nextActionTime": 7}), "Invalid spec.nextActionTime")]
#[case::time_text("Note", json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp"}, "content": "x", "interactionTime": "tomorrow"}), "Invalid spec.interactionTime")]
fn a_wrong_type_is_one_finding_at_its_field(#[case] kind: &str, #[case] spec: Value, #[case] start: &str) {
    for ask in
        [create(kind, spec.clone()), create(kind, spec).with("/userInfo/username", json!("system:admin"))]
    {
        ask.ask().is_denied_for(&[(start, "[schema]")]);
    }
}

#[test]
fn nulls_count_as_missing() {
    let spec =
        json!({"displayName": "Acme", "domains": null, "linkedinProfile": null, "organizationRef": null});
    create("Company", spec).ask().is_allowed_with(&[]);
    let spec = json!({"displayName": "Jane", "companyRef": null, "userRef": null});
    create("Person", spec).ask().is_allowed_with(&[]);
}

#[rstest]
#[case::absent(json!({}), "Required spec.displayName", "must not be blank")]
#[case::blank(json!({"displayName": "\u{a0} \t"}), "Required spec.displayName", "must not be blank")]
#[case::invisible(json!({"displayName": "\u{200b} \u{3164}\u{feff}"}), "Required spec.displayName", "must not be blank")]
#[case::only_overrides(json!({"displayName": "\u{202e}"}), "Required spec.displayName", "must not be blank")]
#[case::override_of_direction(json!({"displayName": "Acme \u{202e}moc"}), "Invalid spec.displayName", r#""Acme \u202emoc": has the character U+202E, which changes the direction of text; remove it [display-name]"#)]
#[case::isolate(json!({"displayName": "\u{2066}Acme"}), "Invalid spec.displayName", "has the character U+2066")]
#[case::long(json!({"displayName": "é".repeat(257)}), "Invalid spec.displayName", "at most 256 characters, has 257")]
#[case::control(json!({"displayName": "a\u{7}b"}), "Invalid spec.displayName", r#""a\u0007b": must not contain control"#)]
fn invalid_display_names_are_denied(#[case] spec: Value, #[case] start: &str, #[case] part: &str) {
    create("Person", spec).ask().is_denied_for(&[(start, part)]);
}

#[rstest]
#[case::right_to_left("שלום")]
#[case::joiner("👨\u{200d}🏫 \u{634}\u{200c}\u{634}")]
#[case::marks_of_direction("Acme \u{200f}שלום\u{200e}!")]
fn names_of_every_script_are_accepted(#[case] name: &str) {
    create("Company", json!({"displayName": name})).ask().is_allowed_with(&[]);
}

#[test]
fn a_display_name_is_trimmed_before_its_length_is_checked() {
    let name = format!("  {}\n", "é".repeat(256));
    let answer = create("Person", json!({"displayName": name})).ask();
    assert!(answer.is_allowed(), "{:?}", answer.causes());
    assert_eq!(answer.patched()["spec"]["displayName"], "é".repeat(256));
}

#[test]
fn domains_are_counted_without_duplicates() {
    let mut domains: Vec<String> = (0..100).map(|n| format!("d{n}.example")).collect();
    domains.push("D0.example".to_owned());
    let spec = json!({"displayName": "Acme", "domains": domains});
    assert!(create("Company", spec).ask().is_allowed());
    domains.push("one-more.example".to_owned());
    let spec = json!({"displayName": "Acme", "domains": domains});
    create("Company", spec)
        .ask()
        .is_denied_for(&[("Invalid spec.domains", "more than 100 domains [domain/too-many]")]);
}

#[test]
fn a_very_long_list_is_one_finding() {
    let domains = vec!["bad domain"; 1001];
    let answer = create("Company", json!({"displayName": "Acme", "domains": domains})).ask();
    answer.is_denied_for(&[("Invalid spec.domains", "[domain/too-many]")]);
}

// ---- References

#[rstest]
#[case::missing(
    "acme-crop",
    "NotFound spec.companyRef.name",
    r#"Not found: "acme-crop": no Company of that name; did you mean "acme-corp"? [company-exists]"#
)]
#[case::unlike_any(
    "zzz",
    "NotFound spec.companyRef.name",
    r#"Not found: "zzz": no Company of that name [company-exists]"#
)]
#[case::terminating("leaving", "NotFound spec.companyRef.name", "is being deleted [company-exists]")]
#[case::empty("", "Invalid spec.companyRef.name", r#"Invalid value: "": must consist of lower-case letters"#)]
#[case::a_path("../secrets", "Invalid spec.companyRef.name", "must consist of lower-case letters")]
#[case::upper_case("Acme-Corp", "Invalid spec.companyRef.name", "must consist of lower-case letters")]
fn invalid_company_references_are_denied(#[case] name: &str, #[case] start: &str, #[case] part: &str) {
    let spec = json!({"displayName": "Jane", "companyRef": {"name": name}});
    create("Person", spec).ask().is_denied_for(&[(start, part)]);
    let spec = json!({"displayName": "Jane", "companyRef": {"name": name}, "creatorRef": {"name": "alice"}});
    create("Person", spec).validate().ask().is_denied_for(&[(start, part)]);
}

#[test]
fn a_company_ref_without_a_name_is_denied() {
    let answer = create("Person", json!({"displayName": "Jane", "companyRef": {}})).ask();
    answer.is_denied_for(&[("Required spec.companyRef.name", "leave spec.companyRef out [company-exists]")]);
}

#[test]
fn a_company_that_exists_is_fine() {
    create("Person", json!({"displayName": "Jane", "companyRef": {"name": "acme-corp"}}))
        .ask()
        .is_allowed_with(&[]);
}

#[rstest]
#[case::absent(json!(null), &[("Required spec.subjectRef.kind", "[subject-kind]"), ("Required spec.subjectRef.name", "[subject-exists]")])]
#[case::empty(json!({}), &[("Required spec.subjectRef.kind", "[subject-kind]"), ("Required spec.subjectRef.name", "[subject-exists]")])]
#[case::no_name(json!({"apiGroup": "crm.milo.io", "kind": "Company"}), &[("Required spec.subjectRef.name", "[subject-exists]")])]
#[case::kind_in_lower_case(json!({"apiGroup": "crm.milo.io", "kind": "company", "name": "acme-corp"}), &[("NotSupported spec.subjectRef.kind", r#"Unsupported value: "company": did you mean "Company"? [subject-kind]"#)])]
#[case::other_kind(json!({"apiGroup": "crm.milo.io", "kind": "Note", "name": "n"}), &[("NotSupported spec.subjectRef.kind", "notes may be about Company, Person [subject-kind]")])]
#[case::other_group(json!({"apiGroup": "example.com", "kind": "Company", "name": "acme-corp"}), &[("NotSupported spec.subjectRef.apiGroup", r#"is in the API group "crm.milo.io""#)])]
#[case::empty_group(json!({"apiGroup": "", "kind": "Company", "name": "acme-corp"}), &[("Required spec.subjectRef.apiGroup", "[subject-kind]")])]
#[case::no_group_and_another_kind(json!({"kind": "Deal", "name": "acme-corp"}), &[("NotSupported spec.subjectRef.kind", "notes may be about Company, Person [subject-kind]")])]
#[case::no_group_and_no_such_object(json!({"kind": "Company", "name": "acme-crop"}), &[("NotFound spec.subjectRef.name", r#"did you mean "acme-corp"? [subject-exists]"#)])]
#[case::namespace(json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme-corp", "namespace": "sales"}), &[("Forbidden spec.subjectRef.namespace", "leave it out [subject-kind]")])]
#[case::missing(json!({"apiGroup": "crm.milo.io", "kind": "Person", "name": "jane-deo"}), &[("NotFound spec.subjectRef.name", r#"no Person of that name; did you mean "jane-doe"? [subject-exists]"#)])]
fn invalid_subjects_are_denied(#[case] subject: Value, #[case] expected: &[(&str, &str)]) {
    create("Note", json!({"subjectRef": subject, "content": "x"})).ask().is_denied_for(expected);
}

#[test]
fn an_absent_group_is_filled_in_without_a_warning() {
    for group in [json!({}), json!({"apiGroup": null})] {
        let mut spec = note();
        spec["subjectRef"] = json!({"kind": "Company", "name": "acme-corp"});
        spec["subjectRef"].as_object_mut().unwrap().extend(group.as_object().unwrap().clone());
        let ask = create("Note", spec);
        let answer = ask.clone().ask();
        answer.is_allowed_with(&[]);
        assert_eq!(answer.patched()["spec"]["subjectRef"], subject());
        assert!(
            answer.annotation("changes").is_some_and(|fields| fields.contains("spec.subjectRef.apiGroup"))
        );
        ask.clone().validate().ask().is_denied_for(&[(
            "Required spec.subjectRef.apiGroup",
            r#"set it to "crm.milo.io" [subject-kind]"#,
        )]);
        let disabled = ask.ask_under(setting(RuleId::SubjectKind, Action::Disabled));
        assert_eq!(disabled.patched()["spec"]["subjectRef"]["apiGroup"], group["apiGroup"]);
    }
}

#[test]
fn an_update_that_leaves_the_group_out_keeps_it() {
    let old = and(note(), "creatorRef", json!({"name": "alice"}));
    let mut new = and(old.clone(), "content", json!("Called twice."));
    new["subjectRef"].as_object_mut().unwrap().remove("apiGroup");
    let answer = update("Note", old.clone(), new.clone()).ask();
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patched()["spec"]["subjectRef"], old["subjectRef"]);
    // A Note that was stored without a group is left as it is.
    let stored = and(new.clone(), "content", json!("Called once."));
    let answer = update("Note", stored.clone(), new.clone()).ask();
    answer.is_allowed_with(&[
        r#"spec.subjectRef.apiGroup: Required value: Company is in the API group "crm.milo.io" [subject-kind]"#,
    ]);
    assert_eq!(answer.patch(), [] as [Value; 0]);
    let mut other = new;
    other["subjectRef"]["name"] = json!("planet-express");
    update("Note", stored, other).ask().is_denied_for(&[
        ("NotFound spec.subjectRef.name", ""),
        ("Invalid spec.subjectRef.name", r#"field is immutable: keep "acme-corp" [subject-immutable]"#),
    ]);
}

#[rstest]
#[case::absent(json!(null), "Required spec.content", "must not be blank")]
#[case::blank(json!(" \n"), "Required spec.content", "must not be blank")]
#[case::invisible(json!("\u{200b}\u{2800}\n"), "Required spec.content", "must not be blank")]
#[case::long(json!("é".repeat(1001)), "Invalid spec.content", "at most 1000 characters, has 1001")]
fn invalid_contents_are_denied(#[case] content: Value, #[case] start: &str, #[case] part: &str) {
    create("Note", json!({"subjectRef": subject(), "content": content}))
        .ask()
        .is_denied_for(&[(start, part)]);
}

#[rstest]
#[case::ahead("2026-11-23T12:00:01Z", true)]
#[case::a_minute_ago("2026-11-23T11:59:00Z", true)]
#[case::longer_ago("2026-11-23T11:58:59Z", false)]
#[case::with_an_offset("2026-11-23T13:59:30+02:00", true)]
fn a_next_action_may_be_one_minute_in_the_past(#[case] time: &str, #[case] allowed: bool) {
    let mut spec = note();
    spec["nextActionTime"] = json!(time);
    let answer = create("Note", spec).ask();
    if allowed {
        answer.is_allowed_with(&[]);
    } else {
        answer.is_denied_for(&[("Invalid spec.nextActionTime", "is in the past")]);
    }
}

#[test]
fn a_label_with_another_value_gets_a_warning_with_a_suggestion() {
    let ask = create("Company", json!({"displayName": "Acme"}));
    let answer = ask
        .clone()
        .with("/object/metadata/labels", json!({"crm.milo.io/source": "refferal", "free": "x"}))
        .ask();
    answer.is_allowed_with(&[
        r#"metadata.labels[crm.milo.io/source]: Unsupported value: "refferal": did you mean "referral"? [label-value]"#,
    ]);
    let answer = ask.with("/object/metadata/labels", json!({"crm.milo.io/source": "zzz"})).ask();
    let warning = &answer.warnings()[0];
    let start = r#"metadata.labels[crm.milo.io/source]: Unsupported value: "zzz": supported values: "product-signup","#;
    assert!(warning.starts_with(start), "{warning}");
}

// ---- Updates

#[test]
fn an_update_that_leaves_spec_and_labels_alone_is_allowed_at_once() {
    let bad = json!({"displayName": 7, "domains": ["co.uk"]});
    let ask = update("Company", bad.clone(), bad).with("/object/metadata/finalizers", json!([]));
    for ask in [ask.clone(), ask.validate()] {
        let answer = ask.ask();
        answer.is_allowed_with(&[]);
        assert_eq!(answer.patch(), [] as [Value; 0]);
    }
    update("Company", json!(null), json!({})).ask().is_allowed_with(&[]);
}

#[test]
fn invalid_values_that_an_update_does_not_change_stay_with_a_warning() {
    let old = json!({
        "displayName": " Acme", "domains": ["co.uk", "Acme.com"], "linkedinProfile": "x", "creatorRef": {"name": "a b"},
    });
    let mut new = old.clone();
    new["description"] = json!("edited");
    for ask in [update("Company", old.clone(), new.clone()), update("Company", old, new).validate()] {
        let answer = ask.ask();
        assert!(answer.is_allowed(), "{:?}", answer.causes());
        assert_eq!(answer.patch(), [] as [Value; 0]);
        let warnings = answer.warnings();
        for part in [
            "[display-name/not-canonical]",
            "[domain/public-suffix]",
            "[domain/not-canonical]",
            "[linkedin-profile/not-linkedin]",
            "[creator-ref]",
        ] {
            assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:#?}");
        }
        assert_eq!(warnings.len(), 5, "{warnings:#?}");
    }
}

#[test]
fn in_a_changed_list_old_entries_stay_and_new_ones_are_checked() {
    let old =
        json!({"displayName": "Acme", "domains": ["co.uk", "Acme.com"], "creatorRef": {"name": "alice"}});
    let mut new = old.clone();
    new["domains"] = json!(["co.uk", "Acme.com", "acme.io"]);
    let answer = update("Company", old.clone(), new.clone()).ask();
    assert!(answer.is_allowed(), "{:?}", answer.causes());
    assert_eq!(answer.patched()["spec"]["domains"], json!(["co.uk", "acme.com", "acme.io"]));
    assert!(answer.warnings()[0].contains("[domain/public-suffix]"), "{:?}", answer.warnings());
    let answer = update("Company", old.clone(), new).validate().ask();
    assert!(answer.is_allowed(), "{:?}", answer.causes());
    let mut new = old.clone();
    new["domains"] = json!(["co.uk", "com.au"]);
    update("Company", old, new).ask().is_denied_for(&[("Invalid spec.domains[1]", "[domain/public-suffix]")]);
}

#[test]
fn a_new_duplicate_of_an_old_entry_is_denied() {
    let old = json!({"displayName": "Acme", "domains": ["acme.com"], "creatorRef": {"name": "alice"}});
    let mut new = old.clone();
    new["domains"] = json!(["acme.com", "acme.com"]);
    update("Company", old, new)
        .validate()
        .ask()
        .is_denied_for(&[("Invalid spec.domains[1]", "duplicate of spec.domains[0]")]);
}

#[test]
fn an_update_without_a_creator_keeps_it_and_a_changed_one_is_denied() {
    let old = json!({"displayName": "Acme", "creatorRef": {"name": "bob"}});
    let answer = update("Company", old.clone(), json!({"displayName": "Acme Corp"})).ask();
    answer.is_allowed_with(&[]);
    assert_eq!(answer.patched()["spec"]["creatorRef"], json!({"name": "bob"}));
    let answer = update("Company", old, json!({"displayName": "Acme", "creatorRef": {"name": "eve"}})).ask();
    answer.is_denied_for(&[(
        "Invalid spec.creatorRef.name",
        r#"Invalid value: "eve": field is immutable: keep "bob" [creator-immutable]"#,
    )]);
}

#[test]
fn a_creator_with_an_invisible_character_is_denied_and_an_old_one_stays() {
    let spec = json!({"displayName": "Acme", "creatorRef": {"name": "al\u{200b}ice"}});
    let told = r#"Invalid value: "al\u200bice": has the invisible character U+200B; remove it [creator-ref]"#;
    for ask in [create("Company", spec.clone()), create("Company", spec.clone()).validate()] {
        let answer = ask.ask();
        answer.is_denied_for(&[("Invalid spec.creatorRef.name", told)]);
        let message = answer.response()["status"]["message"].as_str().unwrap();
        assert!(message.contains("spec.creatorRef.name: ") && message.is_ascii(), "{message}");
    }
    let mut new = spec.clone();
    new["displayName"] = json!("Acme Corp");
    let answer = update("Company", spec, new).ask();
    answer.is_allowed_with(&[&format!("spec.creatorRef.name: {told}")]);
    assert_eq!(answer.patch(), [] as [Value; 0]);
}

#[test]
fn a_user_with_an_invisible_character_cannot_be_the_creator() {
    let ask =
        create("Company", json!({"displayName": "Acme"})).with("/userInfo/username", json!("al\u{202e}ice"));
    ask.ask().is_denied_for(&[(
        "Required spec.creatorRef.name",
        r#"the user "al\u202eice" could not be mapped to a creator; set spec.creatorRef.name [creator-ref]"#,
    )]);
}

#[test]
fn a_record_that_never_had_a_creator_stays_without_one_with_a_warning() {
    let answer = update("Company", json!({"displayName": "Acme"}), json!({"displayName": "Acme Corp"})).ask();
    assert!(answer.is_allowed());
    assert_eq!(answer.patch(), [] as [Value; 0]);
    assert!(
        answer.warnings()[0].starts_with("spec.creatorRef.name: Required value: "),
        "{:?}",
        answer.warnings()
    );
    let with_creator = json!({"displayName": "Acme", "creatorRef": {"name": "carol"}});
    update("Company", json!({"displayName": "Acme"}), with_creator).ask().is_allowed_with(&[]);
}

#[test]
fn the_subject_of_a_note_is_immutable() {
    let mut new = note();
    new["subjectRef"]["kind"] = json!("Person");
    new["subjectRef"]["name"] = json!("jane-doe");
    update("Note", note(), new).ask().is_denied_for(&[
        (
            "Invalid spec.subjectRef.kind",
            r#"Invalid value: "Person": field is immutable: keep "Company" [subject-immutable]"#,
        ),
        ("Invalid spec.subjectRef.name", r#"field is immutable: keep "acme-corp""#),
    ]);
}

#[test]
fn unchanged_references_are_no_reason_to_deny_an_update() {
    let old = json!({"displayName": "Jane", "companyRef": {"name": "gone"}, "creatorRef": {"name": "alice"}});
    let mut new = old.clone();
    new["jobTitle"] = json!("CEO");
    let answer = update("Person", old.clone(), new.clone()).ask();
    answer.is_allowed_with(&[
        r#"spec.companyRef.name: Not found: "gone": no Company of that name [company-exists]"#,
    ]);
    new["companyRef"]["name"] = json!("gone-too");
    update("Person", old, new).ask().is_denied_for(&[("NotFound spec.companyRef.name", "[company-exists]")]);
    let old =
        json!({"displayName": "Jane", "companyRef": {"name": "leaving"}, "creatorRef": {"name": "alice"}});
    let mut new = old.clone();
    new["jobTitle"] = json!("CEO");
    update("Person", old, new).ask().is_allowed_with(&[]);
}

#[test]
fn a_past_next_action_does_not_block_an_edit() {
    let mut old = note();
    old["nextActionTime"] = json!("2020-01-01T00:00:00Z");
    let mut new = old.clone();
    new["content"] = json!("Done.");
    update("Note", old, new).ask().is_allowed_with(&[]);
}

// ---- Warnings

#[test]
fn a_value_with_an_at_sign_is_never_repeated() {
    let spec = json!({
        "displayName": "Acme",
        "domains": ["https://acme.com/?mail=bob@private.example", "bob:s3cret@acme.com"],
        "linkedinProfile": "https://bob:s3cret@linkedin.com/company/acme",
    });
    let answer = create("Company", spec).ask();
    let text = answer.review.to_string();
    assert!(!text.contains("s3cret") && !text.contains("private.example"), "{text}");
    let spec = json!({"displayName": "Acme", "domains": ["https://acme.com/?mail=bob@private.example", "acme.com?a@b"]});
    let warnings = create("Company", spec).ask().warnings();
    assert_eq!(
        warnings,
        [r#"spec.domains[0]: stored as "acme.com" [domain]"#, "spec.domains[1]: duplicate removed [domain]"]
    );
}

#[test]
fn at_most_ten_warnings_and_one_that_counts_the_rest() {
    let domains: Vec<String> = (0..15).map(|n| format!("WWW.d{n}.example")).collect();
    let warnings = create("Company", json!({"displayName": "Acme", "domains": domains})).ask().warnings();
    assert_eq!(warnings.len(), 11);
    assert_eq!(warnings[10], "(+5 more)");
}

#[test]
fn a_long_value_is_cut_so_that_its_warning_fits() {
    let long = format!("https://www.Acme.com/{}", "a".repeat(2000));
    let warnings = create("Company", json!({"displayName": "Acme", "domains": [long]})).ask().warnings();
    assert!(warnings[0].chars().count() <= 120, "{}", warnings[0]);
    assert!(warnings[0].ends_with(r#"…" stored as "acme.com" [domain]"#), "{}", warnings[0]);
}

#[test]
fn warnings_together_stay_below_three_kibibytes() {
    let host = |n: usize| format!("{0}.{0}.{0}.d{n}.example", "a".repeat(60));
    let domains: Vec<String> = (0..12).map(|n| format!("HTTPS://{}/", host(n))).collect();
    let warnings = create("Company", json!({"displayName": "Acme", "domains": domains})).ask().warnings();
    let bytes: usize = warnings.iter().map(String::len).sum();
    assert!(bytes <= 3 * 1024 + 16, "{bytes}");
    assert!(warnings[0].contains(&host(0)), "canonical values are not cut: {}", warnings[0]);
}

// ---- Special cases

fn acme() -> Value {
    json!({"displayName": "Acme", "creatorRef": {"name": "alice"}})
}

fn and(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

#[test]
fn times_of_rfc_3339_are_accepted() {
    for time in ["9999-12-31T23:59:59Z", "2027-01-15T09:30:00.1234567890Z"] {
        let answer = create("Note", and(note(), "nextActionTime", json!(time))).ask();
        assert!(answer.is_allowed(), "{:?}", answer.causes());
    }
}

#[test]
fn a_subject_of_a_wrong_type_is_one_cause_of_each_rule() {
    let answer = update("Note", note(), and(note(), "subjectRef", json!("acme"))).ask();
    answer.is_denied_for(&[
        ("Invalid spec.subjectRef", "must be an object, not a string [schema]"),
        ("Invalid spec.subjectRef.name", r#"keep "acme-corp" [subject-immutable]"#),
    ]);
}

#[test]
fn a_reference_that_an_update_adds_is_checked() {
    let jane = json!({"displayName": "Jane", "creatorRef": {"name": "alice"}});
    let answer = update("Person", jane.clone(), and(jane, "companyRef", json!({}))).ask();
    assert!(!answer.is_allowed(), "{:?}", answer.warnings());
}

#[test]
fn an_unchanged_subject_name_is_not_denied_when_another_field_changes_its_spelling() {
    let gone = json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "gone"});
    let old = and(note(), "subjectRef", gone.clone());
    for namespace in [json!(""), json!(null)] {
        let new =
            and(and(note(), "subjectRef", and(gone.clone(), "namespace", namespace)), "content", json!("b"));
        let answer = update("Note", old.clone(), new).ask();
        assert!(answer.is_allowed(), "{:?}", answer.causes());
    }
}

#[test]
fn old_entries_of_a_wrong_type_in_a_changed_list_are_kept() {
    let old = and(acme(), "domains", json!([7, "a.example"]));
    let answer = update("Company", old, and(acme(), "domains", json!([7, "a.example", "b.example"]))).ask();
    assert!(answer.is_allowed(), "{:?}", answer.causes());
}

#[test]
fn an_unchanged_invalid_spec_is_no_reason_to_deny_new_labels() {
    let answer =
        update("Company", json!("x"), json!("x")).with("/object/metadata/labels", json!({"a": "b"})).ask();
    assert!(answer.is_allowed(), "{:?}", answer.causes());
}

#[test]
fn an_invalid_value_is_not_reported_as_not_canonical_too() {
    let answer = create("Company", and(acme(), "displayName", json!(" a\u{7}b "))).validate().ask();
    assert_eq!(answer.causes().len(), 1, "{:#?}", answer.causes());
}

#[test]
fn a_change_warning_is_at_most_120_characters_where_possible() {
    for spec in [
        and(acme(), "displayName", json!(format!(" {}", "a".repeat(80)))),
        and(acme(), "domains", json!([format!("{}Acme.com", "\u{200b}".repeat(60))])),
    ] {
        for warning in create("Company", spec).ask().warnings() {
            assert!(warning.chars().count() <= 120, "{}: {warning}", warning.chars().count());
        }
    }
}

#[test]
fn the_name_is_quoted_escaped() {
    let ask = create("Company", json!({})).with("/name", json!(""));
    let answer = ask.with("/object/metadata", json!({"generateName": "a\"\n\u{1b}b-"})).ask();
    let message = answer.response()["status"]["message"].as_str().unwrap();
    assert!(!message.contains(char::is_control), "{message:?}");
}

#[test]
fn all_problems_of_a_subject_are_reported_at_once() {
    let answer =
        create("Note", json!({"content": "x", "subjectRef": {"apiGroup": "crm.milo.io", "kind": 7}})).ask();
    assert_eq!(answer.causes().len(), 2, "{:#?}", answer.causes());
}

#[test]
fn labels_are_checked_even_if_the_spec_has_a_wrong_type() {
    let answer = create("Company", json!("x"))
        .with("/object/metadata/labels", json!({"crm.milo.io/source": "zzz"}))
        .ask();
    assert_eq!(answer.warnings().len(), 1);
}

#[test]
fn removing_an_immutable_field_or_changing_its_type_is_denied() {
    let mut policy = Policy::default();
    for rule in [RuleId::Schema, RuleId::SubjectKind, RuleId::SubjectExists] {
        policy.set_rule(rule, RuleSetting { action: Action::Warn, enforce_after: None });
    }
    for (kind, old, new) in [
        ("Note", note(), and(note(), "subjectRef", json!(null))),
        ("Note", note(), and(note(), "subjectRef", json!("x"))),
        ("Company", acme(), and(acme(), "creatorRef", json!("eve"))),
    ] {
        let answer = update(kind, old, new).ask_under(policy.clone());
        assert!(!answer.is_allowed(), "{:?}", answer.warnings());
    }
}

#[test]
fn null_extra_values_count_as_empty() {
    let ask = create("Company", acme()).with("/userInfo/extra", json!({"k": null}));
    assert!(ask.ask().is_allowed());
}

#[test]
fn an_equal_time_in_another_format_is_not_a_change() {
    let old = and(note(), "nextActionTime", json!("2020-01-01T00:00:00Z"));
    let new = and(note(), "nextActionTime", json!("2020-01-01T01:00:00+01:00"));
    update("Note", old, new).ask().is_allowed_with(&[]);
}

#[test]
fn rejected_domains_do_not_count_as_too_many() {
    let domains = vec!["co.uk"; 45].into_iter().chain(["a.example"; 60]).collect::<Vec<_>>();
    let causes = create("Company", json!({"displayName": "Acme", "domains": domains})).ask().causes();
    assert!(causes.iter().all(|cause| cause.contains("[domain/public-suffix]")), "{causes:#?}");
}

#[test]
fn a_removed_subject_is_one_finding() {
    let causes = update("Note", note(), and(note(), "subjectRef", json!(null))).ask().causes();
    let immutable = causes.iter().filter(|cause| cause.contains("[subject-immutable]")).count();
    assert_eq!((immutable, causes.len()), (1, 3), "{causes:#?}");
}

#[test]
fn a_creator_that_was_not_restored_is_named_in_the_denial() {
    let answer = update("Company", acme(), json!({"displayName": "Acme Corp"})).validate().ask();
    let causes = answer.causes();
    assert!(causes.iter().any(|cause| cause.contains(r#"keep "alice" [creator-ref]"#)), "{causes:#?}");
}

#[test]
fn changes_of_a_denied_request_are_not_counted() {
    let metrics = Metrics::new();
    let policy = Arc::new(ArcSwap::from_pointee(Policy::default()));
    let pipeline = Pipeline::new(Arc::new(crate::common::directory()), policy, metrics.clone());
    create("Company", json!({"displayName": "Acme", "domains": ["Acme.com", "co.uk"]})).put_to(&pipeline);
    assert!(!metrics.text().unwrap().contains("changes_total{"));
    create("Company", json!({"displayName": "Acme", "domains": ["Acme.com"]})).put_to(&pipeline);
    assert!(metrics.text().unwrap().contains(r#"changes_total{rule="domain"} 1"#));
}
