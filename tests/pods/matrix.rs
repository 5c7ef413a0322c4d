//! Every overlay, every component, and the values of the chart that change what runs, in clusters with IPv4 addresses, IPv6
//! addresses and both, during writes: `make matrix` prints how many of all writes failed. It takes too long for every run
//! of the tests.

use super::changes::{
    Changes, NAMESPACE, Own, assert_healthy, await_webhook, helm, helm_without_waiting, image_values,
    overlay_with, required, uninstall_release,
};
use super::neighbours::{renew_with_cert_manager, start_cert_manager};
use crate::support::foreign_kinds::prometheus_operator_kinds;
use crate::support::manifest;
use crate::support::pods::cluster::{Cluster, IMAGE};
use crate::support::pods::family::Family;
use crate::support::pods::neighbour;
use crate::support::poll::{self, Seen};
use crate::support::records::person;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(180);
/// The components that stand beside any source of certificates. `mounted-certificate` is a part of the overlays
/// `own-certificate` and `cert-manager`, and `one-call` of the overlay of this name.
/// Those that belong to two others have only permissions, which `tests/e2e/rights.rs` tests.
const COMPONENTS: [&str; 7] =
    ["audit", "audit-metrics", "autoscaling", "conditions", "milo", "monitoring", "host-network"];

#[test]
fn scripts_with_ipv4() {
    scripts(Family::Ipv4);
}

#[test]
fn scripts_with_ipv6() {
    scripts(Family::Ipv6);
}

#[test]
fn scripts_with_both() {
    scripts(Family::Dual);
}

#[test]
fn helm_with_ipv4() {
    releases(Family::Ipv4);
}

#[test]
fn helm_with_ipv6() {
    releases(Family::Ipv6);
}

#[test]
fn helm_with_both() {
    releases(Family::Dual);
}

/// A cluster of a user who already has records.
fn cluster(family: Family) -> Cluster {
    let cluster = neighbour::cluster_with(family, &["cert-manager"]);
    cluster.plane().install_kinds(&manifest("crds"));
    start_cert_manager(cluster.plane());
    let admin = cluster.plane().kubectl("admin");
    admin.create(&prometheus_operator_kinds()).succeeds();
    let kinds = "prometheusrules,servicemonitors";
    poll::until("kinds of other products", PATIENCE, || match admin.run(["get", kinds]) {
        found if found.ok() => Seen::Ready(()),
        other => Seen::NotYet(other.to_string()),
    });
    cluster
}

/// Installs with every overlay and component by the script.
fn scripts(family: Family) {
    let mut changes = Changes::of(cluster(family));
    let own = Own::create(changes.cluster.plane());
    changes.make("install", |cluster| drop(cluster.install()));
    check(&changes.cluster);
    changes.make("roll out", roll_out);
    changes.make("renew the certificate", renew);
    check(&changes.cluster);
    for component in COMPONENTS {
        let overlay = overlay_with(&changes.cluster, component, "self-managed", &[component]);
        changes.make(&format!("component {component}"), |cluster| {
            cluster.install_with(&["--overlay", &overlay]);
        });
        check(&changes.cluster);
    }
    for overlay in ["one-call", "development", "cert-manager"] {
        change_overlay(&mut changes, overlay);
    }
    changes.make("renew the certificate of cert-manager", renew_with_cert_manager);
    check(&changes.cluster);
    change_overlay(&mut changes, "self-managed");
    changes.make("overlay own-certificate", |cluster| {
        own.store(cluster.plane());
        cluster.install_with(&["--overlay", "own-certificate", "--ca", &own.ca]);
    });
    check(&changes.cluster);
    changes.make("uninstall", |cluster| drop(cluster.script("uninstall", &["--overlay", "own-certificate"])));
    changes.assert_flawless();
}

fn change_overlay(changes: &mut Changes, overlay: &str) {
    changes.make(&format!("overlay {overlay}"), |cluster| {
        cluster.install_with(&["--overlay", overlay]);
    });
    check(&changes.cluster);
}

/// Installs with every value of the chart that changes what runs.
fn releases(family: Family) {
    let mut changes = Changes::of(cluster(family));
    let own = Own::create(changes.cluster.plane());
    let [repository, tag] = image_values(IMAGE);
    let create = ["install", "--create-namespace", "--take-ownership", &repository, &tag];
    changes.make("install", |cluster| {
        helm(cluster, &[&create[..], &[IGNORE]].concat());
        await_webhook(cluster);
        upgrade(cluster, &[FAIL]);
    });
    check(&changes.cluster);
    changes.make("roll out", roll_out);
    changes.make("renew the certificate", renew);
    check(&changes.cluster);
    for (value, off) in [
        ("audit.enabled=true", "audit.enabled=false"),
        ("audit.interval=6h", "audit.interval="),
        ("conditions.enabled=true", "conditions.enabled=false"),
        ("autoscaling.enabled=true", "autoscaling.enabled=false"),
        ("milo.enabled=true", "milo.enabled=false"),
        ("monitoring.enabled=true", "monitoring.enabled=false"),
        // Nobody listens there.
        ("traces.endpoint=http://192.0.2.1:4318", "traces.endpoint="),
        ("hostNetwork=true", "hostNetwork=false"),
    ] {
        changes.make(value, |cluster| upgrade(cluster, &[&format!("--set={value}")]));
        check(&changes.cluster);
        changes.make(off, |cluster| upgrade(cluster, &[&format!("--set={off}")]));
    }
    for value in ["registration.oneCall=true", "registration.oneCall=false"] {
        changes.make(value, |cluster| {
            upgrade(cluster, &[IGNORE, &format!("--set={value}")]);
            await_webhook(cluster);
            upgrade(cluster, &[FAIL]);
        });
        check(&changes.cluster);
    }
    for mode in ["cert-manager", "self-managed"] {
        changes.make(&format!("tls.mode={mode}"), |cluster| change_mode(cluster, mode));
        check(&changes.cluster);
    }
    changes.make("tls.mode=secret", |cluster| {
        upgrade(cluster, &[IGNORE]);
        own.store(cluster.plane());
        let bundle = format!("--set-file=tls.caBundle={}", own.ca_base64);
        // The CA was the program's.
        upgrade(cluster, &[IGNORE, "--set=tls.mode=secret", &bundle, "--force-conflicts"]);
        upgrade(cluster, &[FAIL]);
    });
    check(&changes.cluster);
    changes.make("uninstall", |cluster| {
        uninstall_release(cluster);
    });
    changes.assert_flawless();
}

/// Changes who issues the certificate, as documented.
fn change_mode(cluster: &Cluster, mode: &str) {
    let mode_value = format!("--set=tls.mode={mode}");
    if mode == "self-managed" {
        helm_without_waiting(cluster, &["upgrade", "--reuse-values", IGNORE, &mode_value]);
        let admin = cluster.plane().kubectl("admin");
        let secrets = ["delete", "secret", "crm-admission-tls", "crm-admission-ca", "--namespace", NAMESPACE];
        admin.run(secrets).succeeds();
        roll_out_status(cluster);
    } else {
        upgrade(cluster, &[IGNORE, &mode_value]);
    }
    await_webhook(cluster);
    upgrade(cluster, &[FAIL]);
}

const IGNORE: &str = "--set=registration.failurePolicy=Ignore";
const FAIL: &str = "--set=registration.failurePolicy=Fail";

fn upgrade(cluster: &Cluster, values: &[&str]) {
    helm(cluster, &[&["upgrade", "--reuse-values"], values].concat());
}

/// Asserts that `doctor` finds nothing, and that users see what the README shows.
#[track_caller]
fn check(cluster: &Cluster) {
    assert_healthy(cluster);
    let plane = cluster.plane();
    required(plane);
    let alice = plane.kubectl("alice");
    let examples = manifest("examples");
    alice.run(["apply", "-f", examples.to_str().unwrap()]).succeeds();
    let dangling = person("ada", "{displayName: Ada, companyRef: {name: acme-crop}}");
    alice.apply(&dangling).fails().prints_error("no Company of that name");
}

fn roll_out(cluster: &Cluster) {
    let admin = cluster.plane().kubectl("admin");
    let of = ["deployment/crm-admission", "--namespace", NAMESPACE];
    admin.run(["rollout", "restart"].into_iter().chain(of)).succeeds();
    roll_out_status(cluster);
}

fn roll_out_status(cluster: &Cluster) {
    let status =
        ["rollout", "status", "deployment/crm-admission", "--namespace", NAMESPACE, "--timeout=180s"];
    cluster.plane().kubectl("admin").run(status).succeeds();
}

/// Renews a self-managed certificate, and then replaces the pods.
fn renew(cluster: &Cluster) {
    let admin = cluster.plane().kubectl("admin");
    let secret = ["secret", "crm-admission-tls", "--namespace", NAMESPACE];
    admin.run(["delete"].into_iter().chain(secret)).succeeds();
    poll::until("a new certificate", PATIENCE, || {
        let found = admin.run(["get"].into_iter().chain(secret).chain(["-o", "jsonpath={.data.tls\\.crt}"]));
        match found.ok() && !found.stdout.is_empty() {
            true => Seen::Ready(()),
            false => Seen::NotYet(found.to_string()),
        }
    });
    roll_out(cluster);
}
