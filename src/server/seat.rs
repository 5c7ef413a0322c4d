//! What one connection is doing, since when, and whether it must close. Read and written without a lock.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The handshake is in progress.
    Handshake,
    /// Nothing has arrived since the handshake.
    Fresh,
    /// The headers of a request are arriving.
    Headers,
    /// A request is in progress, including its body.
    Working,
    /// The last request has been answered.
    Idle,
}

/// How a connection must close.
mod leave {
    /// It may stay open.
    pub(super) const NOT: u8 = 0;
    /// After the request in progress.
    pub(super) const WHEN_IDLE: u8 = 1;
    /// It reads nothing more and writes what is pending.
    pub(super) const ASKED: u8 = 2;
    /// At once.
    pub(super) const CLOSED: u8 = 3;
}

/// One connection.
#[derive(Debug)]
pub(super) struct Seat {
    peer: IpAddr,
    generation: u64,
    /// Milliseconds since the port was opened, times eight, and the phase.
    state: AtomicU64,
    leave: AtomicU8,
    /// Since when the peer has read nothing, in milliseconds since the port was opened and at least 1; 0 if it reads.
    blocked: AtomicU64,
    /// The task of the connection.
    task: AtomicWaker,
}

impl Seat {
    /// A new connection. `generation` identifies the client CA that accepted it.
    pub(super) fn new(peer: IpAddr, generation: u64, now: Duration) -> Self {
        Self {
            peer,
            generation,
            state: AtomicU64::new(packed(Phase::Handshake, now)),
            leave: AtomicU8::new(leave::NOT),
            blocked: AtomicU64::new(0),
            task: AtomicWaker::new(),
        }
    }

    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the connection is doing, and since when, relative to the opening of the port.
    pub(super) fn phase(&self) -> (Phase, Duration) {
        unpacked(self.state.load(Ordering::Relaxed))
    }

    pub(super) fn enter(&self, phase: Phase, now: Duration) {
        self.state.store(packed(phase, now), Ordering::Relaxed);
        if phase == Phase::Idle && self.leave.load(Ordering::Relaxed) == leave::WHEN_IDLE {
            self.ask_to_leave(now);
        }
    }

    /// Bytes outside of a request start the next request.
    pub(super) fn bytes_arrived(&self, now: impl FnOnce() -> Duration) {
        if matches!(self.phase().0, Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Headers, now());
        }
    }

    /// The peer reads nothing.
    pub(super) fn is_blocked(&self, now: Duration) {
        let now = milliseconds(now).max(1);
        // The first time counts, so an existing value stays.
        let _ = self.blocked.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The peer reads.
    pub(super) fn is_free(&self) {
        if self.blocked.load(Ordering::Relaxed) != 0 && self.leave.load(Ordering::Relaxed) < leave::ASKED {
            self.blocked.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the peer has read nothing for `limit`, or was asked to leave that long ago.
    pub(super) fn is_stuck(&self, now: Duration, limit: Duration) -> bool {
        let blocked = self.blocked.load(Ordering::Relaxed);
        blocked != 0 && milliseconds(now).saturating_sub(blocked) >= milliseconds(limit)
    }

    /// Closes the connection after the request in progress, or now if there is none. The caller must repeat this,
    /// because a request that finishes at this moment may be missed.
    pub(super) fn ask_to_leave_when_idle(&self, now: Duration) {
        self.leave.fetch_max(leave::WHEN_IDLE, Ordering::Relaxed);
        if self.phase().0 != Phase::Working {
            self.ask_to_leave(now);
        }
    }

    /// Closes the connection as soon as it has written what is pending.
    pub(super) fn ask_to_leave(&self, now: Duration) {
        if self.leave.fetch_max(leave::ASKED, Ordering::AcqRel) < leave::ASKED {
            self.is_blocked(now);
            self.task.wake();
        }
    }

    /// Closes the connection at once.
    pub(super) fn close(&self) {
        if self.leave.swap(leave::CLOSED, Ordering::AcqRel) < leave::CLOSED {
            self.task.wake();
        }
    }

    /// Whether it must close, now or after its request.
    pub(super) fn is_leaving(&self) -> bool {
        self.leave.load(Ordering::Relaxed) != leave::NOT
    }

    pub(super) fn reads_no_more(&self) -> bool {
        self.leave.load(Ordering::Relaxed) >= leave::ASKED
    }

    pub(super) fn is_closed(&self) -> bool {
        self.leave.load(Ordering::Relaxed) == leave::CLOSED
    }

    /// Registers the current task to be woken when the connection must close. Call this before checking whether it
    /// must.
    pub(super) fn watch(&self, context: &Context<'_>) {
        self.task.register(context.waker());
    }

    /// Ready when the connection must close.
    pub(super) fn poll_closed(&self, context: &Context<'_>) -> Poll<()> {
        self.watch(context);
        if self.reads_no_more() { Poll::Ready(()) } else { Poll::Pending }
    }
}

const PHASES: [Phase; 5] = [Phase::Handshake, Phase::Fresh, Phase::Headers, Phase::Working, Phase::Idle];

fn packed(phase: Phase, since: Duration) -> u64 {
    milliseconds(since) << 3 | phase as u64
}

fn unpacked(state: u64) -> (Phase, Duration) {
    let phase = usize::try_from(state & 7).ok().and_then(|index| PHASES.get(index).copied());
    (phase.unwrap_or(Phase::Idle), Duration::from_millis(state >> 3))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn seat() -> Seat {
        Seat::new(IpAddr::from(Ipv4Addr::LOCALHOST), 0, Duration::ZERO)
    }

    #[test]
    fn every_phase_is_unpacked_with_its_time() {
        for phase in PHASES {
            let since = Duration::from_millis(123_456_789);
            assert_eq!(unpacked(packed(phase, since)), (phase, since));
        }
    }

    #[test]
    fn bytes_start_a_request_only_if_none_is_in_progress() {
        let seat = seat();
        let later = Duration::from_secs(1);
        for (phase, after) in
            [(Phase::Fresh, Phase::Headers), (Phase::Idle, Phase::Headers), (Phase::Working, Phase::Working)]
        {
            seat.enter(phase, Duration::ZERO);
            seat.bytes_arrived(|| later);
            assert_eq!(seat.phase().0, after, "{phase:?}");
        }
        seat.enter(Phase::Headers, Duration::ZERO);
        seat.bytes_arrived(|| later);
        assert_eq!(seat.phase(), (Phase::Headers, Duration::ZERO), "more bytes do not restart the time");
    }

    #[test]
    fn a_request_in_progress_is_answered_before_the_connection_closes() {
        let seat = seat();
        seat.enter(Phase::Working, Duration::ZERO);
        seat.ask_to_leave_when_idle(Duration::ZERO);
        assert!(seat.is_leaving() && !seat.reads_no_more());
        seat.enter(Phase::Idle, Duration::from_secs(1));
        assert!(seat.reads_no_more() && !seat.is_closed());
    }

    #[test]
    fn an_idle_connection_closes_at_once() {
        let seat = seat();
        seat.enter(Phase::Idle, Duration::ZERO);
        seat.ask_to_leave_when_idle(Duration::ZERO);
        assert!(seat.reads_no_more());
    }

    #[test]
    fn a_peer_is_stuck_if_it_reads_nothing_for_the_limit() {
        let (seat, limit) = (seat(), Duration::from_secs(3));
        seat.is_blocked(Duration::from_secs(1));
        seat.is_blocked(Duration::from_secs(2));
        assert!(!seat.is_stuck(Duration::from_millis(3_999), limit));
        assert!(seat.is_stuck(Duration::from_secs(4), limit));
        seat.is_free();
        assert!(!seat.is_stuck(Duration::from_secs(60), limit));
    }

    #[test]
    fn a_leaving_connection_is_stuck_after_the_limit_in_any_case() {
        let (seat, limit) = (seat(), Duration::from_secs(3));
        seat.ask_to_leave(Duration::from_secs(1));
        seat.is_free();
        assert!(seat.is_stuck(Duration::from_secs(4), limit));
    }

    #[test]
    fn closing_cannot_be_undone() {
        let seat = seat();
        seat.close();
        seat.ask_to_leave(Duration::ZERO);
        seat.ask_to_leave_when_idle(Duration::ZERO);
        assert!(seat.is_closed());
    }
}
