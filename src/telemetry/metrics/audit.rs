//! The metrics of background audits.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::table::{self, register};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuditLabels {
    kind: &'static str,
    rule: &'static str,
}

/// The metrics of background audits.
pub struct Audit {
    findings: Family<AuditLabels, Gauge>,
    dangling: Family<AuditLabels, Gauge>,
    records: Gauge,
    time: Gauge,
    failures: Counter,
}

impl Audit {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            findings: register(registry, table::AUDIT_FINDINGS, Family::default()),
            dangling: register(registry, table::AUDIT_DANGLING, Family::default()),
            records: register(registry, table::AUDIT_RECORDS, Gauge::default()),
            time: register(registry, table::AUDIT_LAST_RUN, Gauge::default()),
            failures: register(registry, table::AUDIT_FAILURES, Counter::default()),
        }
    }
}

impl Audit {
    /// Sets what the last audit found for a rule and kind, and how many of the references that the rule checks have no
    /// target.
    pub fn found(&self, kind: &'static str, rule: &'static str, findings: u64, dangling: u64) {
        let labels = AuditLabels { kind, rule };
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.findings.get_or_create(&labels).set(count(findings));
        self.dangling.get_or_create(&labels).set(count(dangling));
    }

    /// Records that an audit of this many records has finished, at this time in seconds of Unix time.
    pub fn finished(&self, records: u64, unix_seconds: i64) {
        self.records.set(i64::try_from(records).unwrap_or(i64::MAX));
        self.time.set(unix_seconds);
    }

    /// Counts a failed audit.
    pub fn failed(&self) {
        self.failures.inc();
    }
}
