//! Keeps finished spans until they are delivered, in batches, by a task of its own.
//!
//! The batch processor of opentelemetry_sdk blocks a thread, and says only in a log at its end how many spans it has
//! dropped.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::client::LastFailure;
use crate::telemetry::metrics::Metrics;

/// How many spans wait at most. A span takes about a kilobyte.
const LONGEST_QUEUE: usize = 2048;
/// How many spans are delivered at a time at most.
const LARGEST_BATCH: usize = 512;
/// How long a span waits for others at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often a failure is logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The end of the queue where spans enter. It never waits.
#[derive(Debug)]
pub(super) struct Entrance {
    spans: Sender<SpanData>,
    metrics: Metrics,
}

impl SpanProcessor for Entrance {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.metrics.traces().dropped();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    // `Delivery::finish` does it, without blocking a thread.
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task that delivers spans.
#[derive(Debug)]
pub struct Delivery {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Delivery {
    /// Delivers the spans that have ended, and stops. Later spans are dropped, and those that are not delivered within
    /// `limit`, too.
    pub async fn finish(mut self, limit: Duration) {
        self.stop.cancel();
        if timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!(?limit, "the last spans could not be delivered");
        }
    }
}

/// Starts the task that delivers spans to `exporter`. Needs a runtime of tokio.
pub(super) fn start<E: SpanExporter + 'static>(
    exporter: E,
    last_failure: LastFailure,
    metrics: &Metrics,
) -> (Entrance, Delivery) {
    let (sender, receiver) = mpsc::channel(LONGEST_QUEUE);
    let stop = CancellationToken::new();
    let outcomes = Outcomes { metrics: metrics.clone(), last_failure, failing: None };
    let task = tokio::spawn(deliver(receiver, exporter, outcomes, stop.clone()));
    (Entrance { spans: sender, metrics: metrics.clone() }, Delivery { stop, task })
}

/// Delivers spans until `stop` is cancelled, and then what is left.
async fn deliver<E: SpanExporter>(
    mut spans: Receiver<SpanData>,
    exporter: E,
    mut outcomes: Outcomes,
    stop: CancellationToken,
) {
    loop {
        let mut batch = Vec::new();
        if stop.run_until_cancelled(fill(&mut batch, &mut spans)).await.is_none() {
            spans.close();
            fill(&mut batch, &mut spans).await;
        }
        if batch.is_empty() {
            return;
        }
        let count = batch.len();
        // A panic of the exporter must not end the delivery.
        let delivered = AssertUnwindSafe(exporter.export(batch)).catch_unwind().await;
        match delivered {
            Ok(Ok(())) => outcomes.delivered(count),
            Ok(Err(error)) => outcomes.failed(count, &error),
            Err(_) => outcomes.failed(count, &Panicked),
        }
    }
}

/// Waits for spans, and adds them. Adds none only if the queue is closed. Cancel safe.
async fn fill(batch: &mut Vec<SpanData>, spans: &mut Receiver<SpanData>) {
    if batch.is_empty() && spans.recv_many(batch, LARGEST_BATCH).await == 0 {
        return;
    }
    let more = async {
        while batch.len() < LARGEST_BATCH {
            let room = LARGEST_BATCH - batch.len();
            if spans.recv_many(batch, room).await == 0 {
                return;
            }
        }
    };
    // Not an error: a batch need not be full.
    let _ = timeout(LONGEST_WAIT, more).await;
}

#[derive(Debug, thiserror::Error)]
#[error("the exporter panicked")]
struct Panicked;

/// Counts what becomes of spans, and logs failures.
struct Outcomes {
    metrics: Metrics,
    last_failure: LastFailure,
    /// `None` while deliveries succeed.
    failing: Option<Failing>,
}

/// What has failed since the last log line.
struct Failing {
    logged: Instant,
    spans: usize,
}

impl Outcomes {
    fn delivered(&mut self, spans: usize) {
        self.metrics.traces().delivered(spans);
        if self.failing.take().is_some() {
            tracing::info!("spans are delivered again");
        }
    }

    fn failed(&mut self, spans: usize, error: &(dyn Error + 'static)) {
        self.metrics.traces().failed(spans);
        let failed = self.failing.as_ref().map_or(0, |failing| failing.spans) + spans;
        let now = Instant::now();
        let due = self.failing.as_ref().is_none_or(|failing| now - failing.logged >= LOG_INTERVAL);
        if !due {
            self.failing.iter_mut().for_each(|failing| failing.spans = failed);
            return;
        }
        let last_failure = self.last_failure.load_full();
        let reason = last_failure.as_deref().map_or(error, |failure| &**failure as &(dyn Error + 'static));
        tracing::warn!(spans = failed, reason, "spans could not be delivered to the collector of traces");
        self.failing = Some(Failing { logged: now, spans: 0 });
    }
}

#[cfg(test)]
mod tests;
