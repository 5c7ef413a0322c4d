//! The list of all metrics: what each is called, what it shows, and which labels it has.

use std::fmt;

use prometheus_client::registry::{Metric, Registry, Unit};

/// The prefix of all metric names.
pub const PREFIX: &str = "crm_admission";

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only increases.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
    /// Is always 1; its label is the information.
    Info,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        })
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name without the prefix, and without the suffixes that its unit and its type add.
    pub name: &'static str,
    /// Whether its unit is seconds.
    pub in_seconds: bool,
    /// Its type.
    pub of_type: Type,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it shows, without a full stop.
    pub help: &'static str,
}

impl Definition {
    const fn new(
        of_type: Type,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, in_seconds: false, of_type, labels, help }
    }

    const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(Type::Counter, name, labels, help)
    }

    const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(Type::Gauge, name, labels, help)
    }

    const fn in_seconds(self) -> Self {
        Self { in_seconds: true, ..self }
    }

    /// Its name in queries, without the prefix.
    pub fn full_name(&self) -> String {
        let unit = if self.in_seconds { "_seconds" } else { "" };
        let suffix = match self.of_type {
            Type::Counter => "_total",
            Type::Info => "_info",
            Type::Gauge | Type::Histogram => "",
        };
        format!("{}{unit}{suffix}", self.name)
    }
}

macro_rules! table {
    ($($constant:ident = $definition:expr;)*) => {
        $(pub(super) const $constant: Definition = $definition;)*

        /// All metrics.
        pub const ALL: &[Definition] = &[$($constant),*];
    };
}

table! {
    REQUESTS = Definition::counter(
        "requests",
        &["endpoint", "kind", "operation", "decision"],
        "Admission requests decided",
    );
    REQUEST_DURATION = Definition::new(
        Type::Histogram,
        "request_duration",
        &["endpoint"],
        "Time from the arrival of an admission request to its answer",
    )
    .in_seconds();
    FINDINGS = Definition::counter("findings", &["rule", "action"], "Findings of the rules, by the action taken");
    CHANGES = Definition::counter("changes", &["rule"], "Fields changed by the rules");
    PANICS = Definition::counter("panics", &[], "Reviews that panicked and were answered with 500");

    DIRECTORY_LOOKUPS = Definition::counter("directory_lookups", &["kind", "result"], "Lookups of the directory");
    DIRECTORY_OBJECTS = Definition::gauge("directory_objects", &["kind"], "Objects known to the directory");
    DIRECTORY_READY =
        Definition::gauge("directory_ready", &["kind"], "Whether the objects of a kind are up to date");
    POLICY = Definition::new(Type::Info, "policy", &["policy"], "The policy in force");
    POLICY_REFUSED = Definition::gauge(
        "policy_refused",
        &[],
        "Whether the latest policy is invalid, so that another one is in force",
    );
    POLICY_REFUSALS = Definition::counter("policy_refusals", &[], "Policies that were invalid and not used");

    CERTIFICATE_EXPIRY = Definition::gauge(
        "certificate_expiry_timestamp",
        &["certificate"],
        "When a certificate expires, in Unix time",
    )
    .in_seconds();
    CERTIFICATE_RELOADS =
        Definition::counter("certificate_reloads", &[], "Certificates replaced while serving");
    CERTIFICATE_RELOAD_FAILURES = Definition::counter(
        "certificate_reload_failures",
        &[],
        "New certificates that were invalid, so that the last valid one is still served",
    );
    CERTIFICATE_RELOAD_FAILED = Definition::gauge(
        "certificate_reload_failed",
        &[],
        "Whether the new certificate is invalid, so that the last valid one is still served",
    );
    CERTIFICATE_UPKEEP_FAILURES = Definition::counter(
        "certificate_upkeep_failures",
        &[],
        "Failed attempts to update the certificates in the cluster",
    );
    CERTIFICATE_WRITES = Definition::counter(
        "certificate_writes",
        &["object"],
        "Objects of the cluster written to update certificates",
    );

    INFLIGHT_REQUESTS = Definition::gauge("inflight_requests", &[], "Requests in progress");
    INFLIGHT_BYTES = Definition::gauge("inflight_bytes", &[], "Estimated memory of requests in progress");
    READ_BYTES =
        Definition::gauge("read_bytes", &[], "Memory of answers of the API server that are not parsed yet");
    HTTP_REJECTIONS =
        Definition::counter("http_rejections", &["code"], "Calls rejected with an HTTP error, by status code");
    OPEN_CONNECTIONS =
        Definition::gauge("open_connections", &["port"], "Open connections, including idle ones");
    CONNECTION_FAILURES = Definition::counter(
        "connection_failures",
        &["stage"],
        "Connections that failed before their first request",
    );
    TASKS = Definition::gauge(
        "tasks",
        &[],
        "Tasks of the runtime: connections, lookups and background tasks",
    );
    TASK_RESTARTS =
        Definition::counter("task_restarts", &["task"], "Background tasks that failed and were started again");
    TRACE_SPANS = Definition::counter("trace_spans", &["result"], "Spans of traces, by what became of them");
    BUILD = Definition::new(Type::Info, "build", &["version"], "The version of the program");

    AUDIT_FINDINGS =
        Definition::gauge("audit_findings", &["kind", "rule"], "Findings in stored records, by the last audit");
    AUDIT_DANGLING = Definition::gauge(
        "audit_dangling_references",
        &["kind", "rule"],
        "References in stored records to missing objects, by the last audit",
    );
    AUDIT_RECORDS = Definition::gauge("audit_records", &[], "Records that the last audit checked");
    AUDIT_LAST_RUN = Definition::gauge(
        "audit_last_run_timestamp",
        &[],
        "When the last audit finished, in Unix time; 0 before the first",
    )
    .in_seconds();
    AUDIT_FAILURES = Definition::counter("audit_failures", &[], "Failed audits");

    CONDITIONS_ENABLED =
        Definition::gauge("conditions_enabled", &[], "Whether this replica writes conditions if it leads");
    CONDITIONS_LEADER =
        Definition::gauge("conditions_leader", &[], "Whether this replica writes the conditions of records");
    CONDITIONS_RECORDS = Definition::gauge(
        "conditions_records",
        &["kind", "reason"],
        "Records by the reason of their condition; only from the replica that writes conditions",
    );
    CONDITIONS_WAITING = Definition::gauge(
        "conditions_waiting_records",
        &[],
        "Records that wait to be judged; only from the replica that writes conditions",
    );
    CONDITIONS_WRITES =
        Definition::counter("conditions_writes", &["result"], "Attempts to write the condition of a record");
    CONDITIONS_LAST_PASS = Definition::gauge(
        "conditions_last_pass_timestamp",
        &[],
        "When this replica last finished judging all records, in Unix time; 0 before the first",
    )
    .in_seconds();
    CONDITIONS_RESTARTS =
        Definition::counter("conditions_restarts", &[], "How often the conditions controller panicked and was started again");
}

/// Registers a metric, and returns it for counting.
pub(super) fn register<M: Metric + Clone>(registry: &mut Registry, definition: Definition, metric: M) -> M {
    let Definition { name, help, in_seconds, .. } = definition;
    match in_seconds {
        true => registry.register_with_unit(name, help, Unit::Seconds, metric.clone()),
        false => registry.register(name, help, metric.clone()),
    }
    metric
}
