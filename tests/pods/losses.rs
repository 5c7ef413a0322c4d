//! Tests what losing a process or a node costs.

use super::changes::NAMESPACE;
use crate::support::control_plane::ControlPlane;
use crate::support::pods::cluster::Cluster;
use crate::support::pods::family::Family;
use crate::support::poll::{self, Seen};
use crate::support::steady::Steady;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Writes in a second.
const RATE: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// The addresses of pods that the Service sends calls to, with their nodes.
fn endpoints(plane: &ControlPlane) -> Vec<(String, String)> {
    let selector = "--selector=kubernetes.io/service-name=crm-admission";
    let get = ["get", "endpointslices", "--namespace", NAMESPACE, selector, "-o", "json"];
    let slices = plane.kubectl("admin").run(get).succeeds().json();
    let of_slice = |slice: &Value| slice["endpoints"].as_array().cloned().unwrap_or_default();
    let all = slices["items"].as_array().unwrap().iter().flat_map(of_slice);
    let ready = all.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ready.map(|endpoint| (text(&endpoint["addresses"][0]), text(&endpoint["nodeName"]))).collect()
}

#[track_caller]
fn await_endpoints(plane: &ControlPlane, count: usize) {
    poll::until("ready endpoints", PATIENCE, || match endpoints(plane) {
        found if found.len() == count => Seen::Ready(()),
        found => Seen::NotYet(format!("{found:?}")),
    });
}

#[test]
fn a_killed_process_costs_few_calls() {
    let cluster = Cluster::start(Family::Ipv4);
    cluster.install();
    let plane = cluster.plane();
    let started = Instant::now();
    let steady = Steady::start(plane, RATE);
    std::thread::sleep(Duration::from_secs(5));
    println!("killed at {:?}", started.elapsed());
    let kill = "for process in /proc/[0-9]*; do \
                [ \"$(cat $process/comm)\" != crm-admission ] || kill -9 ${process#/proc/}; done";
    let status = cluster.nodes()[1].machine().place().tool("sh").args(["-c", kill]).status().unwrap();
    assert!(status.success());
    std::thread::sleep(Duration::from_secs(3));
    await_endpoints(plane, 2);
    println!("back at {:?}", started.elapsed());
    std::thread::sleep(Duration::from_secs(3));
    let tally = steady.stop();
    println!("{} of {} failed\n{}", tally.failures.len(), tally.made, tally.failures.join("\n"));
}

#[test]
fn a_lost_node_costs_only_calls_before_its_endpoints_go() {
    let mut cluster = Cluster::start(Family::Ipv4);
    cluster.install();
    let started = Instant::now();
    let steady = Steady::start(cluster.plane(), RATE);
    std::thread::sleep(Duration::from_secs(5));
    println!("lost at {:?}", started.elapsed());
    cluster.lose_node("node-2");
    await_endpoints(cluster.plane(), 1);
    println!("endpoint gone at {:?}", started.elapsed());
    std::thread::sleep(Duration::from_secs(10));
    let tally = steady.stop();
    println!("{} of {} failed\n{}", tally.failures.len(), tally.made, tally.failures.join("\n"));
}
