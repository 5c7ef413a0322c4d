//! The metrics of the program: one registry, and one method for each event.

mod audit;
mod certificates;
mod conditions;
mod decisions;
mod directory;
mod scraped;
mod serving;
mod table;
mod traces;

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Registry;

pub use audit::Audit;
pub use certificates::Certificates;
pub use conditions::{ConditionRecords, Conditions};
pub use decisions::Decisions;
pub use directory::{Directory, DirectoryKind};
pub use serving::{BytesInFlight, InFlight, OpenConnection, Serving};
pub use table::{ALL, Definition, PREFIX, Type};
pub use traces::Traces;

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
    conditions: Conditions,
    traces: Traces,
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
            conditions: Conditions::register(&mut registry),
            traces: Traces::register(&mut registry),
            registry,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The metrics of decisions.
    pub fn decisions(&self) -> &Decisions {
        &self.shared.decisions
    }

    /// The metrics of lookups and of the policy.
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    /// The metrics of certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.shared.certificates
    }

    /// The metrics of requests and connections.
    pub fn serving(&self) -> &Serving {
        &self.shared.serving
    }

    /// The metrics of background audits.
    pub fn audit(&self) -> &Audit {
        &self.shared.audit
    }

    /// The metrics of the conditions controller.
    pub fn conditions(&self) -> &Conditions {
        &self.shared.conditions
    }

    /// The metrics of traces.
    pub fn traces(&self) -> &Traces {
        &self.shared.traces
    }

    /// All metrics in the OpenMetrics text format, of media type [`CONTENT_TYPE`].
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.shared.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
