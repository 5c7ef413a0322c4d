//! `crm-admission doctor` on an installation that is broken in one way after the other, and mended again.
//!
//! The table of [`scenarios`] names for each finding the scenario that provokes it.

use crate::support::foreign_kinds::foreign_kinds;
use crate::support::installation::{Installation, Witnessed};
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::pki::{Authority, Identity};
use crate::support::poll::{self, Seen};
use crate::support::process;
use crate::support::proxy::{Fault, Proxy, Scope};
use crate::support::webhook::{self, Reach};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crm_admission::doctor::Id;
use serde_json::{Value, json};
use std::cell::RefCell;
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

/// Makes each scenario a test that fails unless the doctor reports the ids of its row.
///
/// Each [`Id`] stands in one row. Without a row for a new one this does not compile.
macro_rules! scenarios {
    (
        impossible { $($impossible:ident: $reason:literal;)* }
        $($scenario:ident: $($id:ident),+;)+
    ) => {
        mod provoked {
            use super::Id;

            $(
                #[test]
                fn $scenario() {
                    super::provoke(&[$(Id::$id),+], super::$scenario);
                }
            )+
        }

        #[deny(unreachable_patterns)]
        const _: fn(Id) = |id| match id {
            $($(Id::$id)|+ => (),)+
            $(Id::$impossible => (),)*
        };
    };
}

scenarios! {
    impossible {
        ApiServerTooOld: "the tests have only a newer API server; unit tests in `doctor::version` cover this id";
        WrongAddressFamily: "the control plane has only IPv4 Services; unit tests in `doctor::service` cover this id";
    }

    an_api_server_that_answers_late_or_with_errors_is_told_from_absent_objects: Unanswered;
    what_the_caller_may_not_read_is_skipped_with_the_right_that_is_lacking: NotPermitted;
    definitions_that_are_absent_older_or_not_served_are_found_and_mended:
        CrdAbsent, CrdOutdated, CrdNotEstablished;
    records_in_a_version_that_is_gone_are_warned_of: CrdStoredVersion;
    a_registration_that_is_absent_or_changed_is_found:
        RegistrationAbsent, RegistrationChanged, CanaryNotMutated;
    one_call_for_each_write_is_fine_as_long_as_it_checks_everything: FloorAbsent, FloorChanged, WritesUnchecked;
    a_bundle_that_is_empty_or_no_certificate_or_anothers_is_found:
        CaBundleEmpty, CaBundleUnreadable, CaBundleMismatch, CanaryRefused;
    a_service_that_is_absent_or_leads_nowhere_is_found:
        ServiceAbsent, ServicePortAbsent, ServiceWithoutEndpoints, PortNotProbed;
    a_secret_that_is_absent_or_unusable_or_not_trusted_is_found:
        SecretAbsent, SecretForeign, SecretUnusable, CertificateWrongName, CertificateExpired, CertificateExpiresSoon,
        ServedDiffers;
    another_product_that_writes_the_certificate_is_found_and_stopped: CertificateContested;
    conditions_that_nobody_writes_are_found_and_the_lease_is_deleted_afterwards: ConditionsNotWritten;
    objects_of_another_overlay_are_found_and_deleted: Leftover;
    a_webhook_that_does_not_run_is_found_by_its_port_and_by_the_canary: PortUnreachable;
    rights_that_the_service_account_lacks_are_found_and_mended: ServiceAccountAbsent, RbacMissing;
    the_right_to_patch_configurations_without_the_guard_is_found_and_fixed: GuardAbsent, GuardChanged;
    policies_that_have_no_effect_are_found: PolicyNotAccepted, PolicyNotUsed, PolicyNotTaken;
    a_policy_that_refuses_or_admits_the_canary_is_told_from_a_webhook_that_does_not_work:
        CanaryDenied, CanaryAdmitted;
}

/// Runs a scenario, and fails unless it saw the doctor report all these ids.
fn provoke(ids: &[Id], scenario: fn(&mut Patient)) {
    let mut patient = Patient::healthy();
    scenario(&mut patient);
    let found = patient.found.borrow();
    for id in ids {
        assert!(found.contains(id), "{id} was not provoked, only {found:?}");
    }
}

/// An installation of these tests alone, one at a time: they break everything.
struct Patient {
    installation: Witnessed<MutexGuard<'static, Installation>>,
    /// The ids that [`Examined::finds`] saw in reports on it.
    found: RefCell<Vec<Id>>,
}

impl Patient {
    /// In good health, whatever the test before did to it.
    fn healthy() -> Self {
        static PATIENT: LazyLock<Mutex<Installation>> = LazyLock::new(|| Mutex::new(Installation::start()));
        let guard = PATIENT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut patient = Self { installation: Witnessed::new(guard), found: RefCell::default() };
        patient.installation.webhook.ensure_running();
        let admin = patient.admin();
        admin.run(["delete", "crd", "memos.crm.milo.io", "--ignore-not-found"]).succeeds();
        patient.installation.plane.install_kinds(&manifest("crds"));
        patient.installation.plane.install_roles();
        admin.run(["delete", "admissionpolicies", "--all"]).succeeds();
        admin.apply(&foreign_kinds()).succeeds();
        for kinds in ["deployments", "certificates.cert-manager.io", "issuers.cert-manager.io"] {
            admin.run(["-n", NAMESPACE, "delete", kinds, "--all"]).succeeds();
        }
        admin.run(["-n", NAMESPACE, "delete", "secret,service,endpointslice,lease", "--all"]).succeeds();
        for (kind, scope) in [("rolebinding", NAMESPACE), ("clusterrolebinding", "")] {
            let name = "crm-admission-conditions";
            admin.run(["-n", scope, "delete", kind, name, "--ignore-not-found"]).succeeds();
        }
        admin.apply(&service(443)).succeeds();
        admin.apply(&endpoints(true)).succeeds();
        patient.installation.webhook.unregister();
        patient.remove_floor();
        patient.withdraw_certificate_rights();
        patient.installation.webhook.register();
        patient
    }

    /// Takes away what making its own certificates takes, and then the guard.
    fn withdraw_certificate_rights(&self) {
        let (admin, account) = (self.admin(), self.installation.plane.kubectl("crm-admission"));
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
        self.installation.plane.kubectl("admin")
    }

    fn examine(&self) -> Examined<'_> {
        self.examine_as("admin", &[])
    }

    fn examine_as(&self, user: &str, args: &[&str]) -> Examined<'_> {
        self.examine_with(&self.installation.plane.kubeconfig(user), args)
    }

    fn examine_with(&self, kubeconfig: &Path, args: &[&str]) -> Examined<'_> {
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
            found: &self.found,
        }
    }

    /// Registers the webhook by its Service, which leads nowhere here, with this CA.
    fn register_by_service(&self, authority: &Authority) {
        self.installation.webhook.unregister();
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
            .env("KUBECONFIG", self.installation.plane.kubeconfig("admin"))
            // kubectl keeps a cache there.
            .env("HOME", self.installation.plane.workspace().file("homes", "shell"))
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

/// A Deployment that starts the program with this flag. It has no pods here.
fn deployment(flag: &str) -> String {
    let labels = json!({"app.kubernetes.io/name": "crm-admission"});
    let container = json!({"name": "crm-admission", "image": "crm-admission", "args": ["serve", flag]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "crm-admission", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    deployment.to_string()
}

/// An object of cert-manager as the overlay has it.
fn of_cert_manager(kind: &str, name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "cert-manager.io/v1", "kind": kind,
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": "crm-admission"},
        },
        "spec": spec,
    });
    object.to_string()
}

fn policy(name: &str, spec: &Value) -> String {
    let policy = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicy",
        "metadata": {"name": name}, "spec": spec,
    });
    policy.to_string()
}

/// What one run of the doctor said.
#[derive(Debug)]
struct Examined<'patient> {
    code: i32,
    stdout: String,
    stderr: String,
    found: &'patient RefCell<Vec<Id>>,
}

impl Examined<'_> {
    fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn findings(&self) -> Vec<Value> {
        self.report()["findings"].as_array().expect("findings").clone()
    }

    fn ids(&self) -> Vec<Id> {
        let id = |finding: &Value| {
            let known = Id::ALL.iter().find(|id| finding["id"] == id.as_str());
            *known.unwrap_or_else(|| panic!("an unknown id: {finding}"))
        };
        self.findings().iter().map(id).collect()
    }

    /// The first finding of this id and level, whose subject and message contain `text`.
    #[track_caller]
    fn finds(&self, level: &str, id: Id, text: &str) -> Value {
        let findings = self.findings();
        let found = findings.iter().zip(self.ids()).find_map(|(finding, its_id)| {
            let told = format!("{}: {}", finding["subject"], finding["message"]);
            (its_id == id && finding["level"] == level && told.contains(text)).then(|| finding.clone())
        });
        let found = found.unwrap_or_else(|| panic!("no {level} {id} with {text:?} in {findings:#?}"));
        assert!(found["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{found}");
        assert_eq!(self.report()["healthy"], self.code == 0, "{self:?}");
        assert!(level != "failure" || self.code == 1, "{self:?}");
        self.found.borrow_mut().push(id);
        found
    }

    #[track_caller]
    fn does_not_find(&self, id: Id) {
        assert!(!self.ids().contains(&id), "{id} is among {:#?}", self.findings());
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
        "conditions",
        "leftovers",
        "canary",
    ];
    assert_eq!(checks, names.map(|name| (name, "ok")));
    assert_eq!(examined.stderr, "");
    assert!(!patient.admin().run(["get", "companies", "-o", "name"]).succeeds().stdout.contains("doctor"));

    let text = patient.examine_as("admin", &["--format", "text"]).stdout;
    assert!(text.contains("ok      crds: 4 definitions are up to date\n"), "{text}");
    assert!(text.ends_with("\n\nhealthy\n") && !text.contains('\u{1b}'), "{text}");
}

fn definitions_that_are_absent_older_or_not_served_are_found_and_mended(patient: &mut Patient) {
    let admin = patient.admin();
    let notes = "notes.crm.milo.io";
    admin.run(["delete", "crd", notes]).succeeds();
    let absent = patient.examine();
    let finding = absent.finds("failure", Id::CrdAbsent, "crd notes.crm.milo.io");

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
    patient.examine().finds("failure", Id::CrdNotEstablished, "is already in use");
    admin.run(["delete", "crd", "memos.crm.milo.io"]).succeeds();
    admin.run(["wait", "crd", notes, "--for=condition=Established", "--timeout=60s"]).succeeds();

    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/nextAction";
    let older = json!([{"op": "remove", "path": field}]).to_string();
    admin.run(["patch", "crd", notes, "--type=json", "-p", &older]).succeeds();
    let finding =
        patient.examine().finds("failure", Id::CrdOutdated, "properties.spec.properties.nextAction");
    patient.mend(&finding);
    patient.examine().finds_nothing();
}

fn records_in_a_version_that_is_gone_are_warned_of(patient: &mut Patient) {
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
    examined.finds("warning", Id::CrdStoredVersion, "stored as v1alpha0");
    // A version that only the cluster has is no finding.
    examined.does_not_find(Id::CrdOutdated);
}

fn a_registration_that_is_absent_or_changed_is_found(patient: &mut Patient) {
    patient.installation.webhook.unregister();
    let authority = Authority::create("webhook");
    patient.store(&authority.server_for(&[SERVICE_HOST], 365), &authority);
    let examined = patient.examine();
    let fixes = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"]
        .map(|kind| examined.finds("failure", Id::RegistrationAbsent, &format!("{kind} crm-admission")));
    examined.finds("failure", Id::CanaryNotMutated, "spec.creatorRef: Required value");
    for finding in &fixes {
        patient.mend(finding);
    }
    let examined = patient.examine();
    for id in [Id::RegistrationAbsent, Id::RegistrationChanged, Id::CaBundleEmpty, Id::CaBundleMismatch] {
        examined.does_not_find(id);
    }

    let change = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    patient.patch_registration("mutatingwebhookconfiguration", &change);
    let changed = "webhooks[mutate.crm.milo.io].failurePolicy";
    patient.examine().finds("failure", Id::RegistrationChanged, changed);
}

fn one_call_for_each_write_is_fine_as_long_as_it_checks_everything(patient: &mut Patient) {
    patient.installation.webhook.register_for_one_call();
    let examined = patient.examine();
    examined.finds_nothing();
    let checks = examined.report()["checks"].to_string();
    assert!(checks.contains("as shipped, 3 webhooks: one call for each write, and the floor"), "{checks}");

    patient.remove_floor();
    let examined = patient.examine();
    let finding = examined.finds("failure", Id::FloorAbsent, "validatingadmissionpolicy crm-admission-floor");
    examined.finds("failure", Id::FloorAbsent, "validatingadmissionpolicybinding crm-admission-floor");
    patient.mend(&finding);
    patient.examine().finds_nothing();

    let admin = patient.admin();
    let binding = "validatingadmissionpolicybinding";
    admin.patch(binding, FLOOR, &json!({"spec": {"validationActions": ["Audit"]}})).succeeds();
    let finding = patient.examine().finds("failure", Id::FloorChanged, "spec.validationActions[0]");
    patient.mend(&finding);
    patient.examine().finds_nothing();

    let condition = json!({"name": "may-need-changes", "expression": "true"});
    let leaves_out = json!([{"op": "add", "path": "/webhooks/0/matchConditions/-", "value": condition}]);
    patient.patch_registration("mutatingwebhookconfiguration", &leaves_out);
    let finding = patient.examine().finds("failure", Id::WritesUnchecked, "may-need-changes");
    patient.mend(&finding);
    patient.examine().finds_nothing();

    // Without the mark nobody meant it.
    let kind = "validatingwebhookconfiguration";
    admin.run(["annotate", kind, "crm-admission", "admission.crm.milo.io/registration-"]).succeeds();
    patient.examine().finds("failure", Id::RegistrationChanged, "webhooks[validate.crm.milo.io]");
}

fn a_bundle_that_is_empty_or_no_certificate_or_anothers_is_found(patient: &mut Patient) {
    let kind = "mutatingwebhookconfiguration";
    let path = "/webhooks/0/clientConfig/caBundle";
    patient.patch_registration(kind, &json!([{"op": "remove", "path": path}]));
    patient.examine().finds("warning", Id::CaBundleEmpty, "webhook mutate.crm.milo.io");

    let stranger = STANDARD.encode(&Authority::create("stranger").pem);
    patient.patch_registration(kind, &json!([{"op": "add", "path": path, "value": stranger}]));
    patient.installation.webhook.await_reach(Reach::Unreachable);
    let examined = patient.examine();
    examined.finds("failure", Id::CaBundleMismatch, "does not trust the served certificate");
    let refused =
        examined.finds("failure", Id::CanaryRefused, "x509: certificate signed by unknown authority");
    assert!(refused["message"].as_str().unwrap().contains("failed calling webhook"), "{refused}");

    let bundle = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let nothing = json!([{"op": "add", "path": path, "value": STANDARD.encode(bundle)}]);
    patient.patch_registration(kind, &nothing);
    patient.examine().finds("failure", Id::CaBundleUnreadable, "webhook mutate.crm.milo.io");
}

fn a_service_that_is_absent_or_leads_nowhere_is_found(patient: &mut Patient) {
    let admin = patient.admin();
    let authority = Authority::create("webhook");
    patient.store(&authority.server_for(&[SERVICE_HOST], 365), &authority);
    patient.register_by_service(&authority);
    let examined = patient.examine();
    examined.finds("skipped", Id::PortNotProbed, "from outside the cluster");
    for id in [Id::ServiceAbsent, Id::ServicePortAbsent, Id::ServiceWithoutEndpoints, Id::CaBundleMismatch] {
        examined.does_not_find(id);
    }

    admin.apply(&endpoints(false)).succeeds();
    patient.examine().finds("failure", Id::ServiceWithoutEndpoints, "none of its 1 endpoint is ready");
    admin.run(["-n", NAMESPACE, "delete", "endpointslice", "--all"]).succeeds();
    patient.examine().finds("failure", Id::ServiceWithoutEndpoints, "it has no endpoints");

    admin.replace(&service(8443)).succeeds();
    let finding = patient.examine().finds("failure", Id::ServicePortAbsent, "call port 443");
    patient.mend(&finding);
    patient.examine().does_not_find(Id::ServicePortAbsent);

    admin.run(["-n", NAMESPACE, "delete", "service", "crm-admission"]).succeeds();
    patient.installation.webhook.await_reach(Reach::Unreachable);
    let examined = patient.examine();
    examined.finds("failure", Id::ServiceAbsent, "service crm-admission-system/crm-admission");
    examined.finds("failure", Id::CanaryRefused, "failed calling webhook");
}

fn a_secret_that_is_absent_or_unusable_or_not_trusted_is_found(patient: &mut Patient) {
    let admin = patient.admin();
    let [authority, stranger] = ["webhook", "stranger"].map(Authority::create);
    patient.register_by_service(&authority);
    patient.examine().finds("failure", Id::SecretAbsent, "secret crm-admission-system/crm-admission-tls");

    let good = authority.server_for(&[SERVICE_HOST], 365);
    let other = authority.server_for(&[SERVICE_HOST], 365);
    patient.store(&Identity { certificate: good.certificate.clone(), key: other.key }, &authority);
    patient.examine().finds("failure", Id::SecretUnusable, "it is not the key of the certificate");

    // The Secret is renewed by another authority, and nobody tells the configurations.
    patient.store(&stranger.server_for(&[SERVICE_HOST], 365), &stranger);
    let examined = patient.examine();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let finding = examined.finds("failure", Id::CaBundleMismatch, kind);
        patient.mend(&finding);
    }
    patient.examine().does_not_find(Id::CaBundleMismatch);
    patient.store(&good, &authority);
    patient.register_by_service(&authority);
    patient.examine().does_not_find(Id::CaBundleMismatch);

    for (name, days, level, id) in [
        ("crm-admission.elsewhere.svc", 365, "failure", Id::CertificateWrongName),
        (SERVICE_HOST, -1, "failure", Id::CertificateExpired),
        (SERVICE_HOST, 7, "warning", Id::CertificateExpiresSoon),
    ] {
        patient.store(&authority.server_for(&[name], days), &authority);
        let examined = patient.examine();
        examined.finds(level, id, "the certificate of secret crm-admission-system/crm-admission-tls");
        examined.does_not_find(Id::CaBundleMismatch);
    }

    // With the key of a CA in it, the Secret looks like one for self-managed certificates.
    patient.store(&good, &authority);
    let key = json!({"stringData": {"ca.key": "key"}}).to_string();
    admin.run(["-n", NAMESPACE, "patch", "secret", "crm-admission-tls", "-p", &key]).succeeds();
    patient.examine().finds("failure", Id::SecretForeign, "issued, not crm-admission");
    admin.run(["-n", NAMESPACE, "delete", "secret", "crm-admission-tls"]).succeeds();

    // What is served here is the certificate of a test, which is none of this.
    patient.store(&good, &authority);
    let address = patient.installation.webhook.address();
    let examined = patient.examine_as("admin", &["--connect", &address]);
    examined.finds("warning", Id::ServedDiffers, "the served certificate");
    examined.finds("failure", Id::CaBundleMismatch, "does not trust the served certificate");
    admin.run(["-n", NAMESPACE, "delete", "secret", "crm-admission-tls"]).succeeds();
}

fn another_product_that_writes_the_certificate_is_found_and_stopped(patient: &mut Patient) {
    let admin = patient.admin();
    let issued = json!({"secretName": "crm-admission-tls"});
    let contested = |id: &&Value| id["id"] == Id::CertificateContested.as_str();
    let contests = || patient.examine().findings().iter().filter(contested).count();
    admin.apply(&of_cert_manager("Certificate", "crm", &issued)).succeeds();
    let kind = "mutatingwebhookconfiguration";
    let annotation = "cert-manager.io/inject-ca-from=crm-admission-system/crm";
    admin.run(["annotate", kind, "crm-admission", annotation]).succeeds();
    assert_eq!(contests(), 0, "cert-manager alone");

    admin.apply(&deployment("--tls-self-managed")).succeeds();
    let examined = patient.examine();
    for text in ["certificate crm-admission-system/crm", kind] {
        let finding = examined.finds("failure", Id::CertificateContested, text);
        patient.mend(&finding);
    }
    assert_eq!(contests(), 0, "after the fixes");
}

fn objects_of_another_overlay_are_found_and_deleted(patient: &mut Patient) {
    let admin = patient.admin();
    let mend_all = || {
        let examined = patient.examine();
        let mut subjects = Vec::new();
        for finding in examined.findings() {
            if finding["id"] == Id::Leftover.as_str() {
                examined.finds("warning", Id::Leftover, finding["subject"].as_str().unwrap());
                patient.mend(&finding);
                subjects.push(finding["subject"].as_str().unwrap().to_owned());
            }
        }
        patient.examine().does_not_find(Id::Leftover);
        subjects
    };

    admin.apply(&deployment("--tls-self-managed")).succeeds();
    admin.apply(&of_cert_manager("Issuer", "crm-admission", &json!({}))).succeeds();
    let ca = json!({"secretName": "crm-admission-ca"});
    admin.apply(&of_cert_manager("Certificate", "crm-admission-ca", &ca)).succeeds();
    let expected = [
        "certificates.cert-manager.io crm-admission-system/crm-admission-ca",
        "issuers.cert-manager.io crm-admission-system/crm-admission",
    ];
    assert_eq!(mend_all(), expected);

    admin.apply(&deployment("--tls-cert=/tls/tls.crt")).succeeds();
    patient.installation.plane.install_self_managed_permissions();
    let expected =
        ["clusterrolebinding", "rolebinding"].map(|kind| format!("{kind} crm-admission-certificates"));
    assert_eq!(mend_all(), expected);

    patient.installation.webhook.register_for_one_call();
    let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
    admin.run(["annotate", kinds, FLOOR, "admission.crm.milo.io/registration=one-call"]).succeeds();
    patient.examine().does_not_find(Id::Leftover);
    patient.installation.webhook.register();
    let expected = ["validatingadmissionpolicy", "validatingadmissionpolicybinding"]
        .map(|kind| format!("{kind} {FLOOR}"));
    assert_eq!(mend_all(), expected);
}

fn conditions_that_nobody_writes_are_found_and_the_lease_is_deleted_afterwards(patient: &mut Patient) {
    let admin = patient.admin();
    admin.apply(&deployment("--conditions")).succeeds();
    let examined = patient.examine();
    examined.finds("warning", Id::ConditionsNotWritten, "it does not exist");
    let finding = examined.finds("failure", Id::RbacMissing, "it lacks permission to patch people/status");
    examined.finds("failure", Id::RbacMissing, "it lacks permission to create leases.coordination.k8s.io");
    patient.mend(&finding);
    patient.installation.webhook.restart_with(&["--conditions", "--namespace", NAMESPACE]);
    poll::until("a leader", PATIENCE, || {
        let examined = patient.examine();
        if examined.ids().is_empty() { Seen::Ready(()) } else { Seen::NotYet(examined.stdout) }
    });

    patient.installation.webhook.restart();
    let released = patient.examine();
    released.finds("warning", Id::ConditionsNotWritten, "no replica holds it");
    admin.apply(&deployment("--tls-cert=/tls/tls.crt")).succeeds();
    let finding = patient.examine().finds("warning", Id::Leftover, "crm-admission-conditions");
    patient.mend(&finding);
    patient.examine().finds_nothing();
}

fn a_webhook_that_does_not_run_is_found_by_its_port_and_by_the_canary(patient: &mut Patient) {
    patient.installation.webhook.kill();
    let examined = patient.examine();
    let address = patient.installation.webhook.address();
    let finding = examined.finds("failure", Id::PortUnreachable, &address);
    assert!(finding["message"].as_str().unwrap().contains("refused"), "{finding}");
    examined.finds("failure", Id::CanaryRefused, "(probably nothing listens at the address that it calls)");
}

fn rights_that_the_service_account_lacks_are_found_and_mended(patient: &mut Patient) {
    let admin = patient.admin();
    admin.run(["delete", "clusterrolebinding", "crm-admission"]).succeeds();
    admin.run(["-n", NAMESPACE, "delete", "serviceaccount", "crm-admission"]).succeeds();
    // The authorizer follows the bindings with a watch.
    let examined = poll::until("missing rights", PATIENCE, || {
        let examined = patient.examine();
        match examined.ids().contains(&Id::RbacMissing) {
            true => Seen::Ready(examined),
            false => Seen::NotYet(examined.stdout),
        }
    });
    examined.finds(
        "failure",
        Id::RbacMissing,
        "it lacks permission to get, list, watch companies.crm.milo.io",
    );
    examined.finds("failure", Id::RbacMissing, "it lacks permission to patch admissionpolicies/status");
    let finding = examined.finds("failure", Id::ServiceAccountAbsent, "crm-admission-system/crm-admission");
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
    patient.examine().does_not_find(Id::RbacMissing);
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
    assert_eq!(found["id"], Id::RbacMissing.as_str());
    patient.mend(&found);
    poll::until("rights", PATIENCE, || {
        let examined = patient.examine();
        // The rights never come without the guard.
        examined.does_not_find(Id::GuardAbsent);
        match examined.ids().contains(&Id::RbacMissing) {
            false => Seen::Ready(()),
            true => Seen::NotYet(examined.stdout),
        }
    });
}

fn the_right_to_patch_configurations_without_the_guard_is_found_and_fixed(patient: &mut Patient) {
    let admin = patient.admin();
    let account = patient.installation.plane.kubectl("crm-admission");
    // Without the right, nobody needs the guard.
    patient.examine().finds_nothing();
    admin.apply_path(&manifest("overlays/self-managed/rbac.yaml")).succeeds();
    poll::until("the right to patch configurations", PATIENCE, || match may_patch_configurations(&account) {
        true => Seen::Ready(()),
        false => Seen::NotYet("it may not patch them yet".to_owned()),
    });
    let (policy, binding) = ("validatingadmissionpolicy", "validatingadmissionpolicybinding");
    let examined = patient.examine();
    examined.finds("failure", Id::GuardAbsent, &format!("{policy} {GUARD}"));
    let finding = examined.finds("failure", Id::GuardAbsent, &format!("{binding} {GUARD}"));
    patient.mend(&finding);
    let examined = patient.examine();
    examined.finds_nothing();
    let checks = examined.report()["checks"].to_string();
    assert!(checks.contains("permissions that it needs, and the guard"), "{checks}");

    let harmless = json!([{"op": "replace", "path": "/spec/validations/0/expression", "value": "true"}]);
    admin.run(["patch", policy, GUARD, "--type=json", "-p", &harmless.to_string()]).succeeds();
    let finding = patient.examine().finds("failure", Id::GuardChanged, "spec.validations[0].expression");
    patient.mend(&finding);
    admin.patch(binding, GUARD, &json!({"spec": {"validationActions": ["Audit"]}})).succeeds();
    let finding = patient.examine().finds("failure", Id::GuardChanged, "spec.validationActions[0]");
    patient.mend(&finding);
    patient.examine().finds_nothing();
}

fn policies_that_have_no_effect_are_found(patient: &mut Patient) {
    let admin = patient.admin();
    let broken = json!({"creator": {"sources": [{"from": "Username", "pattern": "(?<name>"}]}});
    // The webhook would deny it.
    patient.installation.webhook.kill();
    admin.apply(&policy("default", &broken)).succeeds();
    patient.installation.webhook.restart();
    admin
        .run(["wait", "admissionpolicy", "default", "--for=condition=Accepted=False", "--timeout=60s"])
        .succeeds();
    admin.apply(&policy("strict", &json!({}))).succeeds();
    let examined = patient.examine();
    examined.finds("failure", Id::PolicyNotAccepted, "spec.creator.sources[0].pattern");
    let finding = examined.finds("warning", Id::PolicyNotUsed, "admissionpolicy strict");
    patient.mend(&finding);

    admin.apply(&policy("default", &json!({}))).succeeds();
    admin.run(["wait", "admissionpolicy", "default", "--for=condition=Accepted", "--timeout=60s"]).succeeds();
    patient.examine().finds_nothing();
    patient.installation.webhook.kill();
    admin.apply(&policy("default", &json!({"normalization": {"domains": "RequireCanonical"}}))).succeeds();
    patient.examine().finds("warning", Id::PolicyNotTaken, "admissionpolicy default");
}

fn a_policy_that_refuses_or_admits_the_canary_is_told_from_a_webhook_that_does_not_work(
    patient: &mut Patient,
) {
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
    patient.examine().finds("warning", Id::CanaryDenied, "[label-value");
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();

    let exemption = json!({
        "name": "admins", "groups": ["system:masters"], "users": [], "rules": ["display-name"], "reason": "test",
    });
    in_force(&json!({"exemptions": [exemption]}));
    patient.examine().finds("warning", Id::CanaryAdmitted, "blank name");
    admin.run(["delete", "admissionpolicy", "default"]).succeeds();

    // Nothing that the canary could be told by is changed under this policy, and nothing is wrong with it.
    in_force(&json!({
        "rules": [{"rule": "creator-ref", "action": "Disabled"}, {"rule": "display-name", "action": "Warn"}],
        "normalization": {"domains": "RequireCanonical"},
    }));
    patient.examine().finds_nothing();
}

fn an_api_server_that_answers_late_or_with_errors_is_told_from_absent_objects(patient: &mut Patient) {
    let plane = &patient.installation.plane;
    let proxy = Proxy::start(plane, "admin");
    let kubeconfig = plane.kubeconfig_through(&proxy.url(), "admin");
    patient.examine_with(&kubeconfig, &[]).finds_nothing();
    for (fault, text) in
        [(Fault::Status500, "the API server answered 500"), (Fault::Hang, "did not answer within 1s")]
    {
        proxy.inject(Scope::Lookups, fault);
        let examined = patient.examine_with(&kubeconfig, &["--timeout", "1s"]);
        examined.finds("failure", Id::Unanswered, text);
        for id in [Id::CrdAbsent, Id::RegistrationAbsent] {
            examined.does_not_find(id);
        }
    }
}

fn what_the_caller_may_not_read_is_skipped_with_the_right_that_is_lacking(patient: &mut Patient) {
    let examined = patient.examine_as("alice", &[]);
    assert_eq!(examined.code, 0, "{examined:?}");
    examined.finds("skipped", Id::NotPermitted, "cannot get resource \\\"secrets\\\"");
    examined.finds("skipped", Id::NotPermitted, "cannot create resource \\\"subjectaccessreviews\\\"");
    examined.does_not_find(Id::CanaryRefused);

    // Who may read nothing at all learns nothing, which is not the same as a healthy installation.
    let examined = patient.examine_as("bob", &[]);
    assert_eq!((examined.code, examined.stdout.as_str()), (2, ""), "{examined:?}");
    assert!(examined.stderr.contains("lacks permission to read any part"), "{examined:?}");
}

#[test]
fn credentials_that_are_not_accepted_end_it() {
    let patient = Patient::healthy();
    let kubeconfig = std::fs::read_to_string(patient.installation.plane.kubeconfig("admin")).unwrap();
    let kubeconfig = kubeconfig.replace("token-of-admin", "token-of-nobody");
    let kubeconfig = patient.installation.plane.workspace().write("kubeconfigs", "nobody", &kubeconfig);
    let examined = patient.examine_with(&kubeconfig, &[]);
    assert_eq!((examined.code, examined.stdout.as_str()), (2, ""), "{examined:?}");
    assert!(examined.stderr.contains("does not accept the credentials"), "{examined:?}");
}
