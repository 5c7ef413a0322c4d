//! Runs a program, and measures its time and memory.

#[allow(dead_code, reason = "compiled into several programs, none of which uses everything")]
#[path = "../../tests/support/memory.rs"]
mod memory;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a run has taken.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) took: Duration,
    /// The largest resident set, in KiB; 0 if it was not measured.
    pub(crate) peak: u64,
}

/// Runs the product with these arguments until it exits with this code. Its memory is read at every `glance`.
pub(crate) fn run(command: impl FnOnce(&mut Command), code: i32, glance: Duration) -> Sample {
    let start = Instant::now();
    let mut product = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    command(&mut product);
    let mut child = product.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = memory::peak(child.id()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(glance);
    };
    assert!(status.code() == Some(code), "the program exited with {status}");
    Sample { took: start.elapsed(), peak }
}
