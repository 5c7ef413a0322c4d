//! The spans of a review: their names and attributes.

use std::fmt::Display;

use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

// Names of the semantic conventions for HTTP servers.
const METHOD: &str = "http.request.method";
const ROUTE: &str = "http.route";
const URL_PATH: &str = "url.path";
const URL_SCHEME: &str = "url.scheme";
const STATUS_CODE: &str = "http.response.status_code";
const ERROR_TYPE: &str = "error.type";
// There are none for admission.
const KIND: &str = "crm_admission.kind";
const OPERATION: &str = "crm_admission.operation";
const DECISION: &str = "crm_admission.decision";
const RULES: &str = "crm_admission.rules";
const LOOKUP_KIND: &str = "crm_admission.lookup.kind";
const LOOKUP_RESULT: &str = "crm_admission.lookup.result";

const SERVER_ERROR: u16 = 500;

/// A span that ends when it is dropped, or nothing if it is not recorded.
///
/// Values of attributes are `&'static str`, which text of a request cannot be; kinds of lookups come from the policy.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Recorded>>);

#[derive(Debug)]
struct Recorded {
    span: SdkSpan,
    tracer: SdkTracer,
}

impl Recorded {
    /// `None` if the sampler decides so.
    fn start(tracer: &SdkTracer, name: &'static str, kind: SpanKind, parent: &Context) -> Option<Box<Self>> {
        let span = tracer.build_with_context(tracer.span_builder(name).with_kind(kind), parent);
        span.is_recording().then(|| Box::new(Self { span, tracer: tracer.clone() }))
    }

    fn set(&mut self, attribute: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(attribute, value));
    }
}

impl Span {
    /// No span: everything that is done with it does nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a POST request to `path`, called `name`. `parent` is the span of the caller.
    pub(super) fn of_request(
        tracer: &SdkTracer,
        name: &'static str,
        path: &'static str,
        parent: Option<SpanContext>,
    ) -> Self {
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let mut recorded = Recorded::start(tracer, name, SpanKind::Server, &context);
        if let Some(recorded) = &mut recorded {
            let attributes = [(METHOD, "POST"), (ROUTE, path), (URL_PATH, path), (URL_SCHEME, "https")];
            attributes.into_iter().for_each(|(attribute, value)| recorded.set(attribute, value));
        }
        Self(recorded)
    }

    /// Notes that the body of the request has arrived and that the request is worked on.
    pub fn body_read(&mut self) {
        if let Some(recorded) = &mut self.0 {
            recorded.span.add_event("body read", Vec::new());
        }
    }

    /// Notes what was decided about the request.
    pub fn decided(
        &mut self,
        kind: &'static str,
        operation: &'static str,
        decision: &'static str,
        rules: &[&'static str],
    ) {
        let Some(recorded) = &mut self.0 else { return };
        recorded.set(KIND, kind);
        recorded.set(OPERATION, operation);
        recorded.set(DECISION, decision);
        if !rules.is_empty() {
            let rules = rules.iter().map(|rule| StringValue::from(*rule)).collect();
            recorded.set(RULES, Value::Array(Array::String(rules)));
        }
    }

    /// Ends it with the status of the answer.
    pub fn answered(mut self, status: u16) {
        let Some(recorded) = &mut self.0 else { return };
        recorded.set(STATUS_CODE, i64::from(status));
        if status >= SERVER_ERROR {
            recorded.set(ERROR_TYPE, status.to_string());
            recorded.span.set_status(Status::error(""));
        }
    }

    /// The span of a lookup for this one, called `name`. Use it for objects of `kind`, such as `Company.crm.milo.io`.
    pub fn lookup(&self, name: &'static str, kind: impl Display) -> Self {
        let Some(Recorded { span, tracer }) = self.0.as_deref() else { return Self::none() };
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        let mut recorded = Recorded::start(tracer, name, SpanKind::Internal, &context);
        if let Some(recorded) = &mut recorded {
            recorded.set(LOOKUP_KIND, kind.to_string());
        }
        Self(recorded)
    }

    /// Ends the span of a lookup with its result.
    pub fn looked_up(mut self, result: &'static str, failed: bool) {
        let Some(recorded) = &mut self.0 else { return };
        recorded.set(LOOKUP_RESULT, result);
        if failed {
            recorded.set(ERROR_TYPE, result);
            recorded.span.set_status(Status::error(""));
        }
    }
}
