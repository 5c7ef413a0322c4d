//! What the server asks of the room below it: an answer to the body of a request.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// The two paths that the API server calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/mutate`
    Mutate,
    /// `/validate`
    Validate,
}

impl Endpoint {
    /// The name, as metrics and logs show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }

    /// The path of the URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Mutate => "/mutate",
            Self::Validate => "/validate",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body cannot be read as an AdmissionReview, so there is nobody to answer: the call fails with status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unreadable {
    /// What is wrong with it, in one line.
    pub reason: String,
}

/// Answers reviews.
pub trait Reviewer: Send + Sync + 'static {
    /// Answers a review. `body` is the whole body of the request, and the answer is an AdmissionReview in JSON.
    ///
    /// `limit` is how long the caller waits for it. A review that takes longer is dropped at its next `await`.
    fn review(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        limit: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, Unreadable>> + Send;
}
