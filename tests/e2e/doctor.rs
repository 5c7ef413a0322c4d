//! `crm-admission doctor` on an installation that is broken in one way after the other, and mended again.

use crate::support::installation::{Installation, Witnessed};
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::pki::{Authority, Identity};
use crate::support::poll::{self, Seen};
use crate::support::process;
use crate::support::webhook::{self, Reach};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const NAMESPACE: &str = "crm-admission-system";
/// By this name the API server would call the Service.
const SERVICE_HOST: &str = "crm-admission.crm-admission-system.svc";
const FLOOR: &str = "crm-admission-floor";
const GUARD: &str = "crm-admission-guard";
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation of these tests alone, one at a time: they break everything.
struct Patient(Witnessed<MutexGuard<'static, Installation>>);

impl Patient {
    /// In good health, whatever the test before did to it.
    fn healthy() -> Self {
        static PATIENT: LazyLock<Mutex<Installation>> = LazyLock::new(|| Mutex::new(Installation::start()));
        let guard = PATIENT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut patient = Self(Witnessed::new(guard));
        patient.0.webhook.ensure_running();
        let admin = patient.admin();
        admin.run(["delete", "crd", "memos.crm.milo.io", "--ignore-not-found"]).succeeds();
        patient.0.plane.install_kinds(&manifest("crds"));
        patient.0.plane.install_roles();
        admin.run(["delete", "admissionpolicies", "--all"]).succeeds();
        admin.run(["-n", NAMESPACE, "delete", "secret,service,endpointslice", "--all"]).succeeds();
        admin.apply(&service(443)).succeeds();
        admin.apply(&endpoints(true)).succeeds();
        patient.0.webhook.unregister();
        patient.remove_floor();
        patient.withdraw_certificate_rights();
        patient.0.webhook.register();
        patient
    }

    /// Takes away what making its own certificates takes, and then the guard.
    fn withdraw_certificate_rights(&self) {
        let (admin, account) = (self.admin(), self.0.plane.kubectl("crm-admission"));
        for (kind, scope) in [("rolebinding", NAMESPACE), ("clusterrolebinding", "")] {
            let name = "crm-admission-certificates";
            admin.run(["-n", scope, "delete", kind, name, "--ignore-not-found"]).succeeds();
        }
        // The authorizer follows the bindings with a watch.
        poll::until("no right to patch configurations", PATIENCE, || {
            match may_patch_configurations(&account) {
                false => Seen::Ready(()),
                true => Seen::NotYet("it may still patch them".to_owned()),
            }
        });
        let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
        admin.run(["delete", kinds, GUARD, "--ignore-not-found"]).succeeds();
    }

    fn remove_floor(&self) {
        let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
        self.admin().run(["delete", kinds, FLOOR, "--ignore-not-found"]).succeeds();
    }

    fn admin(&self) -> Kubectl {
        self.0.plane.kubectl("admin")
    }

    fn examine(&self) -> Examined {
        self.examine_as("admin", &[])
    }

    fn examine_as(&self, user: &str, args: &[&str]) -> Examined {
        run_doctor(&self.0.plane.kubeconfig(user), args)
    }

    /// Registers the webhook by its Service, which leads nowhere here, with this CA.
    fn register_by_service(&self, authority: &Authority) {
        self.0.webhook.unregister();
        for mut configuration in webhook::shipped(&self.admin()) {
            for webhook in configuration["webhooks"].as_array_mut().expect("a list of webhooks") {
                webhook["clientConfig"]["caBundle"] = json!(STANDARD.encode(&authority.pem));
            }
            self.admin().create(&configuration.to_string()).succeeds();
        }
    }

    fn patch_registration(&self, kind: &str, patch: &Value) {
        let patch = patch.to_string();
        self.admin().run(["patch", kind, "crm-admission", "--type=json", "-p", &patch]).succeeds();
    }

    fn store(&self, identity: &Identity, authority: &Authority) {
        self.admin().apply(&secret(identity, authority)).succeeds();
    }

    /// Runs what a finding names as its fix, as an admin would in a shell.
    #[track_caller]
    fn mend(&self, finding: &Value) {
        let fix = finding["fix"].as_str().expect("a fix");
        let mut shell = Command::new("sh");
        process::clear_environment(&mut shell);
        let programs = [self.admin().program().to_owned(), webhook::product()];
        let mut path: Vec<_> =
            programs.iter().map(|it| it.parent().expect("a directory").to_owned()).collect();
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let output = shell
            .args(["-c", fix])
            .env("PATH", std::env::join_paths(path).expect("a path"))
            .env("KUBECONFIG", self.0.plane.kubeconfig("admin"))
            // kubectl keeps a cache there.
            .env("HOME", self.0.plane.workspace().file("homes", "shell"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{fix}\n{output:?}");
    }
}

fn may_patch_configurations(account: &Kubectl) -> bool {
    account.run(["auth", "can-i", "patch", "mutatingwebhookconfiguration/crm-admission"]).ok()
}

fn service(port: u16) -> String {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "crm-admission", "namespace": NAMESPACE},
        "spec": {"ports": [{"name": "webhook", "port": port, "targetPort": 9443}]},
    });
    service.to_string()
}

fn endpoints(ready: bool) -> String {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "crm-admission-1", "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "crm-admission"},
        },
        "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": ready}}],
        "ports": [{"name": "webhook", "port": 9443}],
    });
    slice.to_string()
}

fn secret(identity: &Identity, authority: &Authority) -> String {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "crm-admission-tls", "namespace": NAMESPACE},
        "stringData": {"tls.crt": identity.certificate, "tls.key": identity.key, "ca.crt": authority.pem},
    });
    secret.to_string()
}

fn policy(name: &str, spec: &Value) -> String {
    let policy = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicy",
        "metadata": {"name": name}, "spec": spec,
    });
    policy.to_string()
}

fn run_doctor(kubeconfig: &Path, args: &[&str]) -> Examined {
    let mut command = Command::new(webhook::product());
    process::clear_environment(&mut command);
    let output = command
        .env("KUBECONFIG", kubeconfig)
        .arg("doctor")
        .env("CRM_ADMISSION_FORMAT", "json")
        .args(args)
        .output()
        .expect("the program can be started");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Examined {
        code: output.status.code().expect("an exit code"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// What one run of the doctor said.
#[derive(Debug)]
struct Examined {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Examined {
    fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn findings(&self) -> Vec<Value> {
        self.report()["findings"].as_array().expect("findings").clone()
    }

    fn ids(&self) -> Vec<String> {
        let id = |finding: &Value| finding["id"].as_str().expect("an id").to_owned();
        self.findings().iter().map(id).collect()
    }

    /// The first finding of this id and level, whose subject and message contain `text`.
    #[track_caller]
    fn finds(&self, level: &str, id: &str, text: &str) -> Value {
        let found = self.findings().into_iter().find(|finding| {
            let told = format!("{}: {}", finding["subject"], finding["message"]);
            finding["id"] == id && finding["level"] == level && told.contains(text)
        });
        let found =
            found.unwrap_or_else(|| panic!("no {level} {id} with {text:?} in {:#?}", self.findings()));
        assert!(found["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{found}");
        assert_eq!(self.report()["healthy"], self.code == 0, "{self:?}");
        assert!(level != "failure" || self.code == 1, "{self:?}");
        found
    }

    #[track_caller]
    fn does_not_find(&self, id: &str) {
        assert!(!self.ids().iter().any(|found| found == id), "{id} is among {:#?}", self.findings());
    }

    #[track_caller]
    fn finds_nothing(&self) {
        assert_eq!((self.ids(), self.code), (Vec::new(), 0), "{self:?}");
    }
}

#[test]
fn a_healthy_installation_is_healthy_in_every_examination() {
    let patient = Patient::healthy();
    let examined = patient.examine();
    examined.finds_nothing();
    let report = examined.report();
    let checks = report["checks"].as_array().expect("checks").iter();
    let checks: Vec<(&str, &str)> =
        checks.map(|check| (check["name"].as_str().unwrap(), check["level"].as_str().unwrap())).collect();
    let names = [
        "api-server",
        "crds",
        "registration",
        "service",
        "port",
        "certificates",
        "access",
        "policy",
        "canary",
    ];
    assert_eq!(checks, names.map(|name| (name, "ok")));
    assert_eq!(examined.stderr, "");
    assert!(!patient.admin().run(["get", "companies", "-o", "name"]).succeeds().stdout.contains("doctor"));

    let text = patient.examine_as("admin", &["--format", "text"]).stdout;
    assert!(text.contains("ok      crds: 4 definitions are up to date\n"), "{text}");
    assert!(text.ends_with("\n\nhealthy\n") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn definitions_that_are_absent_older_or_not_served_are_found_and_mended() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    let notes = "notes.crm.milo.io";
    admin.run(["delete", "crd", notes]).succeeds();
    let absent = patient.examine();
    let finding = absent.finds("failure", "crd-absent", "crd notes.crm.milo.io");

    // Somebody else takes the name of the kind meanwhile.
    let memos = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "memos.crm.milo.io"},
        "spec": {
            "group": "crm.milo.io", "scope": "Cluster", "names": {"plural": "memos", "kind": "Note"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    admin.create(&memos.to_string()).succeeds();
    admin.run(["wait", "crd/memos.crm.milo.io", "--for=condition=Established", "--timeout=60s"]).succeeds();
    patient.mend(&finding);
    admin.run(["wait", "crd", notes, "--for=condition=NamesAccepted=False", "--timeout=60s"]).succeeds();
    patient.examine().finds("failure", "crd-not-established", "is already in use");
    admin.run(["delete", "crd", "memos.crm.milo.io"]).succeeds();
    admin.run(["wait", "crd", notes, "--for=condition=Established", "--timeout=60s"]).succeeds();

    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/nextAction";
    let older = json!([{"op": "remove", "path": field}]).to_string();
    admin.run(["patch", "crd", notes, "--type=json", "-p", &older]).succeeds();
    let finding = patient.examine().finds("failure", "crd-outdated", "properties.spec.properties.nextAction");
    patient.mend(&finding);
    patient.examine().finds_nothing();
}

#[test]
fn records_in_a_version_that_is_gone_are_warned_of() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    let notes = "notes.crm.milo.io";
    let version = json!({
        "name": "v1alpha0", "served": false, "storage": false,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    });
    let added = json!([{"op": "add", "path": "/spec/versions/-", "value": version}]).to_string();
    admin.run(["patch", "crd", notes, "--type=json", "-p", &added]).succeeds();
    let stored = |versions: Value| {
        let status = json!({"status": {"storedVersions": versions}}).to_string();
        admin.run(["patch", "crd", notes, "--subresource=status", "--type=merge", "-p", &status]).succeeds();
    };
    stored(json!(["v1alpha0", "v1alpha1"]));
    let examined = patient.examine();
    stored(json!(["v1alpha1"]));
    examined.finds("warning", "crd-stored-version", "stored as v1alpha0");
    // A version that only the cluster has is no finding.
    examined.does_not_find("crd-outdated");
}

#[test]
fn a_registration_that_is_absent_or_changed_is_found() {
    let patient = Patient::healthy();
    patient.0.webhook.unregister();
    let authority = Authority::create("webhook");
    patient.store(&authority.server_for(&[SERVICE_HOST], 365), &authority);
    let examined = patient.examine();
    let fixes = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"]
        .map(|kind| examined.finds("failure", "registration-absent", &format!("{kind} crm-admission")));
    examined.finds("failure", "canary-not-mutated", "spec.creatorRef: Required value");
    for finding in &fixes {
        patient.mend(finding);
    }
    let examined = patient.examine();
    for id in ["registration-absent", "registration-changed", "ca-bundle-empty", "ca-bundle-mismatch"] {
        examined.does_not_find(id);
    }

    let change = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    patient.patch_registration("mutatingwebhookconfiguration", &change);
    let changed = "webhooks[mutate.crm.milo.io].failurePolicy";
    patient.examine().finds("failure", "registration-changed", changed);
}

#[test]
fn one_call_for_each_write_is_fine_as_long_as_the_floor_is_there() {
    let patient = Patient::healthy();
    patient.0.webhook.register_for_one_call();
    let examined = patient.examine();
    examined.finds_nothing();
    let checks = examined.report()["checks"].to_string();
    assert!(checks.contains("as shipped, 2 webhooks: one call for each write, and the floor"), "{checks}");

    patient.remove_floor();
    let examined = patient.examine();
    let finding = examined.finds("failure", "floor-absent", "validatingadmissionpolicy crm-admission-floor");
    examined.finds("failure", "floor-absent", "validatingadmissionpolicybinding crm-admission-floor");
    patient.mend(&finding);
    patient.examine().finds_nothing();

    let admin = patient.admin();
    let binding = "validatingadmissionpolicybinding";
    admin.patch(binding, FLOOR, &json!({"spec": {"validationActions": ["Audit"]}})).succeeds();
    let finding = patient.examine().finds("failure", "floor-changed", "spec.validationActions[0]");
    patient.mend(&finding);
    patient.examine().finds_nothing();

    // Without the mark nobody meant it.
    let kind = "validatingwebhookconfiguration";
    admin.run(["annotate", kind, "crm-admission", "admission.crm.milo.io/registration-"]).succeeds();
    patient.examine().finds("failure", "registration-changed", "webhooks[validate.crm.milo.io]");
}

#[test]
fn a_bundle_that_is_empty_or_no_certificate_or_anothers_is_found() {
    let patient = Patient::healthy();
    let kind = "mutatingwebhookconfiguration";
    let path = "/webhooks/0/clientConfig/caBundle";
    patient.patch_registration(kind, &json!([{"op": "remove", "path": path}]));
    patient.examine().finds("warning", "ca-bundle-empty", "webhook mutate.crm.milo.io");

    let stranger = STANDARD.encode(&Authority::create("stranger").pem);
    patient.patch_registration(kind, &json!([{"op": "add", "path": path, "value": stranger}]));
    patient.0.webhook.await_reach(Reach::Unreachable);
    let examined = patient.examine();
    examined.finds("failure", "ca-bundle-mismatch", "does not trust the served certificate");
    let refused =
        examined.finds("failure", "canary-refused", "x509: certificate signed by unknown authority");
    assert!(refused["message"].as_str().unwrap().contains("failed calling webhook"), "{refused}");

    let bundle = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let nothing = json!([{"op": "add", "path": path, "value": STANDARD.encode(bundle)}]);
    patient.patch_registration(kind, &nothing);
    patient.examine().finds("failure", "ca-bundle-unreadable", "webhook mutate.crm.milo.io");
}

#[test]
fn a_service_that_is_absent_or_leads_nowhere_is_found() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    let authority = Authority::create("webhook");
    patient.store(&authority.server_for(&[SERVICE_HOST], 365), &authority);
    patient.register_by_service(&authority);
    let examined = patient.examine();
    examined.finds("skipped", "port-not-probed", "from outside the cluster");
    for id in ["service-absent", "service-port-absent", "service-without-endpoints", "ca-bundle-mismatch"] {
        examined.does_not_find(id);
    }

    admin.apply(&endpoints(false)).succeeds();
    patient.examine().finds("failure", "service-without-endpoints", "none of its 1 endpoint is ready");
    admin.run(["-n", NAMESPACE, "delete", "endpointslice", "--all"]).succeeds();
    patient.examine().finds("failure", "service-without-endpoints", "it has no endpoints");

    admin.replace(&service(8443)).succeeds();
    let finding = patient.examine().finds("failure", "service-port-absent", "call port 443");
    patient.mend(&finding);
    patient.examine().does_not_find("service-port-absent");

    admin.run(["-n", NAMESPACE, "delete", "service", "crm-admission"]).succeeds();
    patient.0.webhook.await_reach(Reach::Unreachable);
    let examined = patient.examine();
    examined.finds("failure", "service-absent", "service crm-admission-system/crm-admission");
    examined.finds("failure", "canary-refused", "failed calling webhook");
}

#[test]
fn a_secret_that_is_absent_or_unusable_or_not_trusted_is_found() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    let [authority, stranger] = ["webhook", "stranger"].map(Authority::create);
    patient.register_by_service(&authority);
    patient.examine().finds("failure", "secret-absent", "secret crm-admission-system/crm-admission-tls");

    let good = authority.server_for(&[SERVICE_HOST], 365);
    let other = authority.server_for(&[SERVICE_HOST], 365);
    patient.store(&Identity { certificate: good.certificate.clone(), key: other.key }, &authority);
    patient.examine().finds("failure", "secret-unusable", "it is not the key of the certificate");

    // The Secret is renewed by another authority, and nobody tells the configurations.
    patient.store(&stranger.server_for(&[SERVICE_HOST], 365), &stranger);
    let examined = patient.examine();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let finding = examined.finds("failure", "ca-bundle-mismatch", kind);
        patient.mend(&finding);
    }
    patient.examine().does_not_find("ca-bundle-mismatch");
    patient.store(&good, &authority);
    patient.register_by_service(&authority);
    patient.examine().does_not_find("ca-bundle-mismatch");

    for (name, days, level, id) in [
        ("crm-admission.elsewhere.svc", 365, "failure", "certificate-wrong-name"),
        (SERVICE_HOST, -1, "failure", "certificate-expired"),
        (SERVICE_HOST, 7, "warning", "certificate-expires-soon"),
    ] {
        patient.store(&authority.server_for(&[name], days), &authority);
        let examined = patient.examine();
        examined.finds(level, id, "the certificate of secret crm-admission-system/crm-admission-tls");
        examined.does_not_find("ca-bundle-mismatch");
    }

    // What is served here is the certificate of a test, which is none of this.
    patient.store(&good, &authority);
    let address = patient.0.webhook.address();
    let examined = patient.examine_as("admin", &["--connect", &address]);
    examined.finds("warning", "served-differs", "the served certificate");
    examined.finds("failure", "ca-bundle-mismatch", "does not trust the served certificate");
    admin.run(["-n", NAMESPACE, "delete", "secret", "crm-admission-tls"]).succeeds();
}

#[test]
fn a_webhook_that_does_not_run_is_found_by_its_port_and_by_the_canary() {
    let mut patient = Patient::healthy();
    patient.0.webhook.kill();
    let examined = patient.examine();
    let address = patient.0.webhook.address();
    let finding = examined.finds("failure", "port-unreachable", &address);
    assert!(finding["message"].as_str().unwrap().contains("refused"), "{finding}");
    examined.finds("failure", "canary-refused", "(probably nothing listens at the address that it calls)");
}

#[test]
fn rights_that_the_service_account_lacks_are_found_and_mended() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    admin.run(["delete", "clusterrolebinding", "crm-admission"]).succeeds();
    admin.run(["-n", NAMESPACE, "delete", "serviceaccount", "crm-admission"]).succeeds();
    // The authorizer follows the bindings with a watch.
    let examined = poll::until("missing rights", PATIENCE, || {
        let examined = patient.examine();
        match examined.ids().iter().any(|id| id == "rbac-missing") {
            true => Seen::Ready(examined),
            false => Seen::NotYet(examined.stdout),
        }
    });
    examined.finds(
        "failure",
        "rbac-missing",
        "it lacks permission to get, list, watch companies.crm.milo.io",
    );
    examined.finds("failure", "rbac-missing", "it lacks permission to patch admissionpolicies/status");
    let finding = examined.finds("failure", "service-account-absent", "crm-admission-system/crm-admission");
    patient.mend(&finding);
    poll::until("rights", PATIENCE, || {
        let examined = patient.examine();
        if examined.ids().is_empty() { Seen::Ready(()) } else { Seen::NotYet(examined.stdout) }
    });
}

#[test]
fn rights_to_make_its_own_certificates_are_looked_for_where_it_does() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    let authority = Authority::create("webhook");
    patient.store(&authority.server_for(&[SERVICE_HOST], 365), &authority);
    patient.examine().does_not_find("rbac-missing");
    // Nobody else keeps the key of the CA there.
    let key = json!({"stringData": {"ca.key": "key"}}).to_string();
    admin.run(["-n", NAMESPACE, "patch", "secret", "crm-admission-tls", "-p", &key]).succeeds();
    let found = poll::until("missing rights", PATIENCE, || {
        let examined = patient.examine();
        let right = |finding: &Value| finding["message"].as_str().is_some_and(|it| it.contains("secrets"));
        match examined.findings().into_iter().find(right) {
            Some(finding) => Seen::Ready(finding),
            None => Seen::NotYet(examined.stdout),
        }
    });
    assert_eq!(found["id"], "rbac-missing");
    patient.mend(&found);
    poll::until("rights", PATIENCE, || {
        let examined = patient.examine();
        // The rights never come without the guard.
        examined.does_not_find("guard-absent");
        match examined.ids().iter().any(|id| id == "rbac-missing") {
            false => Seen::Ready(()),
            true => Seen::NotYet(examined.stdout),
        }
    });
}

#[test]
fn the_right_to_patch_configurations_without_the_guard_is_found_and_fixed() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    let account = patient.0.plane.kubectl("crm-admission");
    // Without the right, nobody needs the guard.
    patient.examine().finds_nothing();
    admin.apply_path(&manifest("overlays/self-managed/rbac.yaml")).succeeds();
    poll::until("the right to patch configurations", PATIENCE, || match may_patch_configurations(&account) {
        true => Seen::Ready(()),
        false => Seen::NotYet("it may not patch them yet".to_owned()),
    });
    let (policy, binding) = ("validatingadmissionpolicy", "validatingadmissionpolicybinding");
    let examined = patient.examine();
    examined.finds("failure", "guard-absent", &format!("{policy} {GUARD}"));
    let finding = examined.finds("failure", "guard-absent", &format!("{binding} {GUARD}"));
    patient.mend(&finding);
    let examined = patient.examine();
    examined.finds_nothing();
    let checks = examined.report()["checks"].to_string();
    assert!(checks.contains("permissions that it needs, and the guard"), "{checks}");

    let harmless = json!([{"op": "replace", "path": "/spec/validations/0/expression", "value": "true"}]);
    admin.run(["patch", policy, GUARD, "--type=json", "-p", &harmless.to_string()]).succeeds();
    let finding = patient.examine().finds("failure", "guard-changed", "spec.validations[0].expression");
    patient.mend(&finding);
    admin.patch(binding, GUARD, &json!({"spec": {"validationActions": ["Audit"]}})).succeeds();
    let finding = patient.examine().finds("failure", "guard-changed", "spec.validationActions[0]");
    patient.mend(&finding);
    patient.examine().finds_nothing();
}

#[test]
fn policies_that_have_no_effect_are_found() {
    let mut patient = Patient::healthy();
    let admin = patient.admin();
    let broken = json!({"creator": {"sources": [{"from": "Username", "pattern": "(?<name>"}]}});
    admin.apply(&policy("default", &broken)).succeeds();
    admin
        .run(["wait", "admissionpolicy", "default", "--for=condition=Accepted=False", "--timeout=60s"])
        .succeeds();
    admin.apply(&policy("strict", &json!({}))).succeeds();
    let examined = patient.examine();
    examined.finds("failure", "policy-not-accepted", "spec.creator.sources[0].pattern");
    let finding = examined.finds("warning", "policy-not-used", "admissionpolicy strict");
    patient.mend(&finding);

    admin.apply(&policy("default", &json!({}))).succeeds();
    admin.run(["wait", "admissionpolicy", "default", "--for=condition=Accepted", "--timeout=60s"]).succeeds();
    patient.examine().finds_nothing();
    patient.0.webhook.kill();
    admin.apply(&policy("default", &json!({"normalization": {"domains": "RequireCanonical"}}))).succeeds();
    patient.examine().finds("warning", "policy-not-taken", "admissionpolicy default");
}

#[test]
fn a_policy_that_refuses_or_admits_the_canary_is_told_from_a_webhook_that_does_not_work() {
    let patient = Patient::healthy();
    let admin = patient.admin();
    let in_force = |spec: &Value| {
        admin.apply(&policy("default", spec)).succeeds();
        admin
            .run(["wait", "admissionpolicy", "default", "--for=condition=Accepted", "--timeout=60s"])
            .succeeds();
    };
    in_force(&json!({
        "rules": [{"rule": "label-value", "action": "Deny"}],
        "labels": [{"key": "crm.milo.io/source", "allowed": ["event"], "required": true}],
    }));
    patient.examine().finds("warning", "canary-denied", "[label-value");
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();

    let exemption = json!({
        "name": "admins", "groups": ["system:masters"], "users": [], "rules": ["display-name"], "reason": "test",
    });
    in_force(&json!({"exemptions": [exemption]}));
    patient.examine().finds("warning", "canary-admitted", "blank name");
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();

    // Nothing that the canary could be told by is changed under this policy, and nothing is wrong with it.
    in_force(&json!({
        "rules": [{"rule": "creator-ref", "action": "Disabled"}, {"rule": "display-name", "action": "Warn"}],
        "normalization": {"domains": "RequireCanonical"},
    }));
    patient.examine().finds_nothing();
}

#[test]
fn what_the_caller_may_not_read_is_skipped_with_the_right_that_is_lacking() {
    let patient = Patient::healthy();
    let examined = patient.examine_as("alice", &[]);
    assert_eq!(examined.code, 0, "{examined:?}");
    examined.finds("skipped", "not-permitted", "cannot get resource \\\"secrets\\\"");
    examined.finds("skipped", "not-permitted", "cannot create resource \\\"subjectaccessreviews\\\"");
    examined.does_not_find("canary-refused");

    // Who may read nothing at all learns nothing, which is not the same as a healthy installation.
    let examined = patient.examine_as("bob", &[]);
    assert_eq!((examined.code, examined.stdout.as_str()), (2, ""), "{examined:?}");
    assert!(examined.stderr.contains("lacks permission to read any part"), "{examined:?}");
}

#[test]
fn credentials_that_are_not_accepted_end_it() {
    let patient = Patient::healthy();
    let kubeconfig = std::fs::read_to_string(patient.0.plane.kubeconfig("admin")).unwrap();
    let kubeconfig = kubeconfig.replace("token-of-admin", "token-of-nobody");
    let kubeconfig = patient.0.plane.workspace().write("kubeconfigs", "nobody", &kubeconfig);
    let examined = run_doctor(&kubeconfig, &[]);
    assert_eq!((examined.code, examined.stdout.as_str()), (2, ""), "{examined:?}");
    assert!(examined.stderr.contains("does not accept the credentials"), "{examined:?}");
}
