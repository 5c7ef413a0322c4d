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
    refused: Option<Refused>,
}

/// What the files hold, or why they cannot be read.
type Seen = Result<TlsMaterial, String>;

/// What was no good when it was last looked at.
struct Refused {
    seen: Seen,
    /// Each is reported once.
    reported: bool,
}

impl Watch {
    pub(super) fn new(tls: Arc<Tls>, files: TlsFiles) -> Self {
        Self { tls, files, refused: None }
    }

    #[cfg(test)]
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Serves what the files hold, unless that is served already or was refused before.
    pub(super) async fn look(&mut self) {
        let seen = self.files.read().await.map_err(|error| error.to_string());
        if self.refused.as_ref().is_some_and(|refused| refused.reported && refused.seen == seen) {
            return;
        }
        let outcome = match &seen {
            Ok(material) if self.tls.serves(material) => Ok(()),
            Ok(material) => self.tls.replace(material.clone()).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match outcome {
            Ok(()) => self.refused = None,
            Err(error) => self.refuse(seen, &error),
        }
    }

    /// The first time it may only be that the certificate was written and its key not yet. The second time in a row
    /// it is a failure.
    fn refuse(&mut self, seen: Seen, error: &str) {
        let reported = self.refused.is_some();
        if reported {
            self.tls.metrics.certificate_reload_failed();
            tracing::error!(error, "the new certificate is no good; the last good one is still served");
        } else {
            tracing::debug!(error, "the new certificate is no good yet");
        }
        self.refused = Some(Refused { seen, reported });
    }
}
