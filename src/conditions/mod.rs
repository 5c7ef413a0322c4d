//! Writes into each record whether it complies with the policy: the condition `Compliant`.
//!
//! One replica does it at a time. It lists and watches the records, and keeps for each only a hash of the state that
//! was judged. `controller.rs` says when a record is judged.
//!
//! *Architecture invariant:* this room knows stored records and leaders, but no requests and not how a rule is decided.
//! Nothing here is waited for by a review or by readiness.

mod controller;
mod judge;
mod lease;
mod pace;
mod records;
mod settings;
mod verdict;
mod watched;
mod write;

use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use crm_core::api::installation::CONDITIONS_LEASE;
use futures::FutureExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::controller::{Controller, results};
use self::lease::Candidate;
use self::settings::GLANCE;

pub use self::settings::Conditions;

/// The pause after a panic or another unexpected end.
const PAUSE: Duration = Duration::from_secs(10);

/// Leads whenever it can, until `stop`. After a panic it starts again.
pub async fn run(conditions: Conditions, stop: CancellationToken) {
    conditions.metrics.conditions().enabled(&results::ALL);
    let client = conditions.reader.client().clone();
    let candidate = Candidate::new(client, &conditions.namespace, CONDITIONS_LEASE, identity());
    while !stop.is_cancelled() {
        let term = term(&conditions, &candidate, &stop);
        if AssertUnwindSafe(term).catch_unwind().await.is_err() {
            // The panic itself has been logged.
            conditions.metrics.conditions().restarted();
            stop.run_until_cancelled(sleep(PAUSE)).await;
        }
    }
}

/// Waits until conditions can be written, and leads once.
async fn term(conditions: &Conditions, candidate: &Candidate, stop: &CancellationToken) {
    if stop.run_until_cancelled(ready(conditions)).await.is_none() {
        return;
    }
    let work = |term| async move {
        match Controller::new(conditions, term) {
            Ok(controller) => controller.run().await,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "conditions cannot be judged");
                sleep(PAUSE).await;
            }
        }
    };
    candidate.lead(stop, work).await;
}

/// Waits until policy and directory have been read. Without them, every record would be judged twice.
async fn ready(conditions: &Conditions) {
    let is_missing = || conditions.directory.status().iter().any(|part| part.required);
    while !(conditions.policy_is_known)() || is_missing() {
        sleep(GLANCE).await;
    }
}

/// The name of this process in the Lease: that of the pod, and a number, because a restarted container is another
/// candidate.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    let host = if host.is_empty() { "crm-admission" } else { &host };
    // The keys of a hasher are random.
    format!("{host}_{:016x}", RandomState::new().hash_one(std::process::id()))
}
