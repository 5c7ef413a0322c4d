//! Products that run beside this one in many clusters. `tests/pods/neighbours/build` builds their programs.

use super::cluster::{Cluster, Shape};
use super::family::Family;
use super::image::Image;
use super::node;
use crate::support::process::{Log, Process};
use crate::support::repository;
use std::path::PathBuf;

/// The directory with the built programs.
pub(crate) fn programs() -> PathBuf {
    repository().join("target/pods/neighbours")
}

/// A manifest in `tests/pods/neighbours`.
pub(crate) fn pods(product: &str) -> PathBuf {
    repository().join("tests/pods/neighbours").join(product).join("pods.yaml")
}

/// A cluster whose nodes have the images of these products.
#[track_caller]
pub(crate) fn cluster_with(family: Family, products: &[&str]) -> Cluster {
    let program = |product: &&str| {
        let path = programs().join(product);
        assert!(path.is_file(), "{} is not built: run tests/pods/neighbours/build", path.display());
        path
    };
    let programs: Vec<PathBuf> = products.iter().map(program).collect();
    let names: Vec<String> =
        products.iter().map(|product| format!("registry.example.com/{product}:test")).collect();
    let mut images = Vec::new();
    for ((path, program), name) in products.iter().zip(&programs).zip(&names) {
        images.push(Image { name, program, path, user: "65532:65532" });
    }
    Cluster::start_as(&Shape { images: &images, ..Shape::of(family) })
}

/// Enforces NetworkPolicies on every node, until it is dropped.
#[must_use]
#[track_caller]
pub(crate) fn enforce_network_policies(cluster: &Cluster) -> Vec<Process> {
    let workspace = cluster.plane().workspace();
    let start = |node: &node::Node| {
        let mut command = node::command(node.machine(), "../neighbours/kube-router");
        command
            .args(["--run-firewall", "--run-router=false", "--run-service-proxy=false"])
            .arg(format!("--hostname-override={}", node.name()))
            .arg(format!("--service-cluster-ip-range={}", Family::Ipv4.services().join(",")))
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig_of_nodes("admin"));
        let log = Log::new(workspace.file("logs", &format!("{}-kube-router.log", node.name())));
        Process::start("kube-router", command, &log)
    };
    cluster.nodes().iter().map(start).collect()
}
