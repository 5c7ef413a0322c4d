//! Shows the progress of long work on standard error, if that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The line is written again after this many steps.
const STRIDE: usize = 256;

/// The progress of one task. Dropping this removes the line.
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

    /// Counts one more.
    pub(super) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_shown && done.is_multiple_of(STRIDE) {
            // Failing to write this line must not stop the work.
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
