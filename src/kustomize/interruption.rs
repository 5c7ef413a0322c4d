//! Lets builds end in order if a signal ends the program: first their processes and temporary files go, then the program.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::low_level::emulate_default_handler;
use tokio::signal::unix::{SignalKind, signal};

/// The result of some work. If SIGINT or SIGTERM arrives first, drops the work, and ends the process as the signal would
/// have. After the work, both signals end the process at once again.
///
/// # Errors
/// The signals cannot be awaited.
pub(super) async fn or_signal<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let is_over = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        register_conditional_default(number, Arc::clone(&is_over))?;
    }
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let number = {
        let work = pin!(work);
        tokio::select! {
            biased;
            _ = interrupt.recv() => SIGINT,
            _ = terminate.recv() => SIGTERM,
            result = work => {
                is_over.store(true, Ordering::Relaxed);
                return Ok(result);
            }
        }
    };
    emulate_default_handler(number)?;
    Err(io::ErrorKind::Interrupted.into())
}
