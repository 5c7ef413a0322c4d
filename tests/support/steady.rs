//! Sends writes that need nothing from the webhook, at a constant rate, while an installation changes.
//!
//! The records are complete and canonical, so each write succeeds with and without the webhook. What fails, fails because
//! of the installation.

use super::control_plane::{self, ControlPlane};
use super::poll::{self, Seen};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Running writes.
pub(crate) struct Steady {
    stopped: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: JoinHandle<Tally>,
}

/// The results of the writes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) made: usize,
    pub(crate) failures: Vec<Failure>,
}

/// A write that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// When it was sent.
    pub(crate) sent: Instant,
    /// The time since the start of all writes when it was sent, and when it failed.
    times: [Duration; 2],
    why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sent, failed] = self.times;
        write!(f, "sent after {sent:.1?}, failed after {failed:.1?}: {}", self.why)
    }
}

impl Steady {
    /// Starts creating companies as alice, as dry runs, so many in a second.
    pub(crate) fn start(plane: &ControlPlane, rate: u32) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let request = request(plane);
        let answered = Arc::new(AtomicUsize::new(0));
        let (place, stop, count) = (plane.place(), Arc::clone(&stopped), Arc::clone(&answered));
        let thread = thread::spawn(move || {
            place.join_network();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(write(request, rate, &stop, &count))
        });
        Self { stopped, answered, thread }
    }

    /// Waits until so many more writes have been answered.
    #[track_caller]
    pub(crate) fn await_writes(&self, count: usize) {
        let wanted = self.answered.load(Ordering::SeqCst) + count;
        poll::until("writes", PATIENCE, || match self.answered.load(Ordering::SeqCst) {
            answered if answered >= wanted => Seen::Ready(()),
            answered => Seen::NotYet(format!("{answered} of {wanted}")),
        });
    }

    /// Waits for the writes in progress, and returns all results.
    pub(crate) fn stop(self) -> Tally {
        self.stopped.store(true, Ordering::SeqCst);
        self.thread.join().expect("the results of the writes")
    }
}

fn request(plane: &ControlPlane) -> RequestBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(&plane.ca()).unwrap();
    let client =
        Client::builder().tls_certs_only([authority]).http1_only().timeout(PATIENCE).build().unwrap();
    let port = plane.ports()[1];
    let url = format!("https://127.0.0.1:{port}/apis/crm.milo.io/v1alpha1/companies?dryRun=All");
    let record = json!({
        "apiVersion": "crm.milo.io/v1alpha1",
        "kind": "Company",
        "metadata": {"generateName": "steady-"},
        "spec": {"displayName": "Steady", "creatorRef": {"name": "alice"}, "domains": ["steady.example"]},
    });
    let token = format!("Bearer {}", control_plane::token("alice"));
    client.post(url).header(AUTHORIZATION, token).json(&record)
}

async fn write(request: RequestBuilder, rate: u32, stop: &AtomicBool, answered: &Arc<AtomicUsize>) -> Tally {
    let started = Instant::now();
    let mut ticks = interval(Duration::from_secs(1) / rate);
    // On a busy machine, later writes are not sent in a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut writes = JoinSet::new();
    while !stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        let request = request.try_clone().expect("a request without a stream");
        let answered = Arc::clone(answered);
        writes.spawn(async move {
            let sent = Instant::now();
            let answer = request.send().await;
            answered.fetch_add(1, Ordering::SeqCst);
            let why = match answer {
                Ok(answer) if answer.status().is_success() => return None,
                Ok(answer) => answer.text().await.unwrap_or_else(|error| error.to_string()),
                Err(error) => format!("{error:?}"),
            };
            Some(Failure { sent, times: [sent.duration_since(started), started.elapsed()], why })
        });
    }
    let outcomes = writes.join_all().await;
    Tally { made: outcomes.len(), failures: outcomes.into_iter().flatten().collect() }
}
