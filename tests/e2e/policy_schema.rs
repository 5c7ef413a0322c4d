//! Tests the schema of policies in the API server: validation, server-side apply by several managers, and columns.
//!
//! No stored policy is named `default`, so that these tests do not affect other tests.

use crate::stage;
use crate::support::kubectl::{Kubectl, Outcome};
use crate::support::webhook::product;
use serde_json::{Value, json};

/// A policy with every field.
const FULL: &str = r#"{
  rules: [
    {rule: label-value, action: Deny, enforceAfter: "2027-01-15T00:00:00Z"},
    {rule: creator-is-requester, action: Warn},
  ],
  normalization: {domains: Normalize, linkedinProfile: RequireCanonical},
  creator: {sources: [
    {from: Extra, key: "example.com/staff-id"},
    {from: Username, stripPrefix: "oidc:", pattern: '^(?<name>[^@]+)@corp\.example$'},
    {from: Username},
  ]},
  labels: [{key: crm.milo.io/source, allowed: [referral, event], required: false}],
  references: {
    onDryRun: Enforce,
    onDryRunByFieldManager: [{manager: kustomize-controller, mode: Warn}],
    onLookupError: Deny,
    consistency: CacheThenLive,
    kinds: {
      user: {group: iam.miloapis.com, version: v1alpha1, kind: User, plural: users},
      organization: {group: resourcemanager.miloapis.com, version: v1alpha1, kind: Organization, plural: organizations},
    },
    subjects: [
      {group: notification.miloapis.com, version: v1alpha1, kind: Contact, plural: contacts, namespaced: true},
    ],
  },
  exemptions: [{
    name: migration, groups: [crm-migrators], users: [], rules: [company-exists],
    reason: "bulk import", expires: "2027-02-01T00:00:00Z",
  }],
}"#;

/// A policy with this `spec`, in YAML's flow style.
fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {{name: {name}}}\n\
         spec: {spec}\n"
    )
}

/// The admin creates the policy as a dry run.
fn create(spec: &str) -> Outcome {
    let stage = stage::shared();
    let text = policy("default", spec);
    stage.plane.kubectl("admin").run_with(&text, ["create", "--dry-run=server", "-o", "json", "-f", "-"])
}

fn apply_as(manager: &str, admin: &Kubectl, name: &str, spec: &str) -> Outcome {
    let manager = format!("--field-manager={manager}");
    admin.run_with(&policy(name, spec), ["apply", "--server-side", &manager, "-f", "-"])
}

#[test]
fn a_policy_with_every_field_is_stored_unchanged() {
    let stored = create(FULL).succeeds().without_warnings().json();
    let spec = &stored["spec"];
    assert_eq!(
        spec["labels"][0],
        json!({"key": "crm.milo.io/source", "allowed": ["referral", "event"], "required": false})
    );
    assert_eq!(
        spec["rules"][0],
        json!({"rule": "label-value", "action": "Deny", "enforceAfter": "2027-01-15T00:00:00Z"})
    );
    assert_eq!(spec["creator"]["sources"][1]["pattern"], r"^(?<name>[^@]+)@corp\.example$");
}

#[test]
fn missing_fields_of_a_policy_are_not_defaulted() {
    assert_eq!(create("{}").succeeds().json()["spec"], json!({}));
    let sparse = r#"{
      rules: [{rule: domain}],
      normalization: {},
      creator: {sources: []},
      labels: [{key: team, allowed: [""]}],
      references: {
        onDryRunByFieldManager: [],
        kinds: {},
        subjects: [{group: "", version: v1, kind: Namespace, plural: namespaces}],
      },
      exemptions: [{name: all, groups: [staff], rules: [domain], reason: trial}],
    }"#;
    assert_eq!(
        create(sparse).succeeds().json()["spec"],
        json!({
            "rules": [{"rule": "domain"}],
            "normalization": {},
            "creator": {"sources": []},
            "labels": [{"key": "team", "allowed": [""], "required": false}],
            "references": {
                "onDryRunByFieldManager": [],
                "kinds": {},
                "subjects": [{"group": "", "version": "v1", "kind": "Namespace", "plural": "namespaces", "namespaced": false}],
            },
            "exemptions": [{"name": "all", "groups": ["staff"], "rules": ["domain"], "reason": "trial"}],
        })
    );
}

#[test]
fn a_null_counts_as_a_missing_field() {
    let admin = stage::shared().plane.kubectl("admin");
    let nulls = "{rules: null, labels: null, exemptions: null, normalization: null, creator: {sources: [{from: UID, key: null}]}, \
                 references: {kinds: {user: null}, subjects: null, onDryRunByFieldManager: null}}";
    create(nulls).succeeds();
    let applied = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    admin.run_with(&policy("policy-schema-nulls", nulls), applied).succeeds();
    // For enumerations, this is true only for a plain create or update.
    let choice = create("{rules: [{rule: domain, action: null}]}").succeeds().json();
    assert_eq!(choice["spec"]["rules"], json!([{"rule": "domain"}]));
}

#[test]
fn unknown_rules_and_values_are_denied_with_the_supported_ones() {
    create("{rules: [{rule: domains}]}").fails().prints_error(
        r#"spec.rules[0].rule: Unsupported value: "domains": supported values: "schema", "display-name", "#,
    );
    create("{exemptions: [{name: all, rules: [domain, domains], reason: trial}]}").fails().prints_error(
        r#"spec.exemptions[0].rules[1]: Unsupported value: "domains": supported values: "schema", "#,
    );
    for (spec, complaint) in [
        (
            "{rules: [{rule: domain, action: Refuse}]}",
            r#"spec.rules[0].action: Unsupported value: "Refuse": supported values: "Deny", "Warn", "Audit", "Disabled""#,
        ),
        (
            "{normalization: {domains: Off}}",
            r#"spec.normalization.domains: Unsupported value: false: supported values: "Normalize", "RequireCanonical""#,
        ),
        (
            "{creator: {sources: [{from: Email}]}}",
            r#"spec.creator.sources[0].from: Unsupported value: "Email": supported values: "Username", "UID", "Extra""#,
        ),
        (
            "{references: {onDryRunByFieldManager: [{manager: helm, mode: Allow}]}}",
            r#"spec.references.onDryRunByFieldManager[0].mode: Unsupported value: "Allow": supported values: "Enforce", "Warn", "Skip""#,
        ),
        (
            "{references: {onLookupError: Warn}}",
            r#"spec.references.onLookupError: Unsupported value: "Warn": supported values: "Deny", "Allow""#,
        ),
        (
            "{references: {consistency: Cache}}",
            r#"spec.references.consistency: Unsupported value: "Cache": supported values: "CacheThenLive", "Live""#,
        ),
    ] {
        create(spec).fails().prints_error(complaint);
    }
}

#[test]
fn invalid_dates_are_denied() {
    create("{rules: [{rule: domain, enforceAfter: soon}]}")
        .fails()
        .prints_error("spec.rules[0].enforceAfter in body must be of type date-time");
    create("{exemptions: [{name: all, rules: [domain], reason: trial, expires: '2027-02-01'}]}")
        .fails()
        .prints_error("spec.exemptions[0].expires in body must be of type date-time");
}

#[test]
fn only_extra_sources_have_a_key() {
    for source in ["{from: Extra}", "{from: Extra, key: null}"] {
        create(&format!("{{creator: {{sources: [{{from: UID}}, {source}]}}}}")).fails().prints_error(
            "spec.creator.sources[1].key: Required value: set it to the key of the attribute, such as example.com/staff-id",
        );
    }
    for from in ["Username", "UID"] {
        create(&format!("{{creator: {{sources: [{{from: {from}, key: a}}]}}}}"))
            .fails()
            .prints_error("spec.creator.sources[0].key: Forbidden: only allowed if from is Extra");
    }
}

#[test]
fn an_exemption_needs_users_or_groups() {
    for nobody in ["", "users: null, ", "users: [], groups: [], "] {
        create(&format!("{{exemptions: [{{name: all, {nobody}rules: [domain]}}]}}"))
            .fails()
            .prints_error("spec.exemptions[0]: Required value: list the users or groups that are exempt");
    }
    for somebody in ["users: [eve]", "users: null, groups: [staff]"] {
        create(&format!("{{exemptions: [{{name: all, {somebody}, rules: [domain]}}]}}")).succeeds();
    }
}

#[test]
fn duplicate_entries_are_denied() {
    // Before 1.34, an API server shows a map as Go does.
    let map = if stage::shared().plane.minor() < 34 { "map[string]interface {}" } else { "" };
    for (spec, complaint) in [
        (
            "{rules: [{rule: domain}, {rule: domain, action: Warn}]}",
            &*format!(r#"spec.rules[1]: Duplicate value: {map}{{"rule":"domain"}}"#),
        ),
        (
            "{labels: [{key: team, allowed: [a]}, {key: team, allowed: [b]}]}",
            &*format!(r#"spec.labels[1]: Duplicate value: {map}{{"key":"team"}}"#),
        ),
        ("{labels: [{key: team, allowed: [a, a]}]}", r#"spec.labels[0].allowed[1]: Duplicate value: "a""#),
        (
            "{exemptions: [{name: all, rules: [domain], reason: trial, users: [eve, eve]}]}",
            r#"spec.exemptions[0].users[1]: Duplicate value: "eve""#,
        ),
    ] {
        create(spec).fails().prints_error(complaint);
    }
}

#[test]
fn required_fields_of_entries_are_required() {
    for (spec, complaint) in [
        ("{rules: [{action: Warn}]}", "spec.rules[0].rule: Required value"),
        ("{labels: [{key: team}]}", "spec.labels[0].allowed: Required value"),
        (
            "{labels: [{key: team, allowed: []}]}",
            "spec.labels[0].allowed in body should have at least 1 items",
        ),
        ("{exemptions: [{name: all, users: [eve]}]}", "spec.exemptions[0].rules: Required value"),
        (
            "{references: {kinds: {user: {group: a.example, version: v1, kind: User}}}}",
            "spec.references.kinds.user.plural: Required value",
        ),
    ] {
        create(spec).fails().prints_error(complaint);
    }
}

#[test]
fn unknown_fields_are_denied() {
    create("{rules: [{rule: domain, actoin: Warn}], exemption: []}")
        .fails()
        .prints_error(r#"unknown field "spec.rules[0].actoin""#)
        .prints_error(r#"unknown field "spec.exemption""#);
}

#[test]
fn several_managers_can_apply_entries_of_one_policy() {
    let admin = stage::shared().plane.kubectl("admin");
    let name = "policy-schema-managers";
    let spec = |label: &str, rule: &str, group: &str| {
        format!(
            "{{rules: [{{rule: {rule}, action: Warn}}], labels: [{{key: team, allowed: [{label}]}}], \
             exemptions: [{{name: trial, groups: [{group}], rules: [domain], reason: trial}}]}}"
        )
    };
    apply_as("platform", &admin, name, &spec("sales", "domain", "loaders")).succeeds();
    apply_as("sales", &admin, name, &spec("support", "display-name", "trainees")).succeeds();
    assert_eq!(
        admin.get("admissionpolicy", name)["spec"],
        json!({
            "rules": [{"rule": "domain", "action": "Warn"}, {"rule": "display-name", "action": "Warn"}],
            "labels": [{"key": "team", "allowed": ["sales", "support"], "required": false}],
            "exemptions": [
                {"name": "trial", "groups": ["loaders", "trainees"], "rules": ["domain"], "reason": "trial"},
            ],
        })
    );
    apply_as("sales", &admin, name, "{}").succeeds();
    assert_eq!(admin.get("admissionpolicy", name)["spec"]["labels"][0]["allowed"], json!(["sales"]));
}

#[test]
fn managers_with_different_values_get_a_conflict() {
    let admin = stage::shared().plane.kubectl("admin");
    let name = "policy-schema-conflict";
    let exemption =
        |rule| format!("{{exemptions: [{{name: trial, groups: [staff], rules: [{rule}], reason: trial}}]}}");
    apply_as("platform", &admin, name, "{rules: [{rule: domain, action: Deny}]}").succeeds();
    apply_as("sales", &admin, name, "{rules: [{rule: domain, action: Warn}]}")
        .fails()
        .prints_error(r#"conflict with "platform": .spec.rules[rule="domain"].action"#);
    // Otherwise, the users of one would be exempt from the rules of the other.
    apply_as("loader", &admin, name, &exemption("domain")).succeeds();
    apply_as("sales", &admin, name, &exemption("display-name"))
        .fails()
        .prints_error(r#"conflict with "loader": .spec.exemptions[name="trial"].rules"#);
}

#[test]
fn every_field_is_explained() {
    fn explain(admin: &Kubectl, path: &str, schema: &Value) {
        let fields = schema["properties"].as_object().or_else(|| schema["items"]["properties"].as_object());
        let explained = admin.run(["explain", path]).succeeds();
        for (name, field) in fields.into_iter().flatten() {
            let explained = explained.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
            let description = field["description"].as_str().expect("a description");
            assert!(explained.contains(description), "{path} does not explain {name}:\n{explained}");
            if field["properties"].is_object() || field["items"]["properties"].is_object() {
                explain(admin, &format!("{path}.{name}"), field);
            }
        }
    }
    let admin = stage::shared().plane.kubectl("admin");
    let crd = admin.get("crd", "admissionpolicies.admission.crm.milo.io");
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    explain(&admin, "admissionpolicy.spec", spec);
    admin
        .run(["explain", "admissionpolicy.spec.rules", "--recursive"])
        .succeeds()
        .prints("enum: Deny, Warn, Audit, Disabled")
        .prints("rule\t<string> -required-");
}

#[test]
fn the_list_of_policies_shows_which_is_accepted() {
    let mut stage = stage::exclusive();
    // The webhook would write the status.
    stage.webhook.kill();
    stage.webhook.unregister();
    let admin = stage.plane.kubectl("admin");
    let name = "policy-schema-columns";
    admin.apply(&policy(name, "{}")).succeeds();
    let condition = json!({
        "type": "Accepted",
        "status": "False",
        "reason": "NotUsed",
        "message": "only the policy named default is used",
        "lastTransitionTime": "2027-01-15T00:00:00Z",
    });
    let status = json!({"status": {"observedGeneration": 1, "conditions": [condition]}}).to_string();
    admin
        .run(["patch", "admissionpolicy", name, "--subresource=status", "--type=merge", "-p", &status])
        .succeeds();
    let columns = |args: &[&str]| -> Vec<Vec<String>> {
        let shown = admin.run(["get", "admissionpolicy", name].iter().chain(args)).succeeds().stdout;
        shown.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let [heading, row] = columns(&[]).try_into().expect("a heading and a row");
    assert_eq!(heading, ["NAME", "ACCEPTED", "REASON", "AGE"]);
    assert_eq!(row[..3], [name, "False", "NotUsed"]);
    let [heading, row] = columns(&["-o", "wide"]).try_into().expect("a heading and a row");
    assert_eq!(heading, ["NAME", "ACCEPTED", "REASON", "AGE", "MESSAGE"]);
    assert_eq!(row[4..].join(" "), "only the policy named default is used");
}

#[test]
fn the_output_of_policy_show_can_be_applied() {
    let stage = stage::exclusive();
    let file = stage.plane.workspace().write(
        "policy",
        "shown.yaml",
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nspec:\n  creator: {sources: [{from: UID}]}\n  \
         references:\n    kinds:\n      user: {group: g.example.com, version: v1, kind: User, plural: users}\n    \
         subjects: [{group: g.example.com, version: v1, kind: Deal, plural: deals}]\n  \
         exemptions: [{name: x, users: [u], rules: [domain], expires: \"2099-01-01T00:00:00Z\"}]\n",
    );
    let shown = std::process::Command::new(product()).args(["policy", "show"]).arg(file).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let args = ["apply", "--dry-run=server", "-f", "-"];
    stage.plane.kubectl("admin").run_with(&shown, args).succeeds();
}
