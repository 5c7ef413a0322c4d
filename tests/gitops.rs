//! Checks a repository as GitOps teams have it (`tests/fixtures/gitops`): 300 records and ten mistakes, beside what is no
//! record or cannot be judged.

use std::fs;

use rstest::rstest;

use crate::gitops_fixture::{BUILT, PLAIN, fixture};

/// The directories with the plain files.
const DIRECTORIES: [&str; 4] = ["clusters", "crm", "rendered", "secrets"];
/// The files with the records from which kustomize builds.
const SOURCES: [&str; 3] =
    ["apps/crm/base/companies.yaml", "apps/crm/base/people.yaml", "apps/crm/overlays/production/visits.yaml"];

#[test]
fn exactly_the_ten_mistakes_are_found_in_their_places() {
    let repository = fixture();
    let ended = repository.check(&[&DIRECTORIES[..], &SOURCES, &["--format", "json"]].concat());
    let expected = [&PLAIN[..], &BUILT].concat();
    assert_eq!(ended.ends_with(1).findings(), expected);
    let summary = &ended.json()["summary"];
    let counts =
        ["checked", "encrypted", "notJudged", "errors"].map(|count| summary[count].as_u64().unwrap());
    assert_eq!(counts, [300, 2, 0, 0]);
}

#[test]
fn without_values_of_the_variables_the_same_mistakes_are_found() {
    let repository = fixture();
    let args = ["--no-config", "--format", "json"];
    let ended = repository.check(&[&DIRECTORIES[..], &SOURCES, &args].concat());
    assert_eq!(ended.ends_with(1).findings(), [&PLAIN[..], &BUILT].concat());
    assert_eq!(ended.json()["unknownVariables"], serde_json::json!(["emea_domain", "follow_up"]));
    assert_eq!(ended.json()["summary"]["notJudged"], 4);
}

#[test]
fn a_wrong_value_of_a_variable_is_found_in_each_place() {
    let repository = fixture();
    let args = ["--var", "emea_domain=c_m", "--var", "follow_up=later"];
    let mut found = repository.findings(&[&DIRECTORIES[..], &args].concat());
    found.retain(|finding| !PLAIN.contains(&finding.as_str()));
    let expected = [
        "crm/apac/notes.yaml:22:13 Deny spec.followUp [schema]",
        "crm/emea/companies.yaml:19:5 Deny spec.domains[0] [domain/bad-char]",
        "crm/emea/companies.yaml:59:5 Deny spec.domains[0] [domain/bad-char]",
        "crm/emea/companies.yaml:101:5 Deny spec.domains[0] [domain/bad-char]",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_git_ignores_and_the_templates_of_helm_are_left_out() {
    let repository = fixture();
    let below = |args: &[&str]| {
        let ended = repository.check(&[&[".", "--format", "json", "--exclude", "/apps"], args].concat());
        let errors = ended.json()["errors"].as_array().unwrap().clone();
        let mut files: Vec<String> =
            errors.iter().map(|error| error["file"].as_str().unwrap().to_owned()).collect();
        files.dedup();
        (files, ended.findings().into_iter().filter(|finding| finding.starts_with("node_modules")).count())
    };
    assert_eq!(below(&["--exclude", "/charts/*/templates"]), (vec![], 0));
    let (files, junk) = below(&["--no-ignore"]);
    assert_eq!(files, ["charts/demo/templates/companies.yaml", "tmp/broken.yaml"]);
    assert!(junk > 0);
}

#[test]
fn the_mistake_in_a_chart_names_its_template() {
    let out = fixture().check(&["rendered"]).out;
    let said = "[linkedin-profile/wrong-kind] (from demo/templates/companies.yaml)\n";
    assert!(out.contains(said), "{out}");
}

#[test]
fn a_fix_changes_one_line_and_no_variable() {
    let repository = fixture();
    let before = repository.read("crm/americas/companies.yaml");
    let variables = repository.read("crm/emea/companies.yaml");
    let out = repository.check(&["crm", "--fix"]).out;
    assert!(out.contains("; 1 value fixed"), "{out}");
    let expected = before.replace("HTTPS://Cobaltlogistics.com/", "cobaltlogistics.com");
    assert_eq!(repository.read("crm/americas/companies.yaml"), expected);
    assert_eq!(repository.read("crm/emea/companies.yaml"), variables);
}

// The patches of the overlays neither make nor repair a mistake, so the same ten are found as in a build, which
// `make kustomize` tests. The records of the base count once here, and once for each overlay there.
#[rstest]
#[case::skipped(&["--kustomize", "skip"], "")]
#[case::no_tool(&[], "note: neither kustomize nor kubectl is on the PATH, so 2 directories with a kustomization file are not built")]
fn without_a_build_the_resources_of_overlays_are_checked_as_they_stand(
    #[case] args: &[&str],
    #[case] note: &str,
) {
    let repository = fixture();
    let nothing = repository.path().join("empty");
    fs::create_dir(&nothing).unwrap();
    let args = [args, &["--format", "json"]].concat();
    let ended = repository.check_in(".", &[("PATH", nothing.to_str().unwrap())], &args);
    assert_eq!(ended.ends_with(1).findings(), [&PLAIN[..], &BUILT].concat());
    let summary = &ended.json()["summary"];
    let counts =
        ["checked", "encrypted", "notJudged", "errors"].map(|count| summary[count].as_u64().unwrap());
    assert_eq!(counts, [300, 2, 0, 0]);
    assert_eq!(ended.err.is_empty(), note.is_empty());
    assert!(ended.err.starts_with(note), "{}", ended.err);
}
