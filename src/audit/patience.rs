//! Retries requests to the API server after temporary failures.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::cluster::ReadError;

/// The time limit of one call. The API server stops after 60 s itself.
const CALL: Duration = Duration::from_secs(70);
/// The number of attempts.
const ATTEMPTS: u32 = 6;
/// The pause after the first attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// The answer to a call, which is retried while its failure may be temporary.
pub(super) async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
{
    let mut patience = Patience::default();
    loop {
        if let Some(answer) = patience.attempt(call()).await {
            return answer;
        }
    }
}

/// The attempts at one call.
pub(super) struct Patience {
    attempts: u32,
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 0, pause: PAUSE }
    }
}

impl Patience {
    /// The answer to one attempt; `None` if the caller should try again. The pause is over by then.
    pub(super) async fn attempt<T>(
        &mut self,
        call: impl Future<Output = Result<T, ReadError>>,
    ) -> Option<Result<T, ReadError>> {
        self.attempts += 1;
        match timeout(CALL, call).await.unwrap_or(Err(ReadError::Late(CALL))) {
            Err(error) if self.attempts < ATTEMPTS && may_pass(&error) => {
                tracing::debug!(%error, "retried");
                sleep(self.pause).await;
                self.pause *= 2;
                None
            }
            answer => Some(answer),
        }
    }
}

/// Whether a failure may be temporary.
pub(super) fn may_pass(error: &ReadError) -> bool {
    match error {
        ReadError::Late(_) => true,
        ReadError::Failed(error) => may_pass_of_kube(error),
        ReadError::TooLarge | ReadError::ObjectTooLarge { .. } => false,
    }
}

/// The same for an error of kube.
pub(super) fn may_pass_of_kube(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    }
}
