//! The metrics of the conditions controller.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::scraped::describe;
use super::table::{self, register};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    result: &'static str,
}

/// The metrics of the conditions controller.
pub struct Conditions {
    enabled: Gauge,
    leader: Gauge,
    writes: Family<WriteLabels, Counter>,
    restarts: Counter,
    last_pass: Gauge,
    records: Arc<Records>,
}

/// The records of the controller, for the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConditionRecords {
    /// The number of records by kind and by the reason of their condition.
    pub judged: Vec<(&'static str, &'static str, usize)>,
    /// The number of records that wait to be judged.
    pub waiting: usize,
}

impl Conditions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let conditions = Self {
            enabled: register(registry, table::CONDITIONS_ENABLED, Gauge::default()),
            leader: register(registry, table::CONDITIONS_LEADER, Gauge::default()),
            writes: register(registry, table::CONDITIONS_WRITES, Family::default()),
            restarts: register(registry, table::CONDITIONS_RESTARTS, Counter::default()),
            last_pass: register(registry, table::CONDITIONS_LAST_PASS, Gauge::default()),
            records: Arc::default(),
        };
        registry.register_collector(Box::new(Arc::clone(&conditions.records)));
        conditions
    }
}

impl Conditions {
    /// This replica writes conditions if it leads. The series of all these results start at 0, so that a rate sees the
    /// first of each.
    pub fn enabled(&self, results: &[&'static str]) {
        self.enabled.set(1);
        for &result in results {
            drop(self.writes.get_or_create(&WriteLabels { result }));
        }
    }

    /// This replica leads from now on, and `count` returns its records at each scrape.
    pub fn leads(&self, count: impl Fn() -> ConditionRecords + Send + Sync + 'static) {
        self.records.count.store(Some(Arc::new(Box::new(count))));
        self.leader.set(1);
    }

    /// This replica does not lead any more. The records of another are not shown.
    pub fn follows(&self) {
        self.leader.set(0);
        self.records.count.store(None);
    }

    /// Counts an attempt to write a condition.
    pub fn wrote(&self, result: &'static str) {
        self.writes.get_or_create(&WriteLabels { result }).inc();
    }

    /// Counts a start after a panic.
    pub fn restarted(&self) {
        self.restarts.inc();
    }

    /// Records that all records have been judged, at this time in seconds of Unix time.
    pub fn passed(&self, unix_seconds: i64) {
        self.last_pass.set(unix_seconds);
    }
}

type CountNow = Box<dyn Fn() -> ConditionRecords + Send + Sync>;

/// Reads the numbers at each scrape, so that they are never stale.
#[derive(Default)]
struct Records {
    count: ArcSwapOption<CountNow>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

impl Collector for Records {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(count) = self.count.load_full() else {
            return Ok(());
        };
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let ConditionRecords { judged, waiting } = count();
        let mut family = describe(&mut encoder, &table::CONDITIONS_RECORDS)?;
        for (kind, reason, count) in judged {
            let labels = [("kind", kind), ("reason", reason)];
            gauge(count).encode(family.encode_family(&labels)?)?;
        }
        gauge(waiting).encode(describe(&mut encoder, &table::CONDITIONS_WAITING)?)
    }
}
