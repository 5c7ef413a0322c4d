//! Tests deletions: users learn about the dependents that they may list, and the cluster can always clean up.

use crate::stage;
use crate::support::control_plane::ControlPlane;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, company, note_about, note_on, person, record};
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

const COLLECTOR: &str = "--as=system:serviceaccount:kube-system:generic-garbage-collector";

/// Two people at a company, and a note about it.
fn staffed(name: &str) -> String {
    bundle([
        company(name, "{displayName: Acme}"),
        person(&format!("{name}-ada"), &format!("{{displayName: Ada, companyRef: {{name: {name}}}}}")),
        person(&format!("{name}-bob"), &format!("{{displayName: Bob, companyRef: {{name: {name}}}}}")),
        note_on(name, &format!("{name}-note")),
    ])
}

fn delete(user: &Kubectl, name: &str) -> crate::support::kubectl::Outcome {
    user.run(["delete", "company", name])
}

#[test]
fn a_deletion_warns_about_dependents_and_so_does_a_dry_run() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    alice.apply(&staffed("gone")).succeeds();
    alice.apply(&note_about("gone-ada", "gone-other")).succeeds();
    let said = "metadata.name: \"gone\": still referred to by 2 People (\"gone-ada\", \"gone-bob\") \
                and 1 Note (\"gone-note\") [delete-referenced]";
    alice.run(["delete", "company", "gone", "--dry-run=server"]).succeeds().warns(said);
    assert!(alice.has("company", "gone"));
    delete(&alice, "gone").succeeds().warns(said);
    alice.run(["delete", "person", "gone-ada"]).succeeds().warns(
        "metadata.name: \"gone-ada\": still referred to by 1 Note (\"gone-other\"); delete or change them \
         first [delete-referenced]",
    );
    alice.run(["delete", "note", "gone-note"]).succeeds().without_warnings();
    alice.run(["delete", "person", "gone-bob"]).succeeds().without_warnings();
}

#[test]
fn a_dependent_that_is_being_deleted_does_not_count() {
    let stage = stage::shared();
    let alice = stage.plane.kubectl("alice");
    alice.apply(&company("leaving", "{displayName: Acme}")).succeeds();
    let metadata = "{name: leaving-ada, finalizers: [example.com/wait]}";
    let ada = record("Person", metadata, "{displayName: Ada, companyRef: {name: leaving}}");
    alice.apply(&ada).succeeds();
    alice.run(["delete", "person", "leaving-ada", "--wait=false"]).succeeds();
    delete(&alice, "leaving").succeeds().without_warnings();
    alice.patch("person", "leaving-ada", &json!({"metadata": {"finalizers": null}})).succeeds();
}

#[test]
fn a_user_who_may_not_list_notes_learns_nothing_about_them() {
    let stage = stage::shared();
    let (alice, erin) = (stage.plane.kubectl("alice"), stage.plane.kubectl("erin"));
    alice.apply(&staffed("discreet")).succeeds();
    let said = "metadata.name: \"discreet\": still referred to by 2 People (\"discreet-ada\", \"discreet-bob\") \
                [delete-referenced]";
    delete(&erin, "discreet").succeeds().warns(said).prints_no_error("ote");
    let noted = [company("noted", "{displayName: Acme}"), note_on("noted", "noted-note")];
    alice.apply(&bundle(noted)).succeeds();
    delete(&erin, "noted").succeeds().without_warnings();
}

#[test]
fn a_note_about_a_kind_of_another_group_does_not_count() {
    let stage = stage::exclusive();
    let admin = stand(&stage);
    let alice = stage.plane.kubectl("alice");
    alice.apply(&company("namesake", "{displayName: Acme}")).succeeds();
    // It can only be stored without the rule that looks up its subject.
    policy(
        &admin,
        "{rule: subject-kind, action: Disabled}, {rule: subject-exists, action: Disabled}",
        || {
            let subject = "{apiGroup: example.com, kind: Company, name: namesake}";
            let spec = format!("{{subjectRef: {subject}, content: another one}}");
            alice.apply(&record("Note", "{name: namesake-note}", &spec)).ok()
        },
    );
    delete(&alice, "namesake").succeeds().without_warnings();
    alice.run(["delete", "note", "namesake-note"]).succeeds();
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();
}

#[test]
fn each_object_of_a_collection_is_checked() {
    let stage = stage::shared();
    let (alice, erin) = (stage.plane.kubectl("alice"), stage.plane.kubectl("erin"));
    let labelled = |name: &str| {
        record("Company", &format!("{{name: {name}, labels: {{e2e: swept}}}}"), "{displayName: Acme}")
    };
    let records = [
        labelled("swept-a"),
        labelled("swept-b"),
        person("swept-ada", "{displayName: Ada, companyRef: {name: swept-a}}"),
        person("swept-bob", "{displayName: Bob, companyRef: {name: swept-b}}"),
    ];
    let said = |name: &str, person: &str| {
        format!(
            "metadata.name: {name:?}: still referred to by 1 Person ({person:?}); delete or change them first \
             [delete-referenced]"
        )
    };
    let both = [said("swept-a", "swept-ada"), said("swept-b", "swept-bob")];
    alice.apply(&bundle(&records)).succeeds();
    // kubectl deletes one object after the other; the API server also accepts one request for all.
    alice.run(["delete", "companies", "-l", "e2e=swept"]).succeeds().warns(&both[0]).warns(&both[1]);
    alice.apply(&bundle(&records)).succeeds();
    let at_once = "/apis/crm.milo.io/v1alpha1/companies?labelSelector=e2e%3Dswept";
    erin.run(["delete", "--raw", at_once]).succeeds().warns(&both[0]).warns(&both[1]);
    assert!(!alice.has("company", "swept-a") && !alice.has("company", "swept-b"));
}

/// The installation with a registered webhook and without a policy.
fn stand(stage: &Installation) -> Kubectl {
    stage.webhook.register();
    let admin = stage.plane.kubectl("admin");
    admin.run(["delete", "admissionpolicy", "--all", "--ignore-not-found"]).succeeds();
    admin
}

/// Puts a policy with these rules into force, and waits for `seen`.
fn policy(admin: &Kubectl, rules: &str, mut seen: impl FnMut() -> bool) {
    let exempt = "{name: sweepers, users: [carol], rules: [delete-referenced]}";
    let spec = format!("{{rules: [{rules}], exemptions: [{exempt}]}}");
    let api = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\n";
    admin.apply(&format!("{api}metadata: {{name: default}}\nspec: {spec}\n")).succeeds();
    poll::until("the policy in force", PATIENCE, || {
        if seen() { Seen::Ready(()) } else { Seen::NotYet("not yet".to_owned()) }
    });
}

#[test]
fn a_denied_deletion_is_a_conflict_except_for_the_cluster_and_exempt_users() {
    let mut stage = stage::exclusive();
    stage.webhook.ensure_running();
    let admin = stand(&stage);
    let [alice, carol, erin] = ["alice", "carol", "erin"].map(|user| stage.plane.kubectl(user));
    let names = ["kept", "kept-collected", "kept-exempt"];
    alice.apply(&bundle(names.map(staffed))).succeeds();
    let dry_run = ["delete", "company", "kept", "--dry-run=server"];
    policy(&admin, "{rule: delete-referenced, action: Deny}", || !alice.run(dry_run).ok());
    let refusal = "Error from server (Conflict): admission webhook \"delete.crm.milo.io\" denied the request: \
                   Company.crm.milo.io \"kept\" cannot be deleted: still referred to by 2 People (\"kept-ada\", \
                   \"kept-bob\") and 1 Note (\"kept-note\"); delete or change them first [delete-referenced]";
    alice.run(dry_run).fails().prints_error(refusal);
    delete(&alice, "kept").fails().prints_error(refusal);
    admin.run(["delete", "company", "kept-collected", COLLECTOR]).succeeds().without_warnings();
    delete(&carol, "kept-exempt").succeeds().without_warnings();
    // If the user may list none of the remaining dependents, the message says only that there are some.
    alice.run(["delete", "people", "kept-ada", "kept-bob"]).succeeds();
    let hidden = "cannot be deleted: still referred to by records that you may not list; ask someone who may list them";
    delete(&erin, "kept").fails().prints_error(hidden).prints_no_error("ote");
    alice.run(["delete", "note", "kept-note"]).succeeds();
    delete(&erin, "kept").succeeds().without_warnings();
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();
}

#[test]
fn a_failed_count_never_blocks_a_deletion() {
    let mut stage = stage::exclusive();
    stage.webhook.ensure_running();
    let admin = stand(&stage);
    let alice = stage.plane.kubectl("alice");
    let noted = [company("unread", "{displayName: Acme}"), note_on("unread", "unread-note")];
    alice.apply(&bundle(noted)).succeeds();
    let dry_run = ["delete", "company", "unread", "--dry-run=server"];
    policy(&admin, "{rule: delete-referenced, action: Deny}", || !alice.run(dry_run).ok());
    let role = admin.get("clusterrole", "crm-admission");
    let rules = role["rules"].as_array().expect("rules").iter();
    let others: Vec<&Value> = rules.filter(|rule| rule["resources"] != json!(["notes"])).collect();
    admin.patch("clusterrole", "crm-admission", &json!({"rules": others})).succeeds();
    let webhook = stage.plane.kubectl("crm-admission");
    poll::until("the loss of the permission", PATIENCE, || {
        match webhook.run(["auth", "can-i", "list", "notes.crm.milo.io"]).ok() {
            false => Seen::Ready(()),
            true => Seen::NotYet("still there".to_owned()),
        }
    });
    let deleted = delete(&alice, "unread");
    stage.plane.install_roles();
    deleted
        .succeeds()
        .warns("metadata.name: \"unread\": could not check whether Notes refer to it [delete-referenced]");
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();
}

/// Stores this many records, as fast as the API server accepts them.
fn plant(plane: &ControlPlane, kind: &str, plural: &str, records: impl Iterator<Item = Value>) {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig("admin")).expect("a kubeconfig");
    let kind = GroupVersionKind::gvk("crm.milo.io", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let planted = runtime.block_on(async {
        let options = KubeConfigOptions::default();
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a configuration");
        let client = kube::Client::try_from(config).expect("a client");
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let (api, options) = (&api, &PostParams::default());
        let each = futures::stream::iter(records).map(|record| async move {
            let record: DynamicObject = serde_json::from_value(record).expect("a record");
            api.create(options, &record).await
        });
        each.buffer_unordered(32).try_for_each(|_| async { Ok(()) }).await
    });
    planted.expect("stored records");
}

#[test]
fn five_thousand_dependents_are_counted_within_the_deadline() {
    let mut stage = stage::exclusive();
    stage.webhook.ensure_running();
    stage.webhook.unregister();
    let creator = json!({"name": "alice"});
    let object = |kind: &str, name: String, spec: Value| {
        json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "labels": {"e2e": "crowd"}}, "spec": spec})
    };
    let company = object("Company", "crowd".into(), json!({"displayName": "Crowd", "creatorRef": creator}));
    plant(&stage.plane, "Company", "companies", std::iter::once(company));
    let people = (0..5000).map(|number| {
        let spec = json!({"displayName": "P", "companyRef": {"name": "crowd"}, "creatorRef": creator});
        object("Person", format!("crowd-{number:04}"), spec)
    });
    plant(&stage.plane, "Person", "people", people);
    let notes = (0..600).map(|number| {
        let subject = json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "crowd"});
        let spec = json!({"subjectRef": subject, "content": "x".repeat(1000), "creatorRef": creator});
        object("Note", format!("crowd-{number:04}"), spec)
    });
    plant(&stage.plane, "Note", "notes", notes);
    let admin = stand(&stage);
    let alice = stage.plane.kubectl("alice");
    // After the deadline, the warning would say that the count failed.
    delete(&alice, "crowd").succeeds().warns(
        "metadata.name: \"crowd\": still referred to by more than 1000 People (\"crowd-0000\", \"crowd-0001\", \
         \"crowd-0002\", …) and 600 Notes [delete-referenced]",
    );
    stage.webhook.unregister();
    for plural in ["people", "notes"] {
        let all = format!("/apis/crm.milo.io/v1alpha1/{plural}?labelSelector=e2e%3Dcrowd");
        admin.run(["delete", "--raw", &all]).succeeds();
    }
}
