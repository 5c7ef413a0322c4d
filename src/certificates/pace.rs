//! Limits how often a change starts a turn at once. If another product writes the same objects, each of the two would
//! otherwise answer the other's write with its own, many times a second.

use std::time::Duration;

use tokio::time::Instant;

/// How many writes are made at once: several times as many as an installation, a change of its mode or a renewal needs.
const BURST: u32 = 20;
/// The time that a write counts.
const COUNTED: Duration = Duration::from_secs(5);
/// The maximum time that a change waits.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts recent writes.
pub(super) struct Pace {
    /// When no write counts any more.
    over: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { over: Instant::now() }
    }

    /// Counts a write.
    pub(super) fn written(&mut self) {
        let now = Instant::now();
        self.over = (self.over.max(now) + COUNTED).min(now + BURST * COUNTED + LONGEST);
    }

    /// When the next change may start a turn. This is in the past unless there were too many writes.
    pub(super) fn next(&self) -> Instant {
        let now = Instant::now();
        now + self.over.saturating_duration_since(now).saturating_sub(BURST * COUNTED)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// How long a change that comes now waits after this many writes.
    fn delay_after(pace: &mut Pace, writes: u32) -> Duration {
        for _ in 0..writes {
            pace.written();
        }
        pace.next() - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_of_writes_a_change_waits() {
        let mut pace = Pace::new();
        assert_eq!(delay_after(&mut pace, BURST), Duration::ZERO);
        assert_eq!(delay_after(&mut pace, 1), COUNTED);
        assert_eq!(delay_after(&mut pace, 1), 2 * COUNTED);
        // While another product answers each write, there is one in each interval.
        for _ in 0..3 {
            advance(pace.next() - Instant::now()).await;
            assert_eq!(delay_after(&mut pace, 1), COUNTED);
        }
        assert_eq!(delay_after(&mut pace, 100), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_makes_changes_immediate_again_but_never_saves_up() {
        let mut pace = Pace::new();
        delay_after(&mut pace, 1000);
        advance(LONGEST + 2 * COUNTED).await;
        assert_eq!(delay_after(&mut pace, 2), Duration::ZERO);
        advance(100 * BURST * COUNTED).await;
        assert_eq!(delay_after(&mut pace, BURST), Duration::ZERO);
        assert_eq!(delay_after(&mut pace, 1), COUNTED);
    }
}
