//! Tests policy changes in a running cluster: they take effect within seconds, and no call is lost.

use crate::stage;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::records::{company, record};
use crate::support::webhook::Webhook;
use serde_json::{Value, json};
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

/// A spec that the schema accepts, with problems in two places.
const BROKEN: &str = "{rules: [{rule: label-value, action: Audit}, {rule: user-exists, action: Deny}], \
                      creator: {sources: [{from: Username, pattern: '('}]}}";
/// The start of each problem.
const PROBLEMS: [&str; 2] =
    ["spec.creator.sources[0].pattern: Invalid value", "spec.references.kinds.user: Required value"];

/// A spec that sets the action of `label-value`.
fn label_value(action: &str) -> String {
    format!("{{rules: [{{rule: label-value, action: {action}}}]}}")
}

/// The decision of one replica about a label with a value that is not allowed.
fn verdict_of(webhook: &Webhook) -> Verdict {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "policy-probe",
            "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": "Company"},
            "name": "policy-probe",
            "operation": "CREATE",
            "userInfo": {"username": "alice"},
            "object": {
                "metadata": {"name": "policy-probe", "labels": {"crm.milo.io/source": "cold-call"}},
                "spec": {"displayName": "Acme"},
            },
        },
    });
    let response = &webhook.review("/mutate", &review)["response"];
    match (response["allowed"] == true, response["warnings"].is_array()) {
        (false, _) => Verdict::Refused,
        (true, true) => Verdict::Warned,
        (true, false) => Verdict::Silent,
    }
}

/// The policies that a replica shows in its metrics.
fn in_force(webhook: &Webhook) -> Vec<String> {
    let (_, page) = webhook.admin_page("/metrics").expect("the admin port answers");
    let policies = page.lines().filter_map(|line| line.strip_prefix("crm_admission_policy_info{policy=\""));
    policies.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

#[test]
fn an_invalid_policy_is_denied_with_every_problem() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let denied = admin.apply(&policy("default", BROKEN)).fails();
    let denied = denied.prints_error("The AdmissionPolicy \"default\" is invalid");
    PROBLEMS.into_iter().fold(denied, |denied, problem| denied.prints_error(problem));
    assert!(!admin.has("admissionpolicy", "default"));
    // An update is denied, too, and the valid version stays.
    admin.apply(&policy("default", &label_value("Deny"))).succeeds().without_warnings();
    await_verdict(&stage.plane.kubectl("alice"), Verdict::Refused);
    admin.apply(&policy("default", BROKEN)).fails().prints_error(PROBLEMS[0]);
    assert_eq!(verdict(&stage.plane.kubectl("alice")), Verdict::Refused);
    // A dry run is judged like a write.
    let dry_run = ["apply", "--dry-run=server", "-f", "-"];
    admin.run_with(&policy("default", BROKEN), dry_run).fails().prints_error(PROBLEMS[1]);
}

#[test]
fn a_policy_that_is_surely_not_meant_is_stored_with_warnings() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let spec = "{rules: [{rule: label-value, action: Warn, enforceAfter: '2099-01-15T00:00:00Z'}], \
                exemptions: [{name: importer, users: ['system:serviceaccounts:crm'], rules: [domain], \
                expires: '2020-01-01T00:00:00Z'}]}";
    admin
        .apply(&policy("default", spec))
        .succeeds()
        .prints_error("Warning: spec.rules[0].enforceAfter: has no effect")
        .prints_error(
            "Warning: spec.exemptions[0].users[0]: \"system:serviceaccounts:crm\": nobody has this name",
        )
        .prints_error("Warning: spec.exemptions[0].expires: the exemption ended");
    accepted(&admin, "default", "True", "Accepted");
}

#[test]
fn an_invalid_policy_that_was_stored_without_the_webhook_changes_nothing_and_can_be_fixed() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    let alice = stage.plane.kubectl("alice");
    admin.apply(&policy("default", &label_value("Deny"))).succeeds();
    accepted(&admin, "default", "True", "Accepted");
    // This replica sees the invalid policy while it runs, and the other one when it starts.
    let running = Webhook::start(&stage.plane);
    assert_eq!(verdict_of(&running), Verdict::Refused);
    let valid = admin.get("admissionpolicy", "default")["metadata"]["generation"].clone();
    stage.webhook.kill();
    admin.apply(&policy("default", BROKEN)).succeeds();
    let condition = accepted(&admin, "default", "False", "Invalid");
    let message = condition["message"].as_str().unwrap();
    assert!(PROBLEMS.iter().all(|problem| message.contains(problem)), "{message}");
    let kept = admin.get("admissionpolicy", "default")["status"]["lastAccepted"].clone();
    assert_eq!(kept["generation"], valid);
    assert_eq!(kept["spec"], json!({"rules": [{"rule": "label-value", "action": "Deny"}]}));
    stage.webhook.restart();
    let expected = format!("default@{valid}");
    for replica in [&running, &stage.webhook] {
        assert_eq!(verdict_of(replica), Verdict::Refused);
        assert_eq!(in_force(replica), [expected.as_str()]);
        let (code, ready) = replica.admin_page("/readyz").expect("the admin port answers");
        let stays =
            format!("[!]policy: default@{} is invalid, {expected} stays in force", generation(&admin));
        assert!(code == 200 && ready.contains(&stays), "{ready}");
    }
    assert_eq!(verdict(&alice), Verdict::Refused);
    let columns = admin.run(["get", "admissionpolicies"]).succeeds();
    columns.prints("NAME      ACCEPTED   REASON    AGE").prints("default   False      Invalid");
    let wide = admin.run(["get", "admissionpolicies", "-o", "wide"]).succeeds();
    wide.prints("MESSAGE").prints(PROBLEMS[0]);
    // Its metadata can be changed although it is invalid, and a partial fix is denied with what is left.
    admin.run(["annotate", "admissionpolicy", "default", "example.com/seen=yes"]).succeeds();
    let half = "{rules: [{rule: user-exists, action: Deny}]}";
    admin.apply(&policy("default", half)).fails().prints_error(PROBLEMS[1]);
    // Without a webhook that could answer, it can be fixed.
    stage.webhook.kill();
    admin.apply(&policy("default", &label_value("Disabled"))).succeeds();
    accepted(&admin, "default", "True", "Accepted");
    stage.webhook.restart();
    assert_eq!((verdict_of(&running), verdict_of(&stage.webhook)), (Verdict::Silent, Verdict::Silent));
    // As a whole: nothing of the earlier version is left.
    let status = &admin.get("admissionpolicy", "default")["status"];
    assert_eq!(
        status["lastAccepted"]["spec"],
        json!({"rules": [{"rule": "label-value", "action": "Disabled"}]})
    );
}

#[test]
fn without_a_valid_version_a_replica_uses_the_built_in_policy_and_says_so() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    stage.webhook.kill();
    admin.apply(&policy("default", BROKEN)).succeeds();
    stage.webhook.restart();
    accepted(&admin, "default", "False", "Invalid");
    assert_eq!(in_force(&stage.webhook), ["built-in"]);
    assert_eq!(verdict(&stage.plane.kubectl("alice")), Verdict::Warned);
    let (_, ready) = stage.webhook.admin_page("/readyz").expect("the admin port answers");
    assert!(ready.contains("built-in stays in force"), "{ready}");
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();
    poll::until("a fine policy", PATIENCE, || match stage.webhook.admin_page("/readyz") {
        Ok((200, ready)) if ready.contains("[+]policy ok") => Seen::Ready(()),
        seen => Seen::NotYet(format!("{seen:?}")),
    });
    assert_eq!(in_force(&stage.webhook), ["built-in"]);
}

fn generation(admin: &Kubectl) -> Value {
    admin.get("admissionpolicy", "default")["metadata"]["generation"].clone()
}

#[test]
fn a_policy_of_another_name_is_reported_as_not_used() {
    let mut stage = stage::exclusive();
    let admin = stand(&mut stage);
    admin.apply(&policy("strict", &label_value("Deny"))).succeeds().prints_error(
        "Warning: metadata.name: \"strict\": has no effect: only the AdmissionPolicy named default",
    );
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
