//! When a certificate holds.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::server::readiness::PartState;

/// When a certificate holds, in seconds of Unix time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub not_before: i64,
    /// To.
    pub not_after: i64,
}

impl Validity {
    pub(super) fn covers(self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// A date as a person reads it.
pub(super) fn date(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds).map_or_else(|_| unix_seconds.to_string(), |date| date.to_string())
}

pub(in crate::server) fn unix_now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// What `/readyz` says at `now` of a certificate.
pub(super) fn state_at(validity: Validity, now: i64) -> PartState {
    if now > validity.not_after {
        return PartState::NotReady(format!("expired at {}", date(validity.not_after)));
    }
    if now < validity.not_before {
        return PartState::NotReady(format!("holds only from {}", date(validity.not_before)));
    }
    PartState::Ready
}
