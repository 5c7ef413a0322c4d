//! The metrics of requests in progress, connections and tasks.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::scraped::Counted;
use super::table::{self, register};

/// The statuses of rejected calls. All exist from the start, because a counter that appears at 1 has no rate.
const REJECTIONS: [u16; 9] = [400, 404, 405, 408, 413, 415, 500, 503, 504];

/// The ports of the server.
const PORTS: [&str; 2] = ["webhook", "admin"];

/// The stages at which connections can fail. All exist from the start.
const CONNECTION_STAGES: [&str; 4] = ["accept", "handshake", "client-certificate", "limit"];

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

/// The metrics of requests and connections.
pub struct Serving {
    inflight: Gauge,
    inflight_bytes: Gauge,
    read_bytes: Arc<Counted>,
    rejections: Family<CodeLabel, Counter>,
    open_connections: Family<PortLabel, Gauge>,
    connection_failures: Family<StageLabel, Counter>,
    tasks: Arc<Counted>,
}

impl Serving {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let serving = Self {
            inflight: register(registry, table::INFLIGHT_REQUESTS, Gauge::default()),
            inflight_bytes: register(registry, table::INFLIGHT_BYTES, Gauge::default()),
            read_bytes: Counted::new(table::READ_BYTES),
            rejections: register(registry, table::HTTP_REJECTIONS, Family::default()),
            open_connections: register(registry, table::OPEN_CONNECTIONS, Family::default()),
            connection_failures: register(registry, table::CONNECTION_FAILURES, Family::default()),
            tasks: Counted::new(table::TASKS),
        };
        registry.register_collector(Box::new(Arc::clone(&serving.tasks)));
        registry.register_collector(Box::new(Arc::clone(&serving.read_bytes)));
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register(table::BUILD.name, table::BUILD.help, build);
        serving.start_at_zero();
        serving
    }

    fn start_at_zero(&self) {
        for code in REJECTIONS {
            drop(self.rejections.get_or_create(&CodeLabel { code }));
        }
        for port in PORTS {
            drop(self.open_connections.get_or_create(&PortLabel { port }));
        }
        for stage in CONNECTION_STAGES {
            drop(self.connection_failures.get_or_create(&StageLabel { stage }));
        }
    }
}

impl Serving {
    /// From now on, `count` returns the number of tasks of the runtime at every scrape.
    pub fn count_tasks(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.tasks.by(count);
    }

    /// From now on, `count` returns the bytes that answers of the API server take at every scrape.
    pub fn count_read_bytes(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.read_bytes.by(count);
    }

    /// Counts a request as in progress until the returned value is dropped.
    pub fn request_started(&self) -> InFlight {
        self.inflight.inc();
        InFlight { gauge: self.inflight.clone() }
    }

    /// The number of requests in progress.
    pub fn requests_in_flight(&self) -> i64 {
        self.inflight.get()
    }

    /// Counts a call that was rejected with an HTTP status of 400 or above.
    pub fn call_rejected(&self, code: u16) {
        self.rejections.get_or_create(&CodeLabel { code }).inc();
    }

    /// Counts memory of a request until the returned value is dropped.
    pub fn bytes_in_flight(&self) -> BytesInFlight {
        BytesInFlight { gauge: self.inflight_bytes.clone(), bytes: 0 }
    }

    /// Counts an open connection to a port until the returned value is dropped.
    pub fn connection_opened(&self, port: &'static str) -> OpenConnection {
        let gauge = self.open_connections.get_or_create_owned(&PortLabel { port });
        gauge.inc();
        OpenConnection { gauge }
    }

    /// Counts a connection that failed before its first request: `stage` is `accept`, `handshake`, `client-certificate`
    /// or `limit`.
    pub fn connection_failed(&self, stage: &'static str) {
        self.connection_failures.get_or_create(&StageLabel { stage }).inc();
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
