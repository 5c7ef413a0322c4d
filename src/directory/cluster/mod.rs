//! A directory of a cluster: local copies of names, and the API server for all others.

mod access;
mod dependents;
mod flights;
mod head;
mod live;
mod part;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crm_core::api::{CrmKind, ResourceKind, Target};
use crm_core::existence::Presence;
use crm_core::links::{Dependents, Tally, Visibility};
use futures::FutureExt;
use futures::future::{BoxFuture, join, ready};
use k8s_openapi::api::authentication::v1::UserInfo;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::dependents::{Counted, Counting};
use self::part::Part;
use super::changes::Changes;
use super::{CountDependents, Found, LookUp, LookupError, PartStatus};
use crate::cluster::{ReadError, Reader};

pub use self::dependents::COUNTS_AT_A_TIME;
pub(super) use self::head::ObjectHead;
pub use self::live::Live;
pub use self::part::Need;

/// A cluster as a directory.
///
/// It stores the names of some kinds by watching their metadata, one task for each kind. A question about another kind
/// starts a watch for that kind. Names count while the watch works, and for five minutes after. Questions about single
/// objects go to the API server, each once at a time. The budget of the reader bounds what is read at the same time.
///
/// The tasks stop with the directory, or when `stop` is cancelled. No task stops on its own: after a failure or a panic
/// it retries with a pause, and [`LookUp::status`] reports the problem meanwhile.
pub struct Cluster {
    reader: Reader,
    live: Live,
    counting: Counting,
    counts_milo_notes: bool,
    parts: RwLock<HashMap<Arc<ResourceKind>, Arc<Part>>>,
    searches: Arc<Semaphore>,
    changes: Arc<Changes>,
    tasks: TaskTracker,
    runtime: Handle,
    stop: DropGuard,
}

impl Cluster {
    /// Starts a directory that watches companies and people, which the webhook waits for.
    ///
    /// Get the client of `reader` from [`crate::cluster::Source::connect`]. `stop` stops the tasks; they are in `tasks`, so
    /// that callers can wait for them.
    ///
    /// # Panics
    /// If it is called outside of a Tokio runtime.
    pub fn start(reader: Reader, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        let cluster = Self::without_kinds(reader, stop, tasks);
        for kind in own_kinds() {
            cluster.watch(Arc::new(kind), Need::Required);
        }
        cluster
    }

    /// The same directory, which also counts Milo's notes as dependents.
    #[must_use]
    pub fn counting_milo_notes(self, counts_milo_notes: bool) -> Self {
        Self { counts_milo_notes, ..self }
    }

    fn without_kinds(reader: Reader, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        Self {
            live: Live::new(reader.clone()),
            counting: Counting::new(reader.clone()),
            counts_milo_notes: false,
            reader,
            parts: RwLock::default(),
            searches: Arc::new(Semaphore::new(1)),
            changes: Arc::default(),
            tasks: tasks.clone(),
            runtime: Handle::current(),
            stop: stop.child_token().drop_guard(),
        }
    }

    /// The objects that appear and disappear among the stored names.
    pub fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    /// Stores the names of `kind` from now on. For a kind that is stored already, this can only make it required.
    pub fn watch(&self, kind: Arc<ResourceKind>, need: Need) {
        self.part(&kind).need(need);
    }

    /// Watches these kinds and our own, and stops watching all others, after a policy with other kinds came into force.
    pub fn watch_only(&self, kinds: &[Arc<ResourceKind>]) {
        let own = own_kinds();
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|kind, part| {
            let stays = kinds.contains(kind) || own.contains(kind);
            if !stays {
                part.stop.cancel();
            }
            stays
        });
        drop(parts);
        for kind in kinds {
            self.watch(kind.clone(), Need::Optional);
        }
    }

    /// The part of `kind`, which is started if it does not exist.
    fn part(&self, kind: &Arc<ResourceKind>) -> Arc<Part> {
        if let Some(part) = self.parts.read().unwrap_or_else(PoisonError::into_inner).get(kind) {
            return part.clone();
        }
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        let part = parts.entry(kind.clone()).or_insert_with(|| self.begin(kind.clone()));
        part.clone()
    }

    fn begin(&self, kind: Arc<ResourceKind>) -> Arc<Part> {
        let part = Arc::new(Part::new(kind, self.stop.token().child_token(), Arc::clone(&self.changes)));
        let (task, reader) = (part.clone(), self.reader.clone());
        let task = async move {
            let work = watch::supervise(&task, || watch::follow(&task, &reader));
            task.stop.run_until_cancelled(work).await;
        };
        self.tasks.spawn_on(task, &self.runtime);
        part
    }

    /// The most similar known name, if the user may list the kind.
    ///
    /// The permission is checked first and in any case. Otherwise the response time would tell users without permission
    /// whether such a name exists.
    async fn proposal(&self, target: &Target, user: &UserInfo) -> Option<String> {
        match access::may_list(&self.reader, user, &target.kind, target.namespace.as_deref()).await {
            Ok(true) => self.nearest(target).await,
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(kind = %target.kind, error = &error as &dyn std::error::Error, "no suggestion");
                None
            }
        }
    }

    /// Whether records of a kind are counted. Without permission to list Milo's notes, every deletion would get a warning.
    fn counts(&self, kind: CrmKind) -> bool {
        kind.is_own() || self.counts_milo_notes
    }

    /// Counts and checks the permission at the same time, and checks the permission in any case: otherwise a failed
    /// check would reveal that there is something to count. Equal counts at the same time share calls; the permission
    /// is checked for each user.
    async fn tally(
        &self,
        question: &Dependents,
        user: &UserInfo,
        limit: Duration,
    ) -> Result<Tally, LookupError> {
        let kind = question.kind.resource();
        let permission = timeout(limit, access::may_list(&self.reader, user, &kind, None));
        let (counted, permission) = join(self.counting.count(question, limit), permission).await;
        let Counted { count, owned, names } = counted?;
        let may_list = permission.unwrap_or(Err(ReadError::Late(limit)))?;
        Ok(Tally {
            count,
            owned,
            names,
            visibility: if may_list { Visibility::Visible } else { Visibility::Hidden },
        })
    }

    /// Searches on a blocking thread, because a million names would block the async threads, and one search at a time,
    /// so that requests with wrong names cannot use more than one core.
    async fn nearest(&self, target: &Target) -> Option<String> {
        let part = self.part(&target.kind);
        if !part.is_believed() {
            return None;
        }
        let turn = self.searches.clone().acquire_owned().await.ok()?;
        let (namespace, name) = (target.namespace.clone(), target.name.clone());
        let search = self.runtime.spawn_blocking(move || {
            let _turn = turn;
            part.names.nearest(namespace.as_deref(), &name)
        });
        search.await.ok().flatten()
    }
}

impl LookUp for Cluster {
    fn recall(&self, target: &Target) -> Option<Presence> {
        self.part(&target.kind).recall(target)
    }

    fn identify<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        self.live.found(target, limit).boxed()
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        async move { timeout(limit, self.proposal(target, user)).await.ok().flatten() }.boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let mut status: Vec<_> = parts.values().map(|part| part.status()).collect();
        status.sort_by(|a, b| a.kind.cmp(&b.kind));
        status
    }
}

impl CountDependents for Cluster {
    fn dependents<'a>(
        &'a self,
        question: &'a Dependents,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        if !self.counts(question.kind) {
            return ready(Ok(Tally::none())).boxed();
        }
        self.tally(question, user, limit).boxed()
    }
}

/// The targets of references of the CRM's own kinds.
fn own_kinds() -> [ResourceKind; 2] {
    [ResourceKind::crm("Company", "companies"), ResourceKind::crm("Person", "people")]
}
