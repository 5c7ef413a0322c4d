//! Tests that a write is one trace, from the API server to the lookups of the webhook, in a real collector.

use crate::support::collector::{Collector, Span};
use crate::support::control_plane::ControlPlane;
use crate::support::installation::Installation;
use crate::support::records::{company, person};

const API_SERVER: &str = "apiserver";
const WEBHOOK: &str = "crm-admission";

/// An installation whose API server and webhook send all their spans to the collector.
fn start(collector: &Collector) -> Installation {
    let plane = ControlPlane::start_traced(&collector.grpc());
    let mut installation = Installation::start_on(plane);
    installation.webhook.restart_with(&["--otlp-endpoint", &collector.url()]);
    installation.webhook.register();
    installation
}

/// The span of the API server that has called the webhook for this one.
fn caller<'s>(review: &Span, spans: &'s [Span]) -> Option<&'s Span> {
    spans.iter().find(|span| span.service == API_SERVER && review.is_child_of(span))
}

fn is_review(span: &Span, kind: &str, decision: &str) -> bool {
    span.service == WEBHOOK
        && span.attribute("crm_admission.kind") == kind
        && span.attribute("crm_admission.decision") == decision
}

#[test]
fn a_write_is_one_trace_from_the_api_server_to_the_lookups_of_the_webhook() {
    let collector = Collector::start();
    let mut installation = start(&collector);
    let alice = installation.plane.kubectl("alice");
    alice.create(&company("acme-corp", "{displayName: Acme Secret}")).succeeds();
    alice.create(&person("jane", "{displayName: Jane, companyRef: {name: acme-crop}}")).fails();
    // It delivers the last spans; those of the API server arrive within some seconds.
    assert!(installation.webhook.stop().success());

    for (kind, decision) in [("Company", "allowed"), ("Person", "denied")] {
        let review = collector.await_span(&format!("a review of a {kind} in a trace"), |span, spans| {
            is_review(span, kind, decision) && caller(span, spans).is_some()
        });
        // The kind `Server` in OTLP.
        assert_eq!(review.span["kind"], 2, "{review:?}");
        assert_eq!(review.attribute("crm_admission.operation"), "CREATE", "{review:?}");
        // The write itself is a part of the same trace.
        collector.await_span(&format!("the write of a {kind}"), |span, _| {
            let is_root = span.span["parentSpanId"].as_str().is_none_or(str::is_empty);
            span.service == API_SERVER && is_root && span.span["traceId"] == review.span["traceId"]
        });
    }
    let denied = collector.await_span("a denied review", |span, _| is_review(span, "Person", "denied"));
    let lookup = collector
        .await_span("its lookup", |span, _| span.is_child_of(&denied) && span.span["name"] == "look up");
    assert_eq!(lookup.attribute("crm_admission.lookup.kind"), "Company.crm.milo.io", "{lookup:?}");
    assert_eq!(lookup.attribute("crm_admission.lookup.result"), "missing", "{lookup:?}");

    let ours: Vec<String> = collector
        .spans()
        .into_iter()
        .filter(|span| span.service == WEBHOOK)
        .map(|span| span.span.to_string())
        .collect();
    for text in ["Secret", "acme", "jane", "Jane", "alice"] {
        assert!(!ours.iter().any(|span| span.contains(text)), "{text} is in {ours:#?}");
    }
}
