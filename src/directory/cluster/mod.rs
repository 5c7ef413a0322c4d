//! A directory of what a cluster holds: local copies of names, and the API server for what they do not know.

mod access;
mod dependants;
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

use crm_core::api::{Dependants, ResourceKind, Sight, Tally, Target};
use futures::FutureExt;
use futures::future::{BoxFuture, join};
use k8s_openapi::api::authentication::v1::UserInfo;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::dependants::{Counted, Counting};
use self::part::Part;
use super::{Directory, LookupError, PartStatus, Presence};
use crate::cluster::{ReadError, Reader};

pub(super) use self::head::ObjectHead;
pub use self::live::Live;
pub use self::part::Need;

/// How long opening a connection to the API server may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A cluster as a directory.
///
/// It keeps the names of some kinds by watching their metadata, one task for each kind. A kind that is asked
/// for and not kept yet is kept from then on. Names are believed as long as the watch works, and for five
/// minutes more. Single objects are asked for live, each question once at a time. What it reads at a time is bounded by
/// the budget of its reader.
///
/// The tasks end with the directory, and before that when they are told to stop. No task ends on its own:
/// what fails, or panics, is tried again after a pause, and [`Directory::status`] says what is wrong
/// meanwhile.
pub struct Cluster {
    reader: Reader,
    live: Live,
    counting: Counting,
    parts: RwLock<HashMap<Arc<ResourceKind>, Arc<Part>>>,
    searches: Arc<Semaphore>,
    tasks: TaskTracker,
    runtime: Handle,
    stop: DropGuard,
}

impl Cluster {
    /// A directory that keeps companies and people, which the webhook waits for, and is about to read them.
    ///
    /// The client of `reader` should be one whose configuration has gone through [`Cluster::client_config`]. `stop` ends
    /// the tasks; they are among `tasks`, so that their end can be waited for.
    ///
    /// # Panics
    /// When it is called outside of a Tokio runtime.
    pub fn start(reader: Reader, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        let cluster = Self::without_kinds(reader, stop, tasks);
        for kind in own_kinds() {
            cluster.watch(Arc::new(kind), Need::Required);
        }
        cluster
    }

    fn without_kinds(reader: Reader, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        Self {
            live: Live::new(reader.clone()),
            counting: Counting::new(reader.clone()),
            reader,
            parts: RwLock::default(),
            searches: Arc::new(Semaphore::new(1)),
            tasks: tasks.clone(),
            runtime: Handle::current(),
            stop: stop.child_token().drop_guard(),
        }
    }

    /// The configuration made fit for questions on which a request waits.
    ///
    /// kube retries 429, 503 and 504 for minutes by itself; here every question has a deadline, and every
    /// watch pauses of its own. A connection that says nothing for longer than a watch may last is dead.
    #[must_use]
    pub fn client_config(mut config: kube::Config) -> kube::Config {
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(watch::SILENCE);
        // Else the time that a connection has lain idle would count.
        config.reset_reader_on_write = true;
        config
    }

    /// Keeps the names of `kind` from now on. A kind that is kept already is left as it is, save that an
    /// optional one can become required.
    pub fn watch(&self, kind: Arc<ResourceKind>, need: Need) {
        self.part(&kind).need(need);
    }

    /// Keeps these kinds and our own, and gives up all others: what to do when a policy names other kinds
    /// than the one before it.
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

    /// The part for `kind`, which is begun when there is none.
    fn part(&self, kind: &Arc<ResourceKind>) -> Arc<Part> {
        if let Some(part) = self.parts.read().unwrap_or_else(PoisonError::into_inner).get(kind) {
            return part.clone();
        }
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        let part = parts.entry(kind.clone()).or_insert_with(|| self.begin(kind.clone()));
        part.clone()
    }

    fn begin(&self, kind: Arc<ResourceKind>) -> Arc<Part> {
        let part = Arc::new(Part::new(kind, self.stop.token().child_token()));
        let (task, reader) = (part.clone(), self.reader.clone());
        let task = async move {
            let work = watch::supervise(&task, || watch::follow(&task, &reader));
            task.stop.run_until_cancelled(work).await;
        };
        self.tasks.spawn_on(task, &self.runtime);
        part
    }

    /// The nearest name that is known, if the user may know it.
    ///
    /// The right is asked for first, and whatever is known: so how long this takes tells nobody whether there is such a
    /// name who may not list them.
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

    /// Counts and asks for the right at the same time, and for the right whatever is counted: else a warning that it
    /// could not be asked for would tell that there is something. A count serves all who ask for it at the time; the
    /// right is asked for each of them.
    async fn tally(
        &self,
        question: &Dependants,
        user: &UserInfo,
        limit: Duration,
    ) -> Result<Tally, LookupError> {
        let kind = question.kind.resource();
        let right = timeout(limit, access::may_list(&self.reader, user, &kind, None));
        let (counted, right) = join(self.counting.count(question, limit), right).await;
        let Counted { count, names } = counted?;
        let may_list = right.unwrap_or(Err(ReadError::Late(limit)))?;
        Ok(Tally { count, names, sight: if may_list { Sight::Listed } else { Sight::Hidden } })
    }

    /// Searches beside the async threads, which a search through a million names would hold up, and one at a
    /// time, so that requests with wrong names cannot occupy more than one core.
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

impl Directory for Cluster {
    fn recall(&self, target: &Target) -> Option<Presence> {
        self.part(&target.kind).recall(target)
    }

    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        let answer = async move {
            let answer = timeout(limit, self.live.presence(target)).await;
            answer.unwrap_or(Err(LookupError::Late(limit)))
        };
        answer.boxed()
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        async move { timeout(limit, self.proposal(target, user)).await.ok().flatten() }.boxed()
    }

    fn dependants<'a>(
        &'a self,
        question: &'a Dependants,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        self.tally(question, user, limit).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let mut status: Vec<_> = parts.values().map(|part| part.status()).collect();
        status.sort_by(|a, b| a.kind.cmp(&b.kind));
        status
    }
}

/// The kinds that references of the CRM's own kinds point at.
fn own_kinds() -> [ResourceKind; 2] {
    [ResourceKind::crm("Company", "companies"), ResourceKind::crm("Person", "people")]
}
