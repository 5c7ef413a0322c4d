//! Counts each failed connection and logs failures once a minute, so that a flood of them does not flood the log.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, OtherError};
use tokio::time::Instant;

use crate::telemetry::Metrics;

/// The minimum time between two log lines about the same kind of failure.
const PAUSE: Duration = Duration::from_secs(60);

/// The connection was closed because there are too many.
#[derive(Debug, thiserror::Error)]
#[error("too many connections at a time")]
pub(super) struct Full;

/// The failures of one port that are not logged yet.
#[derive(Debug)]
pub(super) struct Failures {
    port: &'static str,
    metrics: Metrics,
    kinds: Mutex<[Tally; KINDS.len()]>,
}

/// The kinds of failures that are logged as warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The system accepts no connections, perhaps for lack of file descriptors.
    Accept,
    /// The client certificate does not match `--client-ca` and `--client-name`.
    Caller,
    /// The caller does not trust our certificate.
    Distrust,
}

const KINDS: [Kind; 3] = [Kind::Accept, Kind::Caller, Kind::Distrust];

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Accept => "cannot accept connections; retrying",
            Self::Caller => {
                "client certificates are not accepted: are the callers API servers, and is --client-ca their CA?"
            }
            Self::Distrust => {
                "callers do not trust the certificate of the webhook: do they have the current CA?"
            }
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    count: u64,
    /// The first failure that was counted.
    first: Option<First>,
    logged: Option<Instant>,
}

#[derive(Debug)]
struct First {
    peer: Option<SocketAddr>,
    reason: String,
}

impl Failures {
    pub(super) fn new(port: &'static str, metrics: Metrics) -> Self {
        Self { port, metrics, kinds: Mutex::default() }
    }

    /// Logs a failed connection, as a warning only if our certificate or settings may be the cause.
    pub(super) fn report(&self, peer: Option<&SocketAddr>, error: &io::Error) {
        let Some(peer) = peer else {
            self.metrics.serving().connection_failed("accept");
            return self.count(Kind::Accept, None, error.to_string());
        };
        let cause = error.get_ref();
        if cause.is_some_and(|cause| cause.is::<Full>()) {
            self.metrics.serving().connection_failed("limit");
            tracing::debug!(%peer, port = self.port, %error, "connection closed");
            return;
        }
        let tls = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
        if let Some(reason) = tls.and_then(rejected_caller) {
            self.metrics.serving().connection_failed("client-certificate");
            return self.count(Kind::Caller, Some(*peer), reason);
        }
        self.metrics.serving().connection_failed("handshake");
        if tls.is_some_and(is_distrust) {
            self.count(Kind::Distrust, Some(*peer), error.to_string());
        } else {
            tracing::debug!(%peer, port = self.port, %error, "connection failed");
        }
    }

    /// Logs what was counted since the last log line, if that is long enough ago. Call this regularly.
    pub(super) fn log_due(&self) {
        let mut kinds = self.kinds();
        for (kind, tally) in KINDS.into_iter().zip(kinds.iter_mut()) {
            self.log(kind, tally);
        }
    }

    fn count(&self, kind: Kind, peer: Option<SocketAddr>, reason: String) {
        let mut kinds = self.kinds();
        let tally = &mut kinds[kind as usize];
        tally.count += 1;
        tally.first.get_or_insert(First { peer, reason });
        self.log(kind, tally);
    }

    fn log(&self, kind: Kind, tally: &mut Tally) {
        if tally.logged.is_some_and(|logged| logged.elapsed() < PAUSE) {
            return;
        }
        let Some(First { peer, reason }) = tally.first.take() else { return };
        let count = std::mem::take(&mut tally.count);
        tally.logged = Some(Instant::now());
        let peer = peer.map(tracing::field::display);
        tracing::warn!(port = self.port, count, peer, reason, "{}", kind.text());
    }

    /// Nothing under the lock can panic, so a poisoned value is consistent.
    fn kinds(&self) -> MutexGuard<'_, [Tally; KINDS.len()]> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the client certificate was not accepted, if that made the handshake fail.
fn rejected_caller(error: &rustls::Error) -> Option<String> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(stranger))) => {
            Some(stranger.to_string())
        }
        error @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Some(error.to_string())
        }
        _ => None,
    }
}

/// Whether the peer stopped the handshake because it does not trust our certificate.
fn is_distrust(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distrust() -> io::Error {
        io::Error::other(rustls::Error::AlertReceived(AlertDescription::UnknownCA))
    }

    fn waiting(failures: &Failures, kind: Kind) -> u64 {
        failures.kinds()[kind as usize].count
    }

    #[test]
    fn every_kind_is_at_its_index() {
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_logged_at_once_and_the_others_after_a_minute_in_one_line() {
        let failures = Failures::new("webhook", Metrics::new());
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        failures.report(Some(&peer), &distrust());
        assert_eq!(waiting(&failures, Kind::Distrust), 0, "logged");
        for _ in 0..1000 {
            failures.report(Some(&peer), &distrust());
        }
        failures.log_due();
        assert_eq!(waiting(&failures, Kind::Distrust), 1000, "counted");
        tokio::time::advance(PAUSE).await;
        failures.log_due();
        assert_eq!(waiting(&failures, Kind::Distrust), 0, "logged");
        let text = failures.metrics.text().unwrap();
        assert!(text.contains(r#"connection_failures_total{stage="handshake"} 1001"#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_kind_of_failure_does_not_hide_another() {
        let failures = Failures::new("webhook", Metrics::new());
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        for _ in 0..2 {
            failures.report(Some(&peer), &distrust());
        }
        failures.report(Some(&peer), &io::Error::other(rustls::Error::NoCertificatesPresented));
        assert_eq!(waiting(&failures, Kind::Distrust), 1);
        assert_eq!(waiting(&failures, Kind::Caller), 0, "logged at once");
    }

    #[test]
    fn a_connection_closed_for_another_is_not_a_failed_handshake() {
        let failures = Failures::new("webhook", Metrics::new());
        failures.report(Some(&SocketAddr::from(([192, 0, 2, 1], 1))), &io::Error::other(Full));
        let text = failures.metrics.text().unwrap();
        assert!(text.contains(r#"connection_failures_total{stage="limit"} 1"#), "{text}");
        assert!(text.contains(r#"connection_failures_total{stage="handshake"} 0"#), "{text}");
    }
}
