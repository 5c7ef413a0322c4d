//! Tests an outage of the webhook: only writes of CRM records fail, and they work again afterwards.

use crate::stage;
use crate::support::installation::Installation;
use crate::support::records::company;
use crate::support::webhook::Reach;
use serde_json::json;

/// The installation with a running and registered webhook, whatever the previous test did.
fn stand(stage: &mut Installation) {
    stage.webhook.ensure_running();
    stage.webhook.register();
}

#[test]
fn without_the_webhook_only_writes_of_crm_records_fail() {
    let mut stage = stage::exclusive();
    stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    let admin = stage.plane.kubectl("admin");
    alice.apply(&company("outage-before", "{displayName: Acme}")).succeeds();

    stage.webhook.kill();
    let refusal = r#"failed calling webhook "mutate.crm.milo.io""#;
    let new = company("outage-during", "{displayName: Acme}");
    alice.apply(&new).fails().prints_error(refusal);
    let edit = json!({"spec": {"description": "Anvils"}});
    // The record is complete.
    let validation = r#"failed calling webhook "validate.crm.milo.io""#;
    alice.patch("company", "outage-before", &edit).fails().prints_error(validation);
    alice.run(["get", "company", "outage-before"]).succeeds();
    admin.run(["create", "namespace", "outage"]).succeeds();
    admin.run(["create", "configmap", "outage", "--namespace=outage", "--from-literal=key=value"]).succeeds();
    // Deletions do not need the webhook.
    alice.run(["delete", "company", "outage-before"]).succeeds();

    stage.webhook.restart();
    stage.webhook.await_reach(Reach::Called);
    alice.apply(&new).succeeds();
    alice.run(["delete", "company", "outage-during"]).succeeds();
}

#[test]
fn a_webhook_exits_with_0_after_a_signal() {
    let mut stage = stage::exclusive();
    stand(&mut stage);
    let ended = stage.webhook.stop();
    assert!(ended.success(), "{ended}");
    stage.webhook.await_reach(Reach::Unreachable);
    stage.webhook.restart();
    stage.webhook.await_reach(Reach::Called);
}
