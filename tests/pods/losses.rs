//! Tests what losing a process or a node costs.

use super::changes::NAMESPACE;
use crate::support::control_plane::ControlPlane;
use crate::support::pods::cluster::Cluster;
use crate::support::pods::family::Family;
use crate::support::poll::{self, Seen};
use crate::support::steady::{Steady, Tally};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Writes in a second.
const RATE: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// The pods that the Service sends calls to.
fn endpoints(plane: &ControlPlane) -> Vec<Value> {
    let selector = "--selector=kubernetes.io/service-name=crm-admission";
    let get = ["get", "endpointslices", "--namespace", NAMESPACE, selector, "-o", "json"];
    let slices = plane.kubectl("admin").run(get).succeeds().json();
    let of_slice = |slice: &Value| slice["endpoints"].as_array().cloned().unwrap_or_default();
    let all = slices["items"].as_array().unwrap().iter().flat_map(of_slice);
    all.filter(|endpoint| endpoint["conditions"]["ready"] == true).collect()
}

#[track_caller]
fn await_endpoints(plane: &ControlPlane, count: usize) {
    poll::until("ready endpoints", PATIENCE, || match endpoints(plane) {
        found if found.len() == count => Seen::Ready(()),
        found => Seen::NotYet(format!("{found:?}")),
    });
}

/// Asserts that only calls failed that were sent between two moments, and not many of them.
#[track_caller]
fn assert_failed_only_between(tally: &Tally, from: Instant, to: Instant, most: usize) {
    let failures: String = tally.failures.iter().map(|failure| format!("{failure}\n")).collect();
    println!("{} of {} failed\n{failures}", tally.failures.len(), tally.made);
    // A call that is under way fails, too.
    let from = from - Duration::from_secs(1);
    assert!(tally.failures.iter().all(|failure| (from..to).contains(&failure.sent)), "{failures}");
    assert!(tally.failures.len() <= most, "{failures}");
}

#[test]
fn a_killed_process_costs_the_calls_in_flight() {
    let cluster = Cluster::start(Family::Ipv4);
    cluster.install();
    let plane = cluster.plane();
    let steady = Steady::start(plane, RATE);
    steady.await_writes(100);
    let kill = "for process in /proc/[0-9]*; do \
                [ \"$(cat $process/comm)\" != crm-admission ] || kill -9 ${process#/proc/}; done";
    let killed = Instant::now();
    let status = cluster.nodes()[1].machine().place().tool("sh").args(["-c", kill]).status().unwrap();
    assert!(status.success());
    await_restart(plane);
    await_endpoints(plane, 2);
    let back = Instant::now();
    steady.await_writes(100);
    // The calls in flight, and new ones until the kubelet takes the pod out of the Service, which takes a second or two.
    assert_failed_only_between(&steady.stop(), killed, back, 100);
}

#[test]
fn a_lost_node_costs_only_calls_before_its_endpoints_go() {
    let mut cluster = Cluster::start(Family::Ipv4);
    cluster.install();
    let steady = Steady::start(cluster.plane(), RATE);
    steady.await_writes(100);
    let lost = Instant::now();
    cluster.lose_node("node-2");
    await_endpoints(cluster.plane(), 1);
    let gone = Instant::now();
    steady.await_writes(500);
    // The connections to the lost pod hang until the API server gives them up. Then it connects to either pod.
    assert_failed_only_between(&steady.stop(), lost, gone, 1000);
}

/// Waits until the kubelet has started a container again.
#[track_caller]
fn await_restart(plane: &ControlPlane) {
    let counts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    poll::until("a restarted container", PATIENCE, || {
        match plane.kubectl("admin").run(["get", "pods", "--namespace", NAMESPACE, "-o", counts]).stdout {
            counts if counts.contains('1') => Seen::Ready(()),
            counts => Seen::NotYet(counts),
        }
    });
}
