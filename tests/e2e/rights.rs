//! Tests what the program asks the API server: with exactly the permissions of the shipped roles, verb by verb, and how it
//! lists names.

use crate::support::control_plane::{Auditing, ControlPlane, WEBHOOK_USER};
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::records::{company, note_about, person};
use crate::support::webhook::Webhook;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// A verb, the API group, and the resource with its subresource: `patch admission.crm.milo.io
/// admissionpolicies/status`.
type Rights = BTreeSet<String>;

fn right(verb: &Value, group: &Value, resource: &str) -> String {
    format!("{} {} {resource}", verb.as_str().expect("a verb"), group.as_str().unwrap_or_default())
}

/// The files with the roles that are compared.
const SHIPPED: [&str; 3] =
    ["base/rbac.yaml", "overlays/self-managed/rbac.yaml", "components/conditions/rbac.yaml"];

/// The permissions that the shipped roles grant.
fn granted(plane: &ControlPlane) -> Rights {
    let admin = plane.kubectl("admin");
    let objects = SHIPPED.iter().flat_map(|file| admin.read(&manifest(file)));
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

/// The permissions that the webhook's user has used.
fn used(plane: &ControlPlane) -> Rights {
    let events = plane.audited().into_iter().filter(|event| event["user"]["username"] == WEBHOOK_USER);
    let used = events.map(|event| {
        let object = &event["objectRef"];
        assert!(object.is_object(), "a request without a resource: {event}");
        let resource = object["resource"].as_str().expect("a resource");
        let resource = match object["subresource"].as_str() {
            Some(subresource) => format!("{resource}/{subresource}"),
            None => resource.to_owned(),
        };
        right(&event["verb"], &object["apiGroup"], &resource)
    });
    used.collect()
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
    let granted = granted(plane);
    poll::until("all permissions in use", Duration::from_secs(60), || {
        let used = used(plane);
        let beyond: Vec<_> = used.difference(&granted).collect();
        let idle: Vec<_> = granted.difference(&used).collect();
        match (beyond.is_empty(), idle.is_empty()) {
            (true, true) => Seen::Ready(()),
            (false, _) => Seen::Never(format!("used without permission: {beyond:?}")),
            (true, false) => Seen::NotYet(format!("granted but not used: {idle:?}")),
        }
    });
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
        .map(|event| {
            let uri = event["requestURI"].as_str().expect("a path");
            (event["verb"].as_str().expect("a verb").to_owned(), uri.contains("sendInitialEvents=true"))
        })
        .collect();
    let by_watch = ("watch".to_owned(), true);
    let pages = [by_watch.clone(), ("list".to_owned(), false), ("watch".to_owned(), false)];
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
