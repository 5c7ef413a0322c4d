//! Tests the output and the exit codes of `crm-admission audit` on files. `tests/e2e/audit.rs` tests it on a cluster.

use std::fs;

use assert_cmd::Command;
use serde_json::Value;

const STORED: &str = "\
apiVersion: v1
kind: List
items:
- apiVersion: crm.milo.io/v1alpha1
  kind: Company
  metadata: {name: acme, labels: {crm.milo.io/source: word-of-mouth}}
  spec: {displayName: Acme, domains: [Acme.com], creatorRef: {name: zoe}}
- apiVersion: crm.milo.io/v1alpha1
  kind: Person
  metadata: {name: ada}
  spec: {displayName: Ada, companyRef: {name: acne}, creatorRef: {name: zoe}}
";

const STRICTER: &str = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n\
    spec: {rules: [{rule: label-value, action: Deny}]}\n";

/// Audits [`STORED`]. Returns the exit code, standard output and standard error.
fn audit(args: &[&str]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("stored.yaml"), STORED).unwrap();
    fs::write(directory.path().join("stricter.yaml"), STRICTER).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    command.current_dir(directory.path()).env("NO_COLOR", "1").env_remove("KUBECONFIG");
    let output = command.arg("audit").arg("stored.yaml").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn findings_are_listed_by_rule_and_summed_up() {
    let (code, stdout, _) = audit(&[]);
    assert_eq!(code, Some(1));
    for line in [
        "domain: 1 finding",
        r#"  Company/acme: warn: spec.domains[0]: Invalid value: "Acme.com": not in its canonical form; write "acme.com" [domain/not-canonical]"#,
        r#"  Person/ada: deny: spec.companyRef.name: Not found: "acne": no Company of that name; did you mean "acme"? [company-exists]"#,
        "2 records audited, policy built-in: 1 would be denied if it were written today, 2 warnings, 1 value is not canonical, 1 reference to a missing object.",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "no {line} in {stdout}");
    }
}

#[test]
fn the_exit_code_depends_on_the_flags() {
    let code = |args: &[&str]| audit(args).0;
    assert_eq!(code(&["--kind", "company"]), Some(0));
    assert_eq!(code(&["--kind", "company", "--fail-on", "warn"]), Some(1));
    assert_eq!(code(&["--rule", "display-name"]), Some(0));
    assert_eq!(code(&["--fail-on", "never"]), Some(0));
    assert_eq!(code(&["no/such/file.yaml"]), Some(2));
    let (code, _, stderr) = audit(&["--rule", "domains"]);
    assert!(code == Some(2) && stderr.contains("no rule has the id"), "{stderr}");
}

#[test]
fn a_policy_is_compared_with_the_built_in_one() {
    let (_, stdout, _) = audit(&["--policy", "stricter.yaml"]);
    let last = stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "Compared with built-in, which is in force: 1 would newly be denied, 0 no longer, 0 newly warned of."
    );
}

#[test]
fn the_summary_is_one_line_and_json_is_one_object_even_without_findings() {
    let (_, stdout, _) = audit(&["--summary"]);
    assert_eq!(stdout.lines().count(), 1);
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!([&summary["records"], &summary["refused"], &summary["notCanonical"]], [2, 1, 1]);
    let (_, stdout, _) = audit(&["--format", "json", "--rule", "display-name"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert_eq!(report["summary"]["records"], 2);
}

#[test]
fn audit_does_not_fix_files() {
    let (code, _, stderr) = audit(&["--fix"]);
    assert!(code == Some(2) && stderr.contains("--fix"), "{stderr}");
}

#[test]
fn an_item_without_a_kind_has_the_kind_of_its_list() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("companies.yaml");
    let text = "apiVersion: crm.milo.io/v1alpha1\nkind: CompanyList\nitems:\n- metadata: {name: acme}\n  \
                spec: {displayName: Acme, domains: [co.uk], creatorRef: {name: zoe}}\n";
    fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_crm-admission")).arg("audit").arg(&path).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("Company/acme: deny: spec.domains[0]: "), "{stdout}");
}

#[test]
fn patches_of_kustomize_are_no_records() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("stored.yaml", STORED);
    write("kustomization.yaml", "resources: [stored.yaml]\npatches: [{path: patch.yaml}]\n");
    write("patch.yaml", &STORED.replace("name: acme,", "name: acne,").replace("name: ada", "name: eve"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    let output = command.arg("audit").arg(directory.path()).arg("--summary").output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!([&summary["records"], &summary["refused"], &summary["danglingReferences"]], [2, 1, 1]);
}

#[test]
fn variables_in_stored_records_are_no_variables() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stored.yaml");
    fs::write(&path, STORED.replace("Acme.com", "'${DOMAIN:=acme.com}'")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_crm-admission")).arg("audit").arg(&path).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("spec.domains[0]: Invalid value: \"${DOMAIN:=acme.com}\""), "{stdout}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("broken.yaml"), "a: [1\nb: 2\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    let output = command.current_dir(directory.path()).args(["audit", "."]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: broken.yaml:2:2: "), "{stderr}");
}
