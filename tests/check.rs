//! Tests `check` as CI calls it: files, positions, findings, reports and exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use assert_cmd::Command;
use rstest::rstest;
use serde_json::Value;

use crate::repository::{COMPANY, GOOD, PERSON, Repository};

/// The head of a policy.
const POLICY: &str =
    "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n";

/// The findings in one file with this text.
#[track_caller]
fn found_in(text: &str) -> Vec<String> {
    Repository::with(&[("a.yaml", text)]).findings(&["a.yaml"])
}

fn company(spec: &str) -> String {
    format!("{COMPANY}spec:\n{spec}")
}

// Places.

#[rstest]
#[case::plain("  displayName: Acme\n  domains:\n  - Acme.com # main\n", "6:5 Warn spec.domains[0]")]
#[case::spaces_after_the_dash(
    "  displayName: Acme\n  domains:\n  -   Acme.com\n",
    "6:7 Warn spec.domains[0]"
)]
#[case::flow("  displayName: Acme\n  domains: [acme.io, Acme.com]\n", "5:22 Warn spec.domains[1]")]
#[case::flow_over_lines(
    "  displayName: Acme\n  domains: [\n    acme.io,\n    Acme.com ]\n",
    "7:5 Warn spec.domains[1]"
)]
#[case::single_quoted("  displayName: Acme\n  domains: ['Acme.com' , a.io]\n", "5:13 Warn spec.domains[0]")]
#[case::double_quoted(
    "  displayName: \"é\"\n  linkedinProfile:   \"linkedin.com/company/acme\"\n",
    "5:22 Warn spec.linkedinProfile"
)]
#[case::after_other_than_ascii(
    "  {displayName: é🏢, linkedinProfile: linkedin.com/company/acme}\n",
    "4:38 Warn spec.linkedinProfile"
)]
#[case::folded(
    "  displayName: Acme\n  linkedinProfile: >-\n    linkedin.com/company/acme\n",
    "5:20 Warn spec.linkedinProfile"
)]
#[case::literal_with_a_comment(
    "  displayName: Acme\n  domains:\n  - |2- # why | not\n      Acme.com\n",
    "6:5 Warn spec.domains[0]"
)]
#[case::anchored("  displayName: Acme\n  domains:\n  - &main Acme.com\n", "6:11 Warn spec.domains[0]")]
#[case::tagged("  displayName: Acme\n  domains:\n  - !!str &main 'Acme.com'\n", "6:17 Warn spec.domains[0]")]
#[case::alias("  displayName: &main Acme.com\n  domains:\n  - *main\n", "6:5 Warn spec.domains[0]")]
#[case::merged(
    "  <<: {linkedinProfile: linkedin.com/company/acme}\n  displayName: Acme\n",
    "4:25 Warn spec.linkedinProfile"
)]
#[case::unknown_field("  displayName: Acme\n  colour: red\n", "5:3 Deny spec.colour")]
#[case::missing_field("  description: none\n", "3:1 Deny spec.displayName")]
#[case::empty_value("  displayName:\n", "4:3 Deny spec.displayName")]
#[case::wrong_type("  displayName: 42\n", "4:16 Deny spec.displayName")]
#[case::flow_collection("  displayName: [Acme]\n", "4:16 Deny spec.displayName")]
#[case::flow_collection_with_spaces("  displayName: [ Acme ]\n", "4:16 Deny spec.displayName")]
#[case::block_collection("  displayName:\n  - Acme\n", "4:3 Deny spec.displayName")]
fn a_finding_has_the_position_of_its_value(#[case] spec: &str, #[case] expected: &str) {
    let (place, expected) = expected.split_once(' ').unwrap();
    let (line, column) = place.split_once(':').unwrap();
    // One line after the start of the constant, because `spec:` comes first.
    let line: usize = line.parse::<usize>().unwrap() + 1;
    let found = found_in(&company(spec));
    assert_eq!(found.len(), 1, "{found:?}");
    let start = format!("a.yaml:{line}:{column} {expected} [");
    assert!(found[0].starts_with(&start), "{found:?} is not {start}");
    // The same with the line ends of another system, and after another document.
    let other = company(spec).replace('\n', "\r\n");
    let found = found_in(&format!("\u{feff}# é\r\n---\r\n{other}"));
    let start = format!("a.yaml:{}:{column} {expected} [", line + 2);
    assert!(found[0].starts_with(&start), "{found:?} is not {start}");
}

#[test]
fn a_missing_top_level_field_has_the_position_of_the_object() {
    let found =
        found_in(&format!("{COMPANY}---\napiVersion: crm.milo.io/v1alpha1\nkind: Note\nspec: {{}}\n"));
    assert_eq!(found[0], "a.yaml:1:1 Deny spec.displayName [display-name]");
    assert!(found.contains(&"a.yaml:5:1 Deny metadata [schema]".to_owned()), "{found:?}");
}

#[test]
fn findings_in_json_have_positions_too() {
    let text = "{\"apiVersion\": \"crm.milo.io/v1alpha1\", \"kind\": \"Company\", \"metadata\": {\"name\": \"a\"},\n \"spec\": {\"displayName\": \"é\", \"domains\": [\"Acme.com\"]}}";
    let repository = Repository::with(&[("a.json", text)]);
    assert_eq!(repository.findings(&["a.json"]), ["a.json:2:43 Warn spec.domains[0] [domain/not-canonical]"]);
}

#[rstest]
#[case::another_type("[a.com, A.com, 5, c.com]", &["spec.domains[1] [domain/not-canonical]", "spec.domains[2] [schema]"])]
#[case::too_long("[a.com, A.com, LONG, c.com]", &["spec.domains[1] [domain/not-canonical]", "spec.domains[2] [domain/too-long]"])]
#[case::several("[a.com, A.com, B.com, b.com, 5, a.com, 6]", &[
    "spec.domains[1] [domain/not-canonical]",
    "spec.domains[2] [domain/not-canonical]",
    "spec.domains[3] [domain/not-canonical]",
    "spec.domains[4] [schema]",
    "spec.domains[5] [domain/not-canonical]",
    "spec.domains[6] [schema]",
])]
#[case::through_aliases("[a.com, &x \"ü.com\", *x , ~, \"\"]", &[
    "spec.domains[1] [domain/not-canonical]",
    "spec.domains[2] [domain/not-canonical]",
    "spec.domains[3] [schema]",
    "spec.domains[4] [domain/empty]",
])]
fn each_problem_of_a_list_is_reported_once_at_its_entry(#[case] domains: &str, #[case] expected: &[&str]) {
    let long = format!("\"{}.com\"", "l".repeat(260));
    let domains = domains.replace("LONG", &long);
    let found = found_in(&company(&format!("  displayName: A\n  domains: {domains}\n")));
    let fields: Vec<&str> = found.iter().map(|found| found.splitn(3, ' ').nth(2).unwrap()).collect();
    assert_eq!(fields, expected, "{found:?}");
}

#[test]
fn a_missing_field_in_an_alias_has_the_position_of_its_key() {
    let text = format!("{COMPANY}x: &s {{description: x}}\nspec: *s\n").replace("x: &s", "x-s: &s");
    let found = found_in(&text);
    assert!(found.contains(&"a.yaml:5:1 Deny spec.displayName [display-name]".to_owned()), "{found:?}");
}

// Reading.

#[test]
fn directories_lists_and_standard_input_are_read() {
    let bad = company("  displayName: Acme\n  domains: [co.uk]\n");
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: crm.milo.io/v1alpha1\n  kind: Company\n  metadata: {name: b}\n  spec: {displayName: 1}\n";
    let repository = Repository::with(&[
        ("records/deep/a.yml", &bad),
        ("records/list.yaml", list),
        ("records/.hidden/c.yaml", &bad),
        ("records/notes.txt", &bad),
    ]);
    let expected = [
        "records/deep/a.yml:6:13 Deny spec.domains[0] [domain/public-suffix]",
        "records/list.yaml:7:23 Deny spec.displayName [schema]",
    ];
    // Without a path, the current directory.
    assert_eq!(repository.findings(&[]), expected);
    assert_eq!(repository.findings(&["records", "./records/list.yaml"]), expected);
    let ended = repository.check_input(&bad, &["-", "--format", "json"]);
    assert_eq!(ended.ends_with(1).findings(), ["-:6:13 Deny spec.domains[0] [domain/public-suffix]"]);
}

#[test]
fn a_document_that_does_not_parse_is_reported_and_the_rest_is_checked() {
    let text = format!("a: [1\nb: 2\n---\n{}", company("  displayName: 1\n"));
    let repository = Repository::with(&[
        ("a.yaml", &text),
        ("b.yaml", &company("  displayName: 2\n").replace("acme", "other")),
    ]);
    let ended = repository.check(&["--format", "json"]);
    ended.ends_with(2);
    assert_eq!(
        ended.findings(),
        ["a.yaml:8:16 Deny spec.displayName [schema]", "b.yaml:5:16 Deny spec.displayName [schema]"]
    );
    let error = &ended.json()["errors"][0];
    assert_eq!((&error["file"], &error["line"]), (&"a.yaml".into(), &2.into()), "{error}");
    assert!(error["column"].is_u64(), "{error}");
    assert!(ended.err.starts_with("error: a.yaml:2:") && ended.err.lines().count() == 1, "{}", ended.err);
    // The text report has the error, so it is not repeated on standard error.
    let ended = repository.check(&[]);
    assert!(ended.ends_with(2).out.contains("a.yaml:2:") && ended.err.is_empty(), "{}", ended.err);
}

#[test]
fn items_have_the_kind_of_their_list_unless_they_have_their_own() {
    let text = "apiVersion: crm.milo.io/v1alpha1\nkind: CompanyList\nitems:\n- metadata: {name: acme}\n  spec: {displayName: 1}\n- kind: Company\n- apiVersion: v1\n  kind: ConfigMap\n";
    let person = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: acme}}}}\n");
    let repository = Repository::with(&[("a.yaml", text), ("b.yaml", &person)]);
    let expected = ["a.yaml:5:23 Deny spec.displayName [schema]", "a.yaml:6:3 Deny apiVersion [schema]"];
    let ended = repository.check(&["--format", "json"]);
    assert_eq!(ended.ends_with(1).findings(), expected);
    assert_eq!(ended.json()["summary"]["other"], 1);
    // It counts as existing in --resources, too.
    assert_eq!(repository.findings(&["b.yaml", "--resources", "a.yaml"]), [] as [&str; 0]);
}

#[rstest]
#[case::list_of_objects("[ {apiVersion: crm.milo.io/v1alpha1, kind: Company} ]", "a.yaml:1:1: no object")]
#[case::text("just a string", "a.yaml:1:1: no object")]
#[case::entries("# x\n- a", "a.yaml:2:1: no object")]
#[case::items_that_are_not_a_list("kind: List\nitems: foo", "a.yaml:2:8: the items of a list must be a list")]
#[case::item_that_is_not_an_object("kind: List\nitems:\n- foo", "a.yaml:3:3: no object")]
#[case::item_that_is_null("kind: List\nitems:\n- ~", "a.yaml:3:3: no object")]
#[case::item_without_a_kind(
    "apiVersion: v1\nkind: List\nitems:\n- metadata: {name: a}",
    "a.yaml:4:3: no kind"
)]
fn a_document_that_is_not_an_object_is_an_error_and_the_others_are_checked(
    #[case] text: &str,
    #[case] expected: &str,
) {
    let text = format!("{text}\n---\n{}", company("  displayName: 1\n"));
    let repository = Repository::with(&[("a.yaml", &text)]);
    let ended = repository.check(&["--format", "json"]);
    assert_eq!(ended.ends_with(2).findings().len(), 1, "{}", ended.out);
    assert!(ended.err.starts_with(&format!("error: {expected}")), "{}", ended.err);
    assert_eq!(ended.json()["summary"]["other"], 0);
    let ended = repository.check(&["nothing.json", "--resources", "a.yaml"]);
    assert!(ended.ends_with(2).err.starts_with(&format!("error: {expected}")), "{}", ended.err);
}

#[test]
fn empty_documents_are_fine() {
    let repository =
        Repository::with(&[("a.yaml", "---\n# x\n---\n~\n---\n"), ("a.json", "null\n"), ("b.json", "")]);
    let ended = repository.check(&["--format", "json"]);
    assert_eq!(ended.ends_with(0).json()["summary"]["other"], 0);
}

#[rstest]
#[case::comma("{\"kind\": \"X\",}", 14)]
#[case::yaml("kind: X", 1)]
#[case::boolean("yes", 1)]
#[case::comment("{ // x\n}", 3)]
#[case::word("{\"a\": tru}", 10)]
fn json_is_read_as_json(#[case] text: &str, #[case] column: usize) {
    let repository = Repository::with(&[("a.json", text)]);
    let ended = repository.check(&["--format", "json"]);
    let error = &ended.ends_with(2).json()["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&1.into(), &column.into()), "{error}");
    assert!(error["message"].as_str().unwrap().starts_with("not JSON: "), "{error}");
}

#[test]
fn json_documents_around_a_broken_one_are_checked() {
    let line = |name: &str, value: &str| {
        format!(
            "{{\"apiVersion\": \"crm.milo.io/v1alpha1\", \"kind\": \"Company\", \"metadata\": {{\"name\": \"{name}\"}}, \"spec\": {{\"displayName\": {value}}}}}\n"
        )
    };
    let text = |a: &str, c: &str| format!("{}{}{}", line(a, "1"), line("b", "tru"), line(c, "2"));
    let repository = Repository::with(&[("a.json", &text("a", "c")), ("b.yaml", &text("d", "e"))]);
    let ended = repository.check(&["--format", "json"]);
    let places: Vec<String> =
        ended.ends_with(2).findings().iter().map(|found| found[..8].to_owned()).collect();
    assert_eq!(places, ["a.json:1", "a.json:3", "b.yaml:1", "b.yaml:3"]);
    assert_eq!(ended.json()["errors"].as_array().unwrap().len(), 2);
}

#[rstest]
#[case::number("!!int \"5\"", "must be a string, not a number")]
#[case::boolean("!!bool \"yes\"", "must be a string, not a boolean")]
#[case::float("!!float \"1e3\"", "Invalid value: \"1000\"")]
#[case::nothing("!!null \"\"", "Required value")]
#[case::number_as_it_is_read("08", "Invalid value: \"8\"")]
fn a_tag_decides_how_a_scalar_is_read(#[case] name: &str, #[case] expected: &str) {
    let repository = Repository::with(&[("a.yaml", &company(&format!("  displayName: {name}\n")))]);
    let ended = repository.check(&[]);
    assert!(ended.ends_with(1).out.contains(expected), "{}", ended.out);
}

#[test]
fn a_value_that_does_not_match_its_tag_is_an_error() {
    for (name, code) in [("!foo yes", 0), ("!!binary aGk=", 0), ("!!binary aGk", 2), ("!!int x", 2)] {
        let repository = Repository::with(&[("a.yaml", &company(&format!("  displayName: {name}\n")))]);
        let ended = repository.check(&["--fail-on", "warn"]);
        assert!(ended.ends_with(code).out.starts_with("a.yaml:5:") == (code == 2), "{}", ended.out);
    }
}

#[cfg(target_os = "linux")] // The maximum length of a path depends on the system.
#[test]
fn an_unreadable_file_does_not_hide_the_others() {
    let repository = Repository::with(&[("a.yaml", &company("  displayName: 1\n"))]);
    fs::write(repository.path().join("b.yaml"), b"# \xc3\xa9\n- \xff\n").unwrap();
    path_that_is_too_long(&repository.path().join("deep"));
    let ended = repository.check(&[".", "nowhere.yaml", "--format", "json", "--output", "report.json"]);
    let errors: Vec<&str> = ended.ends_with(2).err.lines().collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("error: deep/") && errors[0].contains(": cannot be read: "), "{errors:?}");
    assert!(errors[1].starts_with("error: nowhere.yaml: cannot be read: No such file"), "{errors:?}");
    assert_eq!(errors[2], "error: b.yaml:2:3: cannot be read: not UTF-8 text");
    let report: Value = serde_json::from_str(&repository.read("report.json")).unwrap();
    assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report}");
}

/// Creates a directory with an unreadable directory in it, whose path is too long for the system.
#[cfg(target_os = "linux")]
fn path_that_is_too_long(directory: &Path) {
    let part = "d".repeat(200);
    let mut inner = directory.with_file_name("inner");
    inner.extend([&part; 12]);
    fs::create_dir_all(&inner).unwrap();
    let mut outer = directory.to_owned();
    outer.extend([&part; 10]);
    fs::create_dir_all(&outer).unwrap();
    fs::rename(directory.with_file_name("inner"), outer.join("inner")).unwrap();
}

#[test]
fn the_report_has_the_helm_source() {
    let text = format!("---\n# Source: crm/templates/a.yaml\n{}", company("  displayName: 1\n"));
    let ended = Repository::new().check_input(&text, &["-", "--format", "json"]);
    assert_eq!(ended.json()["findings"][0]["source"], "crm/templates/a.yaml");
}

#[test]
fn objects_of_other_groups_are_counted_and_unknown_kinds_of_our_group_are_denied() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\njust: a file\n---\napiVersion: crm.milo.io/v2\nkind: Company\n---\napiVersion: crm.milo.io/v1alpha1\nkind: company\n---\nkind: Note\n";
    let repository = Repository::with(&[("a.yaml", text)]);
    let ended = repository.check(&["--format", "json"]);
    assert_eq!(
        ended.ends_with(1).findings(),
        [
            "a.yaml:7:13 Deny apiVersion [schema]",
            "a.yaml:11:7 Deny kind [schema]",
            "a.yaml:13:1 Deny apiVersion [schema]"
        ]
    );
    let summary = &ended.json()["summary"];
    assert_eq!((&summary["checked"], &summary["other"]), (&3.into(), &2.into()), "{summary}");
    assert!(ended.out.contains("did you mean \\\"Company\\\"?"), "{}", ended.out);
}

#[test]
fn an_empty_check_succeeds_and_says_so() {
    let ended = Repository::new().check(&[]);
    assert!(ended.ends_with(0).out.contains("nothing to check"), "{}", ended.out);
}

// Deciding.

#[test]
fn the_schema_finds_problems_that_no_rule_checks() {
    let text =
        "  displayName: Acme\n  description: 1\n  creatorRef: {name: a, uid: b}\n  organizationRef: {}\n";
    assert_eq!(
        found_in(&company(text)),
        [
            "a.yaml:6:16 Deny spec.description [schema]",
            "a.yaml:7:25 Deny spec.creatorRef.uid [schema]",
            "a.yaml:8:3 Deny spec.organizationRef.name [schema]",
        ]
    );
}

#[test]
fn a_problem_that_engine_and_schema_find_is_reported_once() {
    let long = "x".repeat(300);
    let found = found_in(&company(&format!("  displayName: {long}\n  domains: acme.com\n")));
    assert_eq!(
        found,
        ["a.yaml:5:16 Deny spec.displayName [display-name]", "a.yaml:6:12 Deny spec.domains [schema]"]
    );
}

#[test]
fn findings_about_the_write_itself_are_warnings() {
    let note = "apiVersion: crm.milo.io/v1alpha1\nkind: Note\nmetadata: {name: a}\nspec:\n  subjectRef: {apiGroup: crm.milo.io, kind: Company, name: acme}\n  content: x\n  nextActionTime: 2001-01-01T00:00:00Z\n";
    let text =
        format!("{COMPANY}spec:\n  displayName: ' Acme'\n  domains: [acme.com, ACME.com]\n---\n{note}");
    let repository = Repository::with(&[("a.yaml", &text)]);
    assert_eq!(
        repository.findings(&[]),
        [
            "a.yaml:5:16 Warn spec.displayName [display-name/not-canonical]",
            "a.yaml:6:23 Warn spec.domains[1] [domain/not-canonical]",
            "a.yaml:14:19 Warn spec.nextActionTime [next-action-time]"
        ]
    );
    repository.check(&[]).ends_with(0);
    repository.check(&["--fail-on", "warn"]).ends_with(1);
}

#[test]
fn without_a_user_the_creator_is_not_checked() {
    let repository = Repository::with(&[("a.yaml", &format!("{COMPANY}{GOOD}"))]);
    repository.check(&["--fail-on", "warn"]).ends_with(0);
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec:\n  rules: [{rule: creator-is-requester, action: Deny}]\n  exemptions: [{name: staff, groups: [staff], rules: [creator-is-requester]}]\n";
    repository.write("policy/p.yaml", policy);
    repository.write("a.yaml", &company("  displayName: Acme\n  creatorRef: {name: bob}\n"));
    let found =
        |args: &[&str]| repository.findings(&[&["a.yaml", "--policy", "policy/p.yaml"], args].concat());
    assert_eq!(found(&[]), [] as [&str; 0]);
    assert_eq!(found(&["--as", "alice"]), ["a.yaml:6:22 Deny spec.creatorRef.name [creator-is-requester]"]);
    assert_eq!(found(&["--as", "bob"]), [] as [&str; 0]);
    assert_eq!(found(&["--as", "alice", "--as-group", "staff"]), [] as [&str; 0]);
    let ended = repository.check(&["--as-group", "staff"]);
    assert!(ended.ends_with(2).err.contains("--as <USER>"), "{}", ended.err);
}

#[test]
fn the_policy_decides_and_all_problems_of_an_invalid_one_are_reported() {
    let text = company("  displayName: Acme\n  domains: [Acme.com]\n");
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec:\n  normalization: {domains: RequireCanonical}\n";
    let repository = Repository::with(&[("a.yaml", &text), ("p/policy.yaml", policy)]);
    let found = repository.findings(&["a.yaml", "--policy", "p/policy.yaml"]);
    assert_eq!(found, ["a.yaml:6:13 Deny spec.domains[0] [domain/not-canonical]"]);
    repository.write("p/policy.yaml", &policy.replace("RequireCanonical}", "Sometimes, x: 1}"));
    let ended = repository.check(&["a.yaml", "--policy", "p/policy.yaml"]);
    assert_eq!(ended.ends_with(2).out, "");
    assert!(
        ended.err.contains("spec.normalization.domains") && ended.err.contains("spec.normalization.x"),
        "{}",
        ended.err
    );
}

// References.

#[test]
fn references_resolve_within_the_bundle_in_any_order() {
    let person = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: acme}}}}\n");
    let broken_company = company("  displayName: 1\n");
    let repository = Repository::with(&[("a.yaml", &person), ("z.json", "{}"), ("z.yaml", &broken_company)]);
    assert_eq!(repository.findings(&[]), ["z.yaml:5:16 Deny spec.displayName [schema]"]);
    // Without the other files, the target is unknown.
    let found = repository.findings(&["a.yaml"]);
    assert_eq!(found, ["a.yaml:4:46 Warn spec.companyRef.name [company-exists/unresolved]"]);
    repository.check(&["a.yaml"]).ends_with(0);
}

#[test]
fn in_complete_files_every_other_object_is_missing() {
    let text = company("  displayName: Acme\n");
    let refers_to =
        |name: &str| format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: {name}}}}}\n");
    let repository = Repository::with(&[("a.yaml", &refers_to("acmee")), ("b.yaml", &text)]);
    let ended = repository.check(&["--complete"]);
    let expected = "a.yaml:4:46: deny: Person \"jane\": spec.companyRef.name: Not found: \"acmee\": no Company of \
                    that name; did you mean \"acme\"? [company-exists]\n";
    assert!(ended.ends_with(1).out.starts_with(expected), "{}", ended.out);
    // Without the flag it is a warning, and the cluster decides.
    let expected = ["a.yaml:4:46 Warn spec.companyRef.name [company-exists/unresolved]"];
    assert_eq!(repository.findings(&[]), expected);
    let ended = repository.check_in("", &[("CRM_ADMISSION_COMPLETE", "true")], &[]);
    assert!(ended.ends_with(1).out.contains("[company-exists]"), "{}", ended.out);
    // Only the policy makes it less than an error.
    let policy = format!("{POLICY}spec: {{rules: [{{rule: company-exists, action: Warn}}]}}\n");
    repository.write("policy/p.yaml", &policy);
    let args = ["a.yaml", "b.yaml", "--complete", "--policy", "policy/p.yaml"];
    assert_eq!(repository.findings(&args), ["a.yaml:4:46 Warn spec.companyRef.name [company-exists]"]);
    repository.check(&args).ends_with(0);
    repository.write("a.yaml", &refers_to("acme"));
    assert_eq!(repository.findings(&["--complete"]), [] as [&str; 0]);
    // Objects in resources exist, too.
    repository.write("a.yaml", &refers_to("globex"));
    repository.write("there/globex.yaml", &text.replace("acme", "globex"));
    let args = ["a.yaml", "--complete", "--resources", "there"];
    assert_eq!(repository.findings(&args), [] as [&str; 0]);
}

#[test]
fn complete_files_contain_the_users_and_organizations_too() {
    let text = format!("{PERSON}spec: {{displayName: Jane, userRef: {{name: jane}}}}\n");
    let policy = format!(
        "{POLICY}spec:\n  rules: [{{rule: user-exists, action: Deny}}]\n  references: {{kinds: {{user: {{group: \
         iam.miloapis.com, version: v1alpha1, kind: User, plural: users}}}}}}\n"
    );
    let repository = Repository::with(&[("crm/a.yaml", &text), ("p.yaml", &policy)]);
    let args = ["crm", "--complete", "--policy", "p.yaml"];
    assert_eq!(repository.findings(&args), ["crm/a.yaml:4:43 Deny spec.userRef.name [user-exists]"]);
    let user = "apiVersion: iam.miloapis.com/v1alpha1\nkind: User\nmetadata: {name: jane}\n";
    repository.write("crm/users.yaml", user);
    assert_eq!(repository.findings(&args), [] as [&str; 0]);
}

#[test]
fn resources_exist_and_all_other_objects_are_missing() {
    let person = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: acme}}}}\n");
    let repository = Repository::with(&[
        ("a.yaml", &person),
        ("there/acme.yaml", &company("  displayName: 1\n")),
        ("else/acmee.yaml", &company("  displayName: A\n").replace("acme", "acmee")),
        (
            "gone/acme.yaml",
            &company("  displayName: A\n")
                .replace("acme}", "acme, deletionTimestamp: \"2026-01-01T00:00:00Z\"}"),
        ),
    ]);
    // The resources themselves are not checked.
    assert_eq!(repository.findings(&["a.yaml", "--resources", "there"]), [] as [&str; 0]);
    let missing = ["a.yaml:4:46 Deny spec.companyRef.name [company-exists]"];
    assert_eq!(repository.findings(&["a.yaml", "--resources", "else"]), missing);
    assert_eq!(repository.findings(&["a.yaml", "--resources", "gone"]), missing);
    assert_eq!(
        repository.findings(&["a.yaml", "--resources", "else", "--resources", "there"]),
        [] as [&str; 0]
    );
    let ended = repository.check(&["a.yaml", "--resources", "else"]);
    assert!(
        ended.out.contains("no Company of that name; did you mean \"acmee\"? [company-exists]"),
        "{}",
        ended.out
    );
    let ended = repository.check(&["a.yaml", "--resources", "gone"]);
    assert!(ended.out.contains("is being deleted [company-exists]"), "{}", ended.out);
}

#[test]
fn resources_inside_the_checked_directory_are_not_checked() {
    let text = company("  displayName: Acme\n  domains: [Acme.com]\n");
    let person = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: acme}}}}\n");
    let repository = Repository::with(&[("a.yaml", &person), ("there/acme.yaml", &text), ("b.yaml", &text)]);
    let ended = repository.check(&[".", "--resources", "there,./b.yaml", "--fix", "--format", "json"]);
    assert_eq!(ended.ends_with(0).findings(), [] as [&str; 0]);
    assert_eq!(ended.json()["summary"]["checked"], 1);
    assert_eq!((repository.read("there/acme.yaml"), repository.read("b.yaml")), (text.clone(), text));
    // A file that is given itself is checked, unless it is given as a resource, too.
    let checked = |resources| {
        let ended = repository.check(&["b.yaml", "--resources", resources, "--format", "json"]);
        ended.json()["summary"]["checked"].as_u64()
    };
    assert_eq!((checked("."), checked("b.yaml")), (Some(1), Some(0)));
}

#[test]
fn resources_that_do_not_parse_are_reported_with_their_position() {
    let repository = Repository::with(&[("a.yaml", ""), ("r.yaml", "a: 1\na: 2\n")]);
    let ended = repository.check(&["a.yaml", "--resources", "r.yaml"]);
    assert_eq!(ended.ends_with(2).err, "error: r.yaml:2:1: duplicate key \"a\"\n");
}

#[test]
fn an_unreachable_cluster_is_an_error() {
    let person = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: acme}}}}\n");
    let repository = Repository::with(&[("a.yaml", &person)]);
    let ended = repository.check(&["a.yaml", "--cluster"]);
    assert!(ended.ends_with(2).err.contains("no cluster"), "{}", ended.err);
}

// Order.

/// A note, the company and the person, in this order of files. The note is about the person, who is at the company.
fn ordered() -> Repository {
    let note = "apiVersion: crm.milo.io/v1alpha1\nkind: Note\nmetadata: {name: a}\nspec:\n  subjectRef: {apiGroup: crm.milo.io, kind: Person, name: jane}\n  content: x\n";
    let person = format!("{PERSON}spec: {{displayName: Jane, companyRef: {{name: acme}}}}\n");
    Repository::with(&[("1.yaml", note), ("2.yaml", &format!("{COMPANY}{GOOD}")), ("3.yaml", &person)])
}

#[rstest]
#[case::kubectl("kubectl", &["1.yaml:5:59 Warn spec.subjectRef.name [subject-exists/order]"], "in the order of the files")]
#[case::helm("helm", &["1.yaml:5:59 Warn spec.subjectRef.name [subject-exists/order]"], "a release that is installed earlier")]
#[case::argocd("argocd", &["1.yaml:5:59 Warn spec.subjectRef.name [subject-exists/order]"], "argocd.argoproj.io/sync-wave")]
#[case::flux("flux", &["1.yaml:5:59 Warn spec.subjectRef.name [subject-exists/order]"], "dependsOn")]
fn a_reference_that_is_applied_too_early_is_reported_with_the_fix(
    #[case] applier: &str,
    #[case] expected: &[&str],
    #[case] help: &str,
) {
    let repository = ordered();
    assert_eq!(repository.findings(&["--applier", applier]), expected);
    let ended = repository.check(&["--applier", applier]);
    assert!(ended.ends_with(0).out.contains(help), "{}", ended.out);
    assert_eq!(repository.findings(&[]), [] as [&str; 0], "only on request");
}

#[test]
fn an_earlier_wave_an_earlier_file_or_an_existing_target_fixes_the_order() {
    let repository = ordered();
    let person = repository.read("3.yaml");
    let early = "metadata: {name: jane, annotations: {argocd.argoproj.io/sync-wave: \"-1\"}}";
    repository.write("3.yaml", &person.replace("metadata: {name: jane}", early));
    let found = repository.findings(&["--applier", "argocd"]);
    // Now the person comes before the company.
    assert_eq!(found, ["3.yaml:4:46 Warn spec.companyRef.name [company-exists/order]"]);
    repository.write("3.yaml", &person);
    repository.write("there/jane.yaml", &person);
    let found =
        repository.findings(&["1.yaml", "2.yaml", "3.yaml", "--applier", "helm", "--resources", "there"]);
    assert_eq!(found, [] as [&str; 0]);
    let found = repository.findings(&["2.yaml", "3.yaml", "1.yaml", "--applier", "kubectl"]);
    assert_eq!(found, [] as [&str; 0]);
}

/// The references that `applier` would send too early, for a person and a company with these metadata.
#[track_caller]
fn too_early(applier: &str, person: &str, company: &str) -> Vec<String> {
    let person = format!(
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {person}\nspec: {{displayName: Jane, companyRef: \
         {{name: acme}}}}\n"
    );
    let company = format!("apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {company}\n{GOOD}");
    Repository::with(&[("1.yaml", &person), ("2.yaml", &company)]).findings(&["--applier", applier])
}

const PERSON_FIRST: [&str; 1] = ["1.yaml:4:46 Warn spec.companyRef.name [company-exists/order]"];

#[test]
fn argo_cd_sorts_the_custom_resources_of_a_wave_by_name_whatever_their_kind() {
    assert_eq!(too_early("argocd", "{name: abe}", "{name: acme}"), PERSON_FIRST);
    assert_eq!(too_early("argocd", "{name: jane}", "{name: acme}"), [] as [&str; 0]);
    // The order of the two is undefined.
    assert_eq!(too_early("argocd", "{name: acme}", "{name: acme}"), PERSON_FIRST);
}

#[rstest]
#[case::phase("argocd.argoproj.io/hook: PreSync")]
#[case::first_of_two_phases("argocd.argoproj.io/hook: 'PostSync, PreSync'")]
#[case::phase_of_helm("helm.sh/hook: 'pre-install,pre-upgrade'")]
#[case::wave("argocd.argoproj.io/sync-wave: '-1'")]
#[case::weight_of_helm("helm.sh/hook-weight: '-1'")]
fn argo_cd_syncs_an_earlier_phase_or_wave_first(#[case] annotation: &str) {
    let company = format!("{{name: acme, annotations: {{{annotation}}}}}");
    assert_eq!(too_early("argocd", "{name: abe}", &company), [] as [&str; 0]);
    let person = format!("{{name: jane, annotations: {{{annotation}}}}}");
    assert_eq!(too_early("argocd", &person, "{name: acme}"), PERSON_FIRST);
}

#[rstest]
#[case::post_sync("argocd.argoproj.io/hook: PostSync")]
#[case::skipped("argocd.argoproj.io/hook: Skip")]
fn argo_cd_syncs_later_phases_later_and_skipped_objects_never(#[case] annotation: &str) {
    let company = format!("{{name: acme, annotations: {{{annotation}}}}}");
    assert_eq!(too_early("argocd", "{name: jane}", &company), PERSON_FIRST);
}

#[rstest]
#[case::kinds("{name: abe}", "{name: acme}", &[])]
#[case::hook_of_the_reference("{name: jane, annotations: {helm.sh/hook: pre-install}}", "{name: acme}", &PERSON_FIRST)]
#[case::hook_of_the_target("{name: jane}", "{name: acme, annotations: {helm.sh/hook: post-install}}", &PERSON_FIRST)]
#[case::hook_that_an_installation_does_not_run("{name: jane}", "{name: acme, annotations: {helm.sh/hook: test}}", &PERSON_FIRST)]
#[case::weights(
    "{name: jane, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: '1'}}",
    "{name: acme, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: '2'}}",
    &PERSON_FIRST
)]
#[case::a_weight_without_a_hook("{name: jane}", "{name: acme, annotations: {helm.sh/hook-weight: '2'}}", &[])]
fn helm_installs_by_hook_and_weight_then_by_kind(
    #[case] person: &str,
    #[case] company: &str,
    #[case] expected: &[&str],
) {
    assert_eq!(too_early("helm", person, company), expected);
}

/// The references that `applier` would send too early, for a note about an object of a kind that the policy adds.
#[track_caller]
fn note_too_early(applier: &str, group: &str, kind: &str, on_dry_run: &str) -> Vec<String> {
    let policy = format!(
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {{name: default}}\nspec:\n  \
         references:\n    onDryRunByFieldManager: [{{manager: kustomize-controller, mode: {on_dry_run}}}]\n    \
         subjects: [{{group: {group}, version: v1, kind: {kind}, plural: things, namespaced: false}}]\n"
    );
    let note = format!(
        "apiVersion: crm.milo.io/v1alpha1\nkind: Note\nmetadata: {{name: b}}\nspec:\n  subjectRef: \
         {{name: a, apiGroup: {group}, kind: {kind}}}\n  content: x\n"
    );
    let thing = format!("apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: a}}\n");
    let repository = Repository::with(&[("1.yaml", &note), ("2.yaml", &thing), ("policy/p.yaml", &policy)]);
    repository.findings(&["1.yaml", "2.yaml", "--applier", applier, "--policy", "policy/p.yaml"])
}

const NOTE_FIRST: [&str; 1] = ["1.yaml:5:22 Warn spec.subjectRef.name [subject-exists/order]"];

#[rstest]
#[case::flux_by_group("flux", "notification.miloapis.com", "Contact", &NOTE_FIRST)]
#[case::flux_by_an_earlier_group("flux", "a.example.com", "Ticket", &[])]
#[case::flux_listed("flux", "rbac.authorization.k8s.io", "ClusterRole", &[])]
#[case::helm_by_kind("helm", "notification.miloapis.com", "Contact", &[])]
#[case::helm_by_a_later_kind("helm", "a.example.com", "Ticket", &NOTE_FIRST)]
#[case::helm_listed("helm", "rbac.authorization.k8s.io", "RoleBinding", &[])]
#[case::argo_cd_by_name("argocd", "a.example.com", "Ticket", &[])]
fn kinds_of_other_groups_are_in_the_order_too(
    #[case] applier: &str,
    #[case] group: &str,
    #[case] kind: &str,
    #[case] expected: &[&str],
) {
    assert_eq!(note_too_early(applier, group, kind, "Warn"), expected);
}

#[test]
fn flux_applies_classes_before_it_tries_the_rest() {
    assert_eq!(note_too_early("flux", "a.example.com", "Ticket", "Enforce"), NOTE_FIRST);
    assert_eq!(note_too_early("flux", "storage.k8s.io", "StorageClass", "Enforce"), [] as [&str; 0]);
}

#[test]
fn flux_needs_every_target_first_if_the_policy_denies_in_dry_runs() {
    let repository = ordered();
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec:\n  references: {onDryRunByFieldManager: []}\n";
    repository.write("policy/p.yaml", policy);
    let args = ["1.yaml", "2.yaml", "3.yaml", "--applier", "flux", "--policy", "policy/p.yaml"];
    assert_eq!(
        repository.findings(&args),
        [
            "1.yaml:5:59 Warn spec.subjectRef.name [subject-exists/order]",
            "3.yaml:4:46 Warn spec.companyRef.name [company-exists/order]"
        ]
    );
}

// Fixing.

const MESSY: &str =
    "spec:\r\n  displayName: Acme\r\n  domains: # where\r\n  - 'HTTPS://Acme.com/'\r\n  - www.acme.com";
const FIXED: &str = "spec:\r\n  displayName: Acme\r\n  domains: # where\r\n  - 'acme.com'";

#[test]
fn fixing_changes_only_the_values_and_only_once() {
    let before = format!("{COMPANY}{MESSY}");
    let good = format!("{COMPANY}{GOOD}").replace("acme", "other");
    let repository = Repository::with(&[("a.yaml", &before), ("good.yaml", &good)]);
    let path = |name: &str| repository.path().join(name);
    fs::set_permissions(path("a.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("a.yaml", path("link.yaml")).unwrap();
    assert_eq!(repository.findings(&["link.yaml", "good.yaml"]).len(), 2);
    repository.check(&["link.yaml", "--fail-on", "warn"]).ends_with(1);

    let untouched = fs::metadata(path("good.yaml")).unwrap().ino();
    let ended = repository.check(&["link.yaml", "good.yaml", "--fix", "--fail-on", "warn"]);
    assert!(ended.ends_with(0).out.contains("2 values fixed"), "{}", ended.out);
    assert_eq!(repository.read("a.yaml"), format!("{COMPANY}{FIXED}"));
    assert_eq!(fs::metadata(path("a.yaml")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::read_link(path("link.yaml")).unwrap(), Path::new("a.yaml"));
    assert_eq!(fs::metadata(path("good.yaml")).unwrap().ino(), untouched, "an unchanged file was written");

    let fixed = fs::metadata(path("a.yaml")).unwrap().ino();
    assert!(!repository.check(&["a.yaml", "--fix"]).ends_with(0).out.contains("fixed"));
    assert_eq!(fs::metadata(path("a.yaml")).unwrap().ino(), fixed, "the second run wrote the file again");
}

#[test]
fn a_diff_shows_the_changes_and_writes_nothing() {
    let before = format!("{COMPANY}{MESSY}");
    let repository = Repository::with(&[("records/a.yaml", &before)]);
    for args in [&["--diff"][..], &["--fix", "--diff"]] {
        let ended = repository.check(args);
        let expected = "--- a/records/a.yaml\n+++ b/records/a.yaml\n@@ -4,5 +4,4 @@\n spec:\r\n   displayName: Acme\r\n   domains: # where\r\n-  - 'HTTPS://Acme.com/'\r\n-  - www.acme.com\n\\ No newline at end of file\n+  - 'acme.com'\n\\ No newline at end of file\n";
        assert_eq!(ended.ends_with(0).out, expected);
        assert!(ended.err.contains("[domain/not-canonical]"), "{}", ended.err);
        assert_eq!(repository.read("records/a.yaml"), before);
    }
    // There is no diff of a file that needs no fix.
    let repository = Repository::with(&[("a.yaml", &format!("{COMPANY}{GOOD}"))]);
    assert_eq!(repository.check(&["--diff"]).ends_with(0).out, "");
}

#[test]
fn a_stream_is_fixed_from_standard_input_to_standard_output() {
    let broken = "a: [1\n---\n";
    let before = format!("{broken}{COMPANY}{MESSY}");
    let ended = Repository::new().check_input(&before, &["-", "--fix"]);
    assert_eq!(ended.ends_with(2).out, format!("{broken}{COMPANY}{FIXED}"));
    assert!(ended.err.contains("-:1:4: error: "), "{}", ended.err);
    // Escape sequences in the input are content, not colours, although kubectl does not read them.
    let odd = format!("# \u{1b}[31m\n{COMPANY}{GOOD}");
    assert_eq!(Repository::new().check_input(&odd, &["-", "--fix"]).ends_with(2).out, odd);
}

#[test]
fn an_unreadable_stream_is_reported() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    let output = command.args(["check", "--fix", "-"]).write_stdin(&b"a: \xff\n"[..]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{err}");
    assert!(err.contains("-:1:4: error: cannot be read: not UTF-8 text\n"), "{err}");
    assert!(err.contains("-: error: nothing is written to standard output"), "{err}");
}

#[cfg(target_os = "linux")] // The maximum length of a path depends on the system.
#[test]
fn a_file_that_cannot_be_written_does_not_stop_the_others() {
    let text = company("  displayName: Acme\n  domains: [Acme.com]\n");
    let other = text.replace("name: acme", "name: other");
    let repository = Repository::with(&[("b.yaml", &other)]);
    // Its path is so long that no temporary file with a longer name can be created beside it.
    let mut directory = repository.path().canonicalize().unwrap();
    while directory.as_os_str().len() < 4087 {
        directory.push("d".repeat((4086 - directory.as_os_str().len()).clamp(1, 200)));
    }
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("x.yaml"), &text).unwrap();
    symlink(directory.join("x.yaml"), repository.path().join("a.yaml")).unwrap();
    let ended = repository.check(&["a.yaml", "b.yaml", "--fix", "--format", "json"]);
    assert_eq!(ended.ends_with(2).findings(), ["a.yaml:6:13 Warn spec.domains[0] [domain/not-canonical]"]);
    assert!(ended.err.starts_with("error: a.yaml: cannot be written: "), "{}", ended.err);
    assert_eq!((&ended.json()["summary"]["fixed"], ended.err.lines().count()), (&1.into(), 1));
    assert_eq!(repository.read("b.yaml"), other.replace("Acme.com", "acme.com"));
}

#[test]
fn values_that_the_policy_denies_as_not_canonical_are_fixed_and_resources_are_not() {
    let text = company("  displayName: Acme\n  domains: [Acme.com]\n");
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec:\n  normalization: {domains: RequireCanonical}\n";
    let repository =
        Repository::with(&[("a.yaml", &text), ("p/policy.yaml", policy), ("there/b.yaml", &text)]);
    let args = ["a.yaml", "--policy", "p/policy.yaml", "--resources", "there"];
    repository.check(&args).ends_with(1);
    repository.check(&[&args[..], &["--fix"]].concat()).ends_with(0);
    assert_eq!(repository.read("a.yaml"), text.replace("Acme.com", "acme.com"));
    assert_eq!(repository.read("there/b.yaml"), text);
}

#[test]
fn findings_without_a_fix_remain_and_set_the_exit_code() {
    let text = company("  displayName: Acme\n  domains: [Acme.com, co.uk]\n");
    let repository = Repository::with(&[("a.yaml", &text)]);
    let ended = repository.check(&["--fix", "--format", "json"]);
    assert_eq!(ended.ends_with(1).findings(), ["a.yaml:6:23 Deny spec.domains[1] [domain/public-suffix]"]);
    assert_eq!(ended.json()["summary"]["fixed"], 1);
    assert_eq!(repository.read("a.yaml"), text.replace("Acme.com", "acme.com"));
}

// Reports.

#[test]
fn the_report_is_written_to_the_output_in_the_format() {
    let repository = Repository::with(&[("a.yaml", &company("  displayName: 1\n"))]);
    let ended = repository.check(&["--format", "sarif", "--output", "report.sarif"]);
    assert_eq!(ended.ends_with(1).out, "");
    let sarif: Value = serde_json::from_str(&repository.read("report.sarif")).unwrap();
    let region = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"];
    assert_eq!((&region["startLine"], &region["startColumn"]), (&5.into(), &16.into()));
    let out = repository.check(&["--format", "junit", "a.yaml"]).out;
    assert!(out.starts_with("<?xml") && out.contains("<failure"), "{out}");
    let out = repository.check(&["--format", "github", "a.yaml"]).out;
    assert!(out.starts_with("::error file=a.yaml,line=5,col=16,"), "{out}");
    let out = repository.check(&["a.yaml"]).out;
    assert!(out.starts_with("a.yaml:5:16: deny: Company \"acme\": spec.displayName: "), "{out}");
    assert!(!out.contains('\u{1b}'), "colours without a terminal: {out}");
}

#[rstest]
#[case::no_such_file(&["nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory")]
#[case::no_such_resource(&["--resources", "nowhere"], "nowhere: cannot be read: No such file or directory")]
#[case::no_such_policy(&["--policy", "nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory")]
#[case::output(&["--output", "nowhere/report"], "nowhere/report: cannot be written: No such file or directory")]
fn an_unreadable_or_unwritable_file_is_one_line_on_standard_error(
    #[case] args: &[&str],
    #[case] expected: &str,
) {
    let ended = Repository::new().check(args);
    assert!(ended.ends_with(2).err.starts_with(&format!("error: {expected}")), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[rstest]
#[case::fix("CRM_ADMISSION_FIX")]
#[case::diff("CRM_ADMISSION_DIFF")]
#[case::cluster("CRM_ADMISSION_CLUSTER")]
fn a_variable_that_is_neither_true_nor_false_is_an_error(#[case] name: &str) {
    let run = |value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
        let repository = Repository::new();
        command.current_dir(repository.path()).arg("check").env(name, value).output().unwrap()
    };
    let output = run("maybe");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && err.contains("invalid value 'maybe'"), "{err}");
    for value in ["false", "0", "no", "off"] {
        assert_eq!(run(value).status.code(), Some(0), "{value}");
    }
}

#[rstest]
#[case::format(&["--format", "yaml"], "invalid value 'yaml' for '--format <FORMAT>'")]
#[case::flag(&["--fixx"], "unexpected argument '--fixx'")]
#[case::applier(&["--applier", "rsync"], "invalid value 'rsync' for '--applier <APPLIER>'")]
fn usage_errors_are_reported(#[case] args: &[&str], #[case] expected: &str) {
    let ended = Repository::new().check(args);
    assert!(ended.ends_with(2).err.lines().next().unwrap().contains(expected), "{}", ended.err);
    let usage = ended.err.lines().nth(1).unwrap();
    assert_eq!((usage, ended.err.lines().count()), ("Usage: crm-admission check [OPTIONS] [PATH]...", 2));
}

#[test]
fn an_empty_environment_variable_is_not_set() {
    let help = Command::new(env!("CARGO_BIN_EXE_crm-admission")).args(["check", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let variables: BTreeSet<&str> = help
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.starts_with("CRM_"))
        .collect();
    assert!(variables.len() > 8, "{variables:?}");
    let repository = Repository::with(&[("a.yaml", &company("  displayName: Acme\n"))]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    command.current_dir(repository.path()).args(["check", "a.yaml"]);
    let plain = command.output().unwrap();
    for variable in variables {
        let output = command.env(variable, "").output().unwrap();
        assert_eq!(output, plain, "{variable}");
        assert_eq!(output.status.code(), Some(0), "{variable}");
    }
}

#[test]
fn the_flags_of_kubectl_are_understood() {
    let bad = company("  displayName: ''\n");
    let repository = Repository::with(&[("a.yaml", &bad), ("b.yaml", "kind: X\n")]);
    let named = repository.check(&["-f", "a.yaml", "-o", "json"]);
    assert_eq!(named.ends_with(1).findings(), ["a.yaml:5:16 Deny spec.displayName [display-name]"]);
    let quiet = repository.check(&["-q", "."]).ends_with(1).out.clone();
    assert!(quiet.starts_with("a.yaml:5:16: deny: Company ") && quiet.lines().count() == 1, "{quiet}");
    assert_eq!(repository.check(&["-q", "b.yaml"]).ends_with(0).out, "");
    let report = repository.check(&["a.yaml", "--output", "-"]).ends_with(1).out.clone();
    assert!(report.starts_with("a.yaml:5:16: deny: "), "{report}");
    assert!(!repository.path().join("-").exists());
}

#[test]
fn a_document_that_sops_has_encrypted_is_counted_and_stays_as_it_is() {
    let secret = company("  displayName: ENC[AES256_GCM,data:x]\n  domains: [A.com]\n") + "sops: {mac: x}\n";
    let text = secret.clone() + "---\n" + &company("  displayName: Acme\n  domains: [A.com]\n");
    let repository = Repository::with(&[("a.yaml", &text)]);
    let ended = repository.check(&["--fix", "--format", "json"]);
    let summary = &ended.ends_with(0).json()["summary"];
    assert_eq!(
        ["checked", "encrypted", "fixed"].map(|key| &summary[key]),
        [1, 1, 1].map(Value::from).each_ref()
    );
    assert!(repository.read("a.yaml").starts_with(&secret));
    let text = repository.check(&[]).ends_with(0).out.clone();
    assert!(text.ends_with("no findings; 1 document encrypted by SOPS was not checked.\n"), "{text}");
}

#[test]
fn a_dangling_link_in_a_directory_is_an_error_and_the_rest_is_checked() {
    let repository = Repository::with(&[("a.yaml", &company("  displayName: ''\n"))]);
    symlink("nowhere.yaml", repository.path().join("b.yaml")).unwrap();
    let ended = repository.check(&["--format", "json"]);
    assert_eq!(ended.ends_with(2).findings(), ["a.yaml:5:16 Deny spec.displayName [display-name]"]);
    assert!(ended.err.starts_with("error: b.yaml: cannot be read: "), "{}", ended.err);
}

#[rstest]
#[case::a_status_is_dropped("status: {conditions: [{}], anything: 1}", &[])]
#[case::an_annotation_key("metadata: {name: acme, annotations: {'a b': c}}", &["3:45 Deny metadata.annotations[a b]"])]
#[case::an_annotation_key_in_capitals("metadata: {name: acme, annotations: {Acme.com/A: c}}", &[])]
#[case::a_finalizer("metadata: {name: acme, finalizers: ['a b']}", &["3:37 Deny metadata.finalizers[0]"])]
#[case::finalizers_that_exclude_each_other(
    "metadata: {name: acme, finalizers: [orphan, foregroundDeletion]}",
    &["3:36 Deny metadata.finalizers"]
)]
#[case::an_owner_without_uid(
    "metadata: {name: acme, ownerReferences: [{apiVersion: v1, kind: A, name: a}]}",
    &["3:42 Deny metadata.ownerReferences[0].uid"]
)]
#[case::an_owner_with_an_empty_name(
    "metadata: {name: acme, ownerReferences: [{apiVersion: v1, kind: A, name: '', uid: x}]}",
    &["3:74 Deny metadata.ownerReferences[0].name"]
)]
#[case::two_controllers(
    "metadata: {name: acme, ownerReferences: [&a {apiVersion: v1, kind: A, name: a, uid: x, controller: true}, *a ]}",
    &["3:41 Deny metadata.ownerReferences"]
)]
fn metadata_is_judged_whole_and_a_status_is_not(#[case] line: &str, #[case] expected: &[&str]) {
    let metadata = if line.starts_with("metadata") { "" } else { "\nmetadata: {name: acme}" };
    let text = format!(
        "apiVersion: crm.milo.io/v1alpha1\nkind: Company\n{line}{metadata}\nspec: {{displayName: Acme}}\n"
    );
    let expected: Vec<String> = expected.iter().map(|found| format!("a.yaml:{found} [schema]")).collect();
    assert_eq!(found_in(&text), expected);
}

#[test]
fn annotations_have_a_maximum_size() {
    let annotated = |length: usize| {
        let annotations = format!("metadata: {{name: acme, annotations: {{a: '{}'}}}}", "x".repeat(length));
        let text = format!(
            "apiVersion: crm.milo.io/v1alpha1\nkind: Company\n{annotations}\nspec: {{displayName: Acme}}\n"
        );
        found_in(&text)
    };
    assert_eq!(annotated(256 * 1024 - 1), Vec::<String>::new());
    assert_eq!(annotated(256 * 1024), ["a.yaml:3:37 Deny metadata.annotations [schema]"]);
}

#[test]
fn a_failed_write_is_not_counted_as_a_failed_read() {
    let repository =
        Repository::with(&[("sub/a.yaml", &company("  displayName: Acme\n  domains: [A.com]\n"))]);
    let file = repository.path().join("sub/a.yaml");
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    if fs::OpenOptions::new().write(true).open(&file).is_ok() {
        return; // Root may write everything.
    }
    let out = repository.check(&["--fix"]).ends_with(2).out.clone();
    assert!(out.ends_with("1 warning; 1 file could not be written.\n"), "{out}");
}

#[rstest]
#[case::after_the_key("  displayName: Acme\n  <<: {displayName: Other}\n", &["a.yaml:6:3 Warn spec.displayName [schema/merge-order]"])]
#[case::before_the_key("  <<: {displayName: Other}\n  displayName: Acme\n", &[])]
#[case::without_that_key("  displayName: Acme\n  <<: {description: x}\n", &[])]
fn a_merge_key_that_overrides_a_key_before_it_is_a_warning(#[case] spec: &str, #[case] expected: &[&str]) {
    assert_eq!(found_in(&format!("{COMPANY}spec:\n{spec}")), expected);
}
