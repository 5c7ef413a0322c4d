//! Audits beside the serving of reviews, now and then and slowly, for the metrics alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crm_core::api::CrmKind;
use crm_core::policy::Policy;
use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::examine::{Examiner, Scope};
use super::lookup::{Existence, NoAnswer, Suggestions};
use super::pages::{ListError, Pages};
use super::tally::Tally;
use crate::check::UnusableSchema;
use crate::cluster::Reader;
use crate::directory::Directory;
use crate::telemetry::Metrics;

/// How many records are held and judged at a time: few, so that reviews that come meanwhile wait for none.
const PAGE: u32 = 100;
/// The shortest pause between pages, and after a moment in which reviews were being worked on.
const PAUSE: Duration = Duration::from_millis(250);
/// A page that took its time is followed by a pause that is so much longer: nine tenths of the time it rests.
const REST: u32 = 9;
/// How often a page is put off because reviews are being worked on. A webhook that never rests is audited too, slowly.
const DEFERRALS: u32 = 20;
/// The longest time from the start of the program to the first audit.
const LATEST_START: Duration = Duration::from_secs(60);

/// What an audit in the background needs.
pub struct Background {
    /// The cluster whose records are audited. What is read of them counts against the budget of the webhook.
    pub reader: Reader,
    /// Where references are looked up.
    pub directory: Arc<dyn Directory>,
    /// The policy in force, whatever it is at that moment.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Where the result goes.
    pub metrics: Metrics,
    /// The time from the end of an audit to the next.
    pub interval: Duration,
}

/// Why an audit came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error(transparent)]
    Schema(#[from] UnusableSchema),
}

/// Audits for ever. An audit that fails, or panics, is counted, and the next one comes at its time: it is not worth the
/// end of a webhook.
pub async fn run(background: Background) {
    sleep(background.interval.min(LATEST_START)).await;
    loop {
        match AssertUnwindSafe(background.audit()).catch_unwind().await {
            Ok(Ok(tally)) => {
                background.show(&tally);
                tracing::info!(
                    records = tally.records,
                    refused = tally.refused,
                    dangling = tally.all_dangling(),
                    "stored records audited"
                );
            }
            Ok(Err(error)) => {
                background.metrics.audit_failed();
                tracing::warn!(error = &error as &dyn std::error::Error, "the audit failed");
            }
            // The panic itself has been logged.
            Err(_) => background.metrics.audit_failed(),
        }
        sleep(background.interval).await;
    }
}

impl Background {
    async fn audit(&self) -> Result<Tally, Failure> {
        let policy = Policy::clone(&self.policy.load());
        let examiner = Examiner::new(policy, None, Scope::All, Timestamp::now())?;
        let existence = Existence::new(&*self.directory, Suggestions::None);
        let mut tally = Tally::default();
        for kind in CrmKind::ALL {
            let mut pages = Pages::new(self.reader.clone(), kind, PAGE, examiner.labels());
            loop {
                self.give_way().await;
                let started = Instant::now();
                let Some(objects) = pages.next().await? else { break };
                for examined in examiner.examine(kind, &objects, &existence).await? {
                    tally.add(kind, &examined);
                }
                sleep(PAUSE.max(started.elapsed() * REST)).await;
            }
        }
        Ok(tally)
    }

    /// Waits until no review is being worked on, within reason.
    async fn give_way(&self) {
        for _ in 0..DEFERRALS {
            if self.metrics.requests_in_flight() == 0 {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Shows every rule of every kind, those without findings included: a series that vanishes says nothing.
    fn show(&self, tally: &Tally) {
        for rule in crm_core::catalog::rules() {
            for kind in rule.kinds {
                let dangling = tally.dangling.get(&(*kind, rule.id)).copied().unwrap_or_default();
                let findings = tally.of(*kind, rule.id);
                self.metrics.audit_found(kind.as_str(), rule.id.as_str(), findings, dangling);
            }
        }
        self.metrics.audited(tally.records, Timestamp::now().as_second());
    }
}
