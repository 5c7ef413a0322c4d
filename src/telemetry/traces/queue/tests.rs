//! Tests the queue with exporters that fail in every way.

use std::io;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::sync::Notify;

use super::*;

/// What the exporter in these tests does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Accepts,
    Fails,
    PanicsOnce,
    NeverAnswers,
}

/// Keeps the sizes of the batches.
#[derive(Clone, Debug)]
struct Exporter {
    behaviour: Behaviour,
    batches: Arc<Mutex<Vec<usize>>>,
    called: Arc<Notify>,
}

impl Exporter {
    fn new(behaviour: Behaviour) -> Self {
        Self { behaviour, batches: Arc::default(), called: Arc::default() }
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let first = {
            let mut batches = self.batches.lock().unwrap();
            batches.push(batch.len());
            batches.len() == 1
        };
        self.called.notify_one();
        match self.behaviour {
            Behaviour::Accepts => Ok(()),
            Behaviour::Fails => Err(OTelSdkError::InternalFailure("status 401".to_owned())),
            Behaviour::PanicsOnce if first => panic!("this one"),
            Behaviour::PanicsOnce => Ok(()),
            Behaviour::NeverAnswers => std::future::pending().await,
        }
    }
}

struct Fixture {
    exporter: Exporter,
    metrics: Metrics,
    tracer: SdkTracer,
    delivery: Delivery,
}

impl Fixture {
    fn new(behaviour: Behaviour) -> Self {
        let exporter = Exporter::new(behaviour);
        let metrics = Metrics::new();
        let (entrance, delivery) = start(exporter.clone(), LastFailure::default(), &metrics);
        let provider = SdkTracerProvider::builder().with_span_processor(entrance).build();
        Self { exporter, metrics, tracer: provider.tracer("test"), delivery }
    }

    fn spans(&self, count: usize) {
        for _ in 0..count {
            self.tracer.start("span").end();
        }
    }

    #[track_caller]
    fn assert_counted(metrics: &Metrics, result: &str, count: usize) {
        let text = metrics.text().unwrap();
        let sample = format!(r#"crm_admission_trace_spans_total{{result="{result}"}} {count}"#);
        assert!(text.lines().any(|line| line == sample), "no {sample} in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn spans_are_delivered_together() {
    let fixture = Fixture::new(Behaviour::Accepts);
    fixture.spans(3);
    fixture.exporter.called.notified().await;
    assert_eq!(fixture.exporter.batches(), [3]);
    fixture.delivery.finish(LONGEST_WAIT).await;
    Fixture::assert_counted(&fixture.metrics, "delivered", 3);
    Fixture::assert_counted(&fixture.metrics, "dropped", 0);
}

#[tokio::test(start_paused = true)]
async fn spans_that_have_ended_are_delivered_at_the_end_without_a_wait() {
    let fixture = Fixture::new(Behaviour::Accepts);
    fixture.spans(LARGEST_BATCH + 1);
    let started = Instant::now();
    fixture.delivery.finish(LONGEST_WAIT).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(fixture.exporter.batches(), [LARGEST_BATCH, 1]);
    Fixture::assert_counted(&fixture.metrics, "delivered", LARGEST_BATCH + 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_spans_and_counts_them() {
    let fixture = Fixture::new(Behaviour::NeverAnswers);
    // The task does not run in between, because this thread has not waited.
    fixture.spans(LONGEST_QUEUE + 5);
    Fixture::assert_counted(&fixture.metrics, "dropped", 5);
    fixture.exporter.called.notified().await;
    fixture.spans(LARGEST_BATCH + 1);
    Fixture::assert_counted(&fixture.metrics, "dropped", 6);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_does_not_answer_delays_the_end_only_up_to_the_limit() {
    let fixture = Fixture::new(Behaviour::NeverAnswers);
    fixture.spans(1);
    let (started, limit) = (Instant::now(), Duration::from_secs(2));
    fixture.delivery.finish(limit).await;
    assert_eq!(started.elapsed(), limit);
}

#[tokio::test(start_paused = true)]
async fn spans_after_the_end_are_dropped() {
    let fixture = Fixture::new(Behaviour::Accepts);
    fixture.delivery.finish(LONGEST_WAIT).await;
    fixture.tracer.start("span").end();
    Fixture::assert_counted(&fixture.metrics, "dropped", 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_exporter_does_not_end_the_delivery() {
    let fixture = Fixture::new(Behaviour::PanicsOnce);
    for _ in 0..2 {
        fixture.spans(1);
        fixture.exporter.called.notified().await;
    }
    fixture.delivery.finish(LONGEST_WAIT).await;
    Fixture::assert_counted(&fixture.metrics, "failed", 1);
    Fixture::assert_counted(&fixture.metrics, "delivered", 1);
}

/// The log lines of some outcomes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_each_and_logged_once_a_minute() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let last_failure = LastFailure::default();
    last_failure.store(Some(Arc::new("connection refused".into())));
    let metrics = Metrics::new();
    let mut outcomes = Outcomes { metrics: metrics.clone(), last_failure, failing: None };

    outcomes.failed(2, &Panicked);
    let logged = lines.take();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("WARN") && logged[0].contains("spans=2"), "{logged:?}");
    assert!(logged[0].contains("connection refused"), "{logged:?}");

    for _ in 0..3 {
        outcomes.failed(2, &Panicked);
    }
    assert_eq!(lines.take(), [""; 0]);
    tokio::time::advance(LOG_INTERVAL).await;
    outcomes.failed(1, &Panicked);
    let logged = lines.take();
    assert!(logged.len() == 1 && logged[0].contains("spans=7"), "{logged:?}");

    outcomes.delivered(1);
    let logged = lines.take();
    assert!(logged.len() == 1 && logged[0].contains("delivered again"), "{logged:?}");
    outcomes.delivered(1);
    assert_eq!(lines.take(), [""; 0]);
    Fixture::assert_counted(&metrics, "failed", 9);
    Fixture::assert_counted(&metrics, "delivered", 2);
}

#[tokio::test(start_paused = true)]
async fn the_status_of_the_collector_is_the_reason_if_it_has_answered() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let fixture = Fixture::new(Behaviour::Fails);
    fixture.spans(1);
    fixture.delivery.finish(LONGEST_WAIT).await;
    let logged = lines.take();
    assert!(logged.len() == 1 && logged[0].contains("status 401"), "{logged:?}");
    Fixture::assert_counted(&fixture.metrics, "failed", 1);
}
