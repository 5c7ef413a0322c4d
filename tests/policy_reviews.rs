//! Tests the answers about AdmissionPolicies: denials with every problem, warnings, and what is not judged.

use crate::common::{Ask, create, pipeline_with};
use crm_core::policy::{Policy, compile};
use rstest::rstest;
use serde_json::{Value, json};

/// A create of the policy `default`, sent to `/validate`.
fn policy(spec: Value) -> Ask {
    let kind = json!({"group": "admission.crm.milo.io", "version": "v1alpha1", "kind": "AdmissionPolicy"});
    let object = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1",
        "kind": "AdmissionPolicy",
        "metadata": {"name": "default"},
        "spec": spec,
    });
    create("Company", json!({}))
        .validate()
        .with("/kind", kind)
        .with("/name", json!("default"))
        .with("/object", object)
}

/// The same as an update from `old`.
fn policy_update(old: Value, new: Value) -> Ask {
    let ask = policy(new);
    let mut stored = ask.request["object"].clone();
    stored["spec"] = old;
    ask.with("/operation", json!("UPDATE")).with("/oldObject", stored)
}

/// A spec with problems in two places.
fn broken() -> Value {
    json!({
        "rules": [{"rule": "user-exists", "action": "Deny"}],
        "creator": {"sources": [{"from": "Username", "pattern": "^(.*)@corp$"}]},
    })
}

const BROKEN: [(&str, &str); 2] = [
    ("Invalid spec.creator.sources[0].pattern", r#"Invalid value: "^(.*)@corp$": must have a group "name""#),
    ("Required spec.references.kinds.user", "Required value: the rule user-exists looks up this kind"),
];

#[test]
fn an_invalid_policy_is_denied_with_every_problem() {
    let answer = policy(broken()).ask();
    answer.is_denied_for(&BROKEN);
    let status = &answer.response()["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    let details = &status["details"];
    assert_eq!(
        (&details["group"], &details["kind"], &details["name"]),
        (&json!("admission.crm.milo.io"), &json!("AdmissionPolicy"), &json!("default"))
    );
    let message = status["message"].as_str().unwrap();
    let start =
        r#"AdmissionPolicy.admission.crm.milo.io "default" is invalid: [spec.creator.sources[0].pattern: "#;
    assert!(message.starts_with(start), "{message}");
    assert_eq!(
        (answer.annotation("decision"), answer.annotation("policy")),
        (Some("denied"), Some("built-in"))
    );
}

#[test]
fn the_causes_are_the_problems_of_policy_check() {
    let ask = policy(json!({
        "rules": [{"rule": "domains"}, {"action": "Warn"}],
        "exemptions": [{"name": "all", "rules": []}],
        "refrences": {},
    }));
    let problems = compile(&ask.request["object"], "test").unwrap_err().0;
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let causes = ask.ask().causes();
    let without_reasons: Vec<&str> =
        causes.iter().filter_map(|cause| Some(cause.split_once(' ')?.1)).collect();
    assert_eq!(without_reasons, problems);
    let reasons: Vec<&str> = causes.iter().filter_map(|cause| Some(cause.split_once(' ')?.0)).collect();
    assert_eq!(reasons, ["NotSupported", "Required", "Required", "Required", "Forbidden"]);
}

#[test]
fn a_valid_policy_is_allowed_without_warnings() {
    let answer = policy(json!({"rules": [{"rule": "domain", "action": "Warn"}]})).ask();
    answer.is_allowed_with(&[]);
    assert_eq!(answer.annotation("decision"), Some("allowed"));
    assert_eq!(answer.patch(), [] as [Value; 0]);
}

/// The clock of the pipeline says 2026-11-23.
#[test]
fn what_is_surely_not_meant_is_warned_of() {
    let spec = json!({
        "rules": [{"rule": "label-value", "action": "Warn", "enforceAfter": "2027-01-15T00:00:00Z"}],
        "exemptions": [{
            "name": "migration",
            "groups": ["system:serviceaccount:crm:importer"],
            "rules": ["company-exists"],
            "expires": "2026-11-22T00:00:00Z",
        }],
    });
    let answer = policy(spec).ask();
    assert!(answer.is_allowed());
    let warnings = answer.warnings();
    let fields: Vec<&str> = warnings.iter().filter_map(|warning| Some(warning.split_once(": ")?.0)).collect();
    let expected =
        ["spec.rules[0].enforceAfter", "spec.exemptions[0].groups[0]", "spec.exemptions[0].expires"];
    assert_eq!(fields, expected, "{warnings:?}");
}

#[test]
fn a_policy_of_another_name_is_judged_and_has_no_effect() {
    let named = |spec| {
        let ask = policy(spec).with("/name", json!("strict"));
        ask.with("/object/metadata", json!({"name": "strict"})).ask()
    };
    let warning =
        r#"metadata.name: "strict": has no effect: only the AdmissionPolicy named default is used [NotUsed]"#;
    named(json!({})).is_allowed_with(&[warning]);
    let denied = named(broken());
    denied.is_denied_for(&BROKEN);
    assert_eq!(denied.warnings(), [warning]);
}

#[test]
fn an_update_may_fix_an_invalid_policy_but_not_break_a_valid_one() {
    policy_update(broken(), json!({})).ask().is_allowed_with(&[]);
    policy_update(json!({}), broken()).ask().is_denied_for(&BROKEN);
}

#[test]
fn an_update_that_leaves_the_spec_unchanged_is_allowed() {
    let ask = policy_update(broken(), broken());
    ask.with("/object/metadata", json!({"name": "default", "finalizers": []})).ask().is_allowed_with(&[]);
}

#[rstest]
#[case::status("/subResource", json!("status"))]
#[case::another_version("/kind/version", json!("v1"))]
#[case::deletion("/operation", json!("DELETE"))]
fn other_requests_about_policies_are_allowed(#[case] pointer: &str, #[case] value: Value) {
    let answer = policy(broken()).with(pointer, value).ask();
    answer.is_allowed_with(&[]);
    assert_eq!(answer.annotation("decision"), None);
}

#[test]
fn a_missing_spec_is_a_problem() {
    policy(json!(null)).ask().is_denied_for(&[("Required spec", "an empty spec, {}")]);
}

#[test]
fn a_policy_of_any_size_has_a_short_answer() {
    let long = "x".repeat(100_000);
    let rules = json!([{"rule": long}, {"rule": "domain", long.as_str(): 1}]);
    let sources: Vec<Value> = (0..21).map(|_| json!({"from": "Username", "pattern": "("})).collect();
    let entries: Vec<Value> = (0..999).map(|_| json!({})).collect();
    let spec = json!({
        "rules": rules,
        "creator": {"sources": sources},
        "labels": vec![json!({}); 1001],
        "exemptions": entries,
    });
    let answer = policy(spec).ask();
    let causes = answer.causes();
    assert_eq!(causes.len(), 51);
    assert!(
        causes[0].starts_with(r#"NotSupported spec.rules[0].rule: Unsupported value: "xxx"#),
        "{}",
        causes[0]
    );
    assert!(causes.contains(
        &"Invalid spec.creator.sources: Invalid value: has 21 entries; at most 20 are allowed".to_owned()
    ));
    assert!(causes.contains(
        &"Invalid spec.labels: Invalid value: has 1001 entries; at most 1000 are allowed".to_owned()
    ));
    assert!(answer.review.to_string().len() < 64 * 1024, "{}", answer.review.to_string().len());
}

#[test]
fn every_problem_beyond_a_thousand_is_counted() {
    let entries: Vec<Value> = (0..999).map(|_| json!({})).collect();
    let document = policy(json!({"exemptions": entries})).request["object"].clone();
    let problems = compile(&document, "test").unwrap_err().0;
    assert_eq!(problems.len(), 1001);
    // Three of each: name, users or groups, rules.
    assert_eq!(problems[1000].to_string(), "spec: Invalid value: and 1997 more problems");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn records_are_decided_while_a_policy_is_compiled() {
    let pipeline = pipeline_with(Policy::default());
    let pattern = format!("(?<name>{})", r"\w".repeat(60));
    let sources: Vec<Value> = (0..20).map(|_| json!({"from": "Username", "pattern": pattern})).collect();
    let slow = policy(json!({"creator": {"sources": sources}}));
    let record = create("Company", json!({"displayName": "Acme"}));
    let (slow, record) = (slow.body(), record.body());
    let limit = crate::common::LIMIT;
    let endpoint = crm_admission::admission::Endpoint::Validate;
    let policy = pipeline.review(endpoint, &slow, limit);
    let record = pipeline.review(endpoint, &record, limit);
    // In the order in which they are first polled: the policy would keep the only thread busy.
    let mut answers = futures::stream::FuturesUnordered::new();
    answers.push(futures::FutureExt::boxed(policy));
    answers.push(futures::FutureExt::boxed(record));
    let first = futures::StreamExt::next(&mut answers).await.unwrap().unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first["response"]["status"]["details"]["kind"], "Company", "{first}");
}
