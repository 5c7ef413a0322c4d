//! Tests policy changes in a running cluster: they take effect within seconds, and no call is lost.

use crate::stage;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::records::{company, record};
use crate::support::webhook::Webhook;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a change may take to have an effect.
const PROMPTLY: Duration = Duration::from_secs(5);
/// How long a status may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);

/// A policy with this `spec`, in YAML's flow style.
fn policy(name: &str, spec: &str) -> String {
    let api = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\n";
    format!("{api}metadata: {{name: {name}}}\nspec: {spec}\n")
}

/// The installation with a registered webhook and without a policy.
fn stand(stage: &mut Installation) -> Kubectl {
    stage.webhook.ensure_running();
    stage.webhook.register();
    let admin = stage.plane.kubectl("admin");
    admin.run(["delete", "admissionpolicy", "--all", "--ignore-not-found"]).succeeds();
    await_verdict(&stage.plane.kubectl("alice"), Verdict::Warned);
    admin
}

/// The decision about a label with a value that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Refused,
    Warned,
    Silent,
}

fn verdict(user: &Kubectl) -> Verdict {
    let labelled = "{name: policy-probe, labels: {crm.milo.io/source: cold-call}}";
    let manifest = record("Company", labelled, "{displayName: Acme}");
    let outcome = user.run_with(&manifest, ["apply", "--dry-run=server", "-f", "-"]);
    match (outcome.ok(), outcome.stderr.contains("[label-value]")) {
        (true, true) => Verdict::Warned,
        (true, false) => Verdict::Silent,
        (false, true) => Verdict::Refused,
        (false, false) => panic!("unexpected output: {}", outcome.stderr),
    }
}

/// Waits until records get this decision.
fn await_verdict(user: &Kubectl, wanted: Verdict) {
    poll::until("the new verdict", PROMPTLY, || match verdict(user) {
        seen if seen == wanted => Seen::Ready(()),
        other => Seen::NotYet(format!("{other:?} instead of {wanted:?}")),
    });
}

/// Waits until the condition `Accepted` of a policy has this status and reason, and returns it.
fn accepted(admin: &Kubectl, name: &str, status: &str, reason: &str) -> Value {
    poll::until("the condition Accepted", PATIENCE, || {
        let object = admin.get("admissionpolicy", name);
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let condition = conditions.into_iter().find(|condition| condition["type"] == "Accepted");
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        match condition {
            Some(found) if current && found["status"] == status && found["reason"] == reason => {
                Seen::Ready(found)
            }
            other => Seen::NotYet(format!("{other:?}")),
        }
    })
}

#[test]
fn a_policy_change_takes_effect_during_writes_and_no_call_fails() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    let done = AtomicBool::new(false);
    let writes = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut writes = 0;
            while !done.load(Ordering::Relaxed) {
                // Panics if a call fails for any reason other than the rule.
                verdict(&alice);
                writes += 1;
            }
            writes
        });
        for (action, wanted) in
            [("Deny", Verdict::Refused), ("Disabled", Verdict::Silent), ("Warn", Verdict::Warned)]
        {
            admin
                .apply(&policy("default", &format!("{{rules: [{{rule: label-value, action: {action}}}]}}")))
                .succeeds();
            await_verdict(&alice, wanted);
        }
        done.store(true, Ordering::Relaxed);
        writer.join().expect("no write failed")
    });
    assert!(writes > 3, "only {writes} writes meanwhile");
    accepted(&admin, "default", "True", "Accepted");
    admin.run(["get", "admissionpolicies"]).succeeds().prints("ACCEPTED").prints("True");
}

#[test]
fn an_invalid_policy_reports_every_problem_and_changes_nothing() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    admin.apply(&policy("default", "{rules: [{rule: label-value, action: Deny}]}")).succeeds();
    await_verdict(&alice, Verdict::Refused);
    let broken = "{rules: [{rule: label-value, action: Audit}, {rule: user-exists, action: Deny}], \
                  creator: {sources: [{from: Username, pattern: '('}]}}";
    admin.apply(&policy("default", broken)).succeeds();
    let condition = accepted(&admin, "default", "False", "Invalid");
    let message = condition["message"].as_str().unwrap();
    for part in
        ["spec.references.kinds.user: Required value", "spec.creator.sources[0].pattern: Invalid value"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(verdict(&alice), Verdict::Refused, "the last valid policy stays in force");
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();
    await_verdict(&alice, Verdict::Warned);
}

#[test]
fn a_policy_of_another_name_is_reported_as_not_used() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    admin.apply(&policy("strict", "{rules: [{rule: label-value, action: Deny}]}")).succeeds();
    let condition = accepted(&admin, "strict", "False", "NotUsed");
    assert!(condition["message"].as_str().unwrap().contains("default"), "{condition}");
    assert_eq!(verdict(&stage.plane.kubectl("alice")), Verdict::Warned);
}

#[test]
fn two_replicas_do_not_overwrite_each_others_status() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    let other = Webhook::start(&stage.plane);
    admin.apply(&policy("default", "{rules: [{rule: label-value, action: Deny}]}")).succeeds();
    await_verdict(&alice, Verdict::Refused);
    for webhook in [&stage.webhook, &other] {
        poll::until("the policy in the metrics", PATIENCE, || {
            let (_, page) = webhook.admin_page("/metrics").expect("the admin port answers");
            let object = admin.get("admissionpolicy", "default");
            let origin = format!("default@{}", object["metadata"]["generation"]);
            if page.contains(&origin) {
                Seen::Ready(())
            } else {
                Seen::NotYet(format!("no {origin} in the metrics"))
            }
        });
    }
    accepted(&admin, "default", "True", "Accepted");
    // In this time, replicas that overwrite each other would have written several times.
    let version = || admin.get("admissionpolicy", "default")["metadata"]["resourceVersion"].clone();
    let settled = version();
    for _ in 0..20 {
        alice
            .run_with(
                &company("replica-probe", "{displayName: Acme}"),
                ["apply", "--dry-run=server", "-f", "-"],
            )
            .succeeds();
    }
    assert_eq!(version(), settled);
}

#[test]
fn a_policy_from_a_file_overrides_that_of_the_cluster() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    admin.apply(&policy("default", "{rules: [{rule: label-value, action: Deny}]}")).succeeds();
    await_verdict(&alice, Verdict::Refused);
    let file = |action: &str| {
        let document = policy("default", &format!("{{rules: [{{rule: label-value, action: {action}}}]}}"));
        stage.plane.workspace().write("policy", "policy.yaml", &document)
    };
    let path = file("Disabled");
    let path = path.to_str().unwrap().to_owned();
    stage.webhook.kill();
    stage.webhook.restart_with(&["--policy", &path]);
    await_verdict(&alice, Verdict::Silent);
    let document = policy("default", "{rules: [{rule: label-value, action: Warn}]}");
    stage.plane.workspace().write("policy", "policy.yaml", &document);
    await_verdict(&alice, Verdict::Warned);
    stage.webhook.kill();
    stage.webhook.restart();
}

#[test]
fn a_missing_kind_is_reported_and_blocks_nothing_else() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    let subject = "{group: crm.example.com, version: v1, kind: Deal, plural: deals}";
    admin.apply(&policy("default", &format!("{{references: {{subjects: [{subject}]}}}}"))).succeeds();
    accepted(&admin, "default", "True", "Accepted");
    let spec = "{subjectRef: {apiGroup: crm.example.com, kind: Deal, name: big-one}, content: signed}";
    let note = record("Note", "{name: about-a-deal}", spec);
    // The webhook has no permission for that kind, and the cluster does not have it, so lookups fail.
    let dry_run = ["apply", "--dry-run=server", "-f", "-"];
    alice
        .run_with(&note, dry_run)
        .fails()
        .prints_error("spec.subjectRef.name")
        .prints_error("[subject-exists]");
    poll::until("the kind on the admin port", PATIENCE, || {
        let (code, ready) = stage.webhook.admin_page("/readyz").expect("the admin port answers");
        let (_, metrics) = stage.webhook.admin_page("/metrics").expect("the admin port answers");
        let shown = ready.contains("[!]directory Deal.crm.example.com: ");
        let counted = metrics.contains(r#"crm_admission_directory_ready{kind="Deal.crm.example.com"} 0"#);
        match (code, shown && counted) {
            (200, true) => Seen::Ready(()),
            _ => Seen::NotYet(format!("{code} {ready}")),
        }
    });
    alice.run_with(&company("beside-a-deal", "{displayName: Acme}"), dry_run).succeeds();
}
