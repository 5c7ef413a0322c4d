//! Traces of OpenTelemetry: a span for each review, and one for each of its lookups.
//!
//! A span is a child of the span of the API server, which the header `traceparent` names. Spans leave the program by OTLP
//! over HTTP, in a task of its own: a collector that cannot be reached costs spans, and nothing else.
//!
//! Without an endpoint, nothing of this runs: a request then costs one branch, and the header is not read.

mod client;
mod parent;
mod queue;
mod settings;
mod span;

use std::collections::HashMap;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanExporter as _};
use secrecy::ExposeSecret;

pub use client::ClientError;
pub use queue::Delivery;
pub use settings::{Settings, SettingsError};
pub use span::Span;

use crate::telemetry::metrics::Metrics;

/// The name of the program in traces, if no variable gives another.
const SERVICE: &str = "crm-admission";
const SERVICE_NAME: &str = "service.name";
const SERVICE_VERSION: &str = "service.version";

/// Why traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The collector cannot be reached with these settings.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The exporter does not accept the settings.
    #[error("traces cannot be exported with these variables OTEL_EXPORTER_OTLP_…: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Records spans, or nothing. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<SdkTracer>);

impl Traces {
    /// Records nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Records spans, and starts the task that delivers them. Needs a runtime of tokio.
    ///
    /// # Errors
    /// The collector cannot be reached with these settings. Whether it answers is found out with the first spans.
    pub fn start(settings: &Settings, metrics: &Metrics) -> Result<(Self, Delivery), TracesError> {
        let last_failure = client::LastFailure::default();
        let client = client::Client::new(settings, last_failure.clone())?;
        let headers = settings.headers.iter();
        let headers: HashMap<String, String> =
            headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(settings.endpoint.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(settings.timeout)
            .with_headers(headers);
        if let Some(compression) = settings.compression {
            exporter = exporter.with_compression(compression);
        }
        let mut exporter = exporter.build()?;
        let resource = resource();
        exporter.set_resource(&resource);
        let (entrance, delivery) = queue::start(exporter, last_failure, metrics);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(entrance)
            .with_sampler(settings.sampler.clone())
            .with_resource(resource)
            .build();
        let scope = InstrumentationScope::builder(SERVICE).with_version(env!("CARGO_PKG_VERSION")).build();
        Ok((Self(Some(provider.tracer_with_scope(scope))), delivery))
    }

    /// Starts the span of a POST request to `path`, called `name`. `traceparent` returns the header of the request; it is
    /// only called if spans are recorded. A malformed header counts as none.
    pub fn request<'h>(
        &self,
        name: &'static str,
        path: &'static str,
        traceparent: impl FnOnce() -> Option<&'h [u8]>,
    ) -> Span {
        match &self.0 {
            Some(tracer) => Span::of_request(tracer, name, path, traceparent().and_then(parent::parent)),
            None => Span::none(),
        }
    }
}

/// What the spans are about: this program, and what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
fn resource() -> Resource {
    let detected = Resource::builder().build();
    let named =
        detected.get(&SERVICE_NAME.into()).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut resource =
        Resource::builder().with_attribute(KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")));
    if !named {
        resource = resource.with_service_name(SERVICE);
    }
    resource.build()
}
