//! Tests that generated files are up to date: pages and a table in `docs/`, `manifests/floor`, copies in the chart, and
//! in files of their own, a condition of the registration, the metadata of the chart, and the version and the repository
//! wherever a file names them.

mod chart;
mod copies;
mod registration;

use std::path::{Path, PathBuf};
use std::process::Command;

use crm_admission::{cli, doctor};
use crm_core::api::{GROUP, VERSION};
use crm_core::catalog;
use crm_core::characters::BLANK_PATTERN;
use crm_core::normalize::{CANONICAL_DOMAIN_PATTERN, CANONICAL_LINKEDIN_PATTERN};

/// If this variable is `1`, these tests write the files instead of comparing them, for `make generate`.
const UPDATE: &str = "UPDATE_GENERATED";

/// The path of the chart.
const CHART: &str = "manifests/chart/crm-admission";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

#[track_caller]
fn is_up_to_date(file: &str, generated: &str) {
    let path = path(file);
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == generated, "{file} is not what the code generates: run `make generate`");
}

#[test]
fn the_page_of_rules_is_up_to_date() {
    is_up_to_date("docs/rules.md", &catalog::page());
}

#[test]
fn the_page_of_commands_is_up_to_date() {
    is_up_to_date("docs/cli.md", &cli::reference());
}

#[test]
fn the_schema_of_the_configuration_file_is_up_to_date() {
    is_up_to_date("schemas/config.json", &cli::configuration::schema());
}

#[test]
fn the_schema_of_the_report_is_up_to_date() {
    is_up_to_date("schemas/report.json", &crm_check::report::json::schema());
}

#[test]
fn the_schema_of_the_report_of_tests_is_up_to_date() {
    let schema = crm_admission::policy_tests::report::json::schema();
    is_up_to_date("schemas/policy-test-report.json", &schema);
}

#[test]
fn the_schema_of_the_baseline_is_up_to_date() {
    is_up_to_date("schemas/baseline.json", &crm_check::report::baseline::schema());
}

#[test]
fn the_schemas_of_all_kinds_are_up_to_date() {
    let files = cli::schemas::files().unwrap();
    for file in &files {
        is_up_to_date(&format!("schemas/{}", file.path), &file.text);
    }
    // There is no schema of a removed kind.
    let groups = std::fs::read_dir(path("schemas")).unwrap().map(|entry| entry.unwrap().path());
    let stored = groups.filter(|group| group.is_dir()).flat_map(|group| std::fs::read_dir(group).unwrap());
    assert_eq!(stored.count(), files.len());
}

#[test]
fn the_table_of_the_findings_of_doctor_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("<!-- table -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of table -->\n").unwrap();
    let table = doctor::markdown();
    let page = format!("{before}<!-- table -->\n{table}<!-- end of table -->\n{after}");
    is_up_to_date("docs/doctor.md", &page);
}

#[test]
fn the_program_prints_the_same_page_of_rules() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_crm-admission")).args(["rules", "--format", "markdown"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), catalog::page());
}

#[test]
fn the_floor_is_up_to_date() {
    is_up_to_date("manifests/floor/floor.yaml", &floor());
    is_up_to_date(&format!("{CHART}/files/floor.yaml"), &floor());
}

#[test]
fn the_chart_has_the_guard_of_the_kustomizations_and_the_floor_for_creators() {
    for (original, copy) in [
        ("manifests/guard/guard.yaml", "guard.yaml"),
        ("manifests/floor/creator/creator.yaml", "floor-creator.yaml"),
    ] {
        let original = std::fs::read_to_string(path(original)).unwrap();
        is_up_to_date(&format!("{CHART}/files/{copy}"), &original);
    }
}

#[test]
fn the_chart_has_the_crds_of_this_version() {
    let manifests = cli::crds::manifests().unwrap();
    for manifest in &manifests {
        is_up_to_date(&format!("{CHART}/files/crds/{}", manifest.file_name), &manifest.text);
    }
    // The chart has no copy of a removed kind.
    let copies = std::fs::read_dir(path(CHART).join("files/crds")).unwrap().count();
    assert_eq!(copies, manifests.len());
}

#[test]
fn the_chart_has_the_alerts_and_the_dashboard_of_the_component() {
    for file in ["prometheusrule.yaml", "dashboard.json"] {
        let original = path("manifests/components/monitoring").join(file);
        is_up_to_date(&format!("{CHART}/files/{file}"), &std::fs::read_to_string(original).unwrap());
    }
}

/// The floor with the patterns of the code, so that the API server requires the values that the webhook writes.
fn floor() -> String {
    FLOOR
        .replace("GROUP", GROUP)
        .replace("VERSION", VERSION)
        .replace("DOMAIN_PATTERN", CANONICAL_DOMAIN_PATTERN)
        .replace("LINKEDIN_PATTERN", CANONICAL_LINKEDIN_PATTERN)
        .replace("BLANK_PATTERN", BLANK_PATTERN)
        .replace(
            "SAME_FIELDS",
            &["apiGroup", "kind", "name", "namespace"].map(same_field).join("\n      && "),
        )
}

/// The expression that a field of the subject is as it was.
fn same_field(field: &str) -> String {
    let value = |of: &str| {
        let path = format!("variables.{of}.{field}");
        format!("(has({path}) && {path} != null ? {path} : '')")
    };
    format!("{} == {}", value("subject"), value("oldSubject"))
}

const FLOOR: &str = r#"# Generated by `make generate` from crates/core/src/normalize and characters.rs; do not edit.
#
# The floor: the API server itself requires canonical domains and LinkedIn addresses and a display name, and denies other
# creators and subjects of stored records, with or without the webhook. Use it in clusters that need this even if the
# webhook is removed.
#
# It uses patterns. Only the webhook finds public suffixes, IP addresses, domains that start with www., invalid
# internationalized names, placeholders for LinkedIn names, and LinkedIn names that end in punctuation. The floor denies
# values under every policy, so the action Warn of the rules `domain`, `linkedin-profile`, `display-name`,
# `creator-immutable` and `subject-immutable` has no effect on them.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: crm-admission-floor
  labels:
    app.kubernetes.io/name: crm-admission
    app.kubernetes.io/component: floor
    app.kubernetes.io/part-of: crm-admission
spec:
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector: {}
    objectSelector: {}
    resourceRules:
    - apiGroups: [GROUP]
      apiVersions: [VERSION]
      resources: [companies, people, notes]
      operations: [CREATE, UPDATE]
      scope: Cluster
  # If an expression fails, the request is denied, because the result is unknown. None fails for valid objects.
  failurePolicy: Fail
  variables:
  # `dyn`, because the kinds have different fields. Null counts as missing, and a create has no old object.
  - name: spec
    expression: dyn(object).?spec.orValue({})
  - name: old
    expression: "oldObject == null ? dyn({}) : dyn(oldObject).?spec.orValue({})"
  - name: domains
    expression: "has(variables.spec.domains) && variables.spec.domains != null ? variables.spec.domains : []"
  - name: oldDomains
    expression: "has(variables.old.domains) && variables.old.domains != null ? variables.old.domains : []"
  - name: subject
    expression: "has(variables.spec.subjectRef) ? variables.spec.subjectRef : dyn({})"
  - name: oldSubject
    expression: "has(variables.old.subjectRef) ? variables.old.subjectRef : dyn({})"
  validations:
  # Like the rules of the webhook, each allows the values of the old object, so that other fields can be changed.
  - expression: >-
      variables.domains.all(domain,
      domain in variables.oldDomains
      || domain.matches(r'DOMAIN_PATTERN'))
    message: >-
      spec.domains: every entry must be in the form in which it is stored, such as acme.com: lower case, without a scheme,
      a path or a port, non-ASCII names as xn--…; `crm-admission check --fix FILE` writes them so
    reason: Invalid
  - expression: >-
      !has(variables.spec.linkedinProfile) || variables.spec.linkedinProfile == null
      || variables.spec.linkedinProfile == variables.old.?linkedinProfile.orValue(null)
      || (variables.spec.linkedinProfile.matches(r'LINKEDIN_PATTERN')
      && variables.spec.linkedinProfile.startsWith('https://linkedin.com/in/') == (dyn(object).kind == 'Person'))
    message: >-
      spec.linkedinProfile: must be in the form in which it is stored, such as https://linkedin.com/company/acme-corp for
      a Company and https://linkedin.com/in/jane-doe for a Person; `crm-admission check --fix FILE` writes it so
    reason: Invalid
  - expression: >-
      dyn(object).kind == 'Note'
      || !variables.spec.?displayName.orValue('').matches(r'BLANK_PATTERN')
      || (has(variables.old.displayName) && variables.spec.?displayName.orValue('') == variables.old.displayName)
    message: "spec.displayName: give the name that people know; it must not be blank"
    reason: Invalid
  - expression: >-
      variables.old.?creatorRef.?name.orValue('') == ''
      || variables.spec.?creatorRef.?name.orValue('') == variables.old.creatorRef.name
    message: "spec.creatorRef.name: field is immutable: keep the creator of the stored record"
    reason: Invalid
  # A missing field means the same as null or an empty one.
  - expression: >-
      !has(variables.old.subjectRef)
      || (SAME_FIELDS)
    message: "spec.subjectRef: field is immutable: keep the subject of the stored note, and create another note for another"
    reason: Invalid
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: crm-admission-floor
  labels:
    app.kubernetes.io/name: crm-admission
    app.kubernetes.io/component: floor
    app.kubernetes.io/part-of: crm-admission
spec:
  policyName: crm-admission-floor
  # For a trial run, "Audit" and "Warn" allow the values.
  validationActions: [Deny]
"#;
