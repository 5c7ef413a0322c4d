//! The questions that a directory answers, and how it answers them.

use std::sync::Arc;
use std::time::Duration;

use crm_core::api::Target;
use crm_core::existence::Presence;
use crm_core::links::{Dependents, Tally};
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use k8s_openapi::api::authentication::v1::UserInfo;

use crate::cluster::{ReadError, RequestError};

/// Why a question has no answer.
///
/// One lookup may serve many requests, so the error can be cloned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// The deadline passed before the API server answered.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The request to the API server failed.
    #[error("the request to the API server failed{}", status(.0.as_ref()))]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The answer is larger than allowed.
    #[error("{0}")]
    TooLarge(Arc<ReadError>),
    /// The object is only in a file, and has no uid there.
    #[error("the object has no uid in its file")]
    NoUid,
    /// The maximum number of such questions is in progress.
    #[error("could not be counted: too many counts at the same time")]
    Busy,
}

impl From<ReadError> for LookupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Late(limit) => Self::Late(limit),
            // Unwrapped, so that its status can be shown.
            ReadError::Failed(error) => Self::Failed(Arc::new(error)),
            ReadError::TooLarge | ReadError::ObjectTooLarge { .. } => Self::TooLarge(Arc::new(error)),
        }
    }
}

/// The status of the API server's error, if it answered with one.
fn status(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref().and_then(RequestError::code) {
        Some(code) => format!(": it answers with status {code}"),
        None => String::new(),
    }
}

/// One part of a directory, for `/readyz` and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartStatus {
    /// The kind as `Company.crm.milo.io`.
    pub kind: String,
    /// The number of known objects.
    pub objects: usize,
    /// Why it is not ready, in a few words; `None` if it is.
    pub not_ready: Option<String>,
    /// Whether the webhook must wait for this part before it is ready. False once the part has been ready: after that
    /// it uses what it knows, because otherwise the same problem would stop all replicas at once.
    pub required: bool,
    /// How often the task of this part has stopped and was started again.
    pub restarts: u64,
}

/// What the API server says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whether it exists.
    pub presence: Presence,
    /// Its uid; `None` if it is missing.
    pub uid: Option<String>,
}

/// Says whether objects exist.
pub trait LookUp: Send + Sync + 'static {
    /// The answer of the local copy, at once. `None` means "not known here": only [`LookUp::confirm`] may say
    /// `Missing`.
    fn recall(&self, target: &Target) -> Option<Presence>;

    /// Asks the API server, within `limit`. Equal questions at the same time share calls.
    ///
    /// "Missing" is never older than the question: an object that was created before it is found. The other answers may
    /// come from a call that was in progress when the question arrived.
    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        self.identify(target, limit).map_ok(|found| found.presence).boxed()
    }

    /// Asks the API server for the uid of an object, within `limit`. The answer is as fresh as that of
    /// [`LookUp::confirm`], with which it shares calls.
    fn identify<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>>;

    /// A similar name that exists, if `user` may list that kind.
    ///
    /// A suggestion is optional: any failure, and `limit`, give `None`.
    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Option<String>>;

    /// The state of all parts.
    fn status(&self) -> Vec<PartStatus>;
}

/// Says how many records refer to a record.
pub trait CountDependents: Send + Sync + 'static {
    /// Asks the API server, within `limit`, how many records refer to one, and whether `user` may list them.
    ///
    /// It counts up to a bound. A partial count before a failure or before `limit` is an answer, unless it is zero.
    fn dependents<'a>(
        &'a self,
        question: &'a Dependents,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>>;
}

/// Answers both questions, as a request needs it.
pub trait Directory: LookUp + CountDependents {}

impl<D: LookUp + CountDependents + ?Sized> Directory for D {}

impl<D: LookUp + ?Sized> LookUp for Arc<D> {
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

    fn identify<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        (**self).identify(target, limit)
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        (**self).suggest(target, user, limit)
    }

    fn status(&self) -> Vec<PartStatus> {
        (**self).status()
    }
}

impl<D: CountDependents + ?Sized> CountDependents for Arc<D> {
    fn dependents<'a>(
        &'a self,
        question: &'a Dependents,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        (**self).dependents(question, user, limit)
    }
}
