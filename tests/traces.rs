//! Tests the traces of reviews as a collector receives them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use bytes::Bytes;
use crm_admission::admission::{Endpoint, Pipeline};
use crm_admission::directory::Directory;
use crm_admission::server::{Limits, dev_certificate, router};
use crm_admission::telemetry::traces::{Delivery, Settings};
use crm_admission::telemetry::{Metrics, Traces};
use crm_core::policy::Policy;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Wrapped, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;
use serde_json::json;
use tower::ServiceExt;

use crate::common::{Ask, create, delete, directory, noon};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// How long the last spans may take; much longer than they do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A collector that keeps what it receives.
struct Collector {
    url: String,
    received: Arc<Received>,
}

#[derive(Default)]
struct Received {
    requests: Mutex<Vec<(HeaderMap, Bytes)>>,
    answer: Mutex<Option<StatusCode>>,
}

impl Collector {
    fn routes() -> (axum::Router, Arc<Received>) {
        let received = Arc::new(Received::default());
        let keep = async |State(received): State<Arc<Received>>, headers: HeaderMap, body: Bytes| {
            received.requests.lock().unwrap().push((headers, body));
            received.answer.lock().unwrap().unwrap_or(StatusCode::OK)
        };
        (axum::Router::new().route("/v1/traces", post(keep)).with_state(Arc::clone(&received)), received)
    }

    async fn start() -> Self {
        let (routes, received) = Self::routes();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, received }
    }

    /// With TLS, and a certificate of a new CA in this directory.
    async fn start_with_tls(directory: &Path) -> Self {
        // Another test of this process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let files = dev_certificate::ensure(directory).unwrap().tls_files();
        let tls = RustlsConfig::from_pem_file(files.certificate, files.key).await.unwrap();
        let (routes, received) = Self::routes();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let server = axum_server::Server::<SocketAddr>::from_listener(listener)
            .acceptor(RustlsAcceptor::new(tls))
            .serve(routes.into_make_service());
        tokio::spawn(server);
        Self { url, received }
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let requests = self.received.requests.lock().unwrap();
        requests.iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).unwrap()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Everything that it has received.
    fn bytes(&self) -> String {
        let requests = self.received.requests.lock().unwrap();
        requests.iter().map(|(_, body)| String::from_utf8_lossy(body).into_owned()).collect()
    }
}

/// A webhook that sends its spans to a collector.
struct Webhook {
    router: axum::Router,
    metrics: Metrics,
    delivery: Delivery,
}

impl Webhook {
    fn start(collector: &str, variables: &[(&str, &str)]) -> Self {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let settings = Settings::read(Some(collector), variable).unwrap().unwrap();
        let metrics = Metrics::new();
        let (traces, delivery) = Traces::start(&settings, &metrics).unwrap();
        let directory: Arc<dyn Directory> = Arc::new(directory());
        let policy = Arc::new(ArcSwap::from_pointee(Policy::default()));
        let pipeline = Pipeline::new(directory, policy, metrics.clone()).with_clock(noon);
        let router =
            router(Arc::new(pipeline), &Limits::default(), metrics.clone(), traces, Default::default());
        Self { router, metrics, delivery }
    }

    async fn send(&self, request: Request<Body>) -> StatusCode {
        self.router.clone().oneshot(request).await.unwrap().status()
    }

    async fn ask(&self, ask: Ask, traceparent: &[&str]) {
        let mut request =
            Request::post(Endpoint::path(ask.endpoint)).header("content-type", "application/json");
        for header in traceparent {
            request = request.header("traceparent", *header);
        }
        let status = self.send(request.body(ask.body().into()).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
    }

    /// Delivers all spans.
    async fn finish(self) {
        self.delivery.finish(PATIENCE).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes as text, sorted.
fn attributes(attributes: &[KeyValue]) -> Vec<String> {
    let text = |value: &Wrapped| match value.value.clone() {
        Some(AnyValue::StringValue(text)) => text,
        Some(AnyValue::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let shown = |attribute: &KeyValue| match attribute.value.as_ref().unwrap() {
        Wrapped { value: Some(AnyValue::ArrayValue(list)) } => {
            list.values.iter().map(text).collect::<Vec<_>>().join(",")
        }
        value => text(value),
    };
    let mut shown: Vec<String> =
        attributes.iter().map(|attribute| format!("{}={}", attribute.key, shown(attribute))).collect();
    shown.sort();
    shown
}

/// The only span with this name.
#[track_caller]
fn only<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let named: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{spans:#?}");
    named[0]
}

#[tokio::test]
async fn a_review_is_a_child_of_the_span_of_the_api_server_and_has_its_decision() {
    let collector = Collector::start().await;
    let webhook = Webhook::start(&collector.url, &[]);
    let company = json!({"displayName": "Secret Name", "domains": ["not a domain"]});
    webhook.ask(create("Company", company), &[SAMPLED]).await;
    webhook.finish().await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let span = only(&spans, "POST /mutate");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(span.status.as_ref().map_or(0, |status| status.code), SpanStatus::Unset as i32);
    assert_eq!(
        attributes(&span.attributes),
        [
            "crm_admission.decision=denied",
            "crm_admission.kind=Company",
            "crm_admission.operation=CREATE",
            "crm_admission.rules=domain",
            "http.request.method=POST",
            "http.response.status_code=200",
            "http.route=/mutate",
            "url.path=/mutate",
            "url.scheme=https",
        ]
    );
    assert_eq!(span.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["body read"]);
    let resource = collector.requests().remove(0).resource_spans.remove(0).resource.unwrap();
    let resource = attributes(&resource.attributes);
    assert!(resource.contains(&"service.name=crm-admission".to_owned()), "{resource:?}");
    let version = format!("service.version={}", env!("CARGO_PKG_VERSION"));
    assert!(resource.contains(&version), "{resource:?}");
}

#[tokio::test]
async fn lookups_are_children_of_the_review() {
    let collector = Collector::start().await;
    let webhook = Webhook::start(&collector.url, &[]);
    let person = json!({"displayName": "Ada", "companyRef": {"name": "acme-crop"}});
    webhook.ask(create("Person", person).validate(), &[SAMPLED]).await;
    webhook.finish().await;

    let spans = collector.spans();
    let review = only(&spans, "POST /validate");
    for (name, result) in [("look up", "missing"), ("suggest", "found")] {
        let lookup = only(&spans, name);
        assert_eq!(lookup.trace_id, review.trace_id, "{name}");
        assert_eq!(lookup.parent_span_id, review.span_id, "{name}");
        assert_eq!(lookup.kind(), SpanKind::Internal, "{name}");
        let expected = [
            "crm_admission.lookup.kind=Company.crm.milo.io".to_owned(),
            format!("crm_admission.lookup.result={result}"),
        ];
        assert_eq!(attributes(&lookup.attributes), expected, "{name}");
        assert!(lookup.start_time_unix_nano >= review.start_time_unix_nano, "{name}");
        assert!(lookup.end_time_unix_nano <= review.end_time_unix_nano, "{name}");
    }
}

#[tokio::test]
async fn a_deletion_has_a_span_for_each_count() {
    let collector = Collector::start().await;
    let webhook = Webhook::start(&collector.url, &[]);
    webhook.ask(delete("Person"), &[SAMPLED]).await;
    webhook.finish().await;
    let spans = collector.spans();
    let review = only(&spans, "POST /validate");
    let counts: Vec<&Span> = spans.iter().filter(|span| span.name == "count dependents").collect();
    assert!(!counts.is_empty(), "{spans:#?}");
    assert!(counts.iter().all(|count| count.parent_span_id == review.span_id), "{spans:#?}");
}

#[tokio::test]
async fn nothing_that_a_user_has_written_is_in_the_bytes() {
    let collector = Collector::start().await;
    let webhook = Webhook::start(&collector.url, &[]);
    let person = json!({
        "displayName": "DISPLAYED", "jobTitle": "TITLED", "linkedinProfile": "https://linkedin.com/in/PROFILED",
        "companyRef": {"name": "referred-crop"}, "creatorRef": {"name": "CREATOR"},
    });
    let ask = create("Person", person)
        .with("/name", json!("named"))
        .with("/uid", json!("identified"))
        .with("/userInfo/username", json!("user-named"))
        .with("/options/fieldManager", json!("managed"));
    webhook.ask(ask, &[SAMPLED]).await;
    let note =
        json!({"subjectRef": {"apiGroup": "grouped", "kind": "Kinded", "name": "x"}, "content": "WRITTEN"});
    webhook.ask(create("Note", note), &[SAMPLED]).await;
    let request = Request::post("/mutate?secret=queried")
        .header("content-type", "application/json")
        .header("traceparent", SAMPLED)
        .header("tracestate", "vendor=stated")
        .header("user-agent", "agent-named");
    webhook.send(request.body("broken".into()).unwrap()).await;
    webhook.finish().await;
    let bytes = collector.bytes();
    assert!(collector.spans().len() >= 4 && bytes.contains("Person"), "{bytes}");
    for text in [
        "DISPLAYED",
        "TITLED",
        "PROFILED",
        "referred",
        "CREATOR",
        "named",
        "identified",
        "managed",
        "grouped",
        "Kinded",
        "WRITTEN",
        "queried",
        "stated",
        "broken",
    ] {
        assert!(!bytes.contains(text), "{text} is in {bytes}");
    }
}

/// A review of this header: whether it is recorded, and whether it has the parent of the header.
async fn recorded(traceparent: &[&str], variables: &[(&str, &str)]) -> Option<bool> {
    let collector = Collector::start().await;
    let webhook = Webhook::start(&collector.url, variables);
    webhook.ask(create("Company", json!({"displayName": "Acme"})), traceparent).await;
    webhook.finish().await;
    let mut spans = collector.spans();
    assert!(spans.len() <= 1, "{spans:#?}");
    let span = spans.pop()?;
    assert!(span.trace_id.iter().any(|byte| *byte != 0) && span.trace_id.len() == 16);
    let has_parent = hex(&span.trace_id) == TRACE && hex(&span.parent_span_id) == PARENT;
    assert!(has_parent || span.parent_span_id.is_empty(), "{span:#?}");
    Some(has_parent)
}

#[tokio::test]
async fn a_review_is_recorded_if_its_parent_is_or_if_it_has_none() {
    assert_eq!(recorded(&[SAMPLED], &[]).await, Some(true));
    assert_eq!(recorded(&[NOT_SAMPLED], &[]).await, None);
    assert_eq!(recorded(&[], &[]).await, Some(false));
}

#[tokio::test]
async fn a_malformed_header_counts_as_none() {
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    let malformed: [&[&str]; 4] = [&["nonsense"], &["00-0-0-01"], &[""], &[SAMPLED, other]];
    for header in malformed {
        assert_eq!(recorded(header, &[]).await, Some(false), "{header:?}");
    }
}

#[tokio::test]
async fn the_sampler_decides_about_reviews_without_a_parent() {
    let off = [("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    assert_eq!(recorded(&[], &off).await, None);
    assert_eq!(recorded(&[SAMPLED], &off).await, Some(true));
    let never = [("OTEL_TRACES_SAMPLER", "always_off")];
    assert_eq!(recorded(&[SAMPLED], &never).await, None);
    let always = [("OTEL_TRACES_SAMPLER", "always_on")];
    assert_eq!(recorded(&[NOT_SAMPLED], &always).await, Some(true));
}

#[tokio::test]
async fn a_rejected_call_has_its_status_and_no_decision() {
    let collector = Collector::start().await;
    let webhook = Webhook::start(&collector.url, &[]);
    let request = Request::post("/mutate").header("content-type", "application/json");
    assert_eq!(webhook.send(request.body("broken".into()).unwrap()).await, StatusCode::BAD_REQUEST);
    webhook.finish().await;
    let spans = collector.spans();
    let attributes = attributes(&only(&spans, "POST /mutate").attributes);
    assert!(attributes.contains(&"http.response.status_code=400".to_owned()), "{attributes:?}");
    assert!(!attributes.iter().any(|attribute| attribute.starts_with("crm_admission.")), "{attributes:?}");
    // The caller has made the mistake.
    assert_eq!(spans[0].status.as_ref().map_or(0, |status| status.code), SpanStatus::Unset as i32);
}

#[tokio::test]
async fn headers_and_compression_are_those_of_the_variables() {
    let collector = Collector::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2,x-tenant=a%20b"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    let webhook = Webhook::start(&collector.url, &variables);
    webhook.ask(create("Company", json!({"displayName": "Acme"})), &[]).await;
    webhook.finish().await;
    let requests = collector.received.requests.lock().unwrap();
    let (headers, body) = &requests[0];
    assert_eq!(headers["api-key"], "hunter2");
    assert_eq!(headers["x-tenant"], "a b");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(body.starts_with(&[0x1f, 0x8b]), "{body:?}");
}

#[tokio::test]
async fn a_collector_that_refuses_or_cannot_be_reached_costs_spans_and_no_answers() {
    let collector = Collector::start().await;
    *collector.received.answer.lock().unwrap() = Some(StatusCode::UNAUTHORIZED);
    // Nobody listens on port 1.
    for url in [collector.url.as_str(), "http://127.0.0.1:1"] {
        let webhook = Webhook::start(url, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")]);
        webhook.ask(create("Company", json!({"displayName": "Acme"})), &[]).await;
        let metrics = webhook.metrics.clone();
        webhook.finish().await;
        let text = metrics.text().unwrap();
        let sample = r#"crm_admission_trace_spans_total{result="failed"} 1"#;
        assert!(text.lines().any(|line| line == sample), "{url}: {text}");
    }
}

#[tokio::test]
async fn an_https_collector_is_verified_with_the_ca_of_the_variable() {
    let [own, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let collector = Collector::start_with_tls(own.path()).await;
    dev_certificate::ensure(other.path()).unwrap();
    for (directory, result) in [(&own, "delivered"), (&other, "failed")] {
        let ca = directory.path().join("ca.crt");
        let variables = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ];
        let webhook = Webhook::start(&collector.url, &variables);
        webhook.ask(create("Company", json!({"displayName": "Acme"})), &[]).await;
        let metrics = webhook.metrics.clone();
        webhook.finish().await;
        let text = metrics.text().unwrap();
        let sample = format!(r#"crm_admission_trace_spans_total{{result="{result}"}} 1"#);
        assert!(text.lines().any(|line| line == sample), "{text}");
    }
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test]
async fn a_bad_file_with_cas_is_refused_with_its_variable() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, problem) in [
        (file("empty.crt", ""), "has no certificate"),
        (file("broken.crt", broken), "has an invalid certificate"),
        (file("cut.crt", "-----BEGIN CERTIFICATE-----\nAA"), "is not PEM"),
        (directory.path().join("absent.crt").to_str().unwrap().to_owned(), "cannot be read"),
    ] {
        let variable = |name: &str| (name == "OTEL_EXPORTER_OTLP_CERTIFICATE").then(|| path.clone());
        let settings = Settings::read(Some("https://collector:4318"), variable).unwrap().unwrap();
        let error = Traces::start(&settings, &Metrics::new()).unwrap_err().to_string();
        let start = format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {path} {problem}");
        assert!(error.starts_with(&start), "{error}");
        assert!(error.ends_with("give a PEM file with the CA of the collector"), "{error}");
    }
}

#[test]
fn without_an_endpoint_the_header_is_not_read() {
    let span = Traces::off().request("POST /mutate", "/mutate", || panic!("the header is read"));
    assert!(!span.is_recorded());
    let lookup = span.lookup("look up", "Company.crm.milo.io");
    assert!(!lookup.is_recorded());
}
