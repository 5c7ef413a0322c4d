//! Tests the metrics as they are scraped.

use std::time::Duration;

use super::*;

/// The samples of `metrics`.
fn samples(metrics: &Metrics) -> Vec<String> {
    let text = metrics.text().unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[track_caller]
fn assert_sample(metrics: &Metrics, sample: &str) {
    let samples = samples(metrics);
    assert!(samples.iter().any(|line| line == sample), "no {sample} in\n{}", samples.join("\n"));
}

#[test]
fn a_decision_is_counted_and_timed() {
    let metrics = Metrics::new();
    metrics.decisions().decided("mutate", "Company", "CREATE", "denied", Duration::from_micros(300));
    metrics.decisions().decided("mutate", "Company", "CREATE", "denied", Duration::from_micros(80));
    let labels = r#"endpoint="mutate",kind="Company",operation="CREATE",decision="denied""#;
    assert_sample(&metrics, &format!("crm_admission_requests_total{{{labels}}} 2"));
    let bucket = "crm_admission_request_duration_seconds_bucket";
    assert_sample(&metrics, &format!(r#"{bucket}{{le="0.0001",endpoint="mutate"}} 1"#));
    assert_sample(&metrics, &format!(r#"{bucket}{{le="0.0005",endpoint="mutate"}} 2"#));
    assert_sample(&metrics, r#"crm_admission_request_duration_seconds_count{endpoint="mutate"} 2"#);
}

#[test]
fn findings_changes_and_lookups_are_counted_by_their_labels() {
    let metrics = Metrics::new();
    metrics.decisions().finding("domain", "Deny");
    metrics.decisions().change("linkedin-profile");
    metrics.directory().lookup(&Arc::from("User.iam.miloapis.com"), "live");
    assert_sample(&metrics, r#"crm_admission_findings_total{rule="domain",action="Deny"} 1"#);
    assert_sample(&metrics, r#"crm_admission_changes_total{rule="linkedin-profile"} 1"#);
    let lookup = r#"crm_admission_directory_lookups_total{kind="User.iam.miloapis.com",result="live"} 1"#;
    assert_sample(&metrics, lookup);
}

#[test]
fn a_kind_that_was_removed_from_the_directory_is_no_longer_shown() {
    let metrics = Metrics::new();
    let kind =
        |kind: &str, objects, ready| DirectoryKind { kind: kind.to_owned(), objects, ready, restarts: 2 };
    metrics.directory().count_objects(move || {
        vec![kind("Company.crm.milo.io", 3, true), kind("User.iam.miloapis.com", 7, false)]
    });
    assert_sample(&metrics, r#"crm_admission_directory_ready{kind="Company.crm.milo.io"} 1"#);
    assert_sample(&metrics, r#"crm_admission_directory_ready{kind="User.iam.miloapis.com"} 0"#);
    assert_sample(&metrics, r#"crm_admission_directory_objects{kind="User.iam.miloapis.com"} 7"#);
    assert_sample(&metrics, r#"crm_admission_task_restarts_total{task="directory Company.crm.milo.io"} 2"#);
    metrics.directory().count_objects(move || vec![kind("Company.crm.milo.io", 4, true)]);
    assert_sample(&metrics, r#"crm_admission_directory_objects{kind="Company.crm.milo.io"} 4"#);
    assert!(!metrics.text().unwrap().contains("iam.miloapis.com"));
}

#[test]
fn only_the_policy_in_force_is_shown() {
    let metrics = Metrics::new();
    metrics.directory().policy_in_force("default@1");
    metrics.directory().policy_in_force("default@2");
    assert_sample(&metrics, r#"crm_admission_policy_info{policy="default@2"} 1"#);
    assert!(!metrics.text().unwrap().contains("default@1"));
}

#[test]
fn certificates_show_their_expiry_dates_and_reloads() {
    let metrics = Metrics::new();
    metrics.certificates().expires("serving", 1_800_000_000);
    metrics.certificates().reload_failed();
    let name = "crm_admission_certificate_expiry_timestamp_seconds";
    assert_sample(&metrics, &format!(r#"{name}{{certificate="serving"}} 1800000000"#));
    assert_sample(&metrics, "crm_admission_certificate_reload_failures_total 1");
    assert_sample(&metrics, "crm_admission_certificate_reloads_total 0");
    assert_sample(&metrics, "crm_admission_certificate_reload_failed 1");
    metrics.certificates().up_to_date();
    assert_sample(&metrics, "crm_admission_certificate_reload_failed 0");
}

#[test]
fn a_policy_is_refused_until_another_is_valid() {
    let metrics = Metrics::new();
    assert_sample(&metrics, "crm_admission_policy_refused 0");
    metrics.directory().policy_invalid();
    assert_sample(&metrics, "crm_admission_policy_refused 1");
    metrics.directory().policy_valid();
    assert_sample(&metrics, "crm_admission_policy_refused 0");
    assert_sample(&metrics, "crm_admission_policy_refusals_total 1");
}

#[test]
fn a_request_is_in_progress_until_its_guard_is_dropped() {
    let metrics = Metrics::new();
    let guard = metrics.serving().request_started();
    assert_sample(&metrics, "crm_admission_inflight_requests 1");
    drop(guard);
    assert_sample(&metrics, "crm_admission_inflight_requests 0");
}

#[test]
fn bytes_are_in_flight_until_their_guard_is_dropped() {
    let metrics = Metrics::new();
    let (mut one, mut other) = (metrics.serving().bytes_in_flight(), metrics.serving().bytes_in_flight());
    one.grow(3);
    one.grow(4);
    other.grow(5);
    assert_sample(&metrics, "crm_admission_inflight_bytes 12");
    drop(one);
    assert_sample(&metrics, "crm_admission_inflight_bytes 5");
}

#[test]
fn connections_are_counted_by_port_while_they_are_open() {
    let metrics = Metrics::new();
    let (one, _other) =
        (metrics.serving().connection_opened("webhook"), metrics.serving().connection_opened("webhook"));
    let _probe = metrics.serving().connection_opened("admin");
    drop(one);
    assert_sample(&metrics, r#"crm_admission_open_connections{port="webhook"} 1"#);
    assert_sample(&metrics, r#"crm_admission_open_connections{port="admin"} 1"#);
}

#[test]
fn failures_of_connections_start_at_zero() {
    for stage in ["accept", "handshake", "client-certificate", "limit"] {
        let sample = format!(r#"crm_admission_connection_failures_total{{stage="{stage}"}} 0"#);
        assert_sample(&Metrics::new(), &sample);
    }
}

#[test]
fn rejections_start_at_zero() {
    let metrics = Metrics::new();
    assert_sample(&metrics, r#"crm_admission_http_rejections_total{code="503"} 0"#);
    metrics.serving().call_rejected(503);
    assert_sample(&metrics, r#"crm_admission_http_rejections_total{code="503"} 1"#);
}

#[test]
fn the_text_has_the_version_and_ends_as_openmetrics_requires() {
    let text = Metrics::new().text().unwrap();
    let build = format!(r#"crm_admission_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&build), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn help_texts_end_with_one_full_stop() {
    let metrics = Metrics::new();
    metrics.directory().policy_in_force("default@1");
    metrics.directory().count_objects(Vec::new);
    metrics.serving().count_tasks(|| 7);
    assert_sample(&metrics, "crm_admission_tasks 7");
    metrics.serving().count_read_bytes(|| 4096);
    assert_sample(&metrics, "crm_admission_read_bytes 4096");
    for line in metrics.text().unwrap().lines().filter(|line| line.starts_with("# HELP")) {
        assert!(line.ends_with('.') && !line.ends_with(".."), "{line}");
    }
}
