//! Audits in the background of `serve`, slowly and only for the metrics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crm_check::conformance::UnusableSchema;
use crm_core::api::CrmKind;
use crm_core::policy::Policy;
use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::examine::{Examiner, Scope};
use super::lookup::{Existence, NoAnswer, Suggestions};
use super::pages::{ListError, Pages};
use super::tally::Tally;
use crate::cluster::Reader;
use crate::directory::LookUp;
use crate::telemetry::Metrics;

/// The number of records in a page: few, so that no review has to wait.
const PAGE: u32 = 100;
/// The minimum pause between pages, and the pause while reviews are in progress.
const PAUSE: Duration = Duration::from_millis(250);
/// The pause after a page is this many times as long as the page took, so the audit pauses for nine tenths of the time.
const REST: u32 = 9;
/// How often a page is delayed while reviews are in progress. So a busy webhook is audited too, slowly.
const DEFERRALS: u32 = 20;
/// The maximum time from the start of the program to the first audit.
const LATEST_START: Duration = Duration::from_secs(60);

/// The inputs of background audits.
pub struct Background {
    /// The cluster to audit. Reads count against the budget of the webhook.
    pub reader: Reader,
    /// Answers lookups.
    pub directory: Arc<dyn LookUp>,
    /// The policy in force, read for each audit.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Receives the results.
    pub metrics: Metrics,
    /// The kinds to audit.
    pub kinds: Vec<CrmKind>,
    /// The time from one audit to the next.
    pub interval: Duration,
}

/// Why an audit failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error(transparent)]
    Schema(#[from] UnusableSchema),
}

/// Audits forever. An audit that fails or panics is counted, and the next one starts as usual: a failed audit must not
/// stop the webhook.
pub async fn run(background: Background) {
    sleep(background.interval.min(LATEST_START)).await;
    loop {
        match AssertUnwindSafe(background.audit()).catch_unwind().await {
            Ok(Ok(tally)) => {
                background.show(&tally);
                tracing::info!(
                    records = tally.records,
                    denied = tally.denied,
                    dangling = tally.all_dangling(),
                    "stored records audited"
                );
            }
            Ok(Err(error)) => {
                background.metrics.audit().failed();
                tracing::warn!(error = &error as &dyn std::error::Error, "the audit failed");
            }
            // The panic itself has been logged.
            Err(_) => background.metrics.audit().failed(),
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
        for kind in self.kinds.iter().copied() {
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

    /// Waits until no review is in progress, up to a limit.
    async fn give_way(&self) {
        for _ in 0..DEFERRALS {
            if self.metrics.serving().requests_in_flight() == 0 {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Sets the metrics of every rule and kind, including those without findings, because a series that disappears
    /// shows nothing.
    fn show(&self, tally: &Tally) {
        for rule in crm_core::catalog::rules() {
            for kind in self.kinds.iter().copied().filter(|kind| rule.checks(*kind)) {
                let dangling = tally.dangling.get(&(kind, rule.id)).copied().unwrap_or_default();
                let findings = tally.of(kind, rule.id);
                self.metrics.audit().found(kind.label(), rule.id.as_str(), findings, dangling);
            }
        }
        self.metrics.audit().finished(tally.records, Timestamp::now().as_second());
    }
}
