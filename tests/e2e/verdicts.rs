//! Tests that `check`, the endpoints and kubectl in a cluster have the same findings about an object.

use crate::stage;
use crate::support::control_plane::ControlPlane;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::process;
use crate::support::records::{bundle, company};
use crate::support::webhook::product;
use crate::support::{manifest, repository};
use crm_core::catalog::{Rule, RuleId, rules};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A policy in which every rule denies, with the settings that the rules need.
const STRICT: &str = "\
apiVersion: admission.crm.milo.io/v1alpha1
kind: AdmissionPolicy
metadata: {name: default}
spec:
  rules:
  - {rule: contact-exists, action: Deny}
  - {rule: creator-is-requester, action: Deny}
  - {rule: creator-exists, action: Deny}
  - {rule: domain-hint, action: Deny}
  - {rule: label-value, action: Deny}
  - {rule: organization-exists, action: Deny}
  - {rule: user-exists, action: Deny}
  references:
    kinds:
      user: {group: iam.example.com, version: v1, kind: User, plural: users}
      organization: {group: orgs.example.com, version: v1, kind: Organization, plural: organizations}
      contact: {group: people.example.com, version: v1, kind: Contact, plural: contacts, namespaced: true}
";

/// The kinds that the strict policy looks up, and the permission to do so.
const OTHERS: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: verdicts}
rules:
- {apiGroups: [iam.example.com, orgs.example.com], resources: [users, organizations], verbs: [get, list, watch]}
- {apiGroups: [people.example.com], resources: [contacts], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: verdicts}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: verdicts}
subjects: [{kind: ServiceAccount, name: crm-admission, namespace: crm-admission-system}]
";

/// The namespace of the contact in the example of `contact-exists`.
const CONTACTS: &str = "crm-contacts";

/// The rules that an object breaks, each with its field.
type Broken = BTreeSet<(String, String)>;

/// The result of one of the three for an object.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// With its warnings.
    Allowed(Broken),
    Refused(Broken),
}

/// An installation under the strict policy, with the objects that examples of the catalogue refer to.
///
/// Other tests do not use it, because the policy denies most of their records.
fn strict() -> Installation {
    let stage = Installation::start();
    stage.webhook.register();
    let admin = stage.plane.kubectl("admin");
    let kinds = [
        definition("iam.example.com", "User", "users", "Cluster"),
        definition("orgs.example.com", "Organization", "organizations", "Cluster"),
        definition("people.example.com", "Contact", "contacts", "Namespaced"),
    ];
    let kinds = kinds.map(|kind| kind.to_string());
    admin.apply(&bundle([OTHERS.to_owned()].into_iter().chain(kinds))).succeeds();
    admin.run(["create", "namespace", CONTACTS]).succeeds();
    admin.run(["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"]).succeeds();
    let object = |group: &str, kind: &str, name: &str| {
        json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}}).to_string()
    };
    let objects = bundle([
        object("iam.example.com", "User", "alice"),
        object("orgs.example.com", "Organization", "acme"),
        json!({"apiVersion": "people.example.com/v1", "kind": "Contact",
            "metadata": {"name": "fry-home", "namespace": CONTACTS}})
        .to_string(),
        company("planet-express", "{displayName: Planet Express}"),
        company("acme-corp", "{displayName: Acme Corp}"),
    ]);
    // Kinds and permissions take effect a moment after they are created.
    let program = stage.plane.kubectl("crm-admission");
    poll::until("objects of the other kinds in the directory", PATIENCE, || {
        let applied = admin.apply(&objects);
        let listed =
            program.run(["get", "users.iam.example.com/alice", "organizations.orgs.example.com/acme"]);
        let contact = program.run(["get", "contacts.people.example.com/fry-home", "-n", CONTACTS]);
        if applied.ok() && listed.ok() && contact.ok() {
            Seen::Ready(())
        } else {
            Seen::NotYet(format!("{applied}{listed}{contact}"))
        }
    });
    admin.apply(STRICT).succeeds();
    poll::until("the strict policy", PATIENCE, || {
        let (_, metrics) = stage.webhook.admin_page("/metrics").expect("the admin port answers");
        let shown: Vec<&str> = metrics.lines().filter(|line| line.contains("directory_ready{")).collect();
        let watched =
            |kind: &str| shown.contains(&&*format!(r#"crm_admission_directory_ready{{kind="{kind}"}} 1"#));
        if ["User.iam.example.com", "Organization.orgs.example.com", "Contact.people.example.com"]
            .into_iter()
            .all(watched)
        {
            Seen::Ready(())
        } else {
            Seen::NotYet(format!("{shown:?}"))
        }
    });
    stage
}

fn definition(group: &str, kind: &str, plural: &str, scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    })
}

/// The examples of all rules that a create can break, with unused names, and whether they break their rule.
fn examples() -> impl Iterator<Item = (&'static Rule, bool, Value)> {
    let rules =
        rules().iter().filter(|rule| rule.example.stored.is_none() && rule.id != RuleId::DeleteReferenced);
    rules.flat_map(|rule| {
        [(true, rule.example.bad), (false, rule.example.good)].map(|(is_bad, text)| {
            let mut object = crm_manifest::documents(text).expect("a manifest").remove(0).1;
            let which = if is_bad { "bad" } else { "good" };
            object["metadata"]["name"] = format!("{which}-{}", rule.id).into();
            (rule, is_bad, object)
        })
    })
}

#[test]
fn every_rule_has_the_same_result_for_files_reviews_and_the_cluster() {
    let stage = strict();
    let policy = stage.plane.workspace().write("verdicts", "policy.yaml", STRICT);
    let mut compared = 0;
    for (rule, is_bad, object) in examples() {
        let verdict = one_verdict(&stage, &object, &["--policy", policy.to_str().unwrap()]);
        match &verdict {
            Verdict::Refused(broken) if is_bad => {
                assert!(broken.iter().any(|(id, _)| *id == rule.id.as_str()), "{}: {verdict:?}", rule.id);
            }
            Verdict::Allowed(_) if !is_bad => {}
            _ => panic!("{} of {object}: {verdict:?}", rule.id),
        }
        compared += 1;
    }
    assert!(compared >= 28, "only {compared} examples");
}

#[test]
fn usual_input_has_the_same_result_everywhere() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    alice.apply(&company("one-verdict", "{displayName: Acme}")).succeeds();
    let record = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let mut labelled = record("Company", "one-label", json!({"displayName": "Acme"}));
    labelled["metadata"]["labels"] = json!({"crm.milo.io/source": "referal"});
    let written = [
        record(
            "Company",
            "one-clean",
            json!({"displayName": "Acme", "domains": ["acme.com"], "creatorRef": {"name": "alice"}}),
        ),
        record(
            "Company",
            "one-messy",
            json!({"displayName": " Acme ", "domains": ["HTTPS://Acme.com/", "acme.io", "www.ACME.io"], "linkedinProfile": "uk.linkedin.com/company/Acme/about"}),
        ),
        record(
            "Company",
            "one-refused",
            json!({"displayName": " ", "domains": ["a b", "jane@acme.com", "co.uk"], "linkedinProfile": "linkedin.com/in/jane"}),
        ),
        record(
            "Company",
            "one-typed",
            json!({"displayName": 42, "domains": "acme.com", "linkedinProfile": ["x"]}),
        ),
        record("Company", "one-empty", json!({})),
        record(
            "Person",
            "one-person",
            json!({"displayName": "Ada", "companyRef": {"name": "one-verdcit"}, "linkedinProfile": "linkedin.com/company/acme"}),
        ),
        record(
            "Person",
            "one-path",
            json!({"displayName": "Ada", "companyRef": {"name": "../x"}, "creatorRef": {"name": "a/b"}}),
        ),
        record(
            "Note",
            "one-note",
            json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": "company", "name": "one-verdict"}, "content": " "}),
        ),
        record(
            "Note",
            "one-long",
            json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "one-verdict", "namespace": "x"}, "content": "x".repeat(1001)}),
        ),
        record("Note", "one-nothing", json!({"content": "x"})),
        labelled,
    ];
    let refused = written
        .iter()
        .filter(|object| matches!(one_verdict(&stage, object, &[]), Verdict::Refused(_)))
        .count();
    assert_eq!(refused, 8);
}

#[test]
fn the_shipped_examples_are_valid_everywhere() {
    let stage = stage::shared();
    let examples = manifest("examples");
    let checked = check_command(&stage.plane).args(["--fail-on", "warn"]).arg(&examples).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    stage.plane.kubectl("alice").apply_path(&examples).succeeds().without_warnings();
    stage.plane.kubectl("alice").run(["delete", "-f", examples.to_str().unwrap()]).succeeds();
}

/// The common result of all three if alice creates an object.
#[track_caller]
fn one_verdict(stage: &Installation, object: &Value, options: &[&str]) -> Verdict {
    let in_the_cluster = by_kubectl(&stage.plane.kubectl("alice"), object);
    let of_the_review = by_review(stage, object);
    assert_eq!(of_the_review, in_the_cluster, "review and kubectl differ for {object}");
    let of_the_file = by_check(&stage.plane, object, options);
    assert_eq!(of_the_file, in_the_cluster, "check and kubectl differ for {object}");
    in_the_cluster
}

fn by_kubectl(user: &Kubectl, object: &Value) -> Verdict {
    let outcome = user.run_with(&object.to_string(), ["create", "--dry-run=server", "-f", "-"]);
    let lines = outcome.stderr.lines();
    if outcome.ok() {
        return Verdict::Allowed(
            lines.filter_map(|line| line.strip_prefix("Warning: ")).map(broken).collect(),
        );
    }
    let causes = lines.filter(|line| !line.starts_with("Warning: ")).filter_map(|line| {
        let line = line.split_once("\" is invalid: ").map_or(line, |(_, cause)| cause);
        let cause = line.strip_prefix("* ").unwrap_or(line);
        (!cause.is_empty()).then(|| broken(cause))
    });
    Verdict::Refused(causes.collect())
}

/// `FIELD: TEXT [RULE]` or `FIELD: TEXT [RULE/CODE]`.
#[track_caller]
fn broken(cause: &str) -> (String, String) {
    let parts = cause.split_once(": ").zip(cause.rsplit_once('['));
    let ((field, _), (_, rule)) = parts.unwrap_or_else(|| panic!("unexpected cause: {cause:?}"));
    let rule = rule.trim_end_matches(']');
    (rule.split('/').next().unwrap_or(rule).to_owned(), field.to_owned())
}

/// The answers of both endpoints, called like the API server calls them.
fn by_review(stage: &Installation, object: &Value) -> Verdict {
    let mut object = object.clone();
    let mut warned = Broken::new();
    for path in ["/mutate", "/validate"] {
        let review = stage.webhook.review(path, &review(&object));
        let response = &review["response"];
        assert_eq!(response["uid"], "one-verdict", "{review}");
        if response["allowed"] != true {
            let causes = response["status"]["details"]["causes"].as_array().expect("causes").iter();
            let cause = |cause: &Value| {
                let text = |key: &str| cause[key].as_str().expect("text").to_owned();
                broken(&format!("{}: {}", text("field"), text("message")))
            };
            return Verdict::Refused(causes.map(cause).collect());
        }
        let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
        warned.extend(warnings.iter().map(|warning| broken(warning.as_str().expect("text"))));
        if let Some(patch) = response["patch"].as_str() {
            use base64::Engine;
            let patch = base64::engine::general_purpose::STANDARD.decode(patch).expect("base64");
            let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
            json_patch::patch(&mut object, &patch).expect("a patch that applies");
        }
    }
    Verdict::Allowed(warned)
}

fn review(object: &Value) -> Value {
    let kind = object["kind"].as_str().expect("a kind");
    let plural = match kind {
        "Company" => "companies",
        "Person" => "people",
        _ => "notes",
    };
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "one-verdict",
            "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "crm.milo.io", "version": "v1alpha1", "resource": plural},
            "name": object["metadata"]["name"],
            "operation": "CREATE",
            "userInfo": {"username": "alice", "groups": ["crm-editors", "system:authenticated"]},
            "object": object,
            "oldObject": null,
            "dryRun": true,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}

fn by_check(plane: &ControlPlane, object: &Value, options: &[&str]) -> Verdict {
    let file = plane.workspace().write("verdicts", "record.json", &object.to_string());
    let mut command = check_command(plane);
    command.args(["--cluster", "--as", "alice", "--as-group", "crm-editors", "--format", "json"]);
    let output = command.args(options).arg(&file).output().expect("a program that starts");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let with = |actions: &[&str]| -> Broken {
        let findings = report["findings"].as_array().expect("findings").iter();
        let chosen = findings.filter(|finding| {
            // `check` only warns about it, because the time may have passed when the file is applied.
            let softened = finding["rule"] == "next-action-time";
            actions.contains(&if softened { "Deny" } else { finding["action"].as_str().expect("an action") })
        });
        let text = |finding: &Value, key: &str| finding[key].as_str().expect("text").to_owned();
        chosen.map(|finding| (text(finding, "rule"), text(finding, "field"))).collect()
    };
    let denied = with(&["Deny"]);
    if denied.is_empty() { Verdict::Allowed(with(&["Warn"])) } else { Verdict::Refused(denied) }
}

fn check_command(plane: &ControlPlane) -> Command {
    let mut command = Command::new(product());
    process::clear_environment(&mut command);
    command.env("KUBECONFIG", plane.kubeconfig("admin")).current_dir(repository()).arg("check");
    command
}
