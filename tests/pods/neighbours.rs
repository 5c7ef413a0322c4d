//! Tests the product beside what many clusters have: cert-manager, metrics-server, Prometheus, and a network plugin that
//! enforces NetworkPolicies. `make neighbours` builds these products from source, which takes too long for every run of the
//! tests.

use super::changes::{Changes, NAMESPACE, assert_completes, assert_healthy, overlay_with, required};
use crate::support::control_plane::ControlPlane;
use crate::support::manifest;
use crate::support::pods::cluster::Cluster;
use crate::support::pods::family::Family;
use crate::support::pods::neighbour::{self, pods};
use crate::support::poll::{self, Seen};
use crate::support::repository;
use crate::support::steady::Steady;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the kubelet takes to update a mounted Secret.
const PATIENCE: Duration = Duration::from_secs(180);
/// Where the NetworkPolicy expects Prometheus.
const MONITORING: &str = "monitoring";

/// Installs cert-manager.
#[track_caller]
pub(crate) fn start_cert_manager(plane: &ControlPlane) {
    let admin = plane.kubectl("admin");
    // Not applied, because the annotation of `kubectl apply` would be too large.
    let kinds = neighbour::programs().join("cert-manager-crds");
    admin.run(["create", "-f", kinds.to_str().unwrap()]).succeeds();
    admin.run(["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"]).succeeds();
    admin.apply_path(&pods("cert-manager")).succeeds();
    roll_out(plane, "cert-manager", "cert-manager");
}

#[track_caller]
fn roll_out(plane: &ControlPlane, namespace: &str, deployment: &str) {
    let status = ["rollout", "status", &format!("deployment/{deployment}"), "--timeout=180s"];
    plane.kubectl("admin").run(status.into_iter().chain(["--namespace", namespace])).succeeds();
}

/// Makes cert-manager issue a new certificate, and waits until every pod serves it.
#[track_caller]
pub(crate) fn renew_with_cert_manager(cluster: &Cluster) {
    let plane = cluster.plane();
    let before = reloads(plane);
    let delete = ["delete", "secret", "crm-admission-tls", "--namespace", NAMESPACE];
    plane.kubectl("admin").run(delete).succeeds();
    poll::until("a new certificate in every pod", PATIENCE, || match reloads(plane) {
        after if after.len() == before.len() && after.iter().zip(&before).all(|(new, old)| new > old) => {
            Seen::Ready(())
        }
        after => Seen::NotYet(format!("{before:?} reloads before, {after:?} now")),
    });
}

/// How many certificates each serving pod has replaced.
#[track_caller]
fn reloads(plane: &ControlPlane) -> Vec<u32> {
    let admin = plane.kubectl("admin");
    let selector = "--selector=app.kubernetes.io/component=server";
    let get = ["get", "pods", "--namespace", NAMESPACE, selector, "-o", "json"];
    let pods = admin.run(get).succeeds().json();
    let serving =
        pods["items"].as_array().unwrap().iter().filter(|pod| {
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
        });
    let of_pod = |pod: &Value| {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}:8080/proxy/metrics");
        let metrics = admin.run(["get", "--raw", &path]).succeeds().stdout;
        let count = |line: &str| line.strip_prefix("crm_admission_certificate_reloads_total ")?.parse().ok();
        metrics.lines().find_map(count).unwrap_or_else(|| panic!("no count of reloads in {metrics}"))
    };
    serving.map(of_pod).collect()
}

#[test]
fn no_change_with_cert_manager_loses_a_write() {
    let cluster = neighbour::cluster_with(Family::Ipv4, &["cert-manager"]);
    cluster.plane().install_kinds(&manifest("crds"));
    start_cert_manager(cluster.plane());
    let mut changes = Changes::of(cluster);
    let install = |cluster: &Cluster| drop(cluster.install_with(&["--overlay", "cert-manager"]));
    let working = |changes: &Changes| {
        required(changes.cluster.plane());
        assert_completes(changes.cluster.plane());
        assert_healthy(&changes.cluster);
    };

    changes.make("install with cert-manager", install);
    working(&changes);
    changes.make("renew the certificate", renew_with_cert_manager);
    working(&changes);
    changes.make("from cert-manager to self-managed", |cluster| drop(cluster.install()));
    working(&changes);
    let admin = changes.cluster.plane().kubectl("admin");
    let left = ["get", "certificates,issuers", "--namespace", NAMESPACE, "-o", "name"];
    admin.run(left).succeeds().prints_nothing();
    changes.make("from self-managed to cert-manager", install);
    working(&changes);
    changes.make("uninstall", |cluster| drop(cluster.script("uninstall", &["--overlay", "cert-manager"])));
    changes.assert_flawless();
}

#[test]
fn the_autoscaler_adds_replicas_under_load_and_loses_no_write() {
    let cluster = neighbour::cluster_with(Family::Ipv4, &["metrics-server"]);
    let plane = cluster.plane();
    let admin = plane.kubectl("admin");
    admin.apply_path(&pods("metrics-server")).succeeds();
    let overlay = overlay_with(&cluster, "autoscaling", "self-managed", &["autoscaling"]);
    cluster.install_with(&["--overlay", &overlay]);
    let get = ["get", "horizontalpodautoscaler", "crm-admission", "--namespace", NAMESPACE, "-o", "json"];
    let autoscaler = || admin.run(get).succeeds().json();
    poll::until("a metric for the autoscaler", PATIENCE, || match autoscaler() {
        seen if seen["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"]
            .is_number() =>
        {
            Seen::Ready(())
        }
        seen => Seen::NotYet(seen["status"].to_string()),
    });
    assert_eq!(autoscaler()["status"]["desiredReplicas"], 2);

    // The test build needs much more time for a review than the shipped program, so this is load enough.
    let steady = Steady::start(plane, 200);
    poll::until("a third ready replica", PATIENCE, || {
        let get =
            ["get", "deployment", "crm-admission", "--namespace", NAMESPACE, "-o", "jsonpath={.status}"];
        match admin.run(get).succeeds().json() {
            status if status["readyReplicas"].as_u64() > Some(2) => Seen::Ready(()),
            status => Seen::NotYet(format!("{status}\n{}", autoscaler()["status"])),
        }
    });
    steady.await_writes(400);
    let tally = steady.stop();
    let failures: String = tally.failures.iter().map(|failure| format!("{failure}\n")).collect();
    assert!(tally.failures.is_empty(), "{} of {} failed\n{failures}", tally.failures.len(), tally.made);
}

/// Starts Prometheus with the example configuration and the shipped alerts.
#[track_caller]
fn start_prometheus(plane: &ControlPlane, namespace: &str) {
    let admin = plane.kubectl("admin");
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let configuration = read("examples/monitoring/prometheus.yaml").replace("30s", "1s");
    let rules = read("manifests/components/monitoring/prometheusrule.yaml");
    // As documented: the groups without the object around them.
    let (_, groups) = rules.split_once("\nspec:\n").unwrap();
    let rules: String =
        groups.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prometheus"},
        "data": {"prometheus.yaml": configuration, "rules.yaml": rules},
    });
    let rights = read("examples/monitoring/rbac.yaml")
        .replace("namespace: monitoring", &format!("namespace: {namespace}"));
    admin.run(["create", "namespace", namespace]).succeeds();
    admin.apply(&rights).succeeds();
    admin.run_with(&config_map.to_string(), ["apply", "--namespace", namespace, "-f", "-"]).succeeds();
    let pods = pods("prometheus");
    admin.run(["apply", "--namespace", namespace, "-f", pods.to_str().unwrap()]).succeeds();
    roll_out(plane, namespace, "prometheus");
}

/// The answer of Prometheus to a request for `path`.
#[track_caller]
fn ask(plane: &ControlPlane, namespace: &str, path: &str) -> Value {
    let raw = format!("/api/v1/namespaces/{namespace}/services/prometheus:9090/proxy/api/v1/{path}");
    plane.kubectl("admin").run(["get", "--raw", &raw]).succeeds().json()["data"].clone()
}

/// Waits until the only value of this query is `value`.
#[track_caller]
fn await_value(plane: &ControlPlane, namespace: &str, query: &str, value: &str) {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    poll::until(&format!("{query} to be {value}"), PATIENCE, || {
        match ask(plane, namespace, &format!("query?query={encoded}")) {
            data if data["result"][0]["value"][1] == value => Seen::Ready(()),
            data => Seen::NotYet(data.to_string()),
        }
    });
}

#[test]
fn prometheus_scrapes_every_pod_and_evaluates_every_alert() {
    let cluster = neighbour::cluster_with(Family::Ipv4, &["prometheus"]);
    let plane = cluster.plane();
    cluster.install();
    start_prometheus(plane, MONITORING);
    await_value(plane, MONITORING, r#"count(up{job="crm-admission"} == 1)"#, "2");
    await_value(plane, MONITORING, r#"count(up{job="apiserver"} == 1)"#, "1");
    assert_completes(plane);
    await_value(
        plane,
        MONITORING,
        r#"sum(crm_admission_requests_total{endpoint="mutate",decision="allowed"}) > bool 0"#,
        "1",
    );
    await_value(
        plane,
        MONITORING,
        r#"sum(apiserver_admission_webhook_request_total{name="mutate.crm.milo.io"}) > bool 0"#,
        "1",
    );
    let unevaluated = || {
        let groups = ask(plane, MONITORING, "rules")["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
        assert!(!rules.is_empty(), "Prometheus has no alerts");
        rules.into_iter().filter(|rule| rule["health"] != "ok").collect::<Vec<_>>()
    };
    poll::until("evaluated alerts", PATIENCE, || match unevaluated() {
        none if none.is_empty() => Seen::Ready(()),
        some => Seen::NotYet(format!("{some:?}")),
    });
    // Until the first scrape, the webhook was down.
    poll::until("no alert", PATIENCE, || match ask(plane, MONITORING, "alerts") {
        data if data == json!({"alerts": []}) => Seen::Ready(()),
        data => Seen::NotYet(data.to_string()),
    });

    let scale = ["scale", "deployment/crm-admission", "--replicas=0", "--namespace", NAMESPACE];
    plane.kubectl("admin").run(scale).succeeds();
    let down = r#"count(ALERTS{alertname="CrmAdmissionDown",alertstate="pending"})"#;
    await_value(plane, MONITORING, down, "1");
}

#[test]
fn the_network_policy_admits_the_api_server_and_prometheus_and_nobody_else_to_metrics() {
    let cluster = neighbour::cluster_with(Family::Ipv4, &["prometheus"]);
    let plane = cluster.plane();
    let _enforcement = neighbour::enforce_network_policies(&cluster);
    cluster.install();
    for namespace in [MONITORING, "elsewhere"] {
        start_prometheus(plane, namespace);
    }
    await_value(plane, MONITORING, r#"count(up{job="crm-admission"} == 1)"#, "2");
    // This one finds the pods too, but cannot reach them.
    await_value(plane, "elsewhere", r#"count(up{job="crm-admission"} == 0)"#, "2");
    assert_completes(plane);
    assert_healthy(&cluster);
}
