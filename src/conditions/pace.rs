//! Limits how many conditions are written a second, and pauses after failures.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use tokio::time::{Instant, sleep_until};

/// The pause if the backoff has none, which does not happen with its current definition.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Limits writes, and pauses all work after a failure of the API server.
pub(super) struct Pace {
    /// The time between two writes.
    interval: Duration,
    state: Mutex<State>,
}

struct State {
    next_write: Instant,
    resume: Instant,
    pauses: DefaultBackoff,
}

impl Pace {
    /// At most so many writes a second, at least one.
    pub(super) fn new(writes_per_second: u32) -> Self {
        let now = Instant::now();
        Self {
            interval: Duration::from_secs(1) / writes_per_second.max(1),
            state: Mutex::new(State { next_write: now, resume: now, pauses: DefaultBackoff::default() }),
        }
    }

    /// Waits for the turn to write. Turns that nobody takes are not saved up.
    pub(super) async fn write(&self) {
        let turn = {
            let mut state = self.state();
            let turn = state.next_write.max(Instant::now());
            state.next_write = turn + self.interval;
            turn
        };
        sleep_until(turn).await;
    }

    /// Waits until the pause after the last failure is over.
    pub(super) async fn resume(&self) {
        loop {
            let resume = self.state().resume;
            if resume <= Instant::now() {
                return;
            }
            sleep_until(resume).await;
        }
    }

    /// The API server works.
    pub(super) fn works(&self) {
        self.state().pauses.reset();
    }

    /// The API server does not work. Several failures at the same time are one.
    pub(super) fn fails(&self) {
        let mut state = self.state();
        let now = Instant::now();
        if state.resume <= now {
            state.resume = now + state.pauses.next().unwrap_or(LONGEST_PAUSE);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_keep_their_distance_and_save_nothing_up() {
        let pace = Pace::new(20);
        let begin = Instant::now();
        for _ in 0..21 {
            pace.write().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 1000);
        tokio::time::advance(Duration::from_secs(60)).await;
        let begin = Instant::now();
        for _ in 0..3 {
            pace.write().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_with_failures_and_end_with_a_success() {
        let pace = Pace::new(20);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let begin = Instant::now();
            pace.fails();
            pace.fails();
            pace.resume().await;
            pauses.push(begin.elapsed());
        }
        assert!(pauses[7] > pauses[0] * 4 && pauses[7] < Duration::from_secs(120), "{pauses:?}");
        pace.works();
        let begin = Instant::now();
        pace.fails();
        pace.resume().await;
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}
