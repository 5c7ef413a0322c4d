//! Tests that no change of an installation makes a write fail: installing, upgrading, changing overlays, the emergency
//! exit, and uninstalling.

use crate::support::control_plane::ControlPlane;
use crate::support::foreign_kinds::foreign_kinds;
use crate::support::helm::Helm;
use crate::support::manifest;
use crate::support::pki::Authority;
use crate::support::pods::cluster::{Cluster, IMAGE};
use crate::support::pods::family::Family;
use crate::support::pods::requirements::built_programs;
use crate::support::poll::{self, Seen};
use crate::support::records::company;
use crate::support::steady::Steady;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Writes in a second.
const RATE: u32 = 50;
pub(crate) const NAMESPACE: &str = "crm-admission-system";
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIGURATIONS: &str = "mutatingwebhookconfiguration,validatingwebhookconfiguration";

/// Changes the installation of a cluster during writes, and keeps a table of the results.
pub(crate) struct Changes {
    pub(crate) cluster: Cluster,
    table: Vec<String>,
    failed: usize,
}

impl Changes {
    pub(crate) fn of(cluster: Cluster) -> Self {
        Self { cluster, table: Vec::new(), failed: 0 }
    }

    /// Makes a change during writes.
    pub(crate) fn make(&mut self, what: &str, change: impl FnOnce(&Cluster)) {
        let steady = Steady::start(self.cluster.plane(), RATE);
        change(&self.cluster);
        let tally = steady.stop();
        self.failed += tally.failures.len();
        let row = format!("{:>5} of {:>5} failed: {what}", tally.failures.len(), tally.made);
        println!("{row}");
        self.table.push(row);
        let shown = tally.failures.iter().take(3);
        self.table.extend(
            shown.map(|failure| {
                format!("      {}", failure.to_string().chars().take(400).collect::<String>())
            }),
        );
    }

    #[track_caller]
    pub(crate) fn assert_flawless(self) {
        let table = self.table.join("\n");
        assert_eq!(self.failed, 0, "writes failed\n{table}");
    }
}

/// Asserts that the API server requires the webhook.
#[track_caller]
pub(crate) fn required(plane: &ControlPlane) {
    let admin = plane.kubectl("admin");
    let stored = admin.get("mutatingwebhookconfiguration", "crm-admission");
    assert_eq!(stored["webhooks"][0]["failurePolicy"], "Fail", "{stored}");
}

/// Asserts that the webhook sets the creator of a record.
#[track_caller]
pub(crate) fn assert_completes(plane: &ControlPlane) {
    let record = company("globex", "{displayName: Globex}");
    let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let created = plane.kubectl("alice").run_with(&record, create).succeeds().json();
    assert_eq!(created["spec"]["creatorRef"]["name"], "alice", "{created}");
}

/// The Secret of the certificates.
#[track_caller]
pub(crate) fn secret(plane: &ControlPlane) -> Value {
    let get = ["get", "secret", "crm-admission-tls", "--namespace", NAMESPACE, "-o", "json"];
    plane.kubectl("admin").run(get).succeeds().json()
}

/// The values of the chart for an image: its repository and its tag.
pub(crate) fn image_values(image: &str) -> [String; 2] {
    let (repository, tag) = image.rsplit_once(':').unwrap();
    [format!("--set=image.repository={repository}"), format!("--set=image.tag={tag}")]
}

/// Asserts that `doctor` finds nothing to do.
#[track_caller]
pub(crate) fn assert_healthy(cluster: &Cluster) {
    let output = cluster.command(built_programs().join("crm-admission")).arg("doctor").output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(!report.contains("warning"), "{report}");
}

/// Runs helm on the shipped chart.
#[track_caller]
pub(crate) fn helm(cluster: &Cluster, args: &[&str]) {
    helm_with(cluster, &manifest("chart/crm-admission"), args);
}

/// Runs helm on a chart, which comes after the first argument, and waits until what it installs is ready.
#[track_caller]
pub(crate) fn helm_with(cluster: &Cluster, chart: &Path, args: &[&str]) {
    run_helm(cluster, chart, &[args, &["--wait", "--timeout=120s"]].concat());
}

/// Like [`helm`], but does not wait.
#[track_caller]
pub(crate) fn helm_without_waiting(cluster: &Cluster, args: &[&str]) {
    run_helm(cluster, &manifest("chart/crm-admission"), args);
}

#[track_caller]
fn run_helm(cluster: &Cluster, chart: &Path, args: &[&str]) {
    let release = ["crm-admission", chart.to_str().unwrap(), "--namespace", NAMESPACE];
    cluster.run(&Helm::program(), &[&args[..1], &release, &args[1..]].concat());
}

#[track_caller]
pub(crate) fn uninstall_release(cluster: &Cluster) {
    cluster.run(&Helm::program(), &["uninstall", "crm-admission", "--namespace", NAMESPACE, "--wait"]);
}

/// Writes a kustomization of a shipped overlay with components, and returns its directory.
pub(crate) fn overlay_with(cluster: &Cluster, name: &str, overlay: &str, components: &[&str]) -> String {
    let file = cluster.plane().workspace().file(&format!("overlays/{name}"), "kustomization.yaml");
    let directory = file.parent().unwrap().to_owned();
    // kustomize accepts only relative paths.
    let up = "../".repeat(directory.components().count() - 1);
    let shipped = |path: String| format!("{up}{}", manifest(&path).strip_prefix("/").unwrap().display());
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [shipped(format!("overlays/{overlay}"))],
        "components":
            components.iter().map(|name| shipped(format!("components/{name}"))).collect::<Vec<_>>(),
    });
    std::fs::write(file, kustomization.to_string()).unwrap();
    directory.display().to_string()
}

/// Waits until the webhook completes a record. Helm does not wait until kube-proxy knows the pods.
#[track_caller]
pub(crate) fn await_completion(plane: &ControlPlane) {
    let record = company("acme", "{displayName: Acme}");
    let creator = "jsonpath={.spec.creatorRef.name}";
    poll::until("a record with its creator", PATIENCE, || {
        let create = ["create", "--dry-run=server", "-o", creator, "-f", "-"];
        match plane.kubectl("alice").run_with(&record, create) {
            created if created.stdout == "alice" => Seen::Ready(()),
            other => Seen::NotYet(other.to_string()),
        }
    });
}

/// The documented wait for the CA, and until the API server reaches the webhook.
#[track_caller]
pub(crate) fn await_webhook(cluster: &Cluster) {
    let admin = cluster.plane().kubectl("admin");
    let condition = "--for=jsonpath={.webhooks[0].clientConfig.caBundle}";
    let names =
        ["mutatingwebhookconfiguration/crm-admission", "validatingwebhookconfiguration/crm-admission"];
    admin.run(["wait", condition, "--timeout=60s"].into_iter().chain(names)).succeeds();
    await_completion(cluster.plane());
}

/// A certificate of an admin, as files.
pub(crate) struct Own {
    certificate: String,
    key: String,
    pub(crate) ca: String,
    /// For the chart, which takes it in base64.
    pub(crate) ca_base64: String,
}

impl Own {
    pub(crate) fn create(plane: &ControlPlane) -> Self {
        let authority = Authority::create("Acme CA");
        let identity = authority.server_for(&["crm-admission.crm-admission-system.svc"], 90);
        let write = |name: &str, text: &str| plane.workspace().write("own", name, text).display().to_string();
        Self {
            certificate: write("tls.crt", &identity.certificate),
            key: write("tls.key", &identity.key),
            ca: write("ca.crt", &authority.pem),
            ca_base64: write("ca.base64", &STANDARD.encode(&authority.pem)),
        }
    }

    /// Puts it into the Secret, in place of what is there.
    pub(crate) fn store(&self, plane: &ControlPlane) {
        let admin = plane.kubectl("admin");
        let create = ["create", "secret", "tls", "crm-admission-tls", "--namespace", NAMESPACE];
        let files = ["--cert", &self.certificate, "--key", &self.key, "--dry-run=client", "-o", "yaml"];
        let secret = admin.run(create.into_iter().chain(files)).succeeds().stdout;
        admin.apply(&secret).succeeds();
    }
}

#[test]
fn no_change_of_an_installation_loses_a_write() {
    let cluster = Cluster::start(Family::Ipv4);
    // People have records before they have the webhook.
    cluster.plane().install_kinds(&manifest("crds"));
    let own = Own::create(cluster.plane());
    let mut changes = Changes::of(cluster);

    changes.make("install", |cluster| drop(cluster.install()));
    changes.make("install again", |cluster| drop(cluster.install()));
    changes.make("one call for each write", |cluster| drop(cluster.install_with(&["--overlay", "one-call"])));
    changes.make("two calls again", |cluster| drop(cluster.install()));
    required(changes.cluster.plane());
    changes.make("the emergency exit, and install again", |cluster| {
        cluster.plane().kubectl("admin").run(["delete", CONFIGURATIONS, "crm-admission"]).succeeds();
        drop(cluster.install());
    });
    changes.make("from self-managed to an own certificate", |cluster| {
        own.store(cluster.plane());
        cluster.install_with(&["--overlay", "own-certificate", "--ca", &own.ca]);
    });
    required(changes.cluster.plane());
    let admin = changes.cluster.plane().kubectl("admin");
    let rights = admin.run(["get", "clusterrolebinding", "crm-admission-certificates", "--ignore-not-found"]);
    rights.succeeds().prints_nothing();
    changes.make("from an own certificate to self-managed", |cluster| {
        let admin = cluster.plane().kubectl("admin");
        admin.run(["delete", "secret", "crm-admission-tls", "--namespace", NAMESPACE]).succeeds();
        drop(cluster.install());
    });
    required(changes.cluster.plane());
    let secret = secret(changes.cluster.plane());
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/managed-by"], "crm-admission");
    changes.make("uninstall", |cluster| drop(cluster.script("uninstall", &[])));
    changes.assert_flawless();
}

#[test]
fn what_cert_manager_left_beside_self_managed_certificates_is_taken_away_without_a_lost_write() {
    let cluster = Cluster::start(Family::Ipv4);
    let admin = cluster.plane().kubectl("admin");
    admin.create(&foreign_kinds()).succeeds();
    cluster.install();
    // As release 0.1.0 left it after a change from cert-manager: its Certificate, its annotation and its Secret.
    let certificate = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {
            "name": "crm-admission",
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "crm-admission"},
        },
        "spec": {"secretName": "crm-admission-tls"},
    });
    poll::until("a Certificate", PATIENCE, || match admin.apply(&certificate.to_string()) {
        applied if applied.ok() => Seen::Ready(()),
        other => Seen::NotYet(other.to_string()),
    });
    for kind in CONFIGURATIONS.split(',') {
        let injected = format!("cert-manager.io/inject-ca-from={NAMESPACE}/crm-admission");
        admin.run(["annotate", kind, "crm-admission", &injected]).succeeds();
    }
    Own::create(cluster.plane()).store(cluster.plane());
    let issued = ["cert-manager.io/certificate-name=crm-admission", "--namespace", NAMESPACE];
    admin.run(["annotate", "secret", "crm-admission-tls"].into_iter().chain(issued)).succeeds();

    let mut changes = Changes::of(cluster);
    changes.make("install over what cert-manager left", |cluster| drop(cluster.install()));
    required(changes.cluster.plane());
    assert_healthy(&changes.cluster);
    let left = ["get", "certificates.cert-manager.io", "--namespace", NAMESPACE, "-o", "name"];
    admin.run(left).succeeds().prints_nothing();
    changes.assert_flawless();
}

#[test]
fn no_change_of_a_release_of_helm_loses_a_write() {
    let cluster = Cluster::start(Family::Dual);
    cluster.plane().install_kinds(&manifest("crds"));
    let mut changes = Changes::of(cluster);
    let [image, _] = image_values(IMAGE);
    let (ignore, fail) = ("--set=registration.failurePolicy=Ignore", "--set=registration.failurePolicy=Fail");

    changes.make("helm install, first with failurePolicy: Ignore", |cluster| {
        helm(cluster, &["install", "--create-namespace", "--take-ownership", &image, ignore]);
        await_webhook(cluster);
        helm(cluster, &["upgrade", "--reuse-values", fail]);
    });
    required(changes.cluster.plane());
    changes.make("helm upgrade that rolls out", |cluster| {
        helm(cluster, &["upgrade", "--reuse-values", "--set=podAnnotations.changed=yes"]);
    });
    for (what, calls) in [("one call", "true"), ("two calls", "false")] {
        let one_call = format!("--set=registration.oneCall={calls}");
        changes.make(&format!("helm upgrade to {what} for each write"), |cluster| {
            helm(cluster, &["upgrade", "--reuse-values", ignore, &one_call]);
            await_webhook(cluster);
            helm(cluster, &["upgrade", "--reuse-values", fail]);
        });
    }
    changes.make("helm upgrade to an autoscaler", |cluster| {
        helm(cluster, &["upgrade", "--reuse-values", "--set=autoscaling.enabled=true"]);
    });
    let get =
        ["get", "deployment", "crm-admission", "--namespace", NAMESPACE, "-o", "jsonpath={.spec.replicas}"];
    let admin = changes.cluster.plane().kubectl("admin");
    assert_eq!(admin.run(get).succeeds().stdout, "2");
    changes.make("helm uninstall", |cluster| {
        uninstall_release(cluster);
    });
    assert!(admin.has("crd", "companies.crm.milo.io"), "the kinds stay");
    changes.assert_flawless();
}
