//! Tests upgrades from release 0.1.0 and the way back, during writes: no write fails, and records and certificates stay.

use super::changes::{
    Changes, NAMESPACE, assert_completes, assert_healthy, await_webhook, helm_with, image_values, required,
    secret,
};
use crate::support::control_plane::ControlPlane;
use crate::support::helm::Helm;
use crate::support::manifest;
use crate::support::pods::cluster::{Cluster, FIRST_IMAGE, IMAGE};
use crate::support::pods::family::Family;
use crate::support::pods::requirements::first_release;
use crate::support::records::{bundle, company, note_on, person};
use serde_json::Value;

/// What an upgrade must keep.
#[derive(Debug, PartialEq)]
struct Kept {
    /// The records, with their versions.
    records: Vec<Value>,
    /// The data of the Secret.
    secret: Value,
}

impl Kept {
    fn read(plane: &ControlPlane) -> Self {
        let admin = plane.kubectl("admin");
        let list = admin.run(["get", "companies,people,notes", "-o", "json"]).succeeds().json();
        let records = list["items"].as_array().unwrap().clone();
        Self { records, secret: secret(plane)["data"].clone() }
    }
}

/// Installs release 0.1.0 as it was installed then.
#[track_caller]
fn install_first(cluster: &Cluster) {
    cluster.run(&first_release().join("scripts/install"), &["--image", FIRST_IMAGE]);
}

/// Creates one record of each kind.
fn write_records(plane: &ControlPlane) {
    let records = bundle([
        company("acme", "{displayName: Acme, domains: [acme.example]}"),
        person("ada", "{displayName: Ada, companyRef: {name: acme}}"),
        note_on("acme", "called"),
    ]);
    plane.kubectl("alice").apply(&records).succeeds();
}

/// Asserts that nothing was lost, and that the webhook that runs this image completes records.
#[track_caller]
fn assert_kept(cluster: &Cluster, before: &Kept, image: &str) {
    let plane = cluster.plane();
    assert_eq!(&Kept::read(plane), before);
    required(plane);
    assert_completes(plane);
    let pods =
        ["get", "pods", "--namespace", NAMESPACE, "-o", "jsonpath={.items[*].spec.containers[*].image}"];
    let images = plane.kubectl("admin").run(pods).succeeds().stdout;
    assert!(images.split(' ').any(|found| found == image), "{images}");
}

#[test]
fn an_upgrade_by_the_script_and_the_way_back_lose_nothing() {
    let cluster = Cluster::start(Family::Ipv4);
    install_first(&cluster);
    write_records(cluster.plane());
    let before = Kept::read(cluster.plane());
    let mut changes = Changes::of(cluster);

    changes.make("upgrade from 0.1.0", |cluster| drop(cluster.install()));
    assert_kept(&changes.cluster, &before, IMAGE);
    assert_healthy(&changes.cluster);
    let secret = secret(changes.cluster.plane());
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/managed-by"], "crm-admission");

    changes.make("back to 0.1.0", install_first);
    assert_kept(&changes.cluster, &before, FIRST_IMAGE);
    changes.assert_flawless();
}

#[test]
fn an_upgrade_by_helm_and_the_rollback_lose_nothing() {
    let cluster = Cluster::start(Family::Ipv4);
    let [[repository, first], [_, tag]] = &[FIRST_IMAGE, IMAGE].map(image_values);
    let first_chart = first_release().join("manifests/chart/crm-admission");
    helm_with(&cluster, &first_chart, &["install", "--create-namespace", repository, first]);
    await_webhook(&cluster);
    write_records(cluster.plane());
    let before = Kept::read(cluster.plane());
    let mut changes = Changes::of(cluster);

    changes.make("helm upgrade from 0.1.0", |cluster| {
        let chart = manifest("chart/crm-admission");
        helm_with(cluster, &chart, &["upgrade", "--take-ownership", repository, tag]);
    });
    assert_kept(&changes.cluster, &before, IMAGE);
    assert_healthy(&changes.cluster);

    changes.make("helm rollback to 0.1.0", |cluster| {
        let back = ["rollback", "crm-admission", "1", "--namespace", NAMESPACE, "--wait", "--timeout=120s"];
        cluster.run(&Helm::program(), &back);
    });
    assert_kept(&changes.cluster, &before, FIRST_IMAGE);
    changes.assert_flawless();
}
