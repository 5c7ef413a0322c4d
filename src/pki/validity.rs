//! When a certificate is valid.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// In seconds.
pub const DAY: i64 = 24 * 60 * 60;
/// Certificates are valid from a day before they are created, because the clocks of callers, nodes and virtual machines
/// differ.
pub const BACKDATE: i64 = DAY;
/// With fewer days left, somebody should check: it should have been renewed long before.
const FEW_DAYS: i64 = 14;
/// This applies only below this part of the lifetime, as a divisor: some certificates are valid for only a day.
const LITTLE: i64 = 5;

/// The state of a certificate at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Not valid yet.
    NotYet,
    /// Valid.
    Good,
    /// Valid, but should have been renewed: few days of its lifetime are left.
    EndsSoon,
    /// Expired.
    Over,
}

/// When a certificate is valid, in seconds of Unix time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    /// The validity of a certificate that is created now.
    pub fn from_now(now: i64, lifetime: i64) -> Self {
        Self { not_before: now.saturating_sub(BACKDATE), not_after: now.saturating_add(lifetime) }
    }

    /// When a certificate with a validity by [`Validity::from_now`] was created.
    pub fn created(self) -> i64 {
        self.not_before + BACKDATE
    }

    /// Whether this time is in it.
    pub fn covers(self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The state at this time.
    pub fn age(self, now: i64) -> Age {
        let life = self.not_after - self.not_before;
        if now < self.not_before {
            Age::NotYet
        } else if now > self.not_after {
            Age::Over
        } else if self.not_after - now < (FEW_DAYS * DAY).min(life / LITTLE) {
            Age::EndsSoon
        } else {
            Age::Good
        }
    }

    /// The number of whole days left; negative if it has expired.
    pub fn days_left(self, now: i64) -> i64 {
        (self.not_after - now).div_euclid(DAY)
    }

    /// This time, or the closest time in it.
    pub fn nearest(self, now: i64) -> i64 {
        if self.not_before <= self.not_after { now.clamp(self.not_before, self.not_after) } else { now }
    }

    /// Whether half of it has passed.
    pub fn past_half(self, now: i64) -> bool {
        now >= self.not_before + (self.not_after - self.not_before) / 2
    }
}

/// A time in readable form.
pub fn date(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds).map_or_else(|_| unix_seconds.to_string(), |date| date.to_string())
}

/// The current time, in seconds of Unix time.
pub fn unix_now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn lasting(days: i64) -> Validity {
        Validity { not_before: NOW, not_after: NOW + days * DAY }
    }

    #[test]
    fn a_certificate_ends_soon_when_few_days_and_little_of_its_lifetime_are_left() {
        let (short, long) = (lasting(10), lasting(90));
        assert_eq!(long.age(NOW - 1), Age::NotYet);
        assert_eq!(long.age(NOW + 76 * DAY), Age::Good);
        assert_eq!(long.age(NOW + 76 * DAY + 1), Age::EndsSoon);
        assert_eq!(long.age(NOW + 90 * DAY + 1), Age::Over);
        // Fewer than fourteen days are its whole lifetime.
        assert_eq!(short.age(NOW + 8 * DAY), Age::Good);
        assert_eq!(short.age(NOW + 8 * DAY + 1), Age::EndsSoon);
    }

    #[test]
    fn a_new_certificate_is_valid_from_a_day_before() {
        let validity = Validity::from_now(NOW, 90 * DAY);
        assert_eq!(validity, Validity { not_before: NOW - DAY, not_after: NOW + 90 * DAY });
        assert_eq!(validity.created(), NOW);
    }
}
