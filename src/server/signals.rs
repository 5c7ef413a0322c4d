//! The signals that stop the program: the first asks it to stop, the second stops it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Where signals come from.
#[derive(Debug)]
pub struct Signals(Source);

#[derive(Debug)]
enum Source {
    Process { terminate: Signal, interrupt: Signal },
    Sender(mpsc::Receiver<()>),
}

impl Signals {
    /// SIGTERM, which the kubelet sends, and SIGINT, which Ctrl-C sends. After this call they no longer kill the
    /// process.
    pub fn of_process() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self(Source::Process { terminate, interrupt }))
    }

    /// Each message counts as a signal. Without a sender, no more signals arrive.
    pub fn channel() -> (mpsc::Sender<()>, Self) {
        let (sender, receiver) = mpsc::channel(2);
        (sender, Self(Source::Sender(receiver)))
    }

    /// Waits for the next signal and returns its name. Cancel safe.
    pub async fn next(&mut self) -> &'static str {
        match &mut self.0 {
            Source::Process { terminate, interrupt } => tokio::select! {
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                else => std::future::pending().await,
            },
            Source::Sender(receiver) => match receiver.recv().await {
                Some(()) => "a request to stop",
                None => std::future::pending().await,
            },
        }
    }
}
