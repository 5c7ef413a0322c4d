//! Tests for which requests the API server calls the webhook.

use crate::stage;
use crate::support::installation::{Installation, Witnessed};
use crate::support::kubectl::Kubectl;
use crate::support::records::{company, record};
use crate::support::webhook::{Reach, calls};
use serde_json::json;
use std::sync::MutexGuard;

/// The errors of kubectl if the API server called the webhook and got no answer: before and after mutations. For records
/// that are complete, it calls only the second.
const ASKED: &str = r#"failed calling webhook "mutate.crm.milo.io""#;
const ASKED_LAST: &str = r#"failed calling webhook "validate.crm.milo.io""#;

/// An installation with a record of this name and spec, whose webhook is registered but does not run.
fn unanswered(name: &str, spec: &str) -> (Witnessed<MutexGuard<'static, Installation>>, Kubectl) {
    let mut stage = stage::exclusive();
    stage.webhook.ensure_running();
    stage.webhook.unregister();
    let alice = stage.plane.kubectl("alice");
    alice.create(&company(name, spec)).succeeds();
    stage.webhook.register();
    stage.webhook.kill();
    stage.webhook.await_reach(Reach::Unreachable);
    (stage, alice)
}

#[test]
fn an_update_that_does_not_change_spec_or_labels_is_not_sent() {
    let name = "registration-same";
    let (_stage, alice) = unanswered(name, "{displayName: Acme, creatorRef: {name: zoe}}");
    alice.run(["annotate", "company", name, "example.com/seen=yes"]).succeeds();
    for metadata in [
        json!({"finalizers": ["crm.milo.io/hold"]}),
        json!({"finalizers": null}),
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "1"}]}),
        // Missing and empty labels are equal.
        json!({"labels": {}, "annotations": {"example.com/seen": "again"}}),
    ] {
        alice.patch("company", name, &json!({"metadata": metadata})).succeeds();
    }
    alice.replace(&alice.get("company", name).to_string()).succeeds();
}

#[test]
fn an_update_of_spec_or_labels_is_sent() {
    let name = "registration-changed";
    let (stage, alice) = unanswered(name, "{displayName: Acme, creatorRef: {name: zoe}}");
    for (change, asked) in [
        (json!({"spec": {"displayName": "Acme Ltd"}}), ASKED_LAST),
        (json!({"spec": {"displayName": "Acme Ltd "}}), ASKED),
        (json!({"spec": {"description": "Anvils"}}), ASKED_LAST),
        (json!({"spec": {"creatorRef": null}}), ASKED),
        (json!({"metadata": {"labels": {"crm.milo.io/source": "referral"}}}), ASKED_LAST),
    ] {
        alice.patch("company", name, &change).fails().prints_error(asked);
    }
    // A missing spec is not an error of the condition, which would have another message.
    let without = json!([{"op": "remove", "path": "/spec"}]).to_string();
    alice.run(["patch", "company", name, "--type=json", "-p", &without]).fails().prints_error(ASKED);
    // The API server counts such errors in the metric and labels that the shipped alert uses.
    let metrics = stage.plane.kubectl("admin").run(["get", "--raw", "/metrics"]).succeeds().stdout;
    let counted = |line: &str| {
        let labels = [r#"error_type="calling_webhook_error""#, r#"name="mutate.crm.milo.io""#];
        line.starts_with("apiserver_admission_webhook_rejection_count{")
            && labels.iter().all(|label| line.contains(label))
    };
    assert!(metrics.lines().any(counted));
}

#[test]
fn a_record_of_the_largest_size_is_compared_too() {
    let name = "registration-large";
    let label = "x".repeat(60);
    let domains: Vec<String> =
        (0..100).map(|index| format!("d{index}.{label}.{label}.{label}.example")).collect();
    let spec = json!({
        "displayName": "ü".repeat(256),
        "description": "ü".repeat(4096),
        "domains": domains,
        "creatorRef": {"name": "zoe"},
    });
    let (_stage, alice) = unanswered(name, &spec.to_string());
    alice.run(["annotate", "company", name, "example.com/seen=yes"]).succeeds();
    alice.patch("company", name, &json!({"spec": {"description": "Anvils"}})).fails().prints_error(ASKED);
}

#[test]
fn a_deletion_is_sent_unless_it_is_by_the_cluster() {
    let stage = stage::shared();
    let admin = stage.plane.kubectl("admin");
    let told = || calls(&admin, "delete.crm.milo.io");
    let delete = |name: &str, user: &Kubectl, impersonating: &[&str]| {
        admin.apply(&record("Company", &format!("{{name: {name}}}"), "{displayName: Acme}")).succeeds();
        let before = told();
        user.run(["delete", "company", name].iter().chain(impersonating)).succeeds();
        told() - before
    };
    let collector = "--as=system:serviceaccount:kube-system:generic-garbage-collector";
    assert_eq!(delete("registration-collected", &admin, &[collector]), 0);
    assert_eq!(delete("registration-deleted", &stage.plane.kubectl("alice"), &[]), 1);
}
