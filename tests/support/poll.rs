//! Waits for conditions instead of sleeping, and reports on failure the condition and the last state.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is checked.
const PAUSE: Duration = Duration::from_millis(50);

/// The result of one check of a condition.
pub(crate) enum Seen<T> {
    /// It is true.
    Ready(T),
    /// It may become true later; the text describes the current state.
    NotYet(String),
    /// It will never be true, with the reason.
    Never(String),
}

/// Waits until the condition is true. The error has the condition and the last state.
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

/// Like [`try_until`], but panics with the error.
#[track_caller]
pub(crate) fn until<T>(what: &str, within: Duration, look: impl FnMut() -> Seen<T>) -> T {
    match try_until(what, within, look) {
        Ok(value) => value,
        Err(why) => panic!("{why}"),
    }
}
