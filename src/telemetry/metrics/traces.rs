//! The metrics of traces.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::table::{self, register};

/// What becomes of a span. All exist from the start, because a counter that appears at 1 has no rate.
const RESULTS: [&str; 3] = [DELIVERED, DROPPED, FAILED];
const DELIVERED: &str = "delivered";
const DROPPED: &str = "dropped";
const FAILED: &str = "failed";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// The metrics of traces.
pub struct Traces {
    spans: Family<ResultLabel, Counter>,
}

impl Traces {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let traces = Self { spans: register(registry, table::TRACE_SPANS, Family::default()) };
        for result in RESULTS {
            drop(traces.spans.get_or_create(&ResultLabel { result }));
        }
        traces
    }
}

impl Traces {
    /// Counts spans that the collector has accepted.
    pub fn delivered(&self, spans: usize) {
        self.count(DELIVERED, spans);
    }

    /// Counts a span for which the queue had no room.
    pub fn dropped(&self) {
        self.count(DROPPED, 1);
    }

    /// Counts spans that could not be delivered.
    pub fn failed(&self, spans: usize) {
        self.count(FAILED, spans);
    }

    fn count(&self, result: &'static str, spans: usize) {
        self.spans.get_or_create(&ResultLabel { result }).inc_by(spans as u64);
    }
}
