//! The interface between the server and admission: a request body goes in, an answer comes out.

use std::time::Duration;

use bytes::Bytes;

use crate::admission::{Endpoint, Pipeline};
use crate::telemetry::Span;

/// The body is not a readable AdmissionReview, so the call fails with status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unreadable {
    /// What is wrong, in one line.
    pub reason: String,
}

/// Answers reviews.
pub trait Reviewer: Send + Sync + 'static {
    /// Answers a review. `body` is the whole body of the request, and the answer is an AdmissionReview in JSON.
    ///
    /// `limit` is how long the caller waits. A review that takes longer is dropped at its next `await`. The decision and the
    /// lookups are noted in `span`.
    fn review(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        limit: Duration,
        span: &mut Span,
    ) -> impl Future<Output = Result<Vec<u8>, Unreadable>> + Send;
}

impl Reviewer for Pipeline {
    async fn review(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        limit: Duration,
        span: &mut Span,
    ) -> Result<Vec<u8>, Unreadable> {
        match self.traced(endpoint, &body, limit, span).await {
            Ok(reviewed) => Ok(reviewed.answer),
            Err(error) => Err(Unreadable { reason: error.to_string() }),
        }
    }
}
