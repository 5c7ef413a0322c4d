//! Starts a cluster with two nodes and the webhook as pods, to try things in until Ctrl-C.
//!
//! `make cluster PODS=1` builds the programs that it needs and runs it. The argument is `ipv4`, `ipv6` or `dual`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for people at a terminal, which cannot continue without its cluster"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use support::place::Place;
use support::pods::cluster::Cluster;
use support::pods::family::Family;

fn main() {
    let family = match std::env::args().nth(1).as_deref() {
        None | Some("ipv4") => Family::Ipv4,
        Some("ipv6") => Family::Ipv6,
        Some("dual") => Family::Dual,
        Some(other) => panic!("FAMILY={other}: use ipv4, ipv6 or dual"),
    };
    println!("Starting two nodes …");
    let cluster = Cluster::start(family);
    println!("Installing crm-admission …");
    cluster.install();
    introduce(&cluster);
    wait_for_ctrl_c();
    println!("\nStopping …");
    drop(cluster);
    println!("The cluster and its files were removed.");
}

/// Prints how to get into the network of the cluster, and some commands to try there.
fn introduce(cluster: &Cluster) {
    let plane = cluster.plane();
    let admin = plane.kubectl("admin");
    let programs = admin.program().parent().expect("a directory").display();
    println!("\nThe cluster is ready. It has a network of its own. To open a shell in it, as root:");
    if let Place::Of(id) = plane.place() {
        let kubeconfig = plane.kubeconfig("admin");
        println!(
            "  nsenter --target {id} --net env KUBECONFIG={} PATH={programs}:$PATH bash",
            kubeconfig.display()
        );
    }
    println!("\nCommands to try there:");
    for (why, args) in [
        ("the pods and their nodes", "get pods --all-namespaces --output wide"),
        ("the log of the webhook", "logs --namespace crm-admission-system deployment/crm-admission"),
        ("replaces the pods", "rollout restart --namespace crm-admission-system deployment/crm-admission"),
        (
            "normalizes an example",
            "apply --dry-run=server --output yaml --filename manifests/examples/01-companies.yaml",
        ),
    ] {
        println!("  # {why}\n  kubectl {args}");
    }
    println!("\nOther users:");
    for user in ["alice", "bob"] {
        println!("  export KUBECONFIG={}", plane.kubeconfig(user).display());
    }
    println!("\nLogs: {}", plane.workspace().path().join("logs").display());
    println!("\nCtrl-C stops everything.");
}

fn wait_for_ctrl_c() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(tokio::signal::ctrl_c()).expect("a signal handler");
}
