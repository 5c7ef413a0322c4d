//! Checks a repository as GitOps teams have it (`tests/fixtures/gitops`): 300 records and ten mistakes, beside what is no
//! record or cannot be judged.

use std::fs;
use std::path::Path;

use crate::repository::Repository;

/// The mistakes in files that are applied as they are.
const PLAIN: [&str; 8] = [
    "crm/americas/companies.yaml:30:5 Warn spec.domains[0] [domain/not-canonical]",
    "crm/americas/companies.yaml:127:25 Warn metadata.labels[crm.milo.io/source] [label-value]",
    "crm/americas/people.yaml:53:16 Deny spec.displayName [display-name]",
    "crm/emea/notes.yaml:54:11 Deny spec.subjectRef.kind [subject-kind]",
    "crm/emea/people.yaml:36:11 Warn spec.companyRef.name [company-exists/unresolved]",
    "crm/partners/companies.yaml:79:5 Deny spec.domains[0] [domain/bad-char]",
    "crm/partners/companies.yaml:246:9 Warn metadata.name [schema/duplicate-object]",
    "rendered/demo.yaml:22:20 Deny spec.linkedinProfile [linkedin-profile/wrong-kind]",
];
/// The mistakes in files from which kustomize builds records.
const BUILT: [&str; 2] = [
    "apps/crm/base/companies.yaml:11:3 Deny spec.descripton [schema]",
    "apps/crm/overlays/production/visits.yaml:11:13 Deny spec.followUp [schema]",
];
/// The directories with the plain files.
const DIRECTORIES: [&str; 4] = ["clusters", "crm", "rendered", "secrets"];
/// The files with the records from which kustomize builds.
const SOURCES: [&str; 3] =
    ["apps/crm/base/companies.yaml", "apps/crm/base/people.yaml", "apps/crm/overlays/production/visits.yaml"];

/// A copy of the fixture in a work tree of git. The files that git would treat specially in our repository have their
/// names only in the copy.
fn fixture() -> Repository {
    let repository = Repository::with(&[(".git/HEAD", "ref: refs/heads/main\n")]);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gitops"), repository.path());
    for (name, real) in [("gitignore", ".gitignore"), ("crm-admission.yaml", ".crm-admission.yaml")] {
        fs::rename(repository.path().join(name), repository.path().join(real)).unwrap();
    }
    repository
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

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
