//! Asks the API server again where it was only busy.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How long one call may take. The API server gives up after 60 s.
const CALL: Duration = Duration::from_secs(70);
/// How often a call is made before it has failed.
const ATTEMPTS: u32 = 6;
/// The pause after the first attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {CALL:?}")]
struct Late;

/// The answer to a call, which is made again for as long as its failure may pass.
pub(super) async fn patiently<T, F>(call: impl Fn() -> F) -> kube::Result<T>
where
    F: Future<Output = kube::Result<T>>,
{
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match timeout(CALL, call()).await {
            Ok(Err(error)) if may_pass(&error) => tracing::debug!(%error, "asked again"),
            Ok(answer) => return answer,
            Err(_) => {}
        }
        sleep(pause).await;
        pause *= 2;
    }
    timeout(CALL, call()).await.unwrap_or_else(|_| Err(kube::Error::Service(Box::new(Late))))
}

/// Whether the same call may be answered a little later.
pub(super) fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    }
}
