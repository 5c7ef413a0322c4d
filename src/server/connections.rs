//! Limits who may have a connection and for how long: even a silent one takes memory and a file descriptor.
//!
//! Handshakes and open connections have a table each. If one is full, a connection of the peer that has most is closed
//! for the new one. A task checks all connections four times a second and closes those that have used up their time.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, pin_mut};
use http::Request;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};
use tower::Service;

use super::failures::{Failures, Full};
use super::limits::ConnectionLimits;
use super::seat::{Phase, Seat};
use crate::telemetry::{Metrics, OpenConnection};

/// How often connections are checked.
const SWEEP: Duration = Duration::from_millis(250);

/// How long a peer may read nothing of what is sent to it, and how long a connection that must close has for its last
/// bytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// How many connections may close slowly to make place for others. More are closed at once, so that file descriptors do
/// not run out.
const LEAVING: usize = 64;

/// The connections of one port.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    metrics: Metrics,
    port: &'static str,
    start: Instant,
    /// Increases when connections that were accepted before may no longer be accepted.
    generation: Arc<AtomicU64>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    handshakes: HashMap<u64, Arc<Seat>>,
    open: HashMap<u64, Arc<Seat>>,
    /// Connections that must close for others and are still open.
    leaving: HashMap<u64, Arc<Seat>>,
}

/// The connection was accepted by a client CA that has changed since.
#[derive(Debug, thiserror::Error)]
#[error("the client CA has changed during the handshake")]
struct Outdated;

impl Connections {
    /// `port` is the name of the port in the metrics.
    pub(super) fn new(
        limits: ConnectionLimits,
        metrics: Metrics,
        port: &'static str,
        generation: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let table = Mutex::default();
        Arc::new(Self { limits, metrics, port, start: Instant::now(), generation, table })
    }

    /// Closes connections that have used up their time and logs failures, in a loop. Never returns.
    pub(super) async fn sweep(&self, failures: &Failures) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep_once();
            failures.log_due();
        }
    }

    fn sweep_once(&self) {
        let now = self.now();
        let table = self.table();
        for seat in table.open.values().chain(table.leaving.values()) {
            if self.is_outdated(seat) {
                seat.ask_to_leave_when_idle(now);
            }
            let (phase, since) = seat.phase();
            let limit = match phase {
                Phase::Fresh => self.limits.first_request_timeout,
                Phase::Headers => self.limits.header_timeout,
                Phase::Idle => self.limits.idle_timeout,
                // Limited by the deadline of the request.
                Phase::Handshake | Phase::Working => Duration::MAX,
            };
            if now.saturating_sub(since) >= limit {
                seat.ask_to_leave(now);
            }
            if seat.is_stuck(now, WRITE_TIMEOUT) {
                seat.close();
            }
        }
    }

    /// The time since the port was opened.
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Adds a new connection to the handshakes. If the table is full, another one is closed.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Place {
        // Read before the handshake, so that a change during the handshake is noticed after it.
        let generation = self.generation.load(Ordering::Acquire);
        let seat = Arc::new(Seat::new(peer, generation, self.now()));
        let mut table = self.table();
        if table.handshakes.len() >= self.limits.handshakes
            && let Some((id, longest)) = longest_of_most(&table.handshakes, None, |_| true)
        {
            longest.close();
            table.handshakes.remove(&id);
        }
        let id = table.next;
        table.next += 1;
        table.handshakes.insert(id, Arc::clone(&seat));
        drop(table);
        Place {
            id,
            seat,
            connections: Arc::clone(self),
            _counted: self.metrics.serving().connection_opened(self.port),
        }
    }

    /// Moves a connection from the handshakes to the open connections.
    fn open(&self, place: &Place) -> io::Result<()> {
        let mut table = self.table();
        if table.handshakes.remove(&place.id).is_none() {
            return Err(io::Error::other(Full));
        }
        if self.is_outdated(&place.seat) {
            return Err(io::Error::other(Outdated));
        }
        if table.open.len() >= self.limits.connections {
            let (id, leaver) =
                leaver(&table.open, place.seat.peer()).ok_or_else(|| io::Error::other(Full))?;
            if is_idle(&leaver) && table.leaving.len() < LEAVING {
                leaver.ask_to_leave(self.now());
            } else {
                leaver.close();
            }
            table.open.remove(&id);
            table.leaving.insert(id, leaver);
            self.metrics.serving().connection_failed("limit");
        }
        place.seat.enter(Phase::Fresh, self.now());
        table.open.insert(place.id, Arc::clone(&place.seat));
        Ok(())
    }

    /// Whether the client CA has changed since the connection was accepted.
    fn is_outdated(&self, seat: &Seat) -> bool {
        seat.generation() < self.generation.load(Ordering::Acquire)
    }

    /// Nothing under the lock can panic, so a poisoned table is consistent.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection to close for one of `newcomer`: of the peer that has most, counting `newcomer`, the one that has been
/// idle longest. If that peer has no idle connection and is not the newcomer, the one that has been busy longest.
fn leaver(open: &HashMap<u64, Arc<Seat>>, newcomer: IpAddr) -> Option<(u64, Arc<Seat>)> {
    if let Some(idle) = longest_of_most(open, Some(newcomer), is_idle) {
        return Some(idle);
    }
    let busiest = longest_of_most(open, Some(newcomer), |_| true);
    busiest.filter(|(_, seat)| seat.peer() != newcomer)
}

fn is_idle(seat: &Seat) -> bool {
    matches!(seat.phase().0, Phase::Fresh | Phase::Idle)
}

/// Of the matching connections of the peer that has most connections, the one that has been in its phase longest.
/// `newcomer` counts as having one more.
fn longest_of_most(
    seats: &HashMap<u64, Arc<Seat>>,
    newcomer: Option<IpAddr>,
    fits: impl Fn(&Seat) -> bool,
) -> Option<(u64, Arc<Seat>)> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    seats
        .values()
        .map(|seat| seat.peer())
        .chain(newcomer)
        .for_each(|peer| *counts.entry(peer).or_default() += 1);
    // Of peers with equal counts, always the same one, so that the result does not depend on the order of a map.
    let (most, _) = counts.into_iter().max_by_key(|(peer, count)| (*count, *peer))?;
    let of_most = seats.iter().filter(|(_, seat)| seat.peer() == most && fits(seat));
    let (id, seat) = of_most.min_by_key(|(id, seat)| (seat.phase().1, **id))?;
    Some((*id, Arc::clone(seat)))
}

/// The place of one connection in the tables. Dropping it frees the place.
struct Place {
    id: u64,
    seat: Arc<Seat>,
    connections: Arc<Connections>,
    _counted: OpenConnection,
}

#[cfg(test)]
impl Caller {
    /// A caller with this address.
    pub(super) fn at(peer: IpAddr) -> Self {
        let connections =
            Connections::new(ConnectionLimits::default(), Metrics::new(), "webhook", Arc::default());
        Self(Arc::new(connections.enter(peer)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.handshakes.remove(&self.id);
        table.open.remove(&self.id);
        table.leaving.remove(&self.id);
    }
}

/// The caller of a request, an extension of the request.
#[derive(Clone)]
pub(super) struct Caller(Arc<Place>);

impl Caller {
    /// The address of the caller.
    pub(super) fn peer(&self) -> IpAddr {
        self.0.seat.peer()
    }

    /// Whether the caller must open a new connection for its next request.
    pub(super) fn must_leave(&self) -> bool {
        self.0.seat.is_leaving() || self.0.connections.is_outdated(&self.0.seat)
    }
}

/// Accepts connections and enforces their limits.
#[derive(Clone, Debug)]
pub(super) struct Door<A> {
    inner: A,
    connections: Arc<Connections>,
}

impl<A> Door<A> {
    /// A door in front of `inner`, which performs the handshake.
    pub(super) fn new(inner: A, connections: Arc<Connections>) -> Self {
        Self { inner, connections }
    }
}

impl<A, S> Accept<TcpStream, S> for Door<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
{
    type Stream = Guarded<A::Stream>;
    type Service = Guest<A::Service>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let peer = match stream.peer_addr() {
            Ok(address) => address.ip().to_canonical(),
            // The peer has disconnected already.
            Err(error) => return std::future::ready(Err(error)).boxed(),
        };
        let place = self.connections.enter(peer);
        let handshake = self.inner.accept(stream, service);
        async move {
            let told_to_go = poll_fn(|context| place.seat.poll_closed(context));
            pin_mut!(handshake, told_to_go);
            let (stream, service) = match select(handshake, told_to_go).await {
                Either::Left((accepted, _)) => accepted?,
                Either::Right(((), _)) => return Err(io::Error::other(Full)),
            };
            place.connections.open(&place)?;
            let stream = Guarded { stream, seat: Arc::clone(&place.seat), start: place.connections.start };
            Ok((stream, Guest { service, place: Arc::new(place) }))
        }
        .boxed()
    }
}

/// The stream of a connection. It stops when the connection must close.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    seat: Arc<Seat>,
    start: Instant,
}

impl<S> Guarded<S> {
    /// Records since when the peer has read nothing.
    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending => self.seat.is_blocked(self.start.elapsed()),
            Poll::Ready(_) => self.seat.is_free(),
        }
        written
    }

    fn check(&self) -> io::Result<()> {
        if self.seat.is_closed() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.seat.watch(context);
        if self.seat.reads_no_more() {
            // Acts as if the peer had closed its side: pending bytes are written, and nothing more is read.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.seat.bytes_arrived(|| self.start.elapsed());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.seat.watch(context);
        self.check()?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.seat.watch(context);
        self.check()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.watch(context);
        self.check()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.watch(context);
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        // Do not wait for a peer that does not read the last bytes.
        if self.seat.is_closed() { Poll::Ready(Ok(())) } else { self.note(shut) }
    }
}

/// The service of one connection. The server drops it when the connection closes, which frees the place.
#[derive(Clone)]
pub(super) struct Guest<S> {
    service: S,
    place: Arc<Place>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Guest<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Visit<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let seat = &self.place.seat;
        seat.enter(Phase::Working, self.place.connections.now());
        request.extensions_mut().insert(Caller(Arc::clone(&self.place)));
        Visit { answer: self.service.call(request), place: Arc::clone(&self.place) }
    }
}

pin_project! {
    /// A request in progress.
    pub(super) struct Visit<F> {
        #[pin]
        answer: F,
        place: Arc<Place>,
    }
}

impl<F: Future> Future for Visit<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = std::task::ready!(this.answer.poll(context));
        let Place { seat, connections, .. } = &**this.place;
        if connections.is_outdated(seat) {
            seat.ask_to_leave_when_idle(connections.now());
        }
        seat.enter(Phase::Idle, connections.now());
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests;
