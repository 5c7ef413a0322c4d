//! The metrics of requests and what was decided about them.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::table::{self, register};

/// Upper bounds in seconds. A decision from the local names takes less than a millisecond, one with live lookups some
/// milliseconds, and the API server waits 30 seconds at most.
const DURATION_BUCKETS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

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

/// The metrics of decisions.
pub struct Decisions {
    requests: Family<DecisionLabels, Counter>,
    durations: Family<EndpointLabel, Histogram>,
    findings: Family<FindingLabels, Counter>,
    changes: Family<RuleLabel, Counter>,
    panics: Counter,
}

impl Decisions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let durations: Family<EndpointLabel, Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        Self {
            requests: register(registry, table::REQUESTS, Family::default()),
            durations: register(registry, table::REQUEST_DURATION, durations),
            findings: register(registry, table::FINDINGS, Family::default()),
            changes: register(registry, table::CHANGES, Family::default()),
            panics: register(registry, table::PANICS, Counter::default()),
        }
    }
}

impl Decisions {
    /// Counts a decided admission request. `elapsed` runs from its arrival to its answer.
    pub fn decided(
        &self,
        endpoint: &'static str,
        kind: &'static str,
        operation: &'static str,
        decision: &'static str,
        elapsed: Duration,
    ) {
        let labels = DecisionLabels { endpoint, kind, operation, decision };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&EndpointLabel { endpoint }).observe(elapsed.as_secs_f64());
    }

    /// Counts a finding and the action taken.
    pub fn finding(&self, rule: &'static str, action: &'static str) {
        self.findings.get_or_create(&FindingLabels { rule, action }).inc();
    }

    /// Counts a field that a rule changed.
    pub fn change(&self, rule: &'static str) {
        self.changes.get_or_create(&RuleLabel { rule }).inc();
    }

    /// Counts a review that panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}
