//! Tests an installation in clusters with IPv4 addresses, IPv6 addresses, and both.

use super::changes::assert_completes;
use crate::support::pods::cluster::Cluster;
use crate::support::pods::family::Family;
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn the_webhook_answers_in_a_cluster_with_ipv4_addresses() {
    let cluster = Cluster::start(Family::Ipv4);
    cluster.install();
    the_webhook_answers(&cluster);
}

#[test]
fn the_webhook_answers_in_a_cluster_with_ipv6_addresses() {
    let cluster = Cluster::start(Family::Ipv6);
    cluster.install();
    the_webhook_answers(&cluster);
}

#[test]
fn the_webhook_answers_in_a_cluster_with_both_kinds_of_addresses() {
    let cluster = Cluster::start(Family::Dual);
    cluster.install();
    the_webhook_answers(&cluster);
}

/// Asserts that the webhook sets the creator, and that each node runs a pod of it.
#[track_caller]
fn the_webhook_answers(cluster: &Cluster) {
    assert_completes(cluster.plane());

    let get = ["get", "pods", "--namespace", "crm-admission-system", "-o", "json"];
    let pods = cluster.plane().kubectl("admin").run(get).succeeds().json();
    let node_of = |pod: &Value| pod["spec"]["nodeName"].as_str().map(str::to_owned);
    let nodes: BTreeSet<String> = pods["items"].as_array().unwrap().iter().filter_map(node_of).collect();
    assert!(nodes.iter().eq(cluster.nodes().iter().map(|node| node.name())), "{nodes:?}");
}
