//! Tests the configuration file of `check`.

use std::fs;

use rstest::rstest;

use crate::repository::Repository;

const CONFIG: &str = ".crm-admission.yaml";

fn company(name: &str, spec: &str) -> String {
    format!("apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn person(company: &str) -> String {
    format!(
        "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {{name: jane}}\n\
         spec: {{displayName: Jane, companyRef: {{name: {company}}}}}\n"
    )
}

/// A work tree of git with a configuration file at its root.
fn configured(text: &str) -> Repository {
    Repository::with(&[
        (".git/HEAD", "ref: refs/heads/main\n"),
        (CONFIG, text),
        ("crm/a.yaml", &company("acme", "displayName: ''")),
        ("crm/sub/b.yaml", &company("bolt", "displayName: Bolt, domains: [Bolt.com]")),
        ("other/c.yaml", &person("acme")),
        (
            "policy.yaml",
            "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec: {rules: [{rule: domain, action: Disabled}]}\n",
        ),
    ])
}

#[test]
fn every_key_has_the_effect_of_its_flag() {
    let repository = configured("paths: [crm, other]\nexclude: [/crm/sub]\nformat: json\n");
    let ended = repository.check(&[]);
    assert_eq!(ended.ends_with(1).findings(), ["crm/a.yaml:4:21 Deny spec.displayName [display-name]"]);
    let repository = configured("paths: [crm/sub]\nfailOn: warn\n");
    repository.check(&[]).ends_with(1);
    let repository = configured("paths: [crm/sub]\nfailOn: warn\npolicy: policy.yaml\n");
    repository.check(&[]).ends_with(0);
    let repository = configured("paths: [other]\nresources: [crm/sub]\napplier: kubectl\nformat: json\n");
    let expected = ["other/c.yaml:4:46 Deny spec.companyRef.name [company-exists]"];
    assert_eq!(repository.check(&[]).ends_with(1).findings(), expected);
    let repository = configured("paths: [other, crm]\napplier: kubectl\nformat: json\n");
    assert!(repository.check(&[]).out.contains("\"order\""));
    // Without a user, the creator is not checked.
    let creator = company("acme", "displayName: Acme, creatorRef: {name: bob}");
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec: {rules: [{rule: creator-is-requester, action: Deny}]}\n";
    let repository = Repository::with(&[
        (CONFIG, "as: alice\nasGroups: [sales]\npolicy: policy.yml\npaths: [crm]\n"),
        ("crm/a.yaml", &creator),
        ("policy.yml", policy),
    ]);
    repository.check(&[]).ends_with(1);
    repository.check(&["--as", "bob"]).ends_with(0);
}

#[test]
fn paths_are_relative_to_the_file_and_it_is_found_from_below() {
    let repository = configured("paths: [crm]\nexclude: [/crm/sub]\nformat: json\n");
    let expected = ["../../crm/a.yaml:4:21 Deny spec.displayName [display-name]"];
    assert_eq!(repository.check_in("other/../crm/sub", &[], &[]).ends_with(1).findings(), expected);
    // Not above the root of the work tree.
    repository.write("crm/sub/.git/HEAD", "ref: refs/heads/main\n");
    assert!(repository.check_in("crm/sub", &[], &[]).ends_with(0).out.starts_with("b.yaml:4:"));
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let repository = configured("paths: [crm/sub]\nfailOn: warn\nformat: json\n");
    let variables = [("CRM_ADMISSION_FAIL_ON", "deny"), ("CRM_ADMISSION_FORMAT", "junit")];
    assert!(repository.check_in(".", &variables, &[]).ends_with(0).out.starts_with("<?xml"));
    let ended = repository.check_in(".", &variables, &["--fail-on", "warn", "-o", "text", "crm/a.yaml"]);
    assert!(ended.ends_with(1).out.starts_with("crm/a.yaml:4:21: deny: "), "{}", ended.out);
    // An empty variable is not set.
    repository.check_in(".", &[("CRM_ADMISSION_FAIL_ON", "")], &[]).ends_with(1);
}

#[test]
fn another_file_can_be_given_or_none_be_used() {
    let repository = configured("paths: [crm]\n");
    repository.write("ci/check.yaml", "paths: [../other]\nformat: json\n");
    for ended in [
        repository.check(&["--config", "ci/check.yaml"]),
        repository.check_in(".", &[("CRM_ADMISSION_CONFIG", "ci/check.yaml")], &[]),
    ] {
        assert_eq!(ended.ends_with(0).json()["summary"]["files"], 1);
    }
    let ended = repository.check(&["--no-config", "--format", "json"]);
    assert_eq!(ended.ends_with(1).json()["summary"]["files"], 5);
    let ended = repository.check(&["--config", "absent.yaml"]);
    let expected = "error: absent.yaml: the configuration file cannot be read: ";
    assert!(ended.ends_with(2).err.starts_with(expected), "{}", ended.err);
    let ended = repository.check(&["--config", "-"]);
    assert_eq!(ended.ends_with(2).err, "error: --config needs the name of a file, not -\n");
}

#[test]
fn a_file_may_have_64_mib() {
    let repository = configured("paths: [crm]\n");
    repository.write("huge.yaml", "");
    let huge = repository.path().join("huge.yaml");
    fs::File::options().write(true).open(huge).unwrap().set_len((64 << 20) + 1).unwrap();
    let ended = repository.check(&["--config", "huge.yaml"]);
    let expected = "error: huge.yaml: the configuration file cannot be read: larger than 64 MiB\n";
    assert_eq!(ended.ends_with(2).err, expected);
    let ended = repository.check(&["--baseline", "huge.yaml"]);
    let expected = "error: huge.yaml: the baseline cannot be read: larger than 64 MiB\n";
    assert_eq!(ended.ends_with(2).err, expected);
}

#[rstest]
#[case::a_flag_as_key(
    "paths: [crm]\nfail-on: warn\n",
    "2:1: unknown key \"fail-on\": did you mean \"failOn\"?"
)]
#[case::a_typo("exlude: [a]\n", "1:1: unknown key \"exlude\": did you mean \"exclude\"?")]
#[case::an_unknown_key("colour: red\n", "1:1: unknown key \"colour\": the keys are ")]
#[case::a_string_for_a_list(
    "paths: crm\n",
    "1:8: paths: invalid type: string \"crm\", expected a sequence; write a list: paths: [\"crm\"]"
)]
#[case::a_number_in_a_list(
    "exclude:\n- 1\n",
    "1:1: exclude[0]: invalid type: integer `1`, expected a string"
)]
#[case::a_list_for_a_string("as: [alice]\n", "1:5: as: invalid type: sequence, expected a string")]
#[case::an_unknown_value(
    "format: jsn\n",
    "1:9: format: unknown variant `jsn`, expected one of `text`, `full`, `json`, `junit`, `sarif`, `github`, `gitlab`; did you mean \"json\"?"
)]
#[case::no_map("- paths\n", "1:1: ")]
#[case::no_yaml("paths: [\n", "2:1: did not find expected node content")]
#[case::a_key_twice("paths: [a]\npaths: [b]\n", "2:1: duplicate key \"paths\"")]
#[case::two_documents(
    "paths: [a]\n---\npaths: [b]\n",
    " a configuration is one document, but the file has 2"
)]
fn a_mistake_is_an_error_with_its_place_and_what_was_meant(#[case] text: &str, #[case] expected: &str) {
    let ended = configured(text).check(&[]);
    let expected = format!("error: {CONFIG}:{expected}");
    assert!(ended.ends_with(2).err.starts_with(&expected), "{}", ended.err);
    assert_eq!(ended.out, "");
}

#[test]
fn a_glob_or_groups_without_a_user_in_the_file_are_errors() {
    let err = configured("exclude: ['{a']\n").check(&[]).ends_with(2).err.clone();
    assert!(err.starts_with("error: --exclude: \"{a\" is not a glob"), "{err}");
    let err = configured("asGroups: [a]\n").check(&[]).ends_with(2).err.clone();
    assert_eq!(err, "error: --as-group (asGroups in the configuration file) needs --as <USER>\n");
}

#[test]
fn an_empty_file_changes_nothing() {
    let repository = configured("# nothing yet\n");
    assert_eq!(repository.check(&["crm"]).out, repository.check(&["crm", "--no-config"]).out);
}
