//! Decides when a record is judged, and writes its condition if it differs.
//!
//! A record is judged when a watch shows a new state of it; when an object that it refers to appears or disappears, as
//! the directory says; and in a pass over all records, which follows a change of the policy and is otherwise spread
//! over the interval. Lists judge the records that they read. Everything else only marks records: workers then read
//! each record again, so that a condition is always about its current state.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use crm_check::conformance::UnusableSchema;
use crm_core::api::CrmKind;
use crm_core::policy::Policy;
use futures::future::join_all;
use futures::{StreamExt, join};
use jiff::Timestamp;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use super::judge::{Judge, Verdict};
use super::lease::Term;
use super::pace::Pace;
use super::records::{Judged, Key, Records, Turn, Work};
use super::settings::{Conditions, GLANCE, KINDS};
use super::watched::Watched;
use super::write::{read, write};
use crate::audit::{Compliance, Pages, Record, Stored};
use crate::cluster::{Change, Content, Listing, Pager, ReadError, WatchError, changes, may_be_temporary};
use crate::directory::{Changed, Following};
use crate::telemetry::{ConditionRecords, Metrics};

/// The number of records in a page.
const PAGE: u32 = 100;
/// The number of records that are read and written at the same time.
const WORKERS: usize = 8;
/// Changes of this time are searched for at once.
const BATCH: Duration = Duration::from_millis(250);
/// The time after which records are judged again whose lookups failed, at first.
const RECHECK: Duration = Duration::from_secs(60);
/// The maximum pause between two pages of a pass. The API server forgets a list after some minutes.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// The pause if the backoff has none, which does not happen with its current definition.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The results of writing a condition, for the metrics.
pub(super) mod results {
    /// All of them.
    pub(in super::super) const ALL: [&str; 5] = [WRITTEN, GONE, CONFLICT, DENIED, FAILED];
    pub(super) const WRITTEN: &str = "written";
    pub(super) const GONE: &str = "gone";
    /// The record has changed.
    pub(super) const CONFLICT: &str = "conflict";
    pub(super) const DENIED: &str = "denied";
    pub(super) const FAILED: &str = "failed";
}

/// The work of one term.
pub(super) struct Controller<'c> {
    conditions: &'c Conditions,
    term: Term,
    judge: ArcSwap<Judge>,
    records: Arc<Mutex<Records>>,
    /// There is work for a worker.
    work: Notify,
    /// A pass is needed as soon as possible.
    pass: Notify,
    pace: Pace,
    /// The number of kinds whose first list is complete.
    listed: AtomicUsize,
    /// The number of lists that are being read.
    listing: AtomicUsize,
    /// The objects that have appeared or disappeared meanwhile.
    changed_meanwhile: Mutex<Changed>,
    /// The last failure that was logged.
    trouble: Mutex<Option<String>>,
}

/// Whether a pass takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    Urgent,
    Spread,
}

/// Why a record was not settled.
#[derive(Debug)]
enum Unsettled {
    /// It does not exist any more, or is being deleted.
    Gone,
    /// It has changed since it was read.
    Changed,
    /// The API server denies the request, whenever it is repeated.
    Denied(ReadError),
    /// The API server fails.
    Failed(ReadError),
    /// Another replica leads.
    Lost,
}

/// Shows in the metrics that this replica leads, until it is dropped.
struct Shown<'m>(&'m Metrics);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.conditions().follows();
    }
}

impl<'c> Controller<'c> {
    /// The work of this term.
    ///
    /// # Errors
    /// The schemas of this program are invalid.
    pub(super) fn new(conditions: &'c Conditions, term: Term) -> Result<Self, UnusableSchema> {
        Ok(Self {
            judge: ArcSwap::from_pointee(Judge::new(Policy::clone(&conditions.policy.load()))?),
            pace: Pace::new(conditions.rate),
            conditions,
            term,
            records: Arc::default(),
            work: Notify::new(),
            pass: Notify::new(),
            listed: AtomicUsize::new(0),
            listing: AtomicUsize::new(0),
            changed_meanwhile: Mutex::default(),
            trouble: Mutex::default(),
        })
    }

    /// Works forever. Everything is in this future, so dropping it stops everything.
    pub(super) async fn run(&self) {
        let _shown = self.show();
        let following = self.conditions.changes.follow();
        join!(
            join_all(KINDS.map(|kind| self.follow(kind))),
            self.follow_targets(&following),
            self.follow_policy(),
            self.pass_again_and_again(),
            self.check_again(),
            join_all((0..WORKERS).map(|_| self.work())),
        );
    }

    fn show(&self) -> Shown<'c> {
        let records = Arc::clone(&self.records);
        self.conditions.metrics.conditions().leads(move || {
            let records = records.lock().unwrap_or_else(PoisonError::into_inner);
            let shown = |(kind, compliance, count): (CrmKind, Compliance, usize)| {
                (kind.as_str(), compliance.reason(), count)
            };
            ConditionRecords { judged: records.counts().map(shown).collect(), waiting: records.waiting() }
        });
        Shown(&self.conditions.metrics)
    }

    /// Lists and watches the records of a kind, forever.
    async fn follow(&self, kind: CrmKind) {
        let mut pause = DefaultBackoff::default();
        loop {
            match self.list(kind).await {
                Ok(version) => {
                    self.works();
                    pause.reset();
                    self.watch(kind, version, &mut pause).await;
                }
                Err(error) => self.note(&error),
            }
            rest(&mut pause).await;
        }
    }

    /// Lists the records of a kind and judges them. Returns where a watch starts.
    async fn list(&self, kind: CrmKind) -> Result<String, WatchError> {
        self.listing.fetch_add(1, Ordering::Relaxed);
        let listed = self.judge_list(kind).await;
        let is_last = self.listing.fetch_sub(1, Ordering::Relaxed) == 1;
        // A record was not known to refer to an object while it was judged, and the answer may be from before.
        let changed = {
            let mut changed = self.changed_meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
            if is_last { std::mem::take(&mut *changed) } else { changed.clone() }
        };
        self.search(|records, from| records.want_dependents(&changed, from)).await;
        listed
    }

    async fn judge_list(&self, kind: CrmKind) -> Result<String, WatchError> {
        let listing = Listing::all(&kind.resource().api_resource(), Content::Whole);
        let mut pages = Pager::new(self.conditions.reader.clone(), listing);
        self.records().begin_list(kind);
        // The version of the last page.
        let mut version = None;
        while let Some(page) = pages.next::<Stored>(PAGE).await? {
            let judge = self.judge.load_full();
            let records = page.items.into_iter().map(|stored| stored.into_record(&judge.labels));
            for Verdict { record, condition, judged } in self.judged(&judge, kind, records.collect()).await {
                let differs = record.condition.as_ref() != Some(&condition);
                let mut known = self.records();
                known.list(kind, record.name(), judged);
                if differs {
                    known.want(kind, record.name(), Turn::Later);
                }
            }
            self.work.notify_one();
            version = page.resource_version;
        }
        let version = version.ok_or(WatchError::NoVersion)?;
        self.records().end_list(kind);
        if self.listed.fetch_add(1, Ordering::Relaxed) + 1 == KINDS.len() {
            self.passed();
        }
        Ok(version)
    }

    /// Judges those that are not being deleted.
    async fn judged(&self, judge: &Judge, kind: CrmKind, mut records: Vec<Record>) -> Vec<Verdict> {
        records.retain(|record| !record.is_terminating());
        judge.judge(kind, records, &*self.conditions.directory).await
    }

    /// Watches the records of a kind until a new list is needed.
    async fn watch(&self, kind: CrmKind, version: String, pause: &mut DefaultBackoff) {
        let listing = Listing::all(&kind.resource().api_resource(), Content::Whole);
        let mut changes = changes::<Watched>(self.conditions.reader.client(), listing, version);
        while let Some(change) = changes.next().await {
            match change {
                Ok(Change::Stored(record)) if !record.is_terminating() => self.see(kind, &record),
                Ok(Change::Stored(record) | Change::Deleted(record)) => {
                    self.records().forget(kind, record.name())
                }
                Err(failure) => {
                    // Normal after a restart of the API server. If watches always end at once, the directory reports it.
                    let is_normal = match &failure {
                        WatchError::Read(error) => error.code() == Some(410),
                        failure => matches!(failure, WatchError::Short),
                    };
                    if !is_normal {
                        self.note(&failure);
                    }
                    if failure.needs_a_list() {
                        return;
                    }
                    rest(pause).await;
                    continue;
                }
            }
            pause.reset();
        }
    }

    fn see(&self, kind: CrmKind, record: &Watched) {
        let mark = record.mark(&self.judge.load().labels);
        let mut known = self.records();
        if !known.knows(kind, record.name(), mark) {
            known.want(kind, record.name(), Turn::Next);
            self.work.notify_one();
        }
    }

    /// Judges the dependents of objects that appear or disappear.
    async fn follow_targets(&self, following: &Following<'_>) {
        loop {
            let changed = following.next().await;
            if changed.any {
                self.pass.notify_one();
            }
            self.search(|records, from| records.want_dependents(&changed, from)).await;
            if self.listing.load(Ordering::Relaxed) > 0 {
                let mut meanwhile = self.changed_meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
                meanwhile.targets.extend(&changed.targets);
            }
            sleep(BATCH).await;
        }
    }

    /// Judges all records anew when the policy has changed.
    async fn follow_policy(&self) {
        let mut known = None;
        loop {
            sleep(GLANCE).await;
            let policy = self.conditions.policy.load_full();
            let is_known = known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &policy));
            // The same policy comes into force again and again.
            if !is_known && !self.judge.load().uses(&policy) {
                self.renew(&policy);
                self.pass.notify_one();
            }
            known = Some(policy);
        }
    }

    /// From now on, records are judged under this policy, and as of now: rules can have dates.
    fn renew(&self, policy: &Policy) {
        let judge = self.judge.load().renewed(policy.clone());
        self.judge.store(Arc::new(judge));
    }

    /// Judges all records in each interval, and when it is needed.
    ///
    /// A pass that takes its time makes way for an urgent one. An urgent one always comes to its end, because what asks
    /// for it could come more often than it takes: it goes on under the new policy, and another one follows for the
    /// records that it had judged before. So every record is judged within the time of one pass after a change.
    async fn pass_again_and_again(&self) {
        // The first lists judge all records.
        let mut due = self.after_a_quick_pass();
        loop {
            let is_urgent = timeout_at(due, self.pass.notified()).await.is_ok();
            let next = Instant::now() + self.conditions.interval;
            if !is_urgent {
                tokio::select! {
                    () = self.pass.notified() => {}
                    () = self.pass(Haste::Spread) => {
                        due = next;
                        continue;
                    }
                }
            }
            due = self.after_a_quick_pass();
            self.pass(Haste::Urgent).await;
        }
    }

    /// When the next pass begins after one that begins now and judges all records at once: it takes half the interval, so
    /// that its last record has waited for a whole one.
    fn after_a_quick_pass(&self) -> Instant {
        Instant::now() + self.conditions.interval / 2
    }

    /// Judges all records, and marks those that have to be written or that refer to other objects than known.
    async fn pass(&self, haste: Haste) {
        self.renew(&self.conditions.policy.load());
        let pause = match haste {
            Haste::Urgent => Duration::ZERO,
            Haste::Spread => self.rest_of_a_pass(),
        };
        for kind in KINDS {
            let labels = self.judge.load().labels.clone();
            let mut pages = Pages::new(self.conditions.reader.clone(), kind, PAGE, labels);
            loop {
                match pages.next().await {
                    Ok(Some(page)) => self.compare(kind, page).await,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "not all records were judged"
                        );
                        return self.fail_pass().await;
                    }
                }
                sleep(pause).await;
            }
        }
        self.passed();
    }

    /// A pass that failed is repeated soon, because a change of the policy may have caused it.
    async fn fail_pass(&self) {
        self.pace.fails();
        self.pace.resume().await;
        self.pass.notify_one();
    }

    /// The pause after each page, so that a pass takes half of the interval.
    fn rest_of_a_pass(&self) -> Duration {
        let records: usize = self.records().counts().map(|(_, _, count)| count).sum();
        // The last page of each kind may have fewer records.
        let pages = records / PAGE as usize + KINDS.len();
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        (self.conditions.interval / 2 / pages).min(LONGEST_REST)
    }

    async fn compare(&self, kind: CrmKind, page: Vec<Record>) {
        let judge = self.judge.load_full();
        for verdict in self.judged(&judge, kind, page).await {
            let mut known = self.records();
            let name = verdict.record.name();
            if verdict.differs() || !known.agrees(kind, name, &verdict.judged) {
                known.want(kind, name, Turn::Later);
            }
        }
        self.work.notify_one();
    }

    /// Judges records again whose lookups failed, ever more seldom while there are any: the cause can be a permission
    /// that is missing for good.
    async fn check_again(&self) {
        let mut pause = RECHECK;
        loop {
            sleep(pause).await;
            pause = match self.recheck().await {
                0 => RECHECK,
                _ => (pause * 2).min(self.conditions.interval.max(RECHECK)),
            };
        }
    }

    /// Marks the records whose lookups failed, at the rate of writes, because each costs a read and its lookups. Returns
    /// their number.
    async fn recheck(&self) -> usize {
        let rate = self.conditions.rate.max(1);
        let (mut total, mut from) = (0, None);
        loop {
            let found;
            (found, from) = self.records().want_all(Compliance::NotChecked, rate, from);
            total += found as usize;
            if found > 0 {
                self.work.notify_one();
                sleep(Duration::from_secs(1) * found / rate).await;
            }
            if from.is_none() {
                return total;
            }
            yield_now().await;
        }
    }

    /// Searches all records, some at a time.
    async fn search(&self, mut search: impl FnMut(&mut Records, Option<Key>) -> Option<Key>) {
        let mut from = None;
        loop {
            from = search(&mut self.records(), from);
            self.work.notify_one();
            if from.is_none() {
                return;
            }
            yield_now().await;
        }
    }

    /// Settles records, forever.
    async fn work(&self) {
        loop {
            self.pace.resume().await;
            let work = self.records().take();
            match work {
                Work::Judge(key) => {
                    // There may be work for another.
                    self.work.notify_one();
                    self.settle(&key).await;
                }
                Work::Search => yield_now().await,
                Work::Rest => self.work.notified().await,
            }
        }
    }

    /// Judges a record, writes its condition if it differs, and records the result.
    async fn settle(&self, key: &Key) {
        let settled = self.judge_and_write(key).await;
        let mut records = self.records();
        match settled {
            Ok(judged) => {
                let was_checked = judged.compliance != Compliance::NotChecked;
                records.settle(key, judged);
                drop(records);
                // A failed lookup is no sign that the API server works.
                if was_checked {
                    self.works();
                }
            }
            Err(Unsettled::Gone) => records.forget(key.kind, &key.name),
            Err(Unsettled::Changed) => records.give_back(key, Turn::Next),
            Err(Unsettled::Denied(error)) => {
                records.give_up(key);
                self.note(&WatchError::Read(error));
            }
            Err(Unsettled::Failed(error)) => {
                records.give_back(key, Turn::Later);
                self.pace.fails();
                self.note(&WatchError::Read(error));
            }
            // The term ends, and with it this future.
            Err(Unsettled::Lost) => {}
        }
    }

    async fn judge_and_write(&self, key: &Key) -> Result<Judged, Unsettled> {
        let judge = self.judge.load_full();
        let reader = &self.conditions.reader;
        let record = read(reader, key, &judge.labels).await.map_err(unsettled)?.ok_or(Unsettled::Gone)?;
        let verdicts = self.judged(&judge, key.kind, vec![record]).await;
        let verdict = verdicts.into_iter().next().ok_or(Unsettled::Gone)?;
        if !verdict.differs() {
            return Ok(verdict.judged);
        }
        let Verdict { record, condition, judged } = verdict;
        self.pace.write().await;
        let written = write(reader, key.kind, &record, &condition, &judge.labels);
        let written = self.term.run(written).await.ok_or(Unsettled::Lost)?;
        let written = written.map_err(unsettled);
        self.conditions.metrics.conditions().wrote(match &written {
            Ok(_) => results::WRITTEN,
            Err(Unsettled::Gone) => results::GONE,
            Err(Unsettled::Changed) => results::CONFLICT,
            Err(Unsettled::Denied(_)) => results::DENIED,
            Err(Unsettled::Failed(_) | Unsettled::Lost) => results::FAILED,
        });
        Ok(Judged { mark: judge.mark(&written?), ..judged })
    }

    fn passed(&self) {
        self.conditions.metrics.conditions().passed(Timestamp::now().as_second());
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn works(&self) {
        self.pace.works();
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if trouble.is_some() {
            tracing::info!("conditions are written again");
        }
    }

    /// Logs a failure once.
    fn note(&self, failure: &WatchError) {
        let text = match failure {
            WatchError::Read(error) => error.to_string(),
            WatchError::NoVersion => "the API server does not say which state it shows".to_owned(),
            WatchError::Incomplete => "the list ended too early".to_owned(),
            WatchError::Short => "the watch ended at once".to_owned(),
        };
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&text) {
            tracing::warn!(error = text, "conditions cannot be written");
            *trouble = Some(text);
        }
    }
}

fn unsettled(error: ReadError) -> Unsettled {
    match error.code() {
        Some(404) => Unsettled::Gone,
        Some(409) => Unsettled::Changed,
        _ if may_be_temporary(&error) => Unsettled::Failed(error),
        _ => Unsettled::Denied(error),
    }
}

async fn rest(pause: &mut DefaultBackoff) {
    sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
}

#[cfg(test)]
mod tests;
