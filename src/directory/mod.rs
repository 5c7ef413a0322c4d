//! Answers two questions: does this object exist, and who refers to it?
//!
//! *Architecture invariant:* a directory knows kinds and names, and neither rules nor HTTP serving. Names come
//! to it checked.

mod cluster;
mod listed;
mod memory;
mod names;
mod nearest;
mod observed;
mod referrers;

use std::sync::Arc;
use std::time::Duration;

use crm_core::api::{Dependants, Tally, Target};
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::UserInfo;

use crate::cluster::ReadError;

pub use cluster::{Cluster, Live, Need};
pub use listed::Listed;
pub use memory::Memory;
pub use observed::{Observed, Observer, Outcome};
pub(crate) use referrers::Referrer;

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It exists.
    Exists,
    /// It exists and is being deleted (`metadata.deletionTimestamp` is set).
    Terminating,
    /// There is no such object.
    Missing,
}

/// Why something could not be found out.
///
/// One look-up may serve many requests, so the error can be cloned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// The deadline passed before the API server answered.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The API server, or the way to it, failed.
    #[error("the API server could not be asked{}", status(.0.as_ref()))]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The answer takes more memory than any answer may.
    #[error("{0}")]
    TooLarge(Arc<ReadError>),
    /// As many questions of that sort are being worked on as may be at a time.
    #[error("could not be counted: too many other counts are going on")]
    Busy,
}

impl From<ReadError> for LookupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Late(limit) => Self::Late(limit),
            // By itself, so that its status can be told.
            ReadError::Failed(error) => Self::Failed(Arc::new(error)),
            ReadError::TooLarge | ReadError::ObjectTooLarge { .. } => Self::TooLarge(Arc::new(error)),
        }
    }
}

/// The status with which the API server refused, where it did.
fn status(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => format!(": it answers with status {}", status.code),
        _ => String::new(),
    }
}

/// One part of a directory, as `/readyz` and the metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartStatus {
    /// The kind as `Company.crm.milo.io`.
    pub kind: String,
    /// Objects known now.
    pub objects: usize,
    /// Why it is not ready, in a few words; `None` when it is.
    pub not_ready: Option<String>,
    /// Whether the webhook must wait for this part before it is ready. Not so once it has been ready: it then
    /// goes on with what it knows, as all its replicas would otherwise refuse their service for the same
    /// trouble.
    pub required: bool,
    /// How often the task that keeps this part up to date has died and was started again.
    pub restarts: u64,
}

/// A source of answers about objects.
pub trait Directory: Send + Sync + 'static {
    /// What the local copy says, at once. `None` is "not known here": only [`Directory::confirm`] may say
    /// `Missing`.
    fn recall(&self, target: &Target) -> Option<Presence>;

    /// Asks the authority, within `limit`. Concurrent equal questions share calls.
    ///
    /// "Missing" is never older than the question: an object that was created before it is found. The other
    /// answers may stem from a call that was under way when the question came.
    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>>;

    /// A name like the target's that does exist, if there is one and `user` may list that kind.
    ///
    /// A suggestion is a courtesy: any failure on the way to it, and `limit` passing, is `None`.
    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Option<String>>;

    /// Asks the authority, within `limit`, how many records refer to one, and whether `user` may list them.
    ///
    /// It counts up to a bound. What was counted before a failure, or before `limit` passed, is an answer; nothing
    /// counted is none.
    fn dependants<'a>(
        &'a self,
        question: &'a Dependants,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>>;

    /// The state of every part.
    fn status(&self) -> Vec<PartStatus>;
}

impl<D: Directory + ?Sized> Directory for Arc<D> {
    fn recall(&self, target: &Target) -> Option<Presence> {
        (**self).recall(target)
    }

    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        (**self).confirm(target, limit)
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        (**self).suggest(target, user, limit)
    }

    fn dependants<'a>(
        &'a self,
        question: &'a Dependants,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        (**self).dependants(question, user, limit)
    }

    fn status(&self) -> Vec<PartStatus> {
        (**self).status()
    }
}
