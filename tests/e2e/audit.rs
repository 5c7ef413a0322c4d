//! Tests `crm-admission audit` and `refs` in a real control plane, with records that are older than the rules.

use crate::program::{run, start};
use crate::support::control_plane::ControlPlane;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::process::Witness;
use crate::support::records::{bundle, company, note_about, person, record};
use crate::support::webhook::Webhook;
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// The number of records of each kind.
const COMPANIES: usize = 5_000;
const PEOPLE: usize = 10_000;
const NOTES: usize = 5_000;
const RECORDS: usize = COMPANIES + PEOPLE + NOTES;
/// The number of requests in progress at a time.
const CONCURRENT: usize = 48;
/// The maximum memory of an audit, in KiB.
const MEMORY: u64 = 64 * 1024;

/// Kind, name, field, and the rule with its code.
type Finding = (String, String, String, String);

/// An expected finding. `what` is the rule, with its code after a slash.
fn planted(kind: &str, name: &str, field: &str, what: &str) -> Finding {
    (kind.to_owned(), name.to_owned(), field.to_owned(), what.to_owned())
}

/// A record with its expected findings.
struct Planted {
    kind: &'static str,
    name: String,
    labels: Value,
    spec: Value,
    findings: Vec<Finding>,
    /// Whether `--fix` can fix any of its values.
    fixable: bool,
}

impl Planted {
    fn good(kind: &'static str, name: String, spec: Value) -> Self {
        Self { kind, name, labels: json!({}), spec, findings: Vec::new(), fixable: false }
    }

    fn flaw(&mut self, field: &str, value: Value, at: &str, what: &str) {
        let parent = self.spec.as_object_mut().expect("a spec");
        parent.insert(field.to_owned(), value);
        self.findings.push(planted(self.kind, &self.name, at, what));
        self.fixable |= what.ends_with("/not-canonical");
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": "crm.milo.io/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": self.spec,
        })
    }

    fn plural(&self) -> &'static str {
        match self.kind {
            "Company" => "companies",
            "Person" => "people",
            _ => "notes",
        }
    }
}

/// About one in a hundred has an invalid value.
fn a_company(index: usize) -> Planted {
    let spec = json!({
        "displayName": format!("Company {index}"), "domains": [format!("c{index}.example")],
        "creatorRef": {"name": "zoe"},
    });
    let mut company = Planted::good("Company", format!("company-{index}"), spec);
    match index % 500 {
        1 => company.flaw(
            "domains",
            json!([format!("HTTPS://C{index}.example/")]),
            "spec.domains[0]",
            "domain/not-canonical",
        ),
        2 => company.flaw("displayName", json!(" Padded "), "spec.displayName", "display-name/not-canonical"),
        3 => company.flaw(
            "domains",
            json!([format!("c{index}.example"), format!("C{index}.example")]),
            "spec.domains[1]",
            "domain/not-canonical",
        ),
        4 => company.flaw("domains", json!(["no domain"]), "spec.domains[0]", "domain/bad-char"),
        // One value can be fixed, and the other cannot.
        5 => {
            company.flaw("displayName", json!("  "), "spec.displayName", "display-name");
            company.flaw(
                "linkedinProfile",
                json!("linkedin.com/company/Acme"),
                "spec.linkedinProfile",
                "linkedin-profile/not-canonical",
            );
        }
        6 => {
            company.spec.as_object_mut().expect("a spec").remove("creatorRef");
            company.findings.push(planted("Company", &company.name, "spec.creatorRef.name", "creator-ref"));
        }
        7 if index < 2_000 => {
            company.labels = json!({"crm.milo.io/source": "word-of-mouth"});
            let field = "metadata.labels[crm.milo.io/source]";
            company.findings.push(planted("Company", &company.name, field, "label-value"));
        }
        _ => {}
    }
    company
}

fn a_person(index: usize) -> Planted {
    let spec = json!({
        "displayName": format!("Person {index}"), "creatorRef": {"name": "zoe"},
        "companyRef": {"name": format!("company-{}", index % COMPANIES)},
    });
    let mut person = Planted::good("Person", format!("person-{index}"), spec);
    match index % 500 {
        1 => person.flaw(
            "companyRef",
            json!({"name": format!("gone-{index}")}),
            "spec.companyRef.name",
            "company-exists",
        ),
        2 => person.flaw(
            "linkedinProfile",
            json!("https://www.linkedin.com/in/Ada-Lovelace/"),
            "spec.linkedinProfile",
            "linkedin-profile/not-canonical",
        ),
        _ => {}
    }
    person
}

fn a_note(index: usize) -> Planted {
    let subject = json!({"apiGroup": "crm.milo.io", "kind": "Person", "name": format!("person-{index}")});
    let spec = json!({
        "subjectRef": subject, "content": format!("Note {index}"), "creatorRef": {"name": "zoe"},
        // It was in the future when it was written.
        "nextActionTime": "2020-01-01T00:00:00Z",
    });
    let mut note = Planted::good("Note", format!("note-{index}"), spec);
    match index % 500 {
        1 => note.flaw(
            "subjectRef",
            json!({"apiGroup": "crm.milo.io", "kind": "Person", "name": format!("gone-{index}")}),
            "spec.subjectRef.name",
            "subject-exists",
        ),
        2 => note.flaw("content", json!(" \n"), "spec.content", "note-content"),
        3 => note.flaw("content", json!("x".repeat(1001)), "spec.content", "note-content"),
        _ => {}
    }
    note
}

fn everything() -> Vec<Planted> {
    let companies = (0..COMPANIES).map(a_company);
    companies.chain((0..PEOPLE).map(a_person)).chain((0..NOTES).map(a_note)).collect()
}

/// Older definitions of the kinds, which accept any value.
fn loosened(plane: &ControlPlane) -> std::path::PathBuf {
    let admin = plane.kubectl("admin");
    for (index, mut definition) in admin.read(&manifest("crds")).into_iter().enumerate() {
        if definition["spec"]["group"] == "crm.milo.io" {
            let version = definition["spec"]["versions"][0].as_object_mut().expect("a version");
            version.remove("selectableFields");
            version.remove("additionalPrinterColumns");
            let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            version.insert("schema".to_owned(), json!({"openAPIV3Schema": anything}));
        }
        plane.workspace().write("loosened", &format!("{index}.json"), &definition.to_string());
    }
    plane.workspace().path().join("loosened")
}

/// Stores these records, many at the same time.
fn plant(plane: &ControlPlane, records: &[Planted]) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = std::fs::read(plane.workspace().file("identities", "ca.crt")).expect("a CA");
    let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([ca]).http1_only().timeout(PATIENCE);
    let client = client.build().expect("a client");
    let root = format!("https://127.0.0.1:{}/apis/crm.milo.io/v1alpha1", plane.ports()[1]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let post = |record: &Planted| {
            let url = format!("{root}/{}", record.plural());
            client.post(url).bearer_auth("token-of-admin").json(&record.object()).send()
        };
        let mut answers = futures::stream::iter(records.iter().map(post)).buffer_unordered(CONCURRENT);
        while let Some(answer) = answers.next().await {
            let answer = answer.expect("an answer");
            let status = answer.status();
            assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
        }
    });
}

fn found(report: &Value) -> BTreeSet<Finding> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let finding = |finding: &Value| {
        let rule = match finding["code"].as_str() {
            Some(code) => format!("{}/{code}", text(&finding["rule"])),
            None => text(&finding["rule"]),
        };
        (text(&finding["kind"]), text(&finding["name"]), text(&finding["field"]), rule)
    };
    report["findings"].as_array().expect("findings").iter().map(finding).collect()
}

#[track_caller]
fn same(found: &BTreeSet<Finding>, expected: &BTreeSet<Finding>) {
    let missed: Vec<_> = expected.difference(found).take(5).collect();
    let beyond: Vec<_> = found.difference(expected).take(5).collect();
    assert!(missed.is_empty() && beyond.is_empty(), "missed: {missed:?}\nbeyond: {beyond:?}");
}

/// The resource version of every record, by kind and name.
fn versions(admin: &Kubectl) -> BTreeMap<String, String> {
    let template =
        r#"jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}"#;
    let listed = admin.run(["get", "companies,people,notes", "-o", template]).succeeds().stdout;
    listed.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect()
}

/// A policy that denies values for which the built-in one warns.
const STRICTER: &str = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n\
    spec: {rules: [{rule: label-value, action: Deny}]}\n";

#[test]
fn twenty_thousand_old_records_are_audited_and_fixed() {
    let plane = &ControlPlane::start();
    let _witness = Witness::new(plane.logs());
    plane.install_roles();
    plane.install_kinds(&loosened(plane));
    let records = everything();
    plant(plane, &records);
    plane.install_kinds(&manifest("crds"));
    let webhook = Webhook::start(plane);
    webhook.register();

    let expected: BTreeSet<Finding> =
        records.iter().flat_map(|record| record.findings.iter().cloned()).collect();
    finds_exactly(plane, &expected);
    compares_policies(plane);
    dry_run_shows_the_changes(plane, &records);
    fix_writes_exactly_the_changes(plane, &records, &expected);
}

fn finds_exactly(plane: &ControlPlane, expected: &BTreeSet<Finding>) {
    let ran = run(plane, "admin", &["audit", "--format", "json"]).ends_with(1);
    let report = ran.json();
    same(&found(&report), expected);
    let summary = &report["summary"];
    assert_eq!(summary["records"], RECORDS, "{summary}");
    assert_eq!(summary["danglingReferences"], PEOPLE / 500 + NOTES / 500, "{summary}");
    assert!((1..MEMORY).contains(&ran.peak), "{} KiB", ran.peak);

    // The report for people does not grow with the cluster.
    let ran = run(plane, "admin", &["audit", "--limit", "3"]).ends_with(1);
    assert!(ran.stdout.lines().count() < 60, "{}", ran.told());
    assert!(ran.stdout.contains("and 17 more; --format json lists all"), "{}", ran.told());
    assert!(ran.stdout.contains("20,000 records audited, policy built-in"), "{}", ran.told());
    // The summary is one line, for a log.
    let ran = run(plane, "admin", &["audit", "--summary", "--fail-on", "never"]).ends_with(0);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.told());
    assert_eq!(ran.json()["records"], RECORDS);
}

fn compares_policies(plane: &ControlPlane) {
    let policy = plane.workspace().write("policies", "stricter.yaml", STRICTER);
    let policy = policy.to_str().expect("a path in UTF-8");
    let args = ["audit", "--kind", "companies", "--rule", "label-value", "--policy", policy];
    let ran = run(plane, "admin", &args).ends_with(1);
    assert!(ran.stdout.contains("which is in force: 4 would newly be denied, "), "{}", ran.told());
    assert!(ran.stdout.contains("Company/company-7: deny: metadata.labels"), "{}", ran.told());
    // Without permission to read the policy in force, the command fails and uses no other policy.
    let ran = run(plane, "alice", &["audit", "--kind", "company"]).ends_with(2);
    assert!(ran.stderr.contains("give a policy with --policy"), "{}", ran.told());
}

fn dry_run_shows_the_changes(plane: &ControlPlane, records: &[Planted]) {
    let admin = plane.kubectl("admin");
    let before = versions(&admin);
    let ran = run(plane, "admin", &["audit", "--fix", "--dry-run"]).ends_with(1);
    let fixable = records.iter().filter(|record| record.fixable).count();
    assert_eq!(ran.stdout.lines().count(), fixable, "{}", ran.told());
    for line in [
        r#"Company/company-1: spec.domains[0]: "HTTPS://C1.example/" -> "c1.example""#,
        r#"Company/company-2: spec.displayName: " Padded " -> "Padded""#,
        r#"Company/company-3: spec.domains[1]: "C3.example" removed, a duplicate of spec.domains[0]"#,
    ] {
        assert!(ran.stdout.lines().any(|printed| printed == line), "no {line} in {}", ran.told());
    }
    assert!(ran.stderr.contains("records audited"), "{}", ran.told());
    assert_eq!(versions(&admin), before, "something was written");
}

fn fix_writes_exactly_the_changes(plane: &ControlPlane, records: &[Planted], expected: &BTreeSet<Finding>) {
    let (admin, alice) = (plane.kubectl("admin"), plane.kubectl("alice"));
    // Somebody fixes one differently before the audit reaches it.
    let by_hand = json!({"spec": {"domains": ["by-hand.example"]}});
    alice.patch("company", "company-501", &by_hand).succeeds();
    let before = versions(&admin);

    // Interrupt it as soon as it has written something.
    let mut first = start(plane, "admin", &["audit", "--fix", "--format", "json"]);
    poll::until("a fixed record", PATIENCE, || {
        let stored = admin.get("company", "company-1");
        if stored["spec"]["domains"] == json!(["c1.example"]) {
            Seen::Ready(())
        } else if first.try_wait().expect("the state of a child process").is_some() {
            Seen::Never("it ended".to_owned())
        } else {
            Seen::NotYet(stored["spec"].to_string())
        }
    });
    first.kill().expect("a running program");
    first.wait().expect("the end of a process");

    let ran = run(plane, "admin", &["audit", "--fix", "--format", "json"]).ends_with(1);
    let report = ran.json();
    let left: BTreeSet<Finding> =
        expected.iter().filter(|finding| !finding.3.ends_with("/not-canonical")).cloned().collect();
    same(&found(&report), &left);
    assert_eq!(report["summary"]["notFixed"], 0, "{}", report["notFixed"]);
    assert!((1..MEMORY).contains(&ran.peak), "{} KiB", ran.peak);

    let after = versions(&admin);
    let changed: BTreeSet<&String> =
        after.iter().filter(|(name, at)| before[*name] != **at).map(|(name, _)| name).collect();
    let mut fixable: BTreeSet<String> = records
        .iter()
        .filter(|record| record.fixable)
        .map(|record| format!("{}/{}", record.kind, record.name))
        .collect();
    assert!(fixable.remove("Company/company-501"));
    assert_eq!(changed, fixable.iter().collect());
    assert_eq!(admin.get("company", "company-501")["spec"]["domains"], json!(["by-hand.example"]));

    // Every record can be edited, whatever else is invalid in it; the schema validates the fixed values.
    let edit = json!({"spec": {"description": "Edited"}});
    for name in ["company-1", "company-2", "company-3", "company-4", "company-5", "company-7"] {
        alice.patch("company", name, &edit).succeeds();
    }
    alice.patch("person", "person-1", &json!({"spec": {"jobTitle": "Engineer"}})).succeeds();
    alice.patch("note", "note-3", &json!({"spec": {"followUp": true}})).succeeds();
    // The second run has nothing to fix.
    let ran = run(plane, "admin", &["audit", "--fix", "--summary"]).ends_with(1);
    assert_eq!([&ran.json()["fixed"], &ran.json()["notCanonical"]], [&json!(0); 2], "{}", ran.told());
}

/// A small installation with records that were stored before the webhook was registered.
fn small() -> &'static Installation {
    static SMALL: LazyLock<Installation> = LazyLock::new(|| {
        let installation = Installation::start();
        let admin = installation.plane.kubectl("admin");
        let spec = |rest: &str| format!("{{displayName: X, creatorRef: {{name: zoe}}{rest}}}");
        let note = r#"{subjectRef: {apiGroup: crm.milo.io, kind: Company, name: acme}, content: met, creatorRef: {name: zoe}}"#;
        admin
            .create(&bundle([
                company("acme", &spec(", domains: [Acme.example]")),
                person("ada", &spec(", companyRef: {name: acme}")),
                person("bob", &spec(", companyRef: {name: gone}")),
                record("Note", "{name: about-acme}", note),
                note_about("nobody", "about-nobody").replace("content:", "creatorRef: {name: zoe}, content:"),
            ]))
            .succeeds();
        installation
    });
    &SMALL
}

#[test]
fn refs_lists_references_and_dependents() {
    let plane = &small().plane;
    let ran = run(plane, "admin", &["refs", "company", "acme", "--format", "json"]).ends_with(0);
    let told = ran.json();
    assert_eq!(told["record"], json!({"kind": "Company", "name": "acme", "state": "exists"}));
    assert_eq!(
        told["referredToBy"],
        json!([
            {"kind": "Person", "name": "ada", "field": "spec.companyRef.name"},
            {"kind": "Note", "name": "about-acme", "field": "spec.subjectRef.name"},
        ])
    );
    let ran = run(plane, "admin", &["refs", "Person", "bob"]).ends_with(1);
    assert!(
        ran.stdout.contains("refers to   Company/gone   spec.companyRef.name   missing"),
        "{}",
        ran.told()
    );
    // A missing record can have dependents, too.
    let ran = run(plane, "admin", &["refs", "person", "nobody", "--format", "dot"]).ends_with(1);
    assert!(
        ran.stdout.contains(r#""Note/about-nobody" -> "Person/nobody" [label="subjectRef"];"#),
        "{}",
        ran.told()
    );
    let ran = run(plane, "admin", &["refs", "--dangling"]).ends_with(1);
    let rows: Vec<&str> =
        ran.stdout.lines().skip(1).map(|line| line.split(' ').next().expect("a cell")).collect();
    assert_eq!(rows, ["Person/bob", "Note/about-nobody"], "{}", ran.told());
}

#[test]
fn refs_needs_no_permission_to_read_the_policy() {
    let plane = &small().plane;
    let ran = run(plane, "alice", &["refs", "company", "acme"]).ends_with(0);
    assert!(ran.stdout.contains("referred to by   Person/ada"), "{}", ran.told());
    let note = "note: you may not read the policy of the cluster, so the built-in policy is used\n";
    assert!(ran.stderr.contains(note), "{}", ran.told());
    let policy = crate::support::manifest("policy/default.yaml");
    let ran = run(plane, "alice", &["refs", "company", "acme", "--policy", policy.to_str().unwrap()]);
    assert!(!ran.ends_with(0).stderr.contains("note: "));
}

#[test]
fn other_formats_list_the_same_records() {
    let plane = &small().plane;
    let sarif = run(plane, "admin", &["audit", "--format", "sarif"]).ends_with(1).json();
    let names: BTreeSet<&str> = sarif["runs"][0]["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| {
            let name = &result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
            name.as_str().expect("a name")
        })
        .collect();
    let expected = [
        "Company/acme/spec.domains[0]",
        "Note/about-nobody/spec.subjectRef.name",
        "Person/bob/spec.companyRef.name",
    ];
    assert_eq!(names, expected.into());
    let junit = run(plane, "admin", &["audit", "--format", "junit"]).ends_with(1);
    assert!(junit.stdout.contains(r#"tests="4" skipped="0" failures="2" errors="0""#), "{}", junit.told());
    let ran = run(plane, "admin", &["audit", "--format", "table", "--rule", "domain"]).ends_with(0);
    assert!(ran.stdout.contains(r#"Company/acme: warn: spec.domains[0]"#), "{}", ran.told());
    // The same from files.
    let dump = plane.kubectl("admin").run(["get", "companies,people,notes", "-o", "json"]).succeeds().stdout;
    let dump = plane.workspace().write("dumps", "dump.json", &dump);
    let from_files =
        run(plane, "bob", &["audit", "--format", "json", dump.to_str().expect("a path")]).ends_with(1);
    let from_cluster = run(plane, "admin", &["audit", "--format", "json"]).ends_with(1);
    assert_eq!(found(&from_files.json()), found(&from_cluster.json()));
}

#[test]
fn the_permissions_of_the_shipped_job_are_sufficient() {
    let plane = &small().plane;
    plane.kubectl("admin").apply_path(&manifest("components/audit/rbac.yaml")).succeeds();
    let job =
        &plane.kubectl("admin").read(&manifest("components/audit/cronjob.yaml"))[0]["spec"]["jobTemplate"];
    let args = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("arguments");
    let args: Vec<&str> = args.iter().map(|arg| arg.as_str().expect("text")).collect();
    let line = run(plane, "crm-admission-audit", &args).ends_with(0).json();
    assert_eq!([&line["records"], &line["refused"], &line["unresolvedReferences"]], [5, 2, 0], "{line}");
    assert!(line["danglingReferences"] == 2 && line["notCanonical"] == 1, "{line}");
    let refused =
        run(plane, "crm-admission-audit", &["audit", "--fix", "--format", "json"]).ends_with(1).json();
    assert!(refused["notFixed"][0]["message"].as_str().expect("text").contains("forbidden"), "{refused}");
}

#[test]
fn a_webhook_with_background_audits_exports_their_metrics() {
    let plane = ControlPlane::start();
    let mut installation = Installation::start_on(plane);
    let _witness = installation.witness();
    let admin = installation.plane.kubectl("admin");
    let spec = "{displayName: X, creatorRef: {name: zoe}, companyRef: {name: gone}}";
    admin.create(&person("ada", spec)).succeeds();
    let audit = manifest("components/audit-metrics/rbac.yaml");
    admin.apply_path(&audit).succeeds();
    installation.webhook.restart_with(&["--audit-interval", "1s"]);
    let page = || installation.webhook.admin_page("/metrics").map(|(_, text)| text).unwrap_or_default();
    let text = poll::until("an audit", PATIENCE, || match page() {
        text if text.contains("crm_admission_audit_records 1\n") => Seen::Ready(text),
        text => Seen::NotYet(text.lines().filter(|line| line.contains("audit")).collect()),
    });
    for line in [
        r#"crm_admission_audit_findings{kind="Person",rule="company-exists"} 1"#,
        r#"crm_admission_audit_dangling_references{kind="Person",rule="company-exists"} 1"#,
        r#"crm_admission_audit_findings{kind="Company",rule="domain"} 0"#,
        "crm_admission_audit_failures_total 0",
    ] {
        assert!(text.lines().any(|printed| printed == line), "no {line} in {text}");
    }
}
