//! Notices when the files of the certificate change.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{Tls, TlsFiles, TlsMaterial};

/// How often the files are read. A Secret takes about a minute to reach a Pod, so more often is of little use.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Reads the files at every interval, and serves their content when it changes. Never returns.
///
/// Compares the contents. File system events are not reliable here: a mounted Secret is a directory behind a symlink
/// that is replaced.
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
    rejected: Option<Rejected>,
}

/// The content of the files, or why they cannot be read.
type Seen = Result<TlsMaterial, String>;

/// What was invalid at the last read.
struct Rejected {
    seen: Seen,
    /// Each is reported once.
    reported: bool,
}

impl Watch {
    pub(super) fn new(tls: Arc<Tls>, files: TlsFiles) -> Self {
        Self { tls, files, rejected: None }
    }

    #[cfg(test)]
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Serves the content of the files, unless it is in use already or was rejected before.
    pub(super) async fn look(&mut self) {
        let seen = self.files.read().await.map_err(|error| error.to_string());
        if self.rejected.as_ref().is_some_and(|rejected| rejected.reported && rejected.seen == seen) {
            return;
        }
        let outcome = match &seen {
            Ok(material) if self.tls.serves(material) => Ok(()),
            Ok(material) => self.tls.replace(material.clone()).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match outcome {
            Ok(()) => {
                self.rejected = None;
                self.tls.metrics.certificates().up_to_date();
            }
            Err(error) => self.reject(seen, &error),
        }
    }

    /// The first time, a renewal may be half written. The second time in a row, it is a failure.
    fn reject(&mut self, seen: Seen, error: &str) {
        let reported = self.rejected.is_some();
        if reported {
            self.tls.metrics.certificates().reload_failed();
            tracing::error!(error, "the new certificate is invalid; still serving the last valid one");
        } else {
            tracing::debug!(error, "the new certificate is not valid yet");
        }
        self.rejected = Some(Rejected { seen, reported });
    }
}
