//! The metrics of the program: one registry, and one method for each event.

mod audit;
mod certificates;
mod decisions;
mod directory;
mod scraped;
mod serving;
mod table;

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::{Metric, Registry, Unit};

pub use directory::DirectoryKind;
pub use serving::{BytesInFlight, InFlight, OpenConnection};
pub use table::{ALL, Definition, PREFIX, Type};

use self::audit::Audit;
use self::certificates::Certificates;
use self::decisions::Decisions;
use self::directory::Directory;
use self::serving::Serving;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics. Clones share them.
///
/// Labels come from closed sets. Most are `&'static str`, which text of a request cannot be.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    decisions: Decisions,
    directory: Directory,
    certificates: Certificates,
    serving: Serving,
    audit: Audit,
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
        let mut registry = Registry::with_prefix(PREFIX);
        let shared = Shared {
            decisions: Decisions::register(&mut registry),
            directory: Directory::register(&mut registry),
            certificates: Certificates::register(&mut registry),
            serving: Serving::register(&mut registry),
            audit: Audit::register(&mut registry),
            registry,
        };
        Self { shared: Arc::new(shared) }
    }

    /// All metrics in the OpenMetrics text format, of media type [`CONTENT_TYPE`].
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.shared.registry)?;
        Ok(text)
    }
}

/// Registers a metric, and returns it for counting.
fn register<M: Metric + Clone>(registry: &mut Registry, definition: Definition, metric: M) -> M {
    let Definition { name, help, in_seconds, .. } = definition;
    match in_seconds {
        true => registry.register_with_unit(name, help, Unit::Seconds, metric.clone()),
        false => registry.register(name, help, metric.clone()),
    }
    metric
}

#[cfg(test)]
mod tests;
