//! Tests that a rollout of the pods loses no call.

use crate::support::control_plane::ControlPlane;
use crate::support::pods::cluster::{Cluster, Shape};
use crate::support::pods::family::Family;
use crate::support::poll::{self, Seen};
use crate::support::writers::Writers;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The default rate in writes per second, which leaves a small machine time for the programs of the nodes.
const RATE: u32 = 50;
/// The number of writes that must succeed before and after the rollout.
const WRITES: usize = 200;
/// How long a rollout may take. A pod stops 10 seconds after its replacement is ready.
const PATIENCE: Duration = Duration::from_secs(180);
const NAMESPACE: &str = "--namespace=crm-admission-system";

#[test]
fn a_rollout_loses_no_call() {
    // `changes` rolls out in clusters with IPv4 addresses and with both.
    roll_out(Cluster::start(Family::Ipv6));
}

#[test]
fn a_rollout_loses_no_call_of_an_api_server_that_chooses_a_pod_for_each_call() {
    // With this flag it calls pods directly, not the address of the Service. WebhookRoundTripLoadBalancing, which is on by
    // default since 1.37, chooses a pod for each call and not for each connection.
    let flags = ["--enable-aggregator-routing=true"];
    roll_out(Cluster::start_as(&Shape { flags: &flags, ..Shape::of(Family::Ipv4) }));
}

fn roll_out(cluster: Cluster) {
    cluster.install();
    let plane = cluster.plane();
    let writers = Writers::start_at(plane, RATE);
    writers.go_on_for(WRITES);
    writers.record().is_flawless("before the rollout");

    let old = pods(plane);
    let restart = ["rollout", "restart", "deployment/crm-admission", NAMESPACE];
    plane.kubectl("admin").run(restart).succeeds();
    poll::until("only new pods", PATIENCE, || match pods(plane) {
        pods if pods.len() == old.len() && pods.is_disjoint(&old) => Seen::Ready(()),
        pods => Seen::NotYet(format!("{pods:?}")),
    });
    writers.go_on_for(WRITES);
    writers.record().is_flawless("after the rollout");
    writers.finish();
}

/// The names of all pods, including those that are stopping.
fn pods(plane: &ControlPlane) -> BTreeSet<String> {
    let list = plane.kubectl("admin").run(["get", "pods", NAMESPACE, "-o", "json"]).succeeds().json();
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}
