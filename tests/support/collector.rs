//! A real collector of OpenTelemetry, which `tests/collector/build` compiles.

use super::process::{Log, Process, Witness};
use super::repository;
use super::workspace::Workspace;
use super::{net, poll};
use serde_json::Value;
use std::time::Duration;

/// How long the collector may take to start.
const START: Duration = Duration::from_secs(60);

/// A running collector. Dropping it ends it.
pub(crate) struct Collector {
    _witness: Witness,
    _process: Process,
    ports: [u16; 2],
    log: Log,
    _workspace: Workspace,
}

/// A received span, with the name of the service that has sent it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    /// As OTLP JSON has it.
    pub(crate) span: Value,
}

impl Span {
    /// The value of an attribute; null if it has none of this name.
    pub(crate) fn attribute(&self, name: &str) -> &Value {
        attribute(&self.span["attributes"], name)
    }

    pub(crate) fn is_child_of(&self, parent: &Self) -> bool {
        self.span["traceId"] == parent.span["traceId"] && self.span["parentSpanId"] == parent.span["spanId"]
    }
}

impl Collector {
    /// Starts it, and waits until it listens.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let program = repository().join("target/tools/bin/collector");
        assert!(program.is_file(), "{} is missing: run tests/collector/build first", program.display());
        let workspace = Workspace::create();
        let log = Log::new(workspace.file("logs", "collector.log"));
        let witness = Witness::new([log.clone()]);
        let (process, ports) = net::on_free_ports(|ports: [u16; 2]| {
            let mut command = Process::command(&program);
            command.args(ports.map(|port| format!("127.0.0.1:{port}")));
            let mut process = Process::start("collector", command, &log);
            process.ready(START, || match ports.iter().find(|port| !net::listens(**port)) {
                None => Ok(()),
                Some(port) => Err(format!("nothing listens on port {port}")),
            })?;
            Ok((process, ports))
        });
        Self { _witness: witness, _process: process, ports, log, _workspace: workspace }
    }

    /// `HOST:PORT` for OTLP over gRPC.
    pub(crate) fn grpc(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// The URL for OTLP over HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    /// Everything that it has received, as text.
    #[track_caller]
    pub(crate) fn received(&self) -> String {
        let text = std::fs::read_to_string(self.log.path()).expect("what the collector has received");
        // The last line may be half written.
        text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned()
    }

    /// All spans that it has received.
    #[track_caller]
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for line in self.received().lines() {
            let received: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for resource in list(&received["resourceSpans"]) {
                let service = attribute(&resource["resource"]["attributes"], "service.name");
                let service = service.as_str().unwrap_or_default();
                for span in list(&resource["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
                    spans.push(Span { service: service.to_owned(), span: span.clone() });
                }
            }
        }
        spans
    }

    /// Waits until it has received a span like this.
    #[track_caller]
    pub(crate) fn await_span(&self, what: &str, is_it: impl Fn(&Span, &[Span]) -> bool) -> Span {
        poll::until(what, START, || {
            let spans = self.spans();
            match spans.iter().find(|span| is_it(span, &spans)) {
                Some(span) => poll::Seen::Ready(span.clone()),
                None => poll::Seen::NotYet(format!("{} other spans", spans.len())),
            }
        })
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn attribute<'v>(attributes: &'v Value, name: &str) -> &'v Value {
    let found = list(attributes).iter().find(|attribute| attribute["key"] == name);
    let value = found.and_then(|attribute| attribute["value"].as_object()?.values().next());
    value.unwrap_or(&Value::Null)
}
