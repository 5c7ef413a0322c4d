//! Tests what the program asks the API server: with exactly the permissions of the shipped roles, verb by verb, and how it
//! lists names.

use crate::program::run;
use crate::support::control_plane::{AUDIT_USER, Auditing, ControlPlane, WEBHOOK_USER};
use crate::support::foreign_kinds::{milo_kinds, milo_note_on, milo_objects};
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, company, note_about, person};
use crate::support::webhook::Webhook;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// A verb, the API group, and the resource with its subresource: `patch admission.crm.milo.io
/// admissionpolicies/status`.
type Rights = BTreeSet<String>;

fn right(verb: &Value, group: &Value, resource: &str) -> String {
    format!("{} {} {resource}", verb.as_str().expect("a verb"), group.as_str().unwrap_or_default())
}

/// The time limit for the use of all permissions.
const PATIENCE: Duration = Duration::from_secs(60);

/// The permissions that the roles in these files of `manifests` grant.
fn granted(plane: &ControlPlane, files: &[&str]) -> Rights {
    let admin = plane.kubectl("admin");
    let objects = files.iter().flat_map(|file| admin.read(&manifest(file)));
    let roles = objects.filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role");
    let texts = |rule: &Value, field: &str| rule[field].as_array().expect("a list").clone();
    let mut rights = Rights::new();
    for rule in roles.flat_map(|role| texts(&role, "rules")) {
        for verb in texts(&rule, "verbs") {
            for group in texts(&rule, "apiGroups") {
                for resource in texts(&rule, "resources") {
                    rights.insert(right(&verb, &group, resource.as_str().expect("a resource")));
                }
            }
        }
    }
    rights
}

/// The permissions that a user has used. A list by a watch counts as a list, too: where the API server does not offer it,
/// the program lists pages.
fn used(plane: &ControlPlane, user: &str) -> Rights {
    let events = plane.audited().into_iter().filter(|event| event["user"]["username"] == user);
    // Everybody may ask which groups the API server serves.
    let events = events.filter(|event| event["objectRef"].is_object() || !is_discovery(event));
    let used = events.flat_map(|event| {
        let object = &event["objectRef"];
        assert!(object.is_object(), "a request without a resource: {event}");
        let resource = object["resource"].as_str().expect("a resource");
        let resource = match object["subresource"].as_str() {
            Some(subresource) => format!("{resource}/{subresource}"),
            None => resource.to_owned(),
        };
        let lists = lists_by_watch(&event).then(|| right(&json!("list"), &object["apiGroup"], &resource));
        lists.into_iter().chain([right(&event["verb"], &object["apiGroup"], &resource)])
    });
    used.collect()
}

fn lists_by_watch(event: &Value) -> bool {
    event["requestURI"].as_str().expect("a path").contains("sendInitialEvents=true")
}

/// Whether a request reads the groups or the resources of the API server.
fn is_discovery(event: &Value) -> bool {
    event["verb"] == "get" && event["requestURI"].as_str().is_some_and(|uri| uri.starts_with("/api"))
}

/// Waits until the user has used exactly what the files grant.
#[track_caller]
fn await_use_of_exactly(plane: &ControlPlane, user: &str, files: &[&str]) {
    let granted = granted(plane, files);
    poll::until("all permissions in use", PATIENCE, || {
        let used = used(plane, user);
        let beyond: Vec<_> = used.difference(&granted).collect();
        let idle: Vec<_> = granted.difference(&used).collect();
        match (beyond.is_empty(), idle.is_empty()) {
            (true, true) => Seen::Ready(()),
            (false, _) => Seen::Never(format!("used without permission: {beyond:?}")),
            (true, false) => Seen::NotYet(format!("granted but not used: {idle:?}")),
        }
    });
}

#[test]
fn every_permission_is_needed_and_none_is_missing() {
    let plane = &ControlPlane::start_with(Auditing::On);
    plane.install_kinds(&manifest("crds"));
    plane.install_roles();
    plane.install_self_managed_permissions();
    plane.kubectl("admin").apply_path(&manifest("components/conditions/rbac.yaml")).succeeds();
    let webhook = Webhook::start_self_managed_with(plane, &["--conditions"]);
    webhook.register();
    // Invalid content is created again.
    let broken = r#"{"data":{"tls.crt":"bm8="}}"#;
    let patch = ["patch", "secret", "crm-admission-tls", "--namespace=crm-admission-system", "-p", broken];
    plane.kubectl("admin").run(patch).succeeds();
    use_base(plane);
    await_use_of_exactly(
        plane,
        WEBHOOK_USER,
        &["base/rbac.yaml", "overlays/self-managed/rbac.yaml", "components/conditions/rbac.yaml"],
    );
}

/// Writes for which the webhook needs the permissions in `base/rbac.yaml`.
fn use_base(plane: &ControlPlane) {
    let alice = plane.kubectl("alice");
    alice.apply(&company("rights-acme", "{displayName: Acme}")).succeeds();
    // A miss is confirmed by a GET, and the name is suggested to users who may list companies.
    alice
        .apply(&person("rights-ada", "{displayName: Ada, companyRef: {name: rights-acne}}"))
        .fails()
        .prints_error(r#"did you mean "rights-acme"?"#);
    alice.apply(&note_about("rights-nobody", "rights-note")).fails().prints_error("[subject-exists]");
    // Each gets a condition.
    alice.apply(&person("rights-bob", "{displayName: Bob}")).succeeds();
    alice.apply(&note_about("rights-bob", "rights-note")).succeeds();
    // Before a deletion, the dependents are counted.
    alice.run(["delete", "company", "rights-acme"]).succeeds();
    // A policy gets its status.
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\nspec: {}\n";
    plane.kubectl("admin").apply(policy).succeeds();
}

/// A control plane with Milo's kinds and the permissions in these files.
fn plane_of_milo(files: &[&str]) -> ControlPlane {
    let plane = ControlPlane::start_with(Auditing::On);
    plane.install_kinds(&manifest("crds"));
    plane.install_roles();
    let admin = plane.kubectl("admin");
    admin.create(&milo_kinds()).succeeds();
    poll::until("Milo's kinds", PATIENCE, || match admin.apply(&milo_objects("rights-user")) {
        applied if applied.ok() => Seen::Ready(()),
        other => Seen::NotYet(other.to_string()),
    });
    for file in files {
        admin.apply_path(&manifest(file)).succeeds();
    }
    plane
}

/// Waits until the policy for Milo is in force.
fn apply_policy_of_milo(plane: &ControlPlane) {
    let admin = plane.kubectl("admin");
    admin.apply_path(&manifest("policy/milo.yaml")).succeeds();
    let wait = ["wait", "admissionpolicy/default", "--for=condition=Accepted", "--timeout=60s"];
    admin.run(wait).succeeds();
}

#[test]
fn the_webhook_needs_every_permission_of_the_component_milo() {
    let files = ["base/rbac.yaml", "components/milo/rbac.yaml"];
    let plane = &plane_of_milo(&files[1..]);
    let mut webhook = Webhook::start(plane);
    webhook.register();
    use_base(plane);
    webhook.restart_with(&["--milo-notes"]);
    apply_policy_of_milo(plane);
    let admin = plane.kubectl("admin");
    let by = ["create", "-f", "-", "--as=alice", "--as-group=crm-editors", "--as-uid=rights-user"];
    let missing = |record: &str, rule: &str| {
        let dry = by.into_iter().chain(["--dry-run=server"]);
        poll::until(rule, PATIENCE, || match admin.run_with(record, dry.clone()) {
            denied if denied.stderr.contains(rule) => Seen::Ready(()),
            other => Seen::NotYet(other.to_string()),
        });
    };
    // Each name is confirmed by a GET.
    let nowhere = "{displayName: Acme, organizationRef: {name: rights-nowhere}}";
    missing(&company("rights-far", nowhere), "[organization-exists]");
    missing(&person("rights-eve", "{displayName: Eve, userRef: {name: rights-nobody}}"), "[user-exists]");
    let contact = "{displayName: Eve, contactRefs: [{name: rights-mail, namespace: crm}]}";
    missing(&person("rights-eve", contact), "[contact-exists]");
    admin.run_with(&company("rights-noted", "{displayName: Noted}"), by).succeeds();
    // ClusterNotes about it are counted.
    admin.run(["delete", "company", "rights-noted"]).succeeds();
    await_use_of_exactly(plane, WEBHOOK_USER, &files);
}

#[test]
fn the_audit_needs_every_permission_for_milos_notes() {
    let files = ["components/audit/rbac.yaml", "components/milo-audit/rbac.yaml"];
    let plane = &plane_of_milo(&files);
    let policy = std::fs::read_to_string(manifest("policy/milo.yaml")).expect("a policy");
    plane.kubectl("admin").apply(&policy).succeeds();
    // No webhook is registered, so the references to nothing are stored. Each is confirmed by a GET.
    let nobody = "creatorRef: {name: rights-nobody}";
    let records = [
        company(
            "rights-acme",
            &format!("{{displayName: Acme, organizationRef: {{name: rights-nowhere}}, {nobody}}}"),
        ),
        person(
            "rights-ada",
            &format!(
                "{{displayName: Ada, companyRef: {{name: rights-acne}}, userRef: {{name: rights-nobody}}, \
                 contactRefs: [{{name: rights-mail, namespace: crm}}], {nobody}}}"
            ),
        ),
        milo_note_on(
            "rights-call",
            None,
            "{apiGroup: crm.milo.io, kind: Person, name: rights-bob}",
            &format!(", {nobody}"),
        ),
        milo_note_on(
            "rights-mail",
            Some("crm"),
            "{apiGroup: notification.miloapis.com, kind: Contact, name: rights-mail, namespace: crm}",
            &format!(", {nobody}"),
        ),
    ];
    plane.kubectl("admin").apply(&bundle(records)).succeeds();
    let ran = run(plane, "crm-admission-audit", &["audit", "--summary", "--fail-on=never"]).ends_with(0);
    let line = ran.json();
    assert_eq!([&line["records"], &line["unresolvedReferences"]], [4, 0], "{line}");
    assert!(!ran.stderr.contains("left out"), "{}", ran.told());
    await_use_of_exactly(plane, AUDIT_USER, &files);
}

/// Whether an API server of this minor version offers lists by a watch by default.
fn offers_lists_by_watch(minor: u32) -> bool {
    minor == 32 || minor >= 34
}

#[test]
fn names_are_listed_by_a_watch_where_the_api_server_offers_it() {
    let plane = &ControlPlane::start_with(Auditing::On);
    plane.install_kinds(&manifest("crds"));
    plane.install_roles();
    plane
        .kubectl("admin")
        .apply(&company("listed-acme", "{displayName: Acme, creatorRef: {name: zoe}}"))
        .succeeds();
    let webhook = Webhook::start(plane);
    let asked: Vec<(String, bool)> = plane
        .audited()
        .iter()
        .filter(|event| {
            event["user"]["username"] == WEBHOOK_USER && event["objectRef"]["resource"] == "companies"
        })
        .map(|event| (event["verb"].as_str().expect("a verb").to_owned(), lists_by_watch(event)))
        .collect();
    let by_watch = ("watch".to_owned(), true);
    let pages = [by_watch, ("list".to_owned(), false), ("watch".to_owned(), false)];
    let expected = if offers_lists_by_watch(plane.minor()) { &pages[..1] } else { &pages[..] };
    assert_eq!(asked, expected);
    // Only the list says that it exists: registered later, the webhook has seen no change of it.
    let (_, metrics) = webhook.admin_page("/metrics").expect("the admin port answers");
    let known = |line: &str| {
        line.starts_with("crm_admission_directory_objects{")
            && line.contains("Company")
            && line.ends_with(" 1")
    };
    assert!(metrics.lines().any(known), "{metrics}");
}
