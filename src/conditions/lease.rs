//! Elects one replica by a Lease, as the controllers of Kubernetes do.
//!
//! The rules are those of client-go's leader election. Others decide by the time that *they* have seen a Lease
//! unchanged, so clocks may differ; and each update has the resource version as a condition, so of two that try at the
//! same time one fails. The crates for this compare the times of different machines, or write without that condition.

use std::pin::pin;
use std::time::Duration;

use crm_core::api::installation::NAME;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cluster::RequestError;

/// How long a Lease counts after others have seen it change.
pub(super) const DURATION: Duration = Duration::from_secs(15);
/// How long a leader that cannot renew its Lease goes on. Then it stops, before another can take over.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// The pause between two attempts to acquire or renew the Lease.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// The time limit of one request.
const PATIENCE: Duration = Duration::from_secs(5);

// A request that was sent before the deadline has arrived before the Lease is another's.
const _: () = assert!(RENEW_DEADLINE.as_secs() < DURATION.as_secs());

/// One that wants to lead.
pub(super) struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
}

/// The time for which a candidate leads. Everything that is written is written through [`Term::run`].
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// When it ends, if the Lease is not renewed before.
    end: watch::Receiver<Instant>,
}

/// A Lease as it was seen last, and when it was first seen like this.
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    since: Instant,
}

/// Why the Lease could not be acquired or renewed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the API server did not answer in time")]
    Late,
    #[error("the Lease or its namespace does not exist")]
    Missing,
    #[error("another wrote it at the same time")]
    Conflict,
}

/// The result of an attempt.
enum Attempt {
    /// We hold the Lease.
    Ours,
    /// Another holds it.
    Anothers,
}

impl Term {
    /// The result of `work`, unless the term is over first.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut end = self.end.clone();
        let mut work = pin!(work);
        loop {
            let until = *end.borrow_and_update();
            if Instant::now() >= until {
                return None;
            }
            tokio::select! {
                biased;
                renewed = end.changed() => renewed.ok()?,
                done = timeout_at(until, work.as_mut()) => return done.ok(),
            }
        }
    }

    /// A term that does not end by itself.
    #[cfg(test)]
    pub(super) fn endless() -> (watch::Sender<Instant>, Self) {
        let (sender, end) = watch::channel(Instant::now() + Duration::from_secs(1_000_000));
        (sender, Self { end })
    }
}

impl Candidate {
    /// A candidate for the Lease of that name in that namespace. Each needs another identity.
    pub(super) fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self { leases: Api::namespaced(client, namespace), name: name.to_owned(), identity }
    }

    /// Waits until the Lease is acquired, works, and returns when it is lost or the work has stopped. `work` is dropped
    /// at the end of its term. If it stops by itself, the Lease is released. Cancelling `stop` stops everything.
    pub(super) async fn lead<F: Future<Output = ()>>(
        &self,
        stop: &CancellationToken,
        work: impl FnOnce(Term) -> F,
    ) {
        let Some((mut seen, sent)) = stop.run_until_cancelled(self.acquire()).await else { return };
        let (end, receiver) = watch::channel(sent + RENEW_DEADLINE);
        let is_finished = {
            let mut worked = pin!(stop.run_until_cancelled(work(Term { end: receiver })));
            tokio::select! {
                biased;
                () = self.renew(&mut seen, &end) => false,
                _ = worked.as_mut() => true,
            }
        };
        // Nobody writes under this term from here on.
        end.send_replace(Instant::now());
        if is_finished {
            self.release(seen).await;
        }
    }

    /// Tries until the Lease is ours. Returns it, and when the request that made it ours was sent.
    async fn acquire(&self) -> (Seen, Instant) {
        let mut seen = Seen::nothing();
        let mut trouble = None;
        loop {
            let sent = Instant::now();
            match self.attempt(&mut seen).await {
                Ok(Attempt::Ours) => {
                    tracing::info!(lease = self.name, identity = self.identity, "leading");
                    return (seen, sent);
                }
                Ok(Attempt::Anothers) => trouble = None,
                Err(failure) => note(&self.name, &mut trouble, &failure),
            }
            sleep(RETRY).await;
        }
    }

    /// Renews the Lease until it is lost.
    async fn renew(&self, seen: &mut Seen, end: &watch::Sender<Instant>) {
        let mut trouble = None;
        loop {
            sleep(RETRY).await;
            let (deadline, sent) = (*end.borrow(), Instant::now());
            match timeout_at(deadline, self.attempt(seen)).await {
                Ok(Ok(Attempt::Ours)) => {
                    trouble = None;
                    end.send_replace(sent + RENEW_DEADLINE);
                }
                Ok(Ok(Attempt::Anothers)) => {
                    let holder = holder(&seen.lease);
                    tracing::warn!(lease = self.name, holder, "another leads now");
                    return;
                }
                Ok(Err(failure)) => note(&self.name, &mut trouble, &failure),
                Err(_) => {}
            }
            if Instant::now() >= *end.borrow() {
                tracing::warn!(lease = self.name, "the Lease could not be renewed in time");
                return;
            }
        }
    }

    /// One attempt to acquire or renew the Lease. `seen` is then what is known of it.
    async fn attempt(&self, seen: &mut Seen) -> Result<Attempt, Failure> {
        let ours = match self.get().await? {
            None => self.create().await?,
            Some(stored) => {
                seen.see(stored);
                if !self.is_ours(&seen.lease) && !seen.is_free() {
                    return Ok(Attempt::Anothers);
                }
                self.replace(self.taken(seen.lease.clone())).await?
            }
        };
        seen.see(ours);
        Ok(Attempt::Ours)
    }

    /// Makes the Lease free at once, so that another need not wait until it expires.
    async fn release(&self, seen: Seen) {
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..seen.lease.spec.unwrap_or_default()
        };
        let released = Lease { spec: Some(spec), ..seen.lease };
        if let Err(error) = self.replace(released).await {
            tracing::info!(lease = self.name, %error, "the Lease could not be released, and expires");
        }
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == self.identity
    }

    /// The Lease as it is when we hold it from now on.
    fn taken(&self, lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let is_ours = self.is_ours(&lease);
        let before = lease.spec.unwrap_or_default();
        let transitions = before.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: before.acquire_time.filter(|_| is_ours).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if is_ours { transitions } else { transitions.saturating_add(1) }),
            preferred_holder: before.preferred_holder,
            strategy: before.strategy,
        };
        Lease { metadata: lease.metadata, spec: Some(spec) }
    }

    async fn get(&self) -> Result<Option<Lease>, Failure> {
        match within(self.leases.get(&self.name)).await {
            Ok(lease) => Ok(Some(lease)),
            Err(Failure::Missing) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn create(&self) -> Result<Lease, Failure> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            // By this label, scripts know what they may delete.
            labels: Some([("app.kubernetes.io/name".to_owned(), NAME.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let mut lease = self.taken(Lease { metadata, spec: None });
        if let Some(spec) = &mut lease.spec {
            spec.lease_transitions = Some(0);
        }
        within(self.leases.create(&PostParams::default(), &lease)).await
    }

    /// The Lease has a resource version, so nothing of another's is overwritten.
    async fn replace(&self, lease: Lease) -> Result<Lease, Failure> {
        within(self.leases.replace(&self.name, &PostParams::default(), &lease)).await
    }
}

impl Seen {
    fn nothing() -> Self {
        Self { lease: Lease::default(), since: Instant::now() }
    }

    /// Records a Lease that was read, and when it was first seen like this.
    fn see(&mut self, lease: Lease) {
        if lease.spec != self.lease.spec {
            self.since = Instant::now();
        }
        self.lease = lease;
    }

    /// Whether nobody holds it any more.
    fn is_free(&self) -> bool {
        let seconds = self.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
        holder(&self.lease).is_empty() || self.since.elapsed() >= Duration::from_secs(seconds)
    }
}

async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(PATIENCE, request).await {
        Err(_) => Err(Failure::Late),
        Ok(Ok(answer)) => Ok(answer),
        // Use the code: kube's `get_opt` checks the reason.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(Failure::Missing),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Failure::Conflict),
        Ok(Err(error)) => Err(RequestError::from(error).into()),
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Logs a failure once. A conflict is usual.
fn note(lease: &str, trouble: &mut Option<String>, failure: &Failure) {
    if matches!(failure, Failure::Conflict) {
        return;
    }
    let text = failure.to_string();
    if trouble.as_ref() != Some(&text) {
        tracing::warn!(lease, error = text, "the Lease cannot be acquired or renewed");
        *trouble = Some(text);
    }
}

#[cfg(test)]
mod tests;
