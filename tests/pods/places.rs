//! Tests what some platforms do differently: OpenShift chooses the user of a pod, and on GKE and EKS, the API server may
//! not reach every port or address.

use super::changes::{await_completion, helm, image_values, overlay_with, required};
use crate::support::pods::cluster::{Cluster, IMAGE};
use crate::support::pods::family::Family;
use crate::support::records::company;

#[test]
fn pods_run_as_any_user_that_the_platform_chooses() {
    let cluster = Cluster::start(Family::Ipv4);
    let user = "1000680000";
    let [repository, tag] = image_values(IMAGE);
    // As OpenShift does it: a user of the range of the namespace, in the group root.
    let run_as = format!("--set=podSecurityContext.runAsUser={user}");
    let fs_group = format!("--set=podSecurityContext.fsGroup={user}");
    let group = "--set=podSecurityContext.runAsGroup=0";
    helm(&cluster, &["install", &repository, &tag, "--create-namespace", &run_as, group, &fs_group]);
    await_completion(cluster.plane());

    let users = "for process in /proc/[0-9]*; do \
                 [ \"$(cat $process/comm)\" != crm-admission ] || sed -n 's/^Uid:\\t\\([0-9]*\\).*/\\1/p' $process/status; \
                 done";
    let mut found = Vec::new();
    for node in cluster.nodes() {
        let output = node.machine().place().tool("sh").args(["-c", users]).output().unwrap();
        found.extend(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned));
    }
    assert_eq!(found, [user, user]);
}

/// Makes the first node, where the API server runs, drop packets to this port of pods.
fn block(cluster: &Cluster, port: u16) {
    let table = format!(
        "table inet firewall {{
            chain output {{
                type filter hook output priority filter; policy accept;
                ip daddr {} tcp dport {port} drop
            }}
        }}",
        Family::Ipv4.pods()[0]
    );
    let mut nft = cluster.nodes()[0].machine().place().client("nft");
    let status = nft.arg(table).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_firewall_before_the_pods_blocks_no_write_and_the_documented_ways_pass_it() {
    let cluster = Cluster::start(Family::Ipv4);
    let plane = cluster.plane();
    block(&cluster, 9443);
    let printed = cluster.install_fails(&["--timeout", "20"]);
    let told = "waited 20 s for the webhook to answer; it is registered with failurePolicy: Ignore, so no write is blocked";
    assert!(printed.contains(told), "{printed}");
    let record = company("globex", "{displayName: Globex, creatorRef: {name: alice}}");
    plane.kubectl("alice").apply(&record).succeeds();

    // As documented for EKS: the network of the nodes.
    let overlay = overlay_with(&cluster, "host-network", "self-managed", &["host-network"]);
    cluster.install_with(&["--overlay", &overlay]);
    required(plane);
    await_completion(plane);
    cluster.script("uninstall", &["--overlay", &overlay]);

    // As documented for GKE: another port.
    let [repository, tag] = image_values(IMAGE);
    helm(
        &cluster,
        &["install", "--take-ownership", &repository, &tag, "--create-namespace", "--set=webhook.port=10250"],
    );
    await_completion(plane);
}
