//! Tests the baseline of `check`: known findings do not count.

use std::fs;
use std::os::unix::fs::symlink;

use rstest::rstest;
use serde_json::{Value, json};

use crate::repository::Repository;

const WRITE: [&str; 3] = ["--baseline=b.json", "--write-baseline", "crm"];
const COMPARE: [&str; 2] = ["--baseline=b.json", "crm"];

fn company(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {{{name}}}\nspec: {{displayName: A, {spec}}}\n"
    )
}

/// A record with a denied domain and a warning.
fn known() -> Repository {
    let text = company("name: acme", "domains: [co.uk, Acme.com]");
    Repository::with(&[("crm/a.yaml", &text)])
}

fn entries(repository: &Repository) -> Vec<Value> {
    let baseline: Value = serde_json::from_str(&repository.read("b.json")).unwrap();
    assert_eq!(baseline["version"], 1);
    baseline["findings"].as_array().unwrap().clone()
}

#[test]
fn only_findings_that_are_not_in_the_baseline_count() {
    let repository = known();
    let ended = repository.check(&WRITE);
    assert_eq!(ended.ends_with(0).err, "note: 2 findings written to b.json\n");
    let expected =
        "1 record in 1 file checked: no findings; 2 in the baseline, 1 of which the cluster will deny.\n";
    assert_eq!(ended.out, expected);
    // Lines may move.
    repository.write("crm/a.yaml", &format!("# moved\n{}", repository.read("crm/a.yaml")));
    let ended = repository.check(&[&COMPARE[..], &["--fail-on", "warn"]].concat());
    assert_eq!((ended.ends_with(0).out.as_str(), ended.err.as_str()), (expected, ""));
    repository.write("crm/b.yaml", &company("name: bolt", "domains: [co.uk]"));
    let out = repository.check(&COMPARE).ends_with(1).out.clone();
    assert!(out.starts_with("crm/b.yaml:4:34: deny: Company \"bolt\": spec.domains[0]: "), "{out}");
    assert_eq!(out.lines().count(), 3, "{out}");
    // The same finding about another value is new, and the old one is stale.
    fs::remove_file(repository.path().join("crm/b.yaml")).unwrap();
    repository.write("crm/a.yaml", &company("name: acme", "domains: [com.au, acme.com]"));
    let out = repository.check(&COMPARE).ends_with(1).out.clone();
    let summary = "would be denied (1 finding denies); 2 stale in the baseline (no longer found).\n";
    assert!(out.contains("\"com.au\"") && out.ends_with(summary), "{out}");
}

#[test]
fn stale_entries_do_not_fail_and_the_next_baseline_is_without_them() {
    let repository = known();
    repository.check(&WRITE).ends_with(0);
    repository.write("crm/a.yaml", &company("name: acme", "domains: [co.uk]"));
    let out = repository.check(&[&COMPARE[..], &["--fail-on", "warn"]].concat()).ends_with(0).out.clone();
    assert!(out.contains("; 1 stale in the baseline"), "{out}");
    repository.check(&WRITE).ends_with(0);
    assert_eq!(entries(&repository).len(), 1);
    let before = repository.read("b.json");
    repository.check(&WRITE).ends_with(0);
    assert_eq!(repository.read("b.json"), before);
}

#[test]
fn the_file_has_hashes_and_names_but_no_values_and_no_generated_names() {
    let repository = known();
    repository.write("crm/b.yaml", &company("generateName: bolt-", "domains: [co.uk], colour: red"));
    repository.check(&WRITE).ends_with(0);
    let text = repository.read("b.json");
    assert!(text.ends_with("}\n") && !text.contains("co.uk") && !text.contains("bolt"), "{text}");
    let entries = entries(&repository);
    assert_eq!(entries.len(), 4, "{text}");
    let named: Vec<&Value> = entries.iter().filter(|entry| entry.get("name").is_some()).collect();
    assert_eq!(named.len(), 2, "{text}");
    assert_eq!(
        (&named[0]["rule"], &named[0]["code"], &named[0]["kind"], &named[0]["name"], &named[0]["field"]),
        (
            &json!("domain"),
            &json!("not-canonical"),
            &json!("Company"),
            &json!("acme"),
            &json!("spec.domains[1]")
        )
    );
}

#[test]
fn programs_see_known_findings_as_such() {
    let repository = known();
    repository.check(&WRITE).ends_with(0);
    repository.write("crm/b.yaml", &company("name: bolt", "domains: [co.uk]"));
    repository.write("crm/a.yaml", &company("name: acme", "domains: [co.uk]"));
    let report = |format| repository.check(&[&COMPARE[..], &["--format", format]].concat());
    let json = report("json").ends_with(1).json();
    let baselined: Vec<&Value> =
        json["findings"].as_array().unwrap().iter().map(|f| &f["baselined"]).collect();
    assert_eq!(baselined, [&Value::Null, &json!(true)]);
    assert_eq!((&json["summary"]["baselined"], &json["summary"]["stale"]), (&json!(1), &json!(1)));
    assert_eq!(json["summary"]["deny"], 1);
    let sarif = report("sarif").ends_with(1).json();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let states: Vec<&str> = results.iter().map(|result| result["baselineState"].as_str().unwrap()).collect();
    assert_eq!(states, ["new", "unchanged", "absent"]);
    for format in ["gitlab", "junit", "github", "text", "full"] {
        let out = &report(format).ends_with(1).out.clone();
        assert!(out.contains("crm/b.yaml") && !out.contains("crm/a.yaml"), "{format}: {out}");
    }
}

#[test]
fn an_incomplete_check_writes_no_baseline() {
    let repository = known();
    repository.write("crm/b.yaml", "a: [\n");
    let out = repository.check(&WRITE).ends_with(2).out.clone();
    let expected = "b.json: error: the baseline is not written, because not all files could be checked\n";
    assert!(out.contains(expected), "{out}");
    assert!(!repository.path().join("b.json").exists());
    // Nor does it replace one.
    fs::remove_file(repository.path().join("crm/b.yaml")).unwrap();
    repository.check(&WRITE).ends_with(0);
    let before = repository.read("b.json");
    repository.write("crm/a.yaml", "a: [\n");
    repository.check(&WRITE).ends_with(2);
    assert_eq!(repository.read("b.json"), before);
}

#[test]
fn nothing_is_stale_if_a_file_cannot_be_read() {
    let repository = known();
    repository.check(&WRITE).ends_with(0);
    repository.write("crm/a.yaml", "a: [\n");
    let out = repository.check(&COMPARE).ends_with(2).out.clone();
    assert!(out.contains("1 file could not be fully read") && !out.contains("stale"), "{out}");
}

#[test]
fn what_is_fixed_or_suppressed_is_not_in_the_baseline() {
    let repository = known();
    let text = "domains: [co.uk]} # crm-admission: ignore domain: old\n#";
    repository.write("crm/b.yaml", &company("name: bolt", text));
    repository.check(&[&WRITE[..], &["--fix"]].concat()).ends_with(0);
    let entries = entries(&repository);
    let found: Vec<_> = entries.iter().map(|entry| (&entry["name"], &entry["code"])).collect();
    assert_eq!(found, [(&json!("acme"), &json!("public-suffix"))]);
    assert!(repository.read("crm/a.yaml").contains("acme.com"));
}

#[test]
fn a_baseline_in_a_checked_directory_is_no_manifest() {
    let repository = known();
    let args = ["--baseline", "crm/b.json", "--write-baseline"];
    repository.check(&args).ends_with(0);
    let before = repository.read("crm/b.json");
    let ended = repository.check(&args);
    assert!(ended.ends_with(0).out.starts_with("1 record in 1 file checked: "), "{}", ended.out);
    assert_eq!(repository.read("crm/b.json"), before);
}

#[test]
fn the_configuration_names_the_baseline_relative_to_itself() {
    let repository = known();
    repository.write(".git/HEAD", "ref: refs/heads/main\n");
    repository.write(".crm-admission.yaml", "paths: [crm]\nbaseline: ci/b.json\n");
    fs::create_dir(repository.path().join("ci")).unwrap();
    repository.check_in("crm", &[], &["--write-baseline"]).ends_with(0);
    assert!(repository.path().join("ci/b.json").exists());
    repository.check(&[]).ends_with(0);
    repository.check(&["--no-config", "crm"]).ends_with(1);
}

#[test]
fn a_link_to_a_baseline_stays_a_link() {
    let repository = known();
    fs::create_dir(repository.path().join("ci")).unwrap();
    repository.write("ci/b.json", "");
    symlink("ci/b.json", repository.path().join("b.json")).unwrap();
    repository.check(&WRITE).ends_with(0);
    assert!(repository.path().join("b.json").is_symlink());
    assert_eq!(repository.read("ci/b.json"), repository.read("b.json"));
    repository.check(&COMPARE).ends_with(0);
}

#[rstest]
#[case::no_file(&["--baseline", "none.json"], "none.json: the baseline does not exist; --write-baseline creates it")]
#[case::no_baseline(&["--write-baseline"], "--write-baseline needs --baseline <FILE> (baseline in the configuration file)")]
#[case::diff(&["--baseline", "b.json", "--write-baseline", "--diff"], "--diff writes nothing, so use it without --write-baseline")]
#[case::output(&["--baseline", "two.json", "--output", "two.json"], "two.json: --output would overwrite the baseline; give the report another name")]
#[case::standard_input(&["--baseline", "-"], "--baseline needs the name of a file, not -")]
#[case::directory(&["--baseline", "crm"], "crm: the baseline cannot be read: ")]
#[case::no_directory(&["--baseline", "none/b.json", "--write-baseline"], "none/b.json: the baseline cannot be written: ")]
#[case::a_link_to_nothing(&["--baseline", "link", "--write-baseline"], "link: the baseline is a link to a file that does not exist; correct or delete the link\n")]
#[case::a_link_to_nothing_to_read(&["--baseline", "link"], "link: the baseline is a link to a file that does not exist; correct or delete the link\n")]
#[case::empty_name(&["--config", "no-name.yaml"], "no-name.yaml:1:11: baseline: give the name of a file\n")]
#[case::records(&["--baseline", "crm/a.yaml", "--write-baseline"], "crm/a.yaml:1:1: expected value; if this is a baseline, correct it")]
#[case::empty(&["--baseline", "empty"], "empty:1:1: the file is empty; if this is a baseline, correct it")]
#[case::another_version(&["--baseline", "two.json"], "two.json:1:13: the baseline has version 2, and this program reads version 1; ")]
fn a_mistake_is_an_error_that_says_what_to_do(#[case] args: &[&str], #[case] expected: &str) {
    let repository = known();
    let records = repository.read("crm/a.yaml");
    repository.write("empty", "");
    repository.write("no-name.yaml", "baseline: ''\n");
    repository.write("two.json", "{\"version\": 2, \"findings\": []}");
    symlink("nothing", repository.path().join("link")).unwrap();
    let ended = repository.check(&[&["crm"], args].concat());
    assert!(ended.ends_with(2).err.starts_with(&format!("error: {expected}")), "{}", ended.err);
    assert_eq!(repository.read("crm/a.yaml"), records);
    assert!(!repository.path().join("b.json").exists());
}
