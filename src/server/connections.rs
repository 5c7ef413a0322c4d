//! How many connections may be open at a time: one that says nothing takes memory and a file descriptor, too.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use futures::future::{Either, Ready, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use crate::telemetry::{Metrics, OpenConnection};

/// Lets connections in up to a limit. Further ones are closed at once: whoever is kept waiting for a place learns less,
/// and later.
#[derive(Clone, Debug)]
pub(super) struct Door<A> {
    inner: A,
    places: Arc<Semaphore>,
    metrics: Metrics,
    port: &'static str,
}

/// A connection that was closed because all places are taken.
#[derive(Debug, thiserror::Error)]
#[error("too many connections at a time")]
pub(super) struct Full;

impl<A> Door<A> {
    /// A door with `limit` places in front of `inner`. `port` is what the metrics call it.
    pub(super) fn new(inner: A, limit: usize, metrics: Metrics, port: &'static str) -> Self {
        Self { inner, places: Arc::new(Semaphore::new(limit)), metrics, port }
    }
}

impl<A, I, S> Accept<I, S> for Door<A>
where
    A: Accept<I, Guest<S>>,
{
    type Stream = A::Stream;
    type Service = A::Service;
    type Future = Either<A::Future, Ready<io::Result<(A::Stream, A::Service)>>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            return Either::Right(ready(Err(io::Error::other(Full))));
        };
        let place = Place { _permit: permit, _counted: self.metrics.connection_opened(self.port) };
        // The handshake is already on this place.
        Either::Left(self.inner.accept(stream, Guest { service, _place: Arc::new(place) }))
    }
}

/// The service of one connection. The server drops it when the connection is closed, and the place is free again.
#[derive(Clone)]
pub(super) struct Guest<S> {
    service: S,
    _place: Arc<Place>,
}

struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: OpenConnection,
}

impl<S: Service<R>, R> Service<R> for Guest<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.service.call(request)
    }
}
