//! When a certificate is valid.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::server::readiness::PartState;

/// When a certificate is valid, in seconds of Unix time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    pub(super) fn covers(self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// A date in readable form.
pub(super) fn date(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds).map_or_else(|_| unix_seconds.to_string(), |date| date.to_string())
}

pub(in crate::server) fn unix_now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// The state that `/readyz` shows for a certificate at `now`.
pub(super) fn state_at(validity: Validity, now: i64) -> PartState {
    if now > validity.not_after {
        return PartState::NotReady(format!("expired at {}", date(validity.not_after)));
    }
    if now < validity.not_before {
        return PartState::NotReady(format!("not valid before {}", date(validity.not_before)));
    }
    PartState::Ready
}
