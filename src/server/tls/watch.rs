//! Looks whether the files of the certificate have changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{Tls, TlsFiles, TlsMaterial};

/// How often the files are looked at. A Secret takes about a minute to reach a Pod, so it is not worth hurrying.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Looks at the files again and again, and serves what is in them when that changes. Never returns.
///
/// Contents are compared. Events of the file system are not reliable here: a mounted Secret is a directory behind a
/// symlink that is swapped.
pub async fn watch(tls: Arc<Tls>, files: TlsFiles, interval: Duration) {
    let mut watch = Watch::new(tls, files);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        watch.look().await;
    }
}

pub(super) struct Watch {
    tls: Arc<Tls>,
    files: TlsFiles,
    /// What was no good when it was last looked at, so that it is reported once.
    refused: Option<Seen>,
}

/// What the files hold, or why they cannot be read.
type Seen = Result<TlsMaterial, String>;

impl Watch {
    pub(super) fn new(tls: Arc<Tls>, files: TlsFiles) -> Self {
        Self { tls, files, refused: None }
    }

    #[cfg(test)]
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    pub(super) async fn look(&mut self) {
        if self.take().await.is_ok() {
            return;
        }
        // The certificate may have been read before a swap and the key after it. A second look sees both after it.
        if let Err(refusal) = self.take().await {
            self.tls.metrics.certificate_reload_failed();
            let error = refusal.error;
            tracing::error!(error, "the new certificate is no good; the last good one is still served");
            self.refused = Some(refusal.seen);
        }
    }

    /// Serves what the files hold, unless it is served already or was refused before.
    async fn take(&mut self) -> Result<(), Refusal> {
        let seen = self.files.read().await.map_err(|error| error.to_string());
        if self.refused.as_ref() == Some(&seen) {
            return Ok(());
        }
        let outcome = match &seen {
            Ok(material) if self.tls.serves(material) => Ok(()),
            Ok(material) => self.tls.replace(material.clone()).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match outcome {
            Ok(()) => {
                self.refused = None;
                Ok(())
            }
            Err(error) => Err(Refusal { seen, error }),
        }
    }
}

/// Something that is no good, and why.
struct Refusal {
    seen: Seen,
    error: String,
}
