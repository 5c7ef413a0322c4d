//! Tests Milo's notes with the shipped component and policy, on definitions of the shape of Milo's.

use crate::program::run;
use crate::support::foreign_kinds::{milo_kinds, milo_note_on, milo_objects};
use crate::support::installation::{Installation, Witnessed};
use crate::support::kubectl::{Kubectl, Outcome};
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, company, note_on, person};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The UID of alice, and so the name of her User.
const ALICE: &str = "user-7f3";

/// An installation with the component and the policy. Tests use their own names.
fn site() -> Witnessed<&'static Installation> {
    static SITE: LazyLock<Installation> = LazyLock::new(|| {
        let mut site = Installation::start();
        install(&mut site);
        site
    });
    Witnessed::new(&SITE)
}

fn install(site: &mut Installation) {
    let admin = site.plane.kubectl("admin");
    admin.create(&milo_kinds()).succeeds();
    poll::until("Milo's kinds", PATIENCE, || match admin.create(&milo_objects(ALICE)) {
        created if created.ok() || created.stderr.lines().all(|line| line.contains("already exists")) => {
            Seen::Ready(())
        }
        other => Seen::NotYet(other.to_string()),
    });
    admin.apply_path(&manifest("policy/milo.yaml")).succeeds();
    let wait = ["wait", "admissionpolicy/default", "--for=condition=Accepted", "--timeout=60s"];
    admin.run(wait).succeeds();
    let objects = component(site, &admin);
    let (registration, others): (Vec<Value>, Vec<Value>) = objects.into_iter().partition(|object| {
        object["kind"].as_str().is_some_and(|kind| kind.ends_with("WebhookConfiguration"))
    });
    admin.apply(&bundle(others.iter().map(Value::to_string))).succeeds();
    site.webhook.restart_with(&["--milo-notes"]);
    let registration = registration.into_iter().map(|configuration| site.webhook.local(configuration));
    admin.apply(&bundle(registration.map(|configuration| configuration.to_string()))).succeeds();
    let invalid = milo_note_on("probe", None, "{apiGroup: crm.milo.io, kind: Company, name: nowhere}", "");
    poll::until("a webhook for Milo's notes", PATIENCE, || {
        match by_alice(&admin, &invalid, &["--dry-run=server"]) {
            denied if denied.stderr.contains("[subject-exists]") => Seen::Ready(()),
            other => Seen::NotYet(other.to_string()),
        }
    });
}

/// The registration with the component, and the permissions of the component.
fn component(site: &Installation, kubectl: &Kubectl) -> Vec<Value> {
    let workspace = site.plane.workspace();
    for part in [
        "registration/kustomization.yaml",
        "registration/webhooks.yaml",
        "components/milo/kustomization.yaml",
        "components/milo/rbac.yaml",
    ] {
        let text = std::fs::read_to_string(manifest(part)).expect("a manifest");
        let (directory, file) = part.rsplit_once('/').expect("a directory");
        workspace.write(&format!("milo/{directory}"), file, &text);
    }
    let kustomization = json!({"resources": ["../registration"], "components": ["../components/milo"]});
    let file = workspace.write("milo/overlay", "kustomization.yaml", &kustomization.to_string());
    let directory = file.parent().and_then(Path::to_str).expect("a directory");
    let rendered = kubectl.run(["kustomize", directory]).succeeds().stdout;
    serde_saphyr::from_multiple(&rendered).expect("YAML")
}

/// Creates objects as alice, whose UID is not her name.
fn by_alice(admin: &Kubectl, manifests: &str, more: &[&str]) -> Outcome {
    by(admin, ALICE, manifests, more)
}

fn by(admin: &Kubectl, uid: &str, manifests: &str, more: &[&str]) -> Outcome {
    let uid = format!("--as-uid={uid}");
    let args = ["create", "-f", "-", "--as=alice", "--as-group=crm-editors", &uid];
    admin.run_with(manifests, args.into_iter().chain(more.iter().copied()))
}

fn about_company(name: &str) -> String {
    format!("{{apiGroup: crm.milo.io, kind: Company, name: {name}}}")
}

fn about_contact(name: &str, namespace: &str) -> String {
    format!("{{apiGroup: notification.miloapis.com, kind: Contact, name: {name}, namespace: {namespace}}}")
}

fn contact(name: &str) -> String {
    format!(
        "apiVersion: notification.miloapis.com/v1alpha1\nkind: Contact\nmetadata: {{name: {name}, namespace: crm}}\n"
    )
}

#[test]
fn a_cluster_note_gets_its_creator_from_the_uid_and_its_subject_as_owner() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    by_alice(&admin, &company("noted", "{displayName: Acme}"), &[]).succeeds().without_warnings();
    let note = milo_note_on("noted-call", None, &about_company("noted"), "");
    by_alice(&admin, &note, &[]).succeeds().without_warnings();
    let (company, note) = (admin.get("company", "noted"), admin.get("clusternote", "noted-call"));
    assert_eq!(note["spec"]["creatorRef"], json!({"name": ALICE}));
    let owner = json!([{
        "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "name": "noted", "uid": company["metadata"]["uid"],
    }]);
    assert_eq!(note["metadata"]["ownerReferences"], owner);
    // A dry run is answered likewise.
    let show = ["--dry-run=server", "-o", "json"];
    let again = milo_note_on("noted-again", None, "{kind: Company, name: noted}", "");
    let shown = by_alice(&admin, &again, &show).succeeds().json();
    assert_eq!(shown["metadata"]["ownerReferences"], owner);
    assert_eq!(shown["spec"]["subjectRef"]["apiGroup"], "crm.milo.io");
    // So is one of our notes.
    let ours = by_alice(&admin, &note_on("noted", "noted-ours"), &show).succeeds().json();
    assert_eq!(ours["metadata"]["ownerReferences"], owner);
}

#[test]
fn a_given_owner_stays() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    by_alice(&admin, &company("owned", "{displayName: Acme}"), &[]).succeeds();
    let mut note: Value =
        serde_saphyr::from_str(&milo_note_on("owned-call", None, &about_company("owned"), "")).expect("YAML");
    let namespace = admin.get("namespace", "crm");
    let other =
        json!({"apiVersion": "v1", "kind": "Namespace", "name": "crm", "uid": namespace["metadata"]["uid"]});
    note["metadata"]["ownerReferences"] = json!([other]);
    by_alice(&admin, &note.to_string(), &[]).succeeds();
    let owners = admin.get("clusternote", "owned-call")["metadata"]["ownerReferences"].clone();
    assert_eq!(owners[0], other);
    assert_eq!(owners[1]["name"], "owned");
    assert_eq!(owners[2], Value::Null);
}

#[test]
fn the_rules_for_notes_hold_for_both_kinds() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    let denied = |note: &str, cause: &str| {
        by_alice(&admin, note, &["--dry-run=server"]).fails().prints_error(cause);
    };
    by_alice(&admin, &bundle([company("ruled", "{displayName: Acme}"), contact("ruled")]), &[]).succeeds();
    let on_company = |more: &str| milo_note_on("ruled-call", None, &about_company("ruled"), more);
    denied(
        &on_company(", creatorRef: {name: zoe}"),
        "spec.creatorRef.name: Invalid value: \"zoe\": must be the requesting user",
    );
    denied(&on_company(", nextActionTime: '2001-01-01T09:00:00Z'"), "[next-action-time]");
    let nowhere = milo_note_on("ruled-call", None, &about_company("ruld"), "");
    denied(
        &nowhere,
        "ClusterNote \"ruled-call\" is invalid: spec.subjectRef.name: Not found: \"ruld\": no Company of that name; did you mean \"ruled\"?",
    );
    denied(
        &milo_note_on("ruled-call", None, &about_contact("ruled", "crm"), ""),
        "a ClusterNote is about a cluster-scoped object",
    );
    denied(
        &milo_note_on("ruled-call", Some("crm"), &about_company("ruled"), ""),
        "is about an object in its own namespace",
    );
    let elsewhere = milo_note_on("ruled-call", Some("default"), &about_contact("ruled", "crm"), "");
    denied(
        &elsewhere,
        "spec.subjectRef.namespace: Invalid value: \"crm\": must be the namespace of the Note, \"default\"",
    );

    let good = milo_note_on("ruled-call", Some("crm"), &about_contact("ruled", "crm"), "");
    by_alice(&admin, &good, &[]).succeeds();
    let stored = admin
        .run(["get", "notes.notes.miloapis.com", "ruled-call", "-n", "crm", "-o", "json"])
        .succeeds()
        .json();
    assert_eq!(stored["metadata"]["ownerReferences"][0]["kind"], "Contact");
    let patch = ["patch", "notes.notes.miloapis.com", "ruled-call", "-n", "crm", "--type=merge", "-p"];
    let change = |spec: Value| {
        admin.run(patch.map(str::to_owned).into_iter().chain([json!({"spec": spec}).to_string()]))
    };
    change(json!({"content": "called twice"})).succeeds();
    // The record is complete, so `/mutate` is not asked, and the schema of Milo comes before `/validate`.
    change(json!({"creatorRef": {"name": "zoe"}})).fails().prints_error("creatorRef type is immutable");
    change(json!({"content": " "})).fails().prints_error("[note-content]");
}

#[test]
fn users_organizations_and_contacts_are_looked_up() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    by(&admin, "user-unknown", &company("stranger", "{displayName: Acme}"), &[])
        .fails()
        .prints_error("spec.creatorRef.name: Not found: \"user-unknown\": no User of that name");
    let client = company("client", "{displayName: Acme, organizationRef: {name: nowhere}}");
    by_alice(&admin, &client, &[]).fails().prints_error("[organization-exists]");
    by_alice(&admin, &contact("ada-work"), &[]).succeeds();
    let ada = |name: &str, user: &str, contact: &str| {
        let contacts = format!("[{{name: ada-work, namespace: crm}}, {{name: {contact}, namespace: crm}}]");
        person(name, &format!("{{displayName: Ada, userRef: {{name: {user}}}, contactRefs: {contacts}}}"))
    };
    by_alice(&admin, &ada("milo-ada", ALICE, "ada-work"), &[]).succeeds();
    by_alice(&admin, &ada("milo-eve", "nobody", "boat"), &[])
        .fails()
        .prints_error("spec.userRef.name: Not found: \"nobody\"")
        .prints_error("spec.contactRefs[1].name: Not found: \"boat\": no Contact of that name");
}

#[test]
fn a_deletion_says_what_is_deleted_with_it() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    let note = milo_note_on("leaving-call", None, &about_company("leaving"), "");
    by_alice(
        &admin,
        &bundle([company("leaving", "{displayName: Acme}"), note, note_on("leaving", "leaving-ours")]),
        &[],
    )
    .succeeds();
    let delete = ["delete", "company", "leaving", "--dry-run=server", "--as=alice", "--as-group=crm-editors"];
    admin.run(delete).succeeds().warns(
        "metadata.name: \"leaving\": 1 Note and 1 ClusterNote will be deleted with it [delete-referenced]",
    );
    // A note from before the policy has no owner, so it stays.
    let orphan = json!({"metadata": {"ownerReferences": null}});
    admin.patch("clusternote", "leaving-call", &orphan).succeeds();
    admin.run(delete).succeeds().warns(
        "metadata.name: \"leaving\": still referred to by 1 ClusterNote (\"leaving-call\"); 1 Note will be deleted with it \
         [delete-referenced]",
    );
}

#[test]
fn audits_and_references_have_the_notes() {
    let site = site();
    let (plane, admin) = (&site.plane, site.plane.kubectl("admin"));
    let cluster_note = milo_note_on("shown-call", None, &about_company("shown"), "");
    let note = milo_note_on("shown-mail", Some("crm"), &about_contact("shown", "crm"), "");
    let all = [company("shown", "{displayName: Acme}"), contact("shown"), cluster_note, note];
    by_alice(&admin, &bundle(all), &[]).succeeds();

    let refs = run(plane, "admin", &["refs", "company", "shown"]).ends_with(0);
    assert!(refs.stdout.contains("ClusterNote.notes.miloapis.com/shown-call"), "{}", refs.told());
    let refs = run(plane, "admin", &["refs", "note.notes.miloapis.com", "crm/shown-mail"]).ends_with(0);
    assert!(refs.stdout.contains("Contact/crm/shown"), "{}", refs.told());
    let kinds =
        ["audit", "--kind", "clusternote,note.notes.miloapis.com", "--format", "json", "--fail-on", "never"];
    let audit = run(plane, "admin", &kinds).ends_with(0).json();
    assert!(audit["summary"]["records"].as_u64().is_some_and(|records| records >= 2), "{audit}");
    let all = run(plane, "admin", &["audit", "--format", "json", "--fail-on", "never"]).ends_with(0).json();
    assert!(all["summary"]["records"].as_u64() > audit["summary"]["records"].as_u64(), "{all}");
}

#[test]
fn the_webhook_is_registered_as_doctor_expects() {
    let site = site();
    let doctor = run(&site.plane, "admin", &["doctor", "--format", "json"]);
    assert!(!doctor.stdout.contains("registration-changed"), "{}", doctor.told());
}
