//! Shows on standard error how far long work has come, when a person is looking.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The line is written again after this many steps.
const STRIDE: usize = 256;

/// One piece of work under way. The line goes away with it.
pub(super) struct Progress {
    what: &'static str,
    done: AtomicUsize,
    is_shown: bool,
}

impl Progress {
    /// `what` is done in each step, such as `files read`. Shows nothing if the command is to be quiet.
    pub(super) fn new(what: &'static str, quiet: bool) -> Self {
        Self { what, done: AtomicUsize::new(0), is_shown: !quiet && io::stderr().is_terminal() }
    }

    /// One more is done.
    pub(super) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_shown && done.is_multiple_of(STRIDE) {
            // A line that cannot be written is no reason to stop the work.
            let _ = write!(io::stderr(), "\r{done} {}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown && *self.done.get_mut() >= STRIDE {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
