//! Tests `policy test`: what a case expects, what is wrong with a test, reports, the shipped tests, and the recipes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crm_core::catalog::RuleId;
use rstest::rstest;
use serde_json::{Value, json};

use crate::repository::{COMPANY, Ended, GOOD, Repository};

/// The head of a test.
const TEST: &str =
    "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicyTest\nmetadata: {name: t}\nspec:\n";
/// A company in one line.
const ACME: &str =
    "{apiVersion: crm.milo.io/v1alpha1, kind: Company, metadata: {name: acme}, spec: {displayName: Acme}}";
/// The head of a policy.
const POLICY: &str =
    "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n";

/// A test with one case: these fields of the case, each on a line of its own.
fn case(fields: &str) -> String {
    let fields: String = fields.lines().map(|line| format!("    {line}\n")).collect();
    format!("{TEST}  now: \"2026-11-23T12:00:00Z\"\n  cases:\n  - name: c\n{fields}")
}

/// The result of one case.
#[track_caller]
fn run(test: &str) -> Ended {
    Repository::with(&[("t.yaml", test)]).run("", &["policy", "test", "t.yaml"])
}

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    crm_manifest::documents(&text).unwrap().into_iter().map(|(_, document)| document).collect()
}

/// All files in a directory and those below it.
fn files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at_root(directory)).unwrap() {
        let path = entry.unwrap().path();
        let below = format!("{directory}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() { found.extend(files(&below)) } else { found.push(path) }
    }
    found.sort();
    found
}

// What is expected.

#[rstest]
#[case::allowed("object: ACME\nexpect: {allowed: true}", true)]
#[case::not_allowed("object: ACME\nexpect: {allowed: false}", false)]
#[case::no_findings("object: ACME\nexpect: {findings: []}", true)]
#[case::a_finding_that_is_missing("object: ACME\nexpect: {findings: [display-name]}", false)]
#[case::changes("user: {name: alice}\nobject: ACME\nexpect: {changes: {spec.creatorRef.name: alice}}", true)]
#[case::another_value(
    "user: {name: alice}\nobject: ACME\nexpect: {changes: {spec.creatorRef.name: bob}}",
    false
)]
#[case::a_part_of_the_record(
    "user: {name: alice}\nobject: ACME\nexpect: {changes: {spec.creatorRef: {name: alice}}}",
    true
)]
#[case::unchanged("object: ACME\nexpect: {changes: {spec.displayName: Acme}}", false)]
#[case::nothing_changes("object: ACME\nexpect: {changes: {}}", false)]
#[case::without_a_message("object: ACME\nexpect: {message: .}", false)]
#[case::somebody("object: ACME\nexpect: {changes: {spec.creatorRef.name: somebody}}", true)]
fn a_complete_record(#[case] fields: &str, #[case] passes: bool) {
    let ended = run(&case(&fields.replace("ACME", ACME)));
    let summary = if passes { "1 passed, 0 failed\n" } else { "0 passed, 1 failed\n" };
    assert!(ended.out.ends_with(summary), "{}{}", ended.out, ended.err);
    ended.ends_with(i32::from(!passes));
}

/// The findings: domain/public-suffix and domain/email, both Deny, and domain-hint/mail-provider, Warn.
#[rstest]
#[case::in_any_order("[domain-hint, domain/email, domain/public-suffix]", true)]
#[case::a_rule_leaves_the_code_to_another("[domain, domain/public-suffix, domain-hint]", true)]
#[case::twice_the_rule("[domain, domain, domain-hint]", true)]
#[case::not_all("[domain, domain-hint]", false)]
#[case::too_many("[domain, domain, domain, domain-hint]", false)]
#[case::twice_the_same_code("[domain/email, domain/email, domain-hint]", false)]
#[case::actions("[{rule: domain, action: Deny}, domain/email, {rule: domain-hint, action: Warn}]", true)]
#[case::wrong_action("[domain, domain, {rule: domain-hint, action: Deny}]", false)]
#[case::fields(
    r#"[{rule: domain, field: "spec.domains[1]"}, {rule: domain, field: "spec.domains[0]"}, domain-hint]"#,
    true
)]
#[case::wrong_field(
    r#"[{rule: domain, field: "spec.domains[1]"}, {rule: domain, field: "spec.domains[1]"}, domain-hint]"#,
    false
)]
fn findings_are_a_whole_list(#[case] findings: &str, #[case] passes: bool) {
    let object = ACME.replace("Acme}", "Acme, domains: [co.uk, a@acme.com, gmail.com]}");
    let ended = run(&case(&format!("object: {object}\nexpect: {{findings: {findings}}}")));
    ended.ends_with(i32::from(!passes));
}

#[test]
fn a_denied_record_is_not_changed_and_its_message_and_warnings_are_matched() {
    let object = ACME.replace("Acme}", "' ', domains: [Acme.com, gmail.com]}");
    for (expect, passes) in [
        ("{changes: {}}", true),
        ("{changes: {\"spec.domains[0]\": acme.com}}", false),
        ("{message: '^Company\\.crm\\.milo\\.io \"acme\" is invalid: spec\\.displayName: '}", true),
        ("{message: mail}", true),
        ("{message: 'stored as'}", false),
    ] {
        let ended = run(&case(&format!("object: {object}\nexpect: {expect}")));
        assert_eq!(ended.code, i32::from(!passes), "{expect}: {}{}", ended.out, ended.err);
    }
}

#[test]
fn the_record_is_mutated_before_it_is_validated() {
    let object = ACME.replace("Acme}", "Acme, domains: [Acme.com, acme.com, gmail.com]}");
    // Without the patch, `/validate` would find values that are not canonical. The index is that of the written record.
    let expect = "findings: [{rule: domain-hint, field: \"spec.domains[2]\"}], allowed: true, changes: {\"spec.domains\": [acme.com, gmail.com], \"spec.domains[1]\": null}";
    run(&case(&format!("object: {object}\nexpect: {{{expect}}}"))).ends_with(0);
}

#[test]
fn an_owner_that_a_note_gets_is_a_change() {
    let policy = format!("{POLICY}spec: {{notes: {{ownedBySubject: true}}}}\n");
    let subject = "{apiGroup: crm.milo.io, kind: Company, name: acme}";
    let note = format!(
        "{{apiVersion: crm.milo.io/v1alpha1, kind: Note, metadata: {{name: call}}, spec: {{subjectRef: {subject}, content: c}}}}"
    );
    let given = "{apiVersion: v1, kind: ConfigMap, name: other, uid: u-2}";
    let owned = note.replace("{name: call}", &format!("{{name: call, ownerReferences: [{given}]}}"));
    let acme = "{apiVersion: crm.milo.io/v1alpha1, kind: Company, name: acme, uid: u-1}";
    for (object, changes, passes) in [
        (&note, format!("metadata.ownerReferences: [{acme}]"), true),
        (&note, format!("\"metadata.ownerReferences[0]\": {acme}"), true),
        (&note, "\"metadata.ownerReferences[0].name\": acme".to_owned(), true),
        (&note, "\"metadata.ownerReferences[0].name\": globex".to_owned(), false),
        (&note, "\"metadata.ownerReferences[1].name\": acme".to_owned(), false),
        (&owned, "\"metadata.ownerReferences[1].uid\": u-1".to_owned(), true),
        (&owned, format!("metadata.ownerReferences: [{given}, {acme}]"), true),
        // It did not change.
        (&owned, "\"metadata.ownerReferences[0].name\": other".to_owned(), false),
        // It is the only change.
        (&note.replace("content: c", "content: c, creatorRef: {name: bob}"), String::new(), false),
    ] {
        let existing = ACME.replace("name: acme", "name: acme, uid: u-1");
        let test = case(&format!("object: {object}\nexpect: {{changes: {{{changes}}}}}"))
            .replace("  cases:", &format!("  policy: p.yaml\n  existing: [{existing}]\n  cases:"));
        let files = [("t.yaml", test.as_str()), ("p.yaml", policy.as_str())];
        let ended = Repository::with(&files).run("", &["policy", "test", "t.yaml"]);
        assert_eq!(ended.code, i32::from(!passes), "{changes}: {}{}", ended.out, ended.err);
    }
}

#[test]
fn a_deletion_sees_what_exists() {
    let person = "{apiVersion: crm.milo.io/v1alpha1, kind: Person, metadata: {name: jane}, spec: {companyRef: {name: acme}}}";
    let deleted = "operation: DELETE\noldObject: ACME\nexpect: {allowed: true, findings: [delete-referenced], changes: {}, message: '1 Person'}";
    let test = case(&deleted.replace("ACME", ACME));
    run(&test).ends_with(1);
    let with = |existing: &str| test.replace("  cases:", &format!("  existing: [{existing}]\n  cases:"));
    run(&with(person)).ends_with(0);
    // The record may be given as the object, too.
    run(&with(person).replace("oldObject", "object")).ends_with(0);
    let repository = Repository::with(&[("tests/t.yaml", &with("../crm")), ("crm/jane.yaml", person)]);
    repository.run("", &["policy", "test", "tests"]).ends_with(0);
}

#[test]
fn time_user_dry_run_and_field_manager_reach_the_policy() {
    let policy = format!(
        "{POLICY}spec:\n  rules: [{{rule: display-name, action: Deny, enforceAfter: \"2026-11-24T00:00:00Z\"}}]\n  creator:\n    sources: [{{from: Extra, key: id}}, {{from: UID}}]\n  exemptions: [{{name: e, groups: [g], rules: [company-exists]}}]\n"
    );
    let person = "{apiVersion: crm.milo.io/v1alpha1, kind: Person, metadata: {name: p}, spec: {displayName: P, companyRef: {name: nobody}}}";
    let blank = ACME.replace("displayName: Acme", "displayName: ' '");
    for fields in [
        format!(
            "user: {{name: a, uid: u}}\nobject: {blank}\nexpect: {{allowed: true, message: denied from 2026-11-24, changes: {{spec.creatorRef.name: u}}}}"
        ),
        format!(
            "user: {{name: a, uid: u, extra: {{id: x}}}}\nobject: {ACME}\nexpect: {{changes: {{spec.creatorRef.name: x}}}}"
        ),
        format!("user: {{name: a, uid: u, groups: [g]}}\nobject: {person}\nexpect: {{findings: []}}"),
        format!(
            "user: {{name: a, uid: u}}\nobject: {person}\nexpect: {{findings: [{{rule: company-exists, action: Deny}}]}}"
        ),
        format!(
            "user: {{name: a, uid: u}}\ndryRun: true\nfieldManager: kustomize-controller\nobject: {person}\nexpect: {{findings: [{{rule: company-exists, action: Warn}}]}}"
        ),
    ] {
        let test = case(&fields).replace("  cases:", "  policy: policy.yaml\n  cases:");
        let repository = Repository::with(&[("t.yaml", &test), ("policy.yaml", &policy)]);
        let ended = repository.run("", &["policy", "test", "t.yaml"]);
        assert_eq!(ended.code, 0, "{fields}: {}{}", ended.out, ended.err);
    }
}

// What is wrong with a test.

#[rstest]
#[case::no_cases(&format!("{TEST}  cases: []\n"), "5:10: spec.cases: Required value: list at least one case")]
#[case::without_cases(&format!("{TEST}  now: '2026-11-23T12:00:00Z'\n"), "4:1: spec.cases: Required value: list at least one case")]
#[case::without_a_spec(&TEST.replace("spec:\n", ""), "1:1: spec: Required value: set it to the cases of the test")]
#[case::same_name(&format!("{}  - {{name: c, object: {ACME}, expect: {{allowed: true}}}}\n", case(&format!("object: {ACME}\nexpect: {{allowed: true}}"))), "10:12: spec.cases[1].name: Invalid value: \"c\": another case has this name; give each its own")]
#[case::without_a_name(&case("object: ACME\nexpect: {allowed: true}").replace("name: c\n", "dryRun: true\n"), "7:5: spec.cases[0].name: Required value: set it")]
#[case::empty_expectation(&case("object: ACME\nexpect: {}"), "9:13: spec.cases[0].expect: Required value: name at least one of allowed, findings, changes, message")]
#[case::no_expectation(&case("object: ACME"), "7:5: spec.cases[0].expect: Required value: say what is expected: allowed, findings, changes or message")]
#[case::unknown_key(&format!("{}  policies: a\n", case("object: ACME\nexpect: {allowed: true}")), "10:3: spec.policies: Forbidden: unknown field; did you mean \"policy\"?")]
#[case::unknown_key_of_a_case(&case("object: ACME\nexpect: {allowed: true}\ndryrun: true"), "10:5: spec.cases[0].dryrun: Forbidden: unknown field; did you mean \"dryRun\"?")]
#[case::unknown_key_of_an_expectation(&case("object: ACME\nexpect: {allow: true}"), "9:14: spec.cases[0].expect.allow: Forbidden: unknown field; did you mean \"allowed\"?")]
#[case::unknown_key_of_a_user(&case("user: {username: a}\nobject: ACME\nexpect: {allowed: true}"), "8:12: spec.cases[0].user.username: Forbidden: unknown field; the fields are name, uid, groups, extra")]
#[case::unknown_key_of_a_finding(&case("object: ACME\nexpect: {findings: [{rule: domain, code: email}]}"), "9:40: spec.cases[0].expect.findings[0].code: Forbidden: unknown field; the fields are rule, action, field")]
#[case::unknown_key_at_the_top(&format!("{}specs: {{}}\n", case("object: ACME\nexpect: {allowed: true}")), "10:1: specs: Forbidden: unknown field; did you mean \"spec\"?")]
#[case::unknown_rule(&case("object: ACME\nexpect: {findings: [domains]}"), "9:25: spec.cases[0].expect.findings[0]: Unsupported value: \"domains\": no rule has the id \"domains\"; did you mean \"domain\"?")]
#[case::unknown_code(&case("object: ACME\nexpect: {findings: [{rule: domain/mail}]}"), "9:32: spec.cases[0].expect.findings[0].rule: Unsupported value: \"domain/mail\": the rule domain has no code \"mail\"; did you mean \"email\"?")]
#[case::nothing_that_is_known(&case("object: ACME\nexpect: {findings: [xyz]}"), "9:25: spec.cases[0].expect.findings[0]: Unsupported value: \"xyz\": no rule has the id \"xyz\"; `crm-admission rules` lists the rules")]
#[case::finding_without_a_rule(&case("object: ACME\nexpect: {findings: [{action: Deny}]}"), "9:25: spec.cases[0].expect.findings[0].rule: Required value: set it")]
#[case::finding_of_no_type(&case("object: ACME\nexpect: {findings: [1]}"), "9:25: spec.cases[0].expect.findings[0]: Invalid value: must be a rule such as label-value, or an object with rule, action and field")]
#[case::unknown_action(&case("object: ACME\nexpect: {findings: [{rule: domain, action: Disabled}]}"), "9:48: spec.cases[0].expect.findings[0].action: Unsupported value: \"Disabled\": supported values: \"Deny\", \"Warn\", \"Audit\"")]
#[case::no_field(&case("object: ACME\nexpect: {findings: [{rule: domain, field: 'domains[0]'}]}"), "9:47: spec.cases[0].expect.findings[0].field: Invalid value: \"domains[0]\": must be a field as messages show it, such as spec.domains[0]")]
#[case::no_field_that_changes(&case("object: ACME\nexpect: {changes: {displayName: Acme}}"), "9:37: spec.cases[0].expect.changes.displayName: Invalid value: \"displayName\": must be a field as messages show it, such as spec.domains[0]")]
#[case::no_map_of_changes(&case("object: ACME\nexpect: {changes: [spec.displayName]}"), "9:23: spec.cases[0].expect.changes: Invalid value: must be a map of fields and their new values, such as spec.domains[0]: acme.com")]
#[case::bad_expression(&case("object: ACME\nexpect: {message: '('}"), "9:23: spec.cases[0].expect.message: Invalid value: \"(\": invalid regular expression: unclosed group")]
#[case::empty_expression(&case("object: ACME\nexpect: {message: ''}"), "9:23: spec.cases[0].expect.message: Required value: say what is in the message; every message matches an empty expression")]
#[case::unknown_operation(&case("operation: CONNECT\nobject: ACME\nexpect: {allowed: true}"), "8:16: spec.cases[0].operation: Unsupported value: \"CONNECT\": supported values: \"CREATE\", \"UPDATE\", \"DELETE\"")]
#[case::misspelled_operation(&case("operation: create\nobject: ACME\nexpect: {allowed: true}"), "8:16: spec.cases[0].operation: Unsupported value: \"create\": did you mean \"CREATE\"? supported values: \"CREATE\", \"UPDATE\", \"DELETE\"")]
#[case::update_without_old_object(&case("operation: UPDATE\nobject: ACME\nexpect: {allowed: true}"), "7:5: spec.cases[0].oldObject: Required value: set it to the stored record; an UPDATE changes one")]
#[case::update_without_object(&case("operation: UPDATE\noldObject: ACME\nexpect: {allowed: true}"), "7:5: spec.cases[0].object: Required value: set it to the record that the user writes")]
#[case::create_without_object(&case("expect: {allowed: true}"), "7:5: spec.cases[0].object: Required value: set it to the record that the user writes")]
#[case::create_with_old_object(&case("object: ACME\noldObject: ACME\nexpect: {allowed: true}"), "9:5: spec.cases[0].oldObject: Forbidden: only an UPDATE or a DELETE has an old object; set the operation, or remove it")]
#[case::delete_of_nothing(&case("operation: DELETE\nexpect: {allowed: true}"), "7:5: spec.cases[0].oldObject: Required value: set it to the record that is deleted")]
#[case::delete_with_both(&case("operation: DELETE\nobject: ACME\noldObject: ACME\nexpect: {allowed: true}"), "9:5: spec.cases[0].object: Forbidden: a DELETE has only an old object; remove it")]
#[case::policy_in_a_directory(&case("object: ACME\nexpect: {allowed: true}").replace("spec:", "spec:\n  policy: ."), "5:11: spec.policy: Invalid value: .: cannot be read: Is a directory (os error 21)")]
#[case::another_name(&case("operation: UPDATE\nobject: {apiVersion: crm.milo.io/v1alpha1, kind: Company, metadata: {name: b}}\noldObject: ACME\nexpect: {allowed: true}"), "9:80: spec.cases[0].object.metadata.name: Invalid value: \"b\": must be that of the old object, \"acme\"")]
#[case::another_kind(&case("object: {apiVersion: v1, kind: Secret, metadata: {name: a}}\nexpect: {allowed: true}"), "8:26: spec.cases[0].object.apiVersion: Invalid value: \"v1\": the webhook sees only records: apiVersion crm.milo.io/v1alpha1, kind Company, Person, Note")]
#[case::unknown_kind(&case("object: {apiVersion: crm.milo.io/v1alpha1, kind: Deal, metadata: {name: a}}\nexpect: {allowed: true}"), "8:54: spec.cases[0].object.kind: Invalid value: \"Deal\": the webhook sees only records: apiVersion crm.milo.io/v1alpha1, kind Company, Person, Note")]
#[case::record_without_a_name(&case("object: {apiVersion: crm.milo.io/v1alpha1, kind: Company, spec: {}}\nexpect: {allowed: true}"), "8:5: spec.cases[0].object.metadata.name: Required value: give the record a name")]
#[case::old_record_with_a_prefix(&case("operation: DELETE\noldObject: {apiVersion: crm.milo.io/v1alpha1, kind: Company, metadata: {generateName: a-}}\nexpect: {allowed: true}"), "9:66: spec.cases[0].oldObject.metadata.name: Required value: give the record a name")]
#[case::no_record(&case("object: acme\nexpect: {allowed: true}"), "8:13: spec.cases[0].object: Invalid value: must be an object")]
#[case::labels_of_a_wrong_type(&case("object: {apiVersion: crm.milo.io/v1alpha1, kind: Company, metadata: {name: a, labels: 1}}\nexpect: {allowed: true}"), "7:5: the webhook cannot read this request: not an AdmissionReview that can be read: request.object.metadata is missing or has a wrong type")]
#[case::no_time(&case("object: ACME\nexpect: {allowed: true}").replace("2026-11-23T12:00:00Z", "tomorrow"), "5:8: spec.now: Invalid value: \"tomorrow\": must be a time such as 2027-01-15T00:00:00Z")]
#[case::extra_of_a_wrong_type(&case("user: {extra: {id: 1}}\nobject: ACME\nexpect: {allowed: true}"), "8:24: spec.cases[0].user.extra.id: Invalid value: must be a list of strings")]
#[case::empty_user(&case("user: {name: ''}\nobject: ACME\nexpect: {allowed: true}"), "8:18: spec.cases[0].user.name: Required value: set it")]
#[case::another_version(&case("object: ACME\nexpect: {allowed: true}").replace("admission.crm.milo.io/v1alpha1", "admission.crm.milo.io/v1"), "1:13: apiVersion: Unsupported value: \"admission.crm.milo.io/v1\": must be admission.crm.milo.io/v1alpha1")]
#[case::without_a_version(&case("object: ACME\nexpect: {allowed: true}").replace("apiVersion: admission.crm.milo.io/v1alpha1\n", ""), "1:1: apiVersion: Required value: must be admission.crm.milo.io/v1alpha1")]
#[case::misspelled_kind(&case("object: ACME\nexpect: {allowed: true}").replace("AdmissionPolicyTest", "AdmissionPolicyTests"), "2:7: kind: Unsupported value: \"AdmissionPolicyTests\": did you mean \"AdmissionPolicyTest\"?")]
#[case::two_roots("a: 1\n---\n- b\n", "3:1: no object: a manifest is a map with apiVersion and kind")]
fn a_mistake_has_its_place(#[case] test: &str, #[case] expected: &str) {
    let ended = run(&test.replace("ACME", ACME));
    let first = ended.out.lines().next().unwrap_or_default();
    let (line, rest) = expected.split_once(": ").unwrap();
    assert_eq!(first, format!("t.yaml:{line}: error: {rest}"), "{}", ended.err);
    assert_eq!(ended.out.matches(": error: ").count(), 1, "{}", ended.out);
    ended.ends_with(2);
}

#[rstest]
#[case::policy(
    "policy: no.yaml",
    "t.yaml:5:11: error: spec.policy: Invalid value: no.yaml: cannot be read: No such file"
)]
#[case::broken_policy(
    "policy: broken.yaml",
    "t.yaml:5:11: error: spec.policy: Invalid value: broken.yaml:2:1: "
)]
#[case::policy_from_standard_input(
    "policy: '-'",
    "t.yaml:5:11: error: spec.policy: Invalid value: \"-\": must be a path, relative to the directory of this file"
)]
#[case::existing(
    "existing: [missing]",
    "t.yaml:5:14: error: spec.existing[0]: Invalid value: missing: cannot be read: No such file"
)]
#[case::broken_existing(
    "existing: [broken.yaml]",
    "t.yaml:5:14: error: spec.existing[0]: Invalid value: broken.yaml:2:1: "
)]
#[case::existing_of_no_type(
    "existing: [1]",
    "t.yaml:5:14: error: spec.existing[0]: Invalid value: must be a path or an object"
)]
#[case::existing_without_a_name(
    "existing: [{apiVersion: v1, kind: Secret}]",
    "t.yaml:5:14: error: spec.existing[0].metadata.name: Required value: an object that exists has it"
)]
fn another_file_that_cannot_be_used_is_named(#[case] line: &str, #[case] expected: &str) {
    let test = case(&format!("object: {ACME}\nexpect: {{allowed: true}}"));
    let test = test.replace("spec:\n  now", &format!("spec:\n  {line}\n  now"));
    let repository = Repository::with(&[("t.yaml", &test), ("broken.yaml", "a: [\n")]);
    let ended = repository.run("", &["policy", "test", "t.yaml"]);
    assert!(ended.out.starts_with(expected), "{}{}", ended.out, ended.err);
    ended.ends_with(2);
}

#[test]
fn every_problem_of_a_policy_and_of_a_test_is_listed() {
    let test = format!(
        "{TEST}  policy: ../policy.yaml\n  now: never\n  cases:\n  - {{name: a, expect: {{alowed: true}}}}\n"
    );
    let policy = format!("{POLICY}spec: {{rules: [{{rule: domian, action: 'Off'}}]}}\n");
    let repository = Repository::with(&[("tests/t.yaml", &test), ("policy.yaml", &policy)]);
    let ended = repository.run("", &["policy", "test", "tests"]);
    let problems: Vec<&str> = ended.out.lines().take_while(|line| !line.is_empty()).collect();
    let starts = [
        "tests/t.yaml:5:11: error: spec.policy: Invalid value: tests/../policy.yaml: spec.rules[0].rule: Unsupported value: \"domian\"",
        "tests/t.yaml:5:11: error: spec.policy: Invalid value: tests/../policy.yaml: spec.rules[0].action: Unsupported value: \"Off\"",
        "tests/t.yaml:6:8: error: spec.now: ",
        "tests/t.yaml:8:5: error: spec.cases[0].object: Required value: ",
        "tests/t.yaml:8:24: error: spec.cases[0].expect.alowed: Forbidden: ",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem} is not {start}");
    }
    assert!(ended.out.ends_with("\n\n0 passed, 0 failed, 5 errors\n"), "{}", ended.out);
}

// Files.

#[test]
fn a_broken_file_does_not_hide_the_results_of_others() {
    let good = case(&format!("object: {ACME}\nexpect: {{allowed: true}}"));
    let repository = Repository::with(&[
        ("a.yaml", "a: [\n"),
        ("b.yaml", &good),
        ("c.yaml", &good.replace("allowed: true", "allowed: false")),
        ("policy.yaml", POLICY),
        ("acme.yaml", &format!("{COMPANY}{GOOD}")),
        ("not-read.txt", "x"),
    ]);
    let ended = repository.run("", &["policy", "test"]);
    assert!(ended.out.starts_with("a.yaml:2:1: error: "), "{}", ended.out);
    assert!(ended.out.contains("c.yaml:7:5: failed: t: c\n"), "{}", ended.out);
    assert!(
        ended.out.ends_with("2 documents of other kinds were left aside.\n1 passed, 1 failed, 1 error\n"),
        "{}",
        ended.out
    );
    ended.ends_with(2);
    fs::remove_file(repository.path().join("a.yaml")).unwrap();
    repository.run("", &["policy", "test", "."]).ends_with(1);
    fs::remove_file(repository.path().join("c.yaml")).unwrap();
    let ended = repository.run("", &["policy", "test", "-f", "b.yaml", "policy.yaml"]);
    assert!(
        ended.out.starts_with("policy.yaml: error: has no document of kind AdmissionPolicyTest; "),
        "{}",
        ended.out
    );
    ended.ends_with(2);
    repository.run("", &["policy", "test", "-q"]).ends_with(0);
}

#[test]
fn a_path_without_tests_is_no_success() {
    let repository = Repository::with(&[("crm/acme.yaml", &format!("{COMPANY}{GOOD}"))]);
    let ended = repository.run("", &["policy", "test", "crm"]);
    assert!(
        ended.out.starts_with(
            "AdmissionPolicyTest: error: no document of this kind in the given files and directories\n"
        ),
        "{}",
        ended.out
    );
    ended.ends_with(2);
    let ended = repository.run("", &["policy", "test", "no"]);
    assert!(ended.err.contains("no: cannot be read"), "{}", ended.err);
    ended.ends_with(2);
    repository.run("", &["policy", "test", "-"]).ends_with(2);
}

#[test]
fn standard_input_is_relative_to_the_current_directory() {
    let test = case(&format!("object: {ACME}\nexpect: {{allowed: true}}"))
        .replace("  cases:", "  policy: policy.yaml\n  cases:");
    let repository = Repository::with(&[("policy.yaml", &format!("{POLICY}spec: {{}}\n"))]);
    let ended = repository.run(&test, &["policy", "test", "-"]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "1 passed, 0 failed\n", ""));
}

#[test]
fn several_tests_of_a_file_and_of_a_list_are_run() {
    let test = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicyTest",
        "spec": {"cases": [{"name": "a", "expect": {"allowed": true}, "object": {
            "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"generateName": "a-"},
            "spec": {"displayName": "A"},
        }}]},
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [test, test]});
    let repository =
        Repository::with(&[("a.yaml", &format!("{test}\n---\n{test}\n")), ("b.json", &list.to_string())]);
    let ended = repository.run("", &["policy", "test"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "4 passed, 0 failed\n"));
}

#[test]
fn check_leaves_tests_aside_as_documents_that_are_no_records() {
    let test = case(&format!("object: {ACME}\nexpect: {{allowed: true}}"));
    let ended = Repository::with(&[("t.yaml", &test)]).check(&["--format", "json"]);
    let report = ended.ends_with(0).json();
    assert_eq!((&report["findings"], &report["summary"]["other"]), (&json!([]), &json!(1)));
}

// Reports.

/// A test with a case that passes and one that fails in every part.
fn mixed() -> String {
    let object = ACME.replace("Acme}", "Acme, domains: [gmail.com]}");
    let passes = case(&format!("object: {ACME}\nexpect: {{allowed: true}}"));
    format!(
        "{passes}  - name: d\n    user: {{name: alice}}\n    object: {object}\n    expect:\n      allowed: false\n      findings: [domain-hint, {{rule: domain/email, action: Deny, field: \"spec.domains[0]\"}}]\n      changes: {{spec.displayName: Acme Corp}}\n      message: is invalid\n"
    )
}

#[test]
fn a_failure_shows_what_was_expected_beside_what_happened() {
    let ended = run(&mixed());
    insta::assert_snapshot!(ended.out);
    ended.ends_with(1);
    let quiet = Repository::with(&[("t.yaml", &mixed())]).run("", &["policy", "test", "-q"]);
    assert_eq!(ended.out, format!("{}\n1 passed, 1 failed\n", quiet.out));
}

#[test]
fn json_fits_its_schema_and_has_what_the_webhook_does() {
    let repository = Repository::with(&[("t.yaml", &mixed()), ("u.yaml", "kind: [")]);
    let ended = repository.run("", &["policy", "test", "--format", "json"]);
    assert!(ended.err.starts_with("error: u.yaml:1:"), "{}", ended.err);
    let report = ended.ends_with(2).json();
    let schema = fs::read_to_string(at_root("schemas/policy-test-report.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let problems: Vec<String> = jsonschema::draft202012::new(&schema)
        .unwrap()
        .iter_errors(&report)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(problems, [] as [String; 0]);
    assert_eq!(report["version"], 1);
    assert_eq!(
        report["summary"],
        json!({"files": 2, "tests": 1, "other": 0, "passed": 1, "failed": 1, "errors": 1})
    );
    let case = &report["cases"][1];
    assert_eq!((&case["name"], &case["passed"], &case["line"]), (&json!("d"), &json!(false), &json!(10)));
    assert_eq!(case["got"]["changes"], json!({"spec.creatorRef.name": "alice"}));
    assert_eq!(case["got"]["findings"][0]["code"], "mail-provider");
    let parts: Vec<&str> = case["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["part"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["allowed", "findings", "changes", "message"]);
    assert_eq!(
        case["failures"][1]["expected"][1],
        "{rule: domain/email, action: Deny, field: \"spec.domains[0]\"}"
    );
}

#[test]
fn junit_has_a_test_for_each_case() {
    let repository = Repository::with(&[("t.yaml", &mixed()), ("u.yaml", "kind: [")]);
    let ended = repository.run("", &["policy", "test", "-o", "junit", "--output", "report.xml"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    let report = repository.read("report.xml");
    assert!(report.contains("tests=\"3\" skipped=\"0\" failures=\"1\" errors=\"1\""), "{report}");
    for part in [
        "<testcase name=\"c\" classname=\"t\" file=\"t.yaml\" line=\"7\"/>",
        "<failure message=\"not as expected: allowed, findings, changes, message\" type=\"expectation\">",
        "<error message=",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
}

#[test]
fn text_of_users_controls_no_terminal() {
    let test = mixed().replace("name: d", "name: \"\\e[31m\\u202e\\n\"");
    let ended = run(&test);
    assert!(ended.out.contains("t: \\u001b[31m\\u202e\\n"), "{}", ended.out);
    assert!(!ended.out.contains(['\u{1b}', '\u{202e}']), "{}", ended.out);
}

// First tests.

#[test]
fn a_first_test_passes_and_says_what_happens_today() {
    let records = format!(
        "{COMPANY}  # of kubectl get\nspec: {{displayName: 'yes', description: \"a\\n\\n  b: c\\n\", domains: [Acme.com, gmail.com]}}\nstatus: {{}}\n---\napiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {{name: jane, uid: u, managedFields: []}}\nspec: {{displayName: ' ', companyRef: {{name: acme}}}}\n---\n{COMPANY}{GOOD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: ns}}\n"
    );
    let repository = Repository::with(&[("records.yaml", &records)]);
    let ended = repository.run("", &["policy", "test", "--scaffold", "records.yaml"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let test = ended.out;
    assert_eq!(
        repository.run(&records, &["policy", "test", "--scaffold", "-"]).ends_with(0).out.lines().count(),
        test.lines().count()
    );
    for line in [
        "  - name: \"Company acme is created\"",
        "  - name: \"Company acme is created (2)\"",
        "        spec.domains[0]: \"acme.com\"",
        "      - {rule: domain-hint/mail-provider, action: Warn, field: \"spec.domains[1]\"}",
        "      - {rule: display-name, action: Deny, field: \"spec.displayName\"}",
        "  - {apiVersion: \"v1\", kind: \"Secret\", metadata: {name: \"s\", namespace: \"ns\"}}",
    ] {
        assert!(test.lines().any(|has| has == line), "{line} in {test}");
    }
    assert!(!test.contains("managedFields") && !test.contains("status"), "{test}");
    repository.write("t.yaml", &test);
    let ended = repository.run("", &["policy", "test", "t.yaml"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "3 passed, 0 failed\n"), "{test}");
}

#[rstest]
#[case::without_a_record(
    "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n",
    "r.yaml: there is no Company, Person or Note; a test needs a record"
)]
#[case::unknown_kind(
    "apiVersion: crm.milo.io/v1alpha1\nkind: Compny\nmetadata: {name: s}\n",
    "r.yaml: kind \"Compny\": no record has it; correct it"
)]
#[case::broken("a: [\n", "r.yaml:2:1: ")]
fn a_first_test_needs_a_record(#[case] text: &str, #[case] expected: &str) {
    let ended = Repository::with(&[("r.yaml", text)]).run("", &["policy", "test", "--scaffold", "r.yaml"]);
    assert!(ended.err.starts_with(&format!("error: {expected}")), "{}", ended.err);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
}

// The schema.

#[test]
fn the_shipped_tests_and_a_first_test_fit_the_schema() {
    let validator = schema();
    for file in files("manifests/policy/tests") {
        for document in yaml(&file) {
            if document["kind"] == "AdmissionPolicyTest" {
                let problems: Vec<String> =
                    validator.iter_errors(&document).map(|error| error.to_string()).collect();
                assert_eq!(problems, [] as [String; 0], "{}", file.display());
            }
        }
    }
    let repository = Repository::with(&[("acme.yaml", &format!("{COMPANY}{GOOD}"))]);
    let test = repository.run("", &["policy", "test", "--scaffold", "acme.yaml"]).out;
    assert!(validator.is_valid(&crm_manifest::documents(&test).unwrap()[0].1), "{test}");
}

fn schema() -> jsonschema::Validator {
    let text = fs::read_to_string(at_root("schemas/admission.crm.milo.io/admissionpolicytest_v1alpha1.json"));
    let schema: Value = serde_json::from_str(&text.unwrap()).unwrap();
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    jsonschema::draft7::new(&schema).unwrap()
}

/// A test with every field.
fn full() -> Value {
    let company = json!({
        "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme"}, "spec": {"displayName": "A"},
    });
    json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicyTest", "metadata": {"name": "t"},
        "spec": {
            "policy": "policy.yaml",
            "existing": ["acme.yaml", company],
            "now": "2026-11-23T12:00:00Z",
            "cases": [{
                "name": "c",
                "user": {"name": "a", "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}},
                "operation": "UPDATE", "object": company, "oldObject": company,
                "dryRun": true, "fieldManager": "m",
                "expect": {
                    "allowed": true, "message": "a",
                    "findings": ["domain", {"rule": "domain/email", "action": "Deny", "field": "spec.domains[0]"}],
                    "changes": {"spec.domains[0]": null},
                },
            }],
        },
    })
}

/// The schema and the program refuse the same tests.
#[rstest]
#[case::as_it_is("", json!(null), true)]
#[case::unknown_field("/x", json!(1), false)]
#[case::unknown_field_of_the_spec("/spec/x", json!(1), false)]
#[case::unknown_field_of_the_metadata("/metadata/x", json!(1), false)]
#[case::labels("/metadata/labels", json!({"a": "b"}), true)]
#[case::unknown_field_of_a_case("/spec/cases/0/x", json!(1), false)]
#[case::unknown_field_of_a_user("/spec/cases/0/user/x", json!(1), false)]
#[case::unknown_field_of_an_expectation("/spec/cases/0/expect/x", json!(1), false)]
#[case::unknown_field_of_a_finding("/spec/cases/0/expect/findings/1/x", json!(1), false)]
#[case::unknown_rule("/spec/cases/0/expect/findings/0", json!("domains"), false)]
#[case::unknown_action("/spec/cases/0/expect/findings/1/action", json!("Disabled"), false)]
#[case::unknown_operation("/spec/cases/0/operation", json!("PATCH"), false)]
#[case::without_cases("/spec/cases", json!([]), false)]
#[case::no_field("/spec/cases/0/expect/changes/domains", json!("a"), false)]
#[case::empty_expectation("/spec/cases/0/expect", json!({}), false)]
#[case::wrong_type("/spec/cases/0/dryRun", json!("true"), false)]
#[case::only_a_name("/spec/cases/0/user", json!({"name": "a"}), true)]
fn the_schema_is_as_strict_as_the_program(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] is_valid: bool,
) {
    let mut test = full();
    if let Some((parent, key)) = pointer.rsplit_once('/') {
        match test.pointer_mut(parent).unwrap() {
            Value::Array(entries) => entries[key.parse::<usize>().unwrap()] = value,
            other => other[key] = value,
        }
    }
    assert_eq!(schema().is_valid(&test), is_valid);
    let repository = Repository::with(&[
        ("t.json", &test.to_string()),
        ("policy.yaml", &format!("{POLICY}spec: {{}}\n")),
        ("acme.yaml", &format!("{COMPANY}{GOOD}")),
    ]);
    let ended = repository.run("", &["policy", "test", "t.json"]);
    assert_eq!(ended.code != 2, is_valid, "{}", ended.out);
}

#[test]
fn the_crds_have_no_kind_of_tests() {
    let ended = Repository::new().run("", &["crds"]);
    assert!(ended.out.contains("AdmissionPolicy") && !ended.out.contains("AdmissionPolicyTest"));
}

// What is shipped.

#[test]
fn the_shipped_tests_pass() {
    let tests = at_root("manifests/policy/tests");
    let ended = Repository::new().run("", &["policy", "test", tests.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
}

#[test]
fn the_shipped_tests_have_a_finding_of_every_rule_and_a_pass_of_every_kind() {
    let mut expected = BTreeSet::new();
    for document in files("manifests/policy/tests").iter().flat_map(|file| yaml(file)) {
        for case in document["spec"]["cases"].as_array().into_iter().flatten() {
            let findings = case["expect"]["findings"].as_array().unwrap();
            expected.extend(findings.iter().map(|finding| {
                let shown = finding.as_str().or(finding["rule"].as_str()).unwrap();
                shown.split('/').next().unwrap().to_owned()
            }));
            if findings.is_empty() {
                expected.insert(case["object"]["kind"].as_str().unwrap_or("deletion").to_owned());
            }
        }
    }
    let rules = RuleId::ALL.map(|rule| rule.as_str().to_owned());
    let kinds = ["Company", "Person", "Note", "deletion"].map(str::to_owned);
    let missing: Vec<String> =
        rules.into_iter().chain(kinds).filter(|name| !expected.contains(name)).collect();
    assert!(missing.is_empty(), "manifests/policy/tests has no case about {missing:?}; add one");
}

/// The recipes of docs/policy.md: their titles, and their policies without the name of the file.
fn recipes() -> BTreeMap<String, String> {
    let page = fs::read_to_string(at_root("docs/policy.md")).unwrap();
    let mut recipes = BTreeMap::new();
    for section in page.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap();
        // These show how policies, tests and replays work.
        if ["Actions", "Test a policy", "Try a policy on last week's writes"].contains(&title) {
            continue;
        }
        let policy = section.split("```yaml\n# policy.yaml\n").nth(1);
        let policy = policy.unwrap_or_else(|| panic!("{title}: no policy.yaml")).split("```").next().unwrap();
        recipes.insert(title.to_owned(), policy.to_owned());
    }
    recipes
}

#[test]
fn every_recipe_is_a_file_and_has_a_test() {
    let mut shipped = BTreeMap::new();
    for file in files("manifests/policy/recipes") {
        let text = fs::read_to_string(&file).unwrap();
        let (head, policy) = text.split_once('\n').unwrap();
        let title =
            head.strip_prefix("# The recipe \"").and_then(|head| head.strip_suffix("\" of docs/policy.md."));
        let title = title.unwrap_or_else(|| panic!("{}: must start with its recipe", file.display()));
        shipped.insert(title.to_owned(), policy.to_owned());
        let name = file.file_name().unwrap().to_str().unwrap();
        let tests = yaml(&at_root(&format!("manifests/policy/tests/recipes/{name}")));
        let policy = format!("../../recipes/{name}");
        assert!(tests.iter().all(|test| test["spec"]["policy"] == policy), "{name}");
    }
    assert_eq!(shipped, recipes());
}

/// The commands of the section about tests in docs/policy.md, which need no cluster, print what is on the page.
#[test]
fn the_page_shows_what_a_test_prints() {
    let page = fs::read_to_string(at_root("docs/policy.md")).unwrap();
    let section = page.split("\n## Test a policy\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let repository = Repository::new();
    for block in section.split("```yaml\n# ").skip(1) {
        let (name, text) = block.split("```").next().unwrap().split_once('\n').unwrap();
        repository.write(name, text.replacen("", &format!("# {name}\n"), 1).as_str());
    }
    let console = section.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let (command, output) = console.split_once('\n').unwrap();
    let args: Vec<&str> = command.strip_prefix("$ crm-admission ").unwrap().split(' ').collect();
    let ended = repository.run("", &args);
    assert_eq!(ended.out, output, "{}", ended.err);
}

#[test]
fn a_first_test_is_written_into_a_new_file_only() {
    let repository = Repository::with(&[("acme.yaml", ACME)]);
    let scaffold = ["policy", "test", "--scaffold", "acme.yaml", "--output", "t.yaml"];
    assert_eq!(repository.run("", &scaffold).ends_with(0).out, "");
    repository.run("", &["policy", "test", "t.yaml"]).ends_with(0);
    let again = repository.run("", &scaffold);
    assert!(again.err.contains("t.yaml: the test cannot be created there"), "{}", again.err);
    again.ends_with(2);
}

#[test]
fn a_first_test_needs_a_record_with_a_name() {
    let nameless = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nspec: {displayName: Acme}\n";
    let ended =
        Repository::with(&[("r.yaml", nameless)]).run("", &["policy", "test", "--scaffold", "r.yaml"]);
    assert!(ended.err.contains("metadata.name: Required value: give the record a name"), "{}", ended.err);
    ended.ends_with(2);
}
