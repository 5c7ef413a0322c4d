//! Metrics whose values are read at each scrape.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::table::{Definition, Type};

/// Begins to write a metric.
pub(super) fn describe<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    definition: &'e Definition,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    let of_type = match definition.of_type {
        Type::Counter => MetricType::Counter,
        Type::Gauge => MetricType::Gauge,
        Type::Histogram => MetricType::Histogram,
        Type::Info => MetricType::Info,
    };
    // The registry appends the full stop to the help of all other metrics.
    encoder.encode_descriptor(definition.name, &format!("{}.", definition.help), None, of_type)
}

type CountNow = Box<dyn Fn() -> usize + Send + Sync>;

/// A gauge without labels.
pub(super) struct Counted {
    definition: Definition,
    count: ArcSwapOption<CountNow>,
}

impl Counted {
    pub(super) fn new(definition: Definition) -> Arc<Self> {
        Arc::new(Self { definition, count: ArcSwapOption::default() })
    }

    pub(super) fn by(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.count.store(Some(Arc::new(Box::new(count))));
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("name", &self.definition.name).finish_non_exhaustive()
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(count) = self.count.load_full() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(i64::try_from(count()).unwrap_or(i64::MAX));
        gauge.encode(describe(&mut encoder, &self.definition)?)
    }
}
