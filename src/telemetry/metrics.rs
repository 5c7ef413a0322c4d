//! The metrics of the program: one registry, and one method for each event.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of all metric names.
const PREFIX: &str = "crm_admission";

/// Upper bounds in seconds. A decision from the local names takes less than a millisecond, one with live lookups some
/// milliseconds, and the API server waits 30 seconds at most.
const DURATION_BUCKETS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

/// The statuses of rejected calls. All exist from the start, because a counter that appears at 1 has no rate.
const REJECTIONS: [u16; 9] = [400, 404, 405, 408, 413, 415, 500, 503, 504];

/// The ports of the server.
const PORTS: [&str; 2] = ["webhook", "admin"];

/// The stages at which connections can fail. All exist from the start.
const CONNECTION_STAGES: [&str; 4] = ["accept", "handshake", "client-certificate", "limit"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    endpoint: &'static str,
    kind: &'static str,
    operation: &'static str,
    decision: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    rule: &'static str,
    action: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    kind: Arc<str>,
    result: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    certificate: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabel {
    object: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabel {
    port: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuditLabels {
    kind: &'static str,
    rule: &'static str,
}

/// All metrics. Clones share them.
///
/// Labels come from closed sets. Most are `&'static str`, which text of a request cannot be.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    requests: Family<DecisionLabels, Counter>,
    durations: Family<EndpointLabel, Histogram>,
    findings: Family<FindingLabels, Counter>,
    changes: Family<RuleLabel, Counter>,
    lookups: Family<LookupLabels, Counter>,
    objects: Arc<DirectoryObjects>,
    policy: Arc<PolicyInfo>,
    tasks: Arc<Counted>,
    read_bytes: Arc<Counted>,
    certificate_expiry: Family<CertificateLabel, Gauge>,
    certificate_reloads: Counter,
    certificate_reload_failures: Counter,
    certificate_upkeep_failures: Counter,
    certificate_writes: Family<ObjectLabel, Counter>,
    inflight: Gauge,
    inflight_bytes: Gauge,
    open_connections: Family<PortLabel, Gauge>,
    rejections: Family<CodeLabel, Counter>,
    connection_failures: Family<StageLabel, Counter>,
    panics: Counter,
    policy_refusals: Counter,
    audit_findings: Family<AuditLabels, Gauge>,
    audit_dangling: Family<AuditLabels, Gauge>,
    audit_records: Gauge,
    audit_time: Gauge,
    audit_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// A new registry, with everything at zero.
    pub fn new() -> Self {
        let mut shared = Shared {
            registry: Registry::with_prefix(PREFIX),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            findings: Family::default(),
            changes: Family::default(),
            lookups: Family::default(),
            objects: Arc::default(),
            policy: Arc::default(),
            tasks: Counted::new("tasks", "Tasks of the runtime: connections, lookups and background tasks."),
            read_bytes: Counted::new(
                "read_bytes",
                "Memory of answers of the API server that are not parsed yet.",
            ),
            certificate_expiry: Family::default(),
            certificate_reloads: Counter::default(),
            certificate_reload_failures: Counter::default(),
            certificate_upkeep_failures: Counter::default(),
            certificate_writes: Family::default(),
            inflight: Gauge::default(),
            inflight_bytes: Gauge::default(),
            open_connections: Family::default(),
            rejections: Family::default(),
            connection_failures: Family::default(),
            panics: Counter::default(),
            policy_refusals: Counter::default(),
            audit_findings: Family::default(),
            audit_dangling: Family::default(),
            audit_records: Gauge::default(),
            audit_time: Gauge::default(),
            audit_failures: Counter::default(),
        };
        shared.register_decisions();
        shared.register_serving();
        shared.register_audit();
        for code in REJECTIONS {
            drop(shared.rejections.get_or_create(&CodeLabel { code }));
        }
        for port in PORTS {
            drop(shared.open_connections.get_or_create(&PortLabel { port }));
        }
        for stage in CONNECTION_STAGES {
            drop(shared.connection_failures.get_or_create(&StageLabel { stage }));
        }
        Self { shared: Arc::new(shared) }
    }

    /// Counts a decided admission request. `elapsed` runs from its arrival to its answer.
    pub fn request_decided(
        &self,
        endpoint: &'static str,
        kind: &'static str,
        operation: &'static str,
        decision: &'static str,
        elapsed: Duration,
    ) {
        let labels = DecisionLabels { endpoint, kind, operation, decision };
        self.shared.requests.get_or_create(&labels).inc();
        self.shared.durations.get_or_create(&EndpointLabel { endpoint }).observe(elapsed.as_secs_f64());
    }

    /// Counts a finding and the action taken.
    pub fn finding(&self, rule: &'static str, action: &'static str) {
        self.shared.findings.get_or_create(&FindingLabels { rule, action }).inc();
    }

    /// Counts a field that a rule changed.
    pub fn change(&self, rule: &'static str) {
        self.shared.changes.get_or_create(&RuleLabel { rule }).inc();
    }

    /// Counts a lookup. `kind` comes from the policy, as `Company.crm.milo.io`: callers keep the `Arc` beside the kind,
    /// so that counting allocates nothing.
    pub fn lookup(&self, kind: &Arc<str>, result: &'static str) {
        let labels = LookupLabels { kind: Arc::clone(kind), result };
        self.shared.lookups.get_or_create(&labels).inc();
    }

    /// From now on, `count` returns the kinds of the directory at every scrape. A kind that it no longer returns is no
    /// longer shown.
    pub fn count_directory_objects(&self, count: impl Fn() -> Vec<DirectoryKind> + Send + Sync + 'static) {
        self.shared.objects.count.store(Some(Arc::new(Box::new(count))));
    }

    /// From now on, `count` returns the number of tasks of the runtime at every scrape.
    pub fn count_tasks(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.shared.tasks.by(count);
    }

    /// From now on, `count` returns the bytes that answers of the API server take at every scrape.
    pub fn count_read_bytes(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.shared.read_bytes.by(count);
    }

    /// Sets the policy in force, as `name@generation` or the digest of a file.
    pub fn policy_in_force(&self, policy: impl Into<String>) {
        self.shared.policy.current.store(Some(Arc::new(policy.into())));
    }

    /// Sets when a certificate expires, in seconds of Unix time.
    pub fn certificate_expires(&self, certificate: &'static str, unix_seconds: i64) {
        self.shared.certificate_expiry.get_or_create(&CertificateLabel { certificate }).set(unix_seconds);
    }

    /// Counts a certificate that was replaced.
    pub fn certificate_reloaded(&self) {
        self.shared.certificate_reloads.inc();
    }

    /// Counts a new certificate that is invalid; the last valid one stays in use.
    pub fn certificate_reload_failed(&self) {
        self.shared.certificate_reload_failures.inc();
    }

    /// Counts a failure to update the certificates in the cluster; it is retried.
    pub fn certificate_upkeep_failed(&self) {
        self.shared.certificate_upkeep_failures.inc();
    }

    /// Counts a write of an `object` of the cluster to update certificates: `secret` or `ca-bundle`.
    pub fn certificates_written(&self, object: &'static str) {
        self.shared.certificate_writes.get_or_create(&ObjectLabel { object }).inc();
    }

    /// Counts a request as in progress until the returned value is dropped.
    pub fn request_started(&self) -> InFlight {
        self.shared.inflight.inc();
        InFlight { gauge: self.shared.inflight.clone() }
    }

    /// The number of requests in progress.
    pub fn requests_in_flight(&self) -> i64 {
        self.shared.inflight.get()
    }

    /// Counts a call that was rejected with an HTTP status of 400 or above.
    pub fn call_rejected(&self, code: u16) {
        self.shared.rejections.get_or_create(&CodeLabel { code }).inc();
    }

    /// Counts memory of a request until the returned value is dropped.
    pub fn bytes_in_flight(&self) -> BytesInFlight {
        BytesInFlight { gauge: self.shared.inflight_bytes.clone(), bytes: 0 }
    }

    /// Counts an open connection to a port until the returned value is dropped.
    pub fn connection_opened(&self, port: &'static str) -> OpenConnection {
        let gauge = self.shared.open_connections.get_or_create_owned(&PortLabel { port });
        gauge.inc();
        OpenConnection { gauge }
    }

    /// Counts a connection that failed before its first request: `stage` is `accept`, `handshake`, `client-certificate`
    /// or `limit`.
    pub fn connection_failed(&self, stage: &'static str) {
        self.shared.connection_failures.get_or_create(&StageLabel { stage }).inc();
    }

    /// Counts an invalid policy; the last valid one stays in force.
    pub fn policy_refused(&self) {
        self.shared.policy_refusals.inc();
    }

    /// Counts a review that panicked.
    pub fn panicked(&self) {
        self.shared.panics.inc();
    }

    /// Sets what the last audit found for a rule and kind, and how many of the references that the rule checks have no
    /// target.
    pub fn audit_found(&self, kind: &'static str, rule: &'static str, findings: u64, dangling: u64) {
        let labels = AuditLabels { kind, rule };
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.shared.audit_findings.get_or_create(&labels).set(count(findings));
        self.shared.audit_dangling.get_or_create(&labels).set(count(dangling));
    }

    /// Records that an audit of this many records has finished, at this time in seconds of Unix time.
    pub fn audited(&self, records: u64, unix_seconds: i64) {
        self.shared.audit_records.set(i64::try_from(records).unwrap_or(i64::MAX));
        self.shared.audit_time.set(unix_seconds);
    }

    /// Counts a failed audit.
    pub fn audit_failed(&self) {
        self.shared.audit_failures.inc();
    }

    /// All metrics in the OpenMetrics text format, of media type [`CONTENT_TYPE`].
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.shared.registry)?;
        Ok(text)
    }
}

impl Shared {
    /// Registers the metrics of decisions. The crate appends `_total`, `_seconds` and `_info` to names.
    fn register_decisions(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Admission requests decided", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from the arrival of an admission request to its answer",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register("findings", "Findings of the rules, by the action taken", self.findings.clone());
        registry.register("changes", "Fields changed by the rules", self.changes.clone());
        registry.register("directory_lookups", "Lookups of the directory", self.lookups.clone());
        registry.register_collector(Box::new(Arc::clone(&self.objects)));
        registry.register_collector(Box::new(Arc::clone(&self.policy)));
    }

    /// Registers the metrics of audits.
    fn register_audit(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "audit_findings",
            "Findings in stored records, by the last audit",
            self.audit_findings.clone(),
        );
        registry.register(
            "audit_dangling_references",
            "References in stored records to missing objects, by the last audit",
            self.audit_dangling.clone(),
        );
        registry.register("audit_records", "Records that the last audit checked", self.audit_records.clone());
        registry.register_with_unit(
            "audit_last_run_timestamp",
            "When the last audit ended, in Unix time; 0 before the first",
            Unit::Seconds,
            self.audit_time.clone(),
        );
        registry.register("audit_failures", "Failed audits", self.audit_failures.clone());
    }

    /// Registers the metrics of the server.
    fn register_serving(&mut self) {
        let registry = &mut self.registry;
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When a certificate expires, in Unix time",
            Unit::Seconds,
            self.certificate_expiry.clone(),
        );
        registry.register(
            "certificate_reloads",
            "Certificates replaced while serving",
            self.certificate_reloads.clone(),
        );
        registry.register(
            "certificate_reload_failures",
            "New certificates that were invalid, so that the last valid one is still served",
            self.certificate_reload_failures.clone(),
        );
        registry.register(
            "certificate_upkeep_failures",
            "Failed attempts to update the certificates in the cluster",
            self.certificate_upkeep_failures.clone(),
        );
        registry.register(
            "certificate_writes",
            "Objects of the cluster written to update certificates",
            self.certificate_writes.clone(),
        );
        registry.register("inflight_requests", "Requests in progress", self.inflight.clone());
        registry.register(
            "inflight_bytes",
            "Estimated memory of requests in progress",
            self.inflight_bytes.clone(),
        );
        registry.register(
            "open_connections",
            "Open connections, including idle ones",
            self.open_connections.clone(),
        );
        registry.register(
            "http_rejections",
            "Calls rejected with an HTTP error, by status code",
            self.rejections.clone(),
        );
        registry.register(
            "connection_failures",
            "Connections that failed before their first request",
            self.connection_failures.clone(),
        );
        registry.register(
            "policy_refusals",
            "Policies that were invalid and not used",
            self.policy_refusals.clone(),
        );
        registry.register("panics", "Reviews that panicked and were answered with 500", self.panics.clone());
        registry.register_collector(Box::new(Arc::clone(&self.tasks)));
        registry.register_collector(Box::new(Arc::clone(&self.read_bytes)));
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the program", build);
    }
}

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub struct InFlight {
    gauge: Gauge,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// The memory of a request, until this is dropped.
#[derive(Debug)]
pub struct BytesInFlight {
    gauge: Gauge,
    bytes: i64,
}

impl BytesInFlight {
    /// Adds bytes.
    pub fn grow(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        self.gauge.inc_by(bytes);
    }
}

impl Drop for BytesInFlight {
    fn drop(&mut self) {
        self.gauge.dec_by(self.bytes);
    }
}

/// An open connection, until this is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    gauge: Gauge,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

type CountObjects = Box<dyn Fn() -> Vec<DirectoryKind> + Send + Sync>;

/// One kind of the directory, for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryKind {
    /// The kind as `Company.crm.milo.io`.
    pub kind: String,
    /// The number of known objects.
    pub objects: u64,
    /// Whether they are up to date; false for a kind that the cluster does not have.
    pub ready: bool,
    /// How often its task has stopped and was started again.
    pub restarts: u64,
}

/// Reads the numbers at each scrape, so that they are never stale.
#[derive(Default)]
struct DirectoryObjects {
    count: ArcSwapOption<CountObjects>,
}

impl fmt::Debug for DirectoryObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryObjects").finish_non_exhaustive()
    }
}

impl Collector for DirectoryObjects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(count) = self.count.load_full() else {
            return Ok(());
        };
        let help = "Objects known to the directory.";
        let mut family = encoder.encode_descriptor("directory_objects", help, None, MetricType::Gauge)?;
        let kinds = count();
        for DirectoryKind { kind, objects, .. } in &kinds {
            let label = [("kind", kind.as_str())];
            ConstGauge::new(i64::try_from(*objects).unwrap_or(i64::MAX))
                .encode(family.encode_family(&label)?)?;
        }
        let help = "Whether the objects of a kind are up to date.";
        let mut family = encoder.encode_descriptor("directory_ready", help, None, MetricType::Gauge)?;
        for DirectoryKind { kind, ready, .. } in &kinds {
            ConstGauge::new(i64::from(*ready)).encode(family.encode_family(&[("kind", kind.as_str())])?)?;
        }
        let help = "Background tasks that failed and were started again.";
        let mut family = encoder.encode_descriptor("task_restarts", help, None, MetricType::Counter)?;
        for DirectoryKind { kind, restarts, .. } in &kinds {
            // The name in /readyz.
            let label = [("task", format!("directory {kind}"))];
            ConstCounter::new(*restarts).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

type CountNow = Box<dyn Fn() -> usize + Send + Sync>;

/// A gauge without labels whose value is read at each scrape.
struct Counted {
    name: &'static str,
    help: &'static str,
    count: ArcSwapOption<CountNow>,
}

impl Counted {
    fn new(name: &'static str, help: &'static str) -> Arc<Self> {
        Arc::new(Self { name, help, count: ArcSwapOption::default() })
    }

    fn by(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.count.store(Some(Arc::new(Box::new(count))));
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(count) = self.count.load_full() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(i64::try_from(count()).unwrap_or(i64::MAX));
        gauge.encode(encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?)
    }
}

/// The policy in force. A family would keep the series of earlier policies.
#[derive(Debug, Default)]
struct PolicyInfo {
    current: ArcSwapOption<String>,
}

impl Collector for PolicyInfo {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(policy) = self.current.load_full() else {
            return Ok(());
        };
        let help = "The policy in force.";
        encoder
            .encode_descriptor("policy", help, None, MetricType::Info)?
            .encode_info(&[("policy", policy.as_str())])
    }
}

#[cfg(test)]
mod tests {
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
        metrics.request_decided("mutate", "Company", "CREATE", "denied", Duration::from_micros(300));
        metrics.request_decided("mutate", "Company", "CREATE", "denied", Duration::from_micros(80));
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
        metrics.finding("domain", "Deny");
        metrics.change("linkedin-profile");
        metrics.lookup(&Arc::from("User.iam.miloapis.com"), "live");
        assert_sample(&metrics, r#"crm_admission_findings_total{rule="domain",action="Deny"} 1"#);
        assert_sample(&metrics, r#"crm_admission_changes_total{rule="linkedin-profile"} 1"#);
        let lookup = r#"crm_admission_directory_lookups_total{kind="User.iam.miloapis.com",result="live"} 1"#;
        assert_sample(&metrics, lookup);
    }

    #[test]
    fn a_kind_that_left_the_directory_is_no_longer_shown() {
        let metrics = Metrics::new();
        let kind =
            |kind: &str, objects, ready| DirectoryKind { kind: kind.to_owned(), objects, ready, restarts: 2 };
        metrics.count_directory_objects(move || {
            vec![kind("Company.crm.milo.io", 3, true), kind("User.iam.miloapis.com", 7, false)]
        });
        assert_sample(&metrics, r#"crm_admission_directory_ready{kind="Company.crm.milo.io"} 1"#);
        assert_sample(&metrics, r#"crm_admission_directory_ready{kind="User.iam.miloapis.com"} 0"#);
        assert_sample(&metrics, r#"crm_admission_directory_objects{kind="User.iam.miloapis.com"} 7"#);
        assert_sample(
            &metrics,
            r#"crm_admission_task_restarts_total{task="directory Company.crm.milo.io"} 2"#,
        );
        metrics.count_directory_objects(move || vec![kind("Company.crm.milo.io", 4, true)]);
        assert_sample(&metrics, r#"crm_admission_directory_objects{kind="Company.crm.milo.io"} 4"#);
        assert!(!metrics.text().unwrap().contains("iam.miloapis.com"));
    }

    #[test]
    fn only_the_policy_in_force_is_shown() {
        let metrics = Metrics::new();
        metrics.policy_in_force("default@1");
        metrics.policy_in_force("default@2");
        assert_sample(&metrics, r#"crm_admission_policy_info{policy="default@2"} 1"#);
        assert!(!metrics.text().unwrap().contains("default@1"));
    }

    #[test]
    fn certificates_show_when_they_end_and_how_reloads_went() {
        let metrics = Metrics::new();
        metrics.certificate_expires("serving", 1_800_000_000);
        metrics.certificate_reload_failed();
        let name = "crm_admission_certificate_expiry_timestamp_seconds";
        assert_sample(&metrics, &format!(r#"{name}{{certificate="serving"}} 1800000000"#));
        assert_sample(&metrics, "crm_admission_certificate_reload_failures_total 1");
        assert_sample(&metrics, "crm_admission_certificate_reloads_total 0");
    }

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let metrics = Metrics::new();
        let guard = metrics.request_started();
        assert_sample(&metrics, "crm_admission_inflight_requests 1");
        drop(guard);
        assert_sample(&metrics, "crm_admission_inflight_requests 0");
    }

    #[test]
    fn bytes_are_in_flight_until_their_guard_is_dropped() {
        let metrics = Metrics::new();
        let (mut one, mut other) = (metrics.bytes_in_flight(), metrics.bytes_in_flight());
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
        let (one, _other) = (metrics.connection_opened("webhook"), metrics.connection_opened("webhook"));
        let _probe = metrics.connection_opened("admin");
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
        metrics.call_rejected(503);
        assert_sample(&metrics, r#"crm_admission_http_rejections_total{code="503"} 1"#);
    }

    #[test]
    fn the_text_names_the_build_and_ends_as_openmetrics_wants() {
        let text = Metrics::new().text().unwrap();
        let build = format!(r#"crm_admission_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&build), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn help_texts_end_with_one_full_stop() {
        let metrics = Metrics::new();
        metrics.policy_in_force("default@1");
        metrics.count_directory_objects(Vec::new);
        metrics.count_tasks(|| 7);
        assert_sample(&metrics, "crm_admission_tasks 7");
        metrics.count_read_bytes(|| 4096);
        assert_sample(&metrics, "crm_admission_read_bytes 4096");
        for line in metrics.text().unwrap().lines().filter(|line| line.starts_with("# HELP")) {
            assert!(line.ends_with('.') && !line.ends_with(".."), "{line}");
        }
    }
}
