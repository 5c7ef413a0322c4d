//! The webhook is away: writers of CRM records are told so, nobody else notices, and all is well when it is back.

use crate::records::company;
use crate::stage;
use crate::support::installation::Installation;
use crate::support::webhook::Reach;
use serde_json::json;

/// The installation as it should be, whatever the test before did to it.
fn stand(stage: &mut Installation) {
    stage.webhook.ensure_running();
    stage.webhook.register();
}

#[test]
fn a_webhook_that_is_down_stops_writers_of_crm_records_and_nobody_else() {
    let mut stage = stage::exclusive();
    stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    let admin = stage.plane.kubectl("admin");
    alice.apply(&company("outage-before", "{displayName: Acme}")).succeeds();

    stage.webhook.kill();
    let refusal = r#"failed calling webhook "mutate.crm.milo.io""#;
    let new = company("outage-during", "{displayName: Acme}");
    alice.apply(&new).fails().complains(refusal);
    let edit = json!({"spec": {"description": "Anvils"}});
    alice.patch("company", "outage-before", &edit).fails().complains(refusal);
    alice.run(["get", "company", "outage-before"]).succeeds();
    admin.run(["create", "namespace", "outage"]).succeeds();
    admin.run(["create", "configmap", "outage", "--namespace=outage", "--from-literal=key=value"]).succeeds();
    // Cleaning up is never in need of the webhook.
    alice.run(["delete", "company", "outage-before"]).succeeds();

    stage.webhook.restart();
    stage.webhook.await_reach(Reach::Called);
    alice.apply(&new).succeeds();
    alice.run(["delete", "company", "outage-during"]).succeeds();
}

#[test]
fn a_webhook_that_is_told_to_stop_ends_without_an_error() {
    let mut stage = stage::exclusive();
    stand(&mut stage);
    let ended = stage.webhook.stop();
    assert!(ended.success(), "{ended}");
    stage.webhook.await_reach(Reach::Unreachable);
    stage.webhook.restart();
    stage.webhook.await_reach(Reach::Called);
}
