//! Tests the guard: with the permissions for self-managed certificates, the service account can change only `caBundle`
//! in a webhook configuration.

use crate::support::control_plane::{ControlPlane, GUARD, WEBHOOK_USER};
use crate::support::kubectl::{Kubectl, Outcome};
use crate::support::manifest;
use crate::support::pki::Authority;
use crate::support::poll::{self, Seen};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const MUTATING: &str = "mutatingwebhookconfiguration";
const VALIDATING: &str = "validatingwebhookconfiguration";
/// The server of an attacker who has stolen the token. Nothing calls it.
const STRANGER: &str = "https://127.0.0.1:1/";

/// A control plane with the permissions, the guard and the registration, but without a webhook. No records are written.
///
/// The tests run in parallel, so a request that succeeds is a dry run or changes a `caBundle` of the test's own.
fn plane() -> &'static ControlPlane {
    static PLANE: LazyLock<ControlPlane> = LazyLock::new(|| {
        let plane = ControlPlane::start();
        plane.install_roles();
        plane.install_self_managed_permissions();
        plane.kubectl("admin").apply_path(&manifest("registration/webhooks.yaml")).succeeds();
        plane
    });
    &PLANE
}

/// The type of a patch.
#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    Merge,
    Strategic,
}

impl Form {
    const fn flag(self) -> &'static str {
        match self {
            Self::Json => "--type=json",
            Self::Merge => "--type=merge",
            Self::Strategic => "--type=strategic",
        }
    }
}

fn patch(user: &Kubectl, kind: &str, form: Form, patch: &Value, flags: &[&str]) -> Outcome {
    let patch = patch.to_string();
    let args = ["patch", kind, "crm-admission", form.flag(), "-p", &patch];
    user.run(args.iter().chain(flags))
}

/// Asserts that the guard denies this to the service account, and that an admin may do it.
#[track_caller]
fn denied(kind: &str, form: Form, change: &Value, because: &str) {
    let (thief, admin) = (plane().kubectl("crm-admission"), plane().kubectl("admin"));
    let message = format!("may change only webhooks[].clientConfig.caBundle, and this changes {because}");
    let outcome = patch(&thief, kind, form, change, &[]);
    outcome.fails().prints_error(GUARD).prints_error(&message);
    patch(&admin, kind, form, change, &["--dry-run=server"]).succeeds();
}

/// Like [`denied`], for one operation of a JSON patch.
#[track_caller]
fn operation_denied(kind: &str, op: &str, path: &str, value: &Value, because: &str) {
    denied(kind, Form::Json, &json!([{"op": op, "path": path, "value": value}]), because);
}

/// Sets a field of the first webhook.
#[track_caller]
fn field_denied(kind: &str, field: &str, value: &Value) {
    operation_denied(kind, "add", &format!("/webhooks/0/{field}"), value, "another field of a webhook");
}

fn ca() -> String {
    STANDARD.encode(Authority::create("webhook").pem)
}

#[test]
fn the_address_of_the_webhook_cannot_be_changed() {
    for kind in [MUTATING, VALIDATING] {
        let url = json!([
            {"op": "remove", "path": "/webhooks/0/clientConfig/service"},
            {"op": "add", "path": "/webhooks/0/clientConfig/url", "value": STRANGER},
        ]);
        denied(kind, Form::Json, &url, "another field of a webhook");
        for (field, value) in [
            ("name", json!("stranger")),
            ("namespace", json!("default")),
            ("path", json!("/")),
            ("port", json!(1)),
        ] {
            field_denied(kind, &format!("clientConfig/service/{field}"), &value);
        }
        operation_denied(
            kind,
            "remove",
            "/webhooks/0/clientConfig/service/path",
            &Value::Null,
            "another field of a webhook",
        );
    }
}

#[test]
fn the_rules_of_the_webhook_cannot_be_changed() {
    let pods = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"], "scope": "*",
    });
    let labels = json!({"matchLabels": {"a": "b"}});
    let never = json!({"name": "never", "expression": "false"});
    for kind in [MUTATING, VALIDATING] {
        field_denied(kind, "rules/-", &pods);
        field_denied(kind, "rules/0", &pods);
        field_denied(kind, "rules/0/operations", &json!(["*"]));
        field_denied(kind, "namespaceSelector", &labels);
        field_denied(kind, "objectSelector", &labels);
        field_denied(kind, "matchPolicy", &json!("Exact"));
        field_denied(kind, "matchConditions", &json!([]));
        field_denied(kind, "matchConditions/-", &never);
        field_denied(kind, "matchConditions/0/expression", &json!("false"));
    }
}

#[test]
fn the_call_settings_of_the_webhook_cannot_be_changed() {
    for kind in [MUTATING, VALIDATING] {
        field_denied(kind, "failurePolicy", &json!("Ignore"));
        field_denied(kind, "timeoutSeconds", &json!(1));
        field_denied(kind, "sideEffects", &json!("NoneOnDryRun"));
        field_denied(kind, "admissionReviewVersions", &json!(["v1", "v1beta1"]));
    }
    field_denied(MUTATING, "reinvocationPolicy", &json!("Never"));
}

#[test]
fn webhooks_cannot_be_added_removed_renamed_or_reordered() {
    let which = "which webhooks there are";
    let mut stored = plane().kubectl("admin").get(VALIDATING, "crm-admission")["webhooks"][0].clone();
    stored["name"] = json!("stranger.crm.milo.io");
    for kind in [MUTATING, VALIDATING] {
        operation_denied(kind, "add", "/webhooks/-", &stored, which);
        operation_denied(kind, "add", "/webhooks/0", &stored, which);
        operation_denied(kind, "remove", "/webhooks/0", &Value::Null, which);
        operation_denied(kind, "replace", "/webhooks/0/name", &json!("stranger.crm.milo.io"), which);
        denied(kind, Form::Merge, &json!({"webhooks": null}), which);
    }
    let swap = json!([{"op": "move", "from": "/webhooks/0", "path": "/webhooks/1"}]);
    denied(VALIDATING, Form::Json, &swap, which);
    // A patch of this type adds missing entries to the list.
    denied(MUTATING, Form::Strategic, &json!({"webhooks": [stored]}), which);
}

#[test]
fn the_metadata_cannot_be_changed() {
    let owner = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "1"}]);
    for kind in [MUTATING, VALIDATING] {
        for metadata in [
            json!({"labels": {"a": "b"}}),
            json!({"labels": null}),
            json!({"labels": {"app.kubernetes.io/component": null}}),
            json!({"annotations": {"cert-manager.io/inject-ca-from": "default/stranger"}}),
            json!({"annotations": null}),
            json!({"finalizers": ["example.com/hold"]}),
            json!({"ownerReferences": owner}),
        ] {
            denied(kind, Form::Merge, &json!({"metadata": metadata}), "the metadata");
        }
    }
}

#[test]
fn another_change_beside_a_ca_bundle_is_denied() {
    for kind in [MUTATING, VALIDATING] {
        let both = json!([
            {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ca()},
            {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
        ]);
        denied(kind, Form::Json, &both, "another field of a webhook");
    }
}

#[test]
fn a_stolen_token_cannot_register_a_server_of_its_own_for_cluster_role_bindings() {
    let bindings = json!({"webhooks": [{
        "name": "mutate.crm.milo.io",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": STRANGER, "caBundle": ca()},
        "rules": [{
            "apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["v1"],
            "resources": ["clusterrolebindings"], "operations": ["CREATE", "UPDATE"],
        }],
        "sideEffects": "None",
    }]});
    denied(MUTATING, Form::Merge, &bindings, "another field of a webhook");
    let rules = &bindings["webhooks"][0]["rules"];
    let beside = json!({"webhooks": [{"name": "mutate.crm.milo.io", "rules": rules}]});
    denied(MUTATING, Form::Strategic, &beside, "another field of a webhook");
    // Nobody is called for them.
    let binding = ["create", "clusterrolebinding", "guard-probe", "--clusterrole=view", "--user=nobody"];
    plane().kubectl("admin").run(binding.into_iter().chain(["--dry-run=server"])).succeeds();
}

#[test]
fn ca_bundles_can_be_set_replaced_and_removed() {
    let (program, admin) = (plane().kubectl("crm-admission"), plane().kubectl("admin"));
    let bundles = |kind| {
        let webhooks = admin.get(kind, "crm-admission")["webhooks"].as_array().expect("webhooks").clone();
        webhooks.iter().map(|webhook| webhook["clientConfig"]["caBundle"].clone()).collect::<Vec<_>>()
    };
    for (kind, webhooks) in [(MUTATING, 1), (VALIDATING, 3)] {
        assert_eq!(bundles(kind), vec![Value::Null; webhooks], "it is registered without one");
        let path = |webhook| format!("/webhooks/{webhook}/clientConfig/caBundle");
        let names = admin.get(kind, "crm-admission")["webhooks"].clone();
        let [first, second, third] = [ca(), ca(), ca()];
        for bundle in [&first, &second] {
            let operation = |webhook| json!({"op": "add", "path": path(webhook), "value": bundle});
            let operations: Value = (0..webhooks).map(operation).collect();
            patch(&program, kind, Form::Json, &operations, &[]).succeeds();
            assert_eq!(bundles(kind), vec![json!(bundle); webhooks]);
        }
        // A patch of this type finds webhooks by name.
        let named = |webhook| json!({"name": names[webhook]["name"], "clientConfig": {"caBundle": third}});
        let strategic = json!({"webhooks": (0..webhooks).map(named).collect::<Value>()});
        patch(&program, kind, Form::Strategic, &strategic, &[]).succeeds();
        assert_eq!(bundles(kind), vec![json!(third); webhooks]);
        // A patch of this type replaces the whole list.
        let mut whole = admin.get(kind, "crm-admission")["webhooks"].clone();
        for webhook in whole.as_array_mut().expect("webhooks") {
            webhook["clientConfig"]["caBundle"] = json!(first);
        }
        patch(&program, kind, Form::Merge, &json!({"webhooks": whole}), &[]).succeeds();
        assert_eq!(bundles(kind), vec![json!(first); webhooks]);
        let removals: Value = (0..webhooks).map(|it| json!({"op": "remove", "path": path(it)})).collect();
        patch(&program, kind, Form::Json, &removals, &[]).succeeds();
        assert_eq!(bundles(kind), vec![Value::Null; webhooks]);
    }
}

/// Grants the service account all permissions for webhook configurations, so that only the guard limits it.
fn grant_all(admin: &Kubectl, thief: &Kubectl) {
    let name = "guard-grants-all";
    let grants = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{
                "apiGroups": ["admissionregistration.k8s.io"], "verbs": ["*"],
                "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            }],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": WEBHOOK_USER}],
        },
    ]});
    admin.apply(&grants.to_string()).succeeds();
    // The authorizer follows the bindings with a watch.
    poll::until("all rights", PATIENCE, || {
        let asked = thief.run(["auth", "can-i", "deletecollection", "validatingwebhookconfigurations"]);
        if asked.ok() { Seen::Ready(()) } else { Seen::NotYet(asked.to_string()) }
    });
}

#[test]
fn with_more_permissions_it_still_cannot_create_delete_or_replace_a_configuration() {
    let (admin, thief) = (plane().kubectl("admin"), plane().kubectl("crm-admission"));
    grant_all(&admin, &thief);
    for (kind, title, resources) in [
        (MUTATING, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        (VALIDATING, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ] {
        let other = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": title, "metadata": {"name": "guard-other"},
        });
        let message = "may neither create nor delete webhook configurations";
        thief.create(&other.to_string()).fails().prints_error(GUARD).prints_error(message);
        let apply = ["apply", "--server-side", "-f", "-"];
        thief.run_with(&other.to_string(), apply).fails().prints_error(GUARD).prints_error(message);
        thief.run(["delete", kind, "crm-admission"]).fails().prints_error(GUARD).prints_error(message);
        let collection = format!("/apis/admissionregistration.k8s.io/v1/{resources}");
        thief.run(["delete", "--raw", &collection]).fails().prints_error(GUARD).prints_error(message);

        let mut replaced = admin.get(kind, "crm-admission");
        replaced["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
        replaced["webhooks"][0]["failurePolicy"] = json!("Ignore");
        thief.replace(&replaced.to_string()).fails().prints_error(GUARD);

        // The same is true for other configurations.
        admin.create(&other.to_string()).succeeds();
        let labels = json!({"metadata": {"labels": {"a": "b"}}});
        thief.patch(kind, "guard-other", &labels).fails().prints_error(GUARD);
        // Other users may do all of this.
        admin.patch(kind, "guard-other", &labels).succeeds();
        admin.run(["delete", kind, "guard-other"]).succeeds();
    }
}

#[test]
fn other_service_accounts_are_not_affected() {
    let admin = plane().kubectl("admin");
    let change = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    let patch = ["patch", MUTATING, "crm-admission", "--type=merge", "-p", &change, "--dry-run=server"];
    let with = |account: &str| {
        admin.run(patch.into_iter().chain([&*format!("--as={account}"), "--as-group=system:masters"]))
    };
    with(WEBHOOK_USER).fails().prints_error(GUARD);
    for account in [
        "system:serviceaccount:crm-admission-system:default",
        "system:serviceaccount:default:crm-admission",
        "crm-admission",
    ] {
        with(account).succeeds();
    }
}

#[test]
fn the_service_account_cannot_change_the_guard() {
    let thief = plane().kubectl("crm-admission");
    for resource in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            let asked = thief.run(["auth", "can-i", verb, resource]);
            assert!(!asked.ok(), "{verb} {resource}");
        }
    }
}
