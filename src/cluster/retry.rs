//! Retries requests to the API server after failures that may be temporary.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable, RetryableWithContext};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::pages::{Page, Pager};
use super::reading::ReadError;

/// The time limit of one attempt. The API server stops after 60 s itself.
const LIMIT: Duration = Duration::from_secs(70);
/// The number of attempts at a request.
const ATTEMPTS: usize = 6;
/// The pause after the first attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// The pauses between so many attempts.
pub fn pauses(attempts: usize) -> ExponentialBuilder {
    ExponentialBuilder::new().with_min_delay(PAUSE).with_max_times(attempts.saturating_sub(1))
}

/// The answer to a request, which is retried while its failure may be temporary.
///
/// # Errors
/// The request failed at the last attempt, or a retry would not help.
pub async fn retried<T, F>(request: impl Fn() -> F) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
{
    (|| within_limit(request())).retry(pauses(ATTEMPTS)).when(may_be_temporary).notify(note).await
}

/// The next page of a list, see [`Pager::next`], which is retried like any other request.
///
/// # Errors
/// As [`Pager::next`], at the last attempt.
pub async fn next_page<'p, T: DeserializeOwned>(
    pages: &'p mut Pager,
    most: u32,
) -> Result<Option<Page<T>>, ReadError> {
    let attempt = |pages: &'p mut Pager| async move {
        let answer = within_limit(pages.next(most)).await;
        (pages, answer)
    };
    let (_, answer) =
        attempt.retry(pauses(ATTEMPTS)).context(pages).when(may_be_temporary).notify(note).await;
    answer
}

async fn within_limit<T>(request: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    timeout(LIMIT, request).await.unwrap_or(Err(ReadError::Late(LIMIT)))
}

fn note(error: &ReadError, _: Duration) {
    tracing::debug!(%error, "retried");
}

/// Whether a failure may be temporary.
pub fn may_be_temporary(error: &ReadError) -> bool {
    match error {
        ReadError::Late(_) => true,
        ReadError::Failed(error) => error.may_pass(),
        ReadError::TooLarge | ReadError::ObjectTooLarge { .. } => false,
    }
}
