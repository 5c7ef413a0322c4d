//! Tests that no change of an installation makes a write fail: installing, upgrading, changing overlays, the emergency
//! exit, and uninstalling.

use crate::support::control_plane::ControlPlane;
use crate::support::helm::Helm;
use crate::support::manifest;
use crate::support::pki::Authority;
use crate::support::pods::cluster::{Cluster, IMAGE};
use crate::support::pods::family::Family;
use crate::support::repository;
use crate::support::steady::Steady;
use serde_json::Value;
use std::path::Path;

/// Writes in a second.
const RATE: u32 = 50;
const NAMESPACE: &str = "crm-admission-system";
const CONFIGURATIONS: &str = "mutatingwebhookconfiguration,validatingwebhookconfiguration";

/// Changes the installation of a cluster during writes, and keeps a table of the results.
struct Changes {
    cluster: Cluster,
    table: Vec<String>,
    failed: usize,
}

impl Changes {
    /// Makes a change during writes.
    fn make(&mut self, what: &str, change: impl FnOnce(&Cluster)) {
        let steady = Steady::start(self.cluster.plane(), RATE);
        change(&self.cluster);
        let tally = steady.stop();
        self.failed += tally.failures.len();
        self.table.push(format!("{:>5} of {:>5} failed: {what}", tally.failures.len(), tally.made));
        let shown = tally.failures.iter().take(3);
        self.table
            .extend(shown.map(|failure| format!("      {}", failure.chars().take(400).collect::<String>())));
    }

    #[track_caller]
    fn assert_flawless(self) {
        let table = self.table.join("\n");
        println!("{table}");
        assert_eq!(self.failed, 0, "writes failed\n{table}");
    }
}

/// Asserts that the API server requires the webhook.
#[track_caller]
fn required(plane: &ControlPlane) {
    let admin = plane.kubectl("admin");
    let stored = admin.get("mutatingwebhookconfiguration", "crm-admission");
    assert_eq!(stored["webhooks"][0]["failurePolicy"], "Fail", "{stored}");
}

/// Runs a program as an admin, and fails if it fails.
#[track_caller]
fn run(cluster: &Cluster, program: &Path, args: &[&str]) {
    let output = cluster.command(program).args(args).output().unwrap();
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{} {args:?}\n{}", program.display(), printed.concat());
}

fn script(cluster: &Cluster, name: &str, args: &[&str]) {
    run(cluster, &repository().join("scripts").join(name), args);
}

/// Runs helm on the shipped chart, which comes after the arguments.
#[track_caller]
fn helm(cluster: &Cluster, args: &[&str]) {
    let chart = manifest("chart/crm-admission");
    let (release, wait) = (["crm-admission", chart.to_str().unwrap()], ["--wait", "--timeout=120s"]);
    run(
        cluster,
        &Helm::program(),
        &[&args[..1], &release, &["--namespace", NAMESPACE], &wait, &args[1..]].concat(),
    );
}

/// The documented wait for the CA.
#[track_caller]
fn await_bundles(cluster: &Cluster) {
    let admin = cluster.plane().kubectl("admin");
    let condition = "--for=jsonpath={.webhooks[0].clientConfig.caBundle}";
    let names =
        ["mutatingwebhookconfiguration/crm-admission", "validatingwebhookconfiguration/crm-admission"];
    admin.run(["wait", condition, "--timeout=60s"].into_iter().chain(names)).succeeds();
}

#[test]
fn no_change_of_an_installation_loses_a_write() {
    let cluster = Cluster::start(Family::Ipv4);
    // People have records before they have the webhook.
    cluster.plane().install_kinds(&manifest("crds"));
    let authority = Authority::create("Acme CA");
    let own = authority.server_for(&["crm-admission.crm-admission-system.svc"], 90);
    let workspace = cluster.plane().workspace();
    let [ca, certificate, key] =
        [("ca.crt", &authority.pem), ("tls.crt", &own.certificate), ("tls.key", &own.key)]
            .map(|(name, text)| workspace.write("own", name, text).display().to_string());
    let mut changes = Changes { cluster, table: Vec::new(), failed: 0 };

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
        let admin = cluster.plane().kubectl("admin");
        let create = ["create", "secret", "tls", "crm-admission-tls", "--namespace", NAMESPACE];
        let files = ["--cert", &certificate, "--key", &key, "--dry-run=client", "-o", "yaml"];
        let secret = admin.run(create.into_iter().chain(files)).succeeds().stdout;
        admin.apply(&secret).succeeds();
        drop(cluster.install_with(&["--overlay", "own-certificate", "--ca", &ca]));
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
    let get = ["get", "secret", "crm-admission-tls", "--namespace", NAMESPACE, "-o", "json"];
    let secret: Value = admin.run(get).succeeds().json();
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/managed-by"], "crm-admission");
    changes.make("uninstall", |cluster| script(cluster, "uninstall", &[]));
    changes.assert_flawless();
}

#[test]
fn no_change_of_a_release_of_helm_loses_a_write() {
    let cluster = Cluster::start(Family::Dual);
    cluster.plane().install_kinds(&manifest("crds"));
    let mut changes = Changes { cluster, table: Vec::new(), failed: 0 };
    let image = IMAGE.rsplit_once(':').unwrap().0;
    let image = format!("--set=image.repository={image}");
    let (ignore, fail) = ("--set=registration.failurePolicy=Ignore", "--set=registration.failurePolicy=Fail");

    changes.make("helm install, first with failurePolicy: Ignore", |cluster| {
        helm(cluster, &["install", "--create-namespace", "--take-ownership", &image, ignore]);
        await_bundles(cluster);
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
            await_bundles(cluster);
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
        run(cluster, &Helm::program(), &["uninstall", "crm-admission", "--namespace", NAMESPACE, "--wait"]);
    });
    assert!(admin.has("crd", "companies.crm.milo.io"), "the kinds stay");
    changes.assert_flawless();
}
