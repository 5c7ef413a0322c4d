//! Waits for conditions instead of sleeping, and says on failure what was awaited and what was last seen.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// What one look at a condition finds.
pub(crate) enum Seen<T> {
    /// It holds.
    Ready(T),
    /// It may still come to hold; the text says what there is instead.
    NotYet(String),
    /// Waiting any longer is in vain; the text says why.
    Never(String),
}

/// Looks until the condition holds; otherwise tells what was awaited and what was seen last.
pub(crate) fn try_until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Seen<T>,
) -> Result<T, String> {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Seen::Ready(value) => return Ok(value),
            Seen::Never(why) => return Err(format!("there will be no {what}: {why}")),
            Seen::NotYet(last) if Instant::now() >= deadline => {
                return Err(format!("waited {within:?} for {what}; last seen: {last}"));
            }
            Seen::NotYet(_) => thread::sleep(PAUSE),
        }
    }
}

/// Like [`try_until`], for a caller that cannot go on without: panics with the same text.
#[track_caller]
pub(crate) fn until<T>(what: &str, within: Duration, look: impl FnMut() -> Seen<T>) -> T {
    match try_until(what, within, look) {
        Ok(value) => value,
        Err(why) => panic!("{why}"),
    }
}
