//! Runs the server: listens on both ports, serves, and stops without losing a call.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use axum::{BoxError, Router};
use axum_server::Handle;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::RustlsAcceptor;
use http::Request;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::Reviewer;
use super::admin::admin_router;
use super::connections::{Connections, Door};
use super::failures::Failures;
use super::limits::{ConnectionLimits, Limits};
use super::listen;
use super::readiness::Readiness;
use super::router::router;
use super::signals::Signals;
use super::tasks::{Death, Tasks};
use super::tls::Tls;
use crate::telemetry::{Metrics, Traces};

/// The maximum size of the request headers in bytes. The last read may exceed it by as much again.
const HEADER_BYTES: usize = 64 * 1024;

/// The limits of the admin port. Probes and scrapes are few and fast.
const ADMIN_LIMITS: ConnectionLimits = ConnectionLimits {
    handshakes: 64,
    connections: 64,
    first_request_timeout: Duration::from_secs(5),
    header_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(5),
};

/// Addresses and time limits of the server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address for reviews, with TLS.
    pub listen: SocketAddr,
    /// The address for probes and metrics, without TLS.
    pub admin_listen: SocketAddr,
    /// Limits for calls.
    pub limits: Limits,
    /// Limits for connections to the webhook.
    ///
    /// `idle_timeout` must be longer than callers keep idle connections (90 seconds for the API server). Otherwise the
    /// server closes a connection while a request is on its way, and the request is lost.
    pub connections: ConnectionLimits,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long requests are still served after a signal, until the cluster has stopped sending them.
    pub shutdown_delay: Duration,
    /// How long requests in progress may take after that.
    pub drain_limit: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9443)),
            admin_listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080)),
            limits: Limits::default(),
            connections: ConnectionLimits::default(),
            handshake_timeout: Duration::from_secs(3),
            shutdown_delay: Duration::from_secs(10),
            // The maximum deadline of a request.
            drain_limit: Duration::from_secs(30),
        }
    }
}

/// Everything the server needs besides the reviewer.
#[derive(Debug)]
pub struct Parts {
    /// The certificate.
    pub tls: Arc<Tls>,
    /// The parts of `/readyz`. `certificate` is the first; the server adds `shutdown` last, when it runs.
    pub readiness: Readiness,
    /// The metrics of `/metrics`.
    pub metrics: Metrics,
    /// Where the spans of reviews go.
    pub traces: Traces,
    /// The tasks that the server needs.
    pub tasks: Tasks,
    /// The signals that stop it.
    pub signals: Signals,
}

impl Parts {
    /// Parts with the state of the certificate and without traces. Callers may add more to `readiness` and `tasks`.
    pub fn new(tls: Arc<Tls>, metrics: Metrics, signals: Signals) -> Self {
        let readiness = Readiness::default();
        let reported = Arc::clone(&tls);
        readiness.ask(move || vec![reported.report()]);
        Self { tls, readiness, metrics, traces: Traces::off(), tasks: Tasks::default(), signals }
    }
}

/// Why the server stopped with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server cannot listen on an address.
    #[error("cannot listen on {address} ({flag}): {source}; {}", fix_of_listening(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A listener stopped unexpectedly.
    #[error("the {name} stopped listening{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    ListenerEnded {
        /// Its name.
        name: &'static str,
        /// Why, if that is known.
        reason: Option<String>,
    },
    /// A background task stopped. The process cannot start it again, so it exits.
    #[error("the background task {name:?} {how}")]
    TaskEnded {
        /// Its name.
        name: &'static str,
        /// How it stopped.
        how: &'static str,
    },
    /// A second signal arrived before the shutdown was complete.
    #[error("stopped at once by a second signal; requests cut off: {in_flight}")]
    Aborted {
        /// How many requests were in progress.
        in_flight: i64,
    },
}

fn fix_of_listening(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop the program that uses it, or give another port",
        io::ErrorKind::AddrNotAvailable => "give an address of this machine, such as [::] for all",
        io::ErrorKind::PermissionDenied => "give a port above 1023",
        _ => "give another address",
    }
}

/// Serves until a signal stops it, see [`Server::bind`] and [`Server::run`].
pub async fn serve<R: Reviewer>(
    config: ServerConfig,
    reviewer: Arc<R>,
    parts: Parts,
) -> Result<(), ServeError> {
    Server::bind(config)?.run(reviewer, parts).await
}

/// A server that has opened its ports but does not answer yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    webhook: TcpListener,
    admin: TcpListener,
    addresses: Addresses,
}

/// The addresses that a server listens on. If the configured port is 0, these have the real port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The address of the webhook.
    pub webhook: SocketAddr,
    /// The address of the admin port.
    pub admin: SocketAddr,
}

impl Server {
    /// Opens both ports. Needs a runtime of tokio.
    pub fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        let (webhook, webhook_address) = open(config.listen, "--listen")?;
        let (admin, admin_address) = open(config.admin_listen, "--admin-listen")?;
        let addresses = Addresses { webhook: webhook_address, admin: admin_address };
        Ok(Self { config, webhook, admin, addresses })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until a signal stops it.
    ///
    /// At the first signal, `/readyz` returns 503 and requests are served for the shutdown delay, each answer with
    /// `Connection: close`. Then the server accepts no new connections, and this returns after the last answer. A
    /// second signal, or the end of a listener or a background task, stops the server at once with an error.
    pub async fn run<R: Reviewer>(self, reviewer: Arc<R>, parts: Parts) -> Result<(), ServeError> {
        let Parts { tls, readiness, metrics, traces, mut tasks, mut signals } = parts;
        let shutdown = readiness.part("shutdown");
        shutdown.ready();

        let draining = CancellationToken::new();
        let reviews = router(reviewer, &self.config.limits, metrics.clone(), traces, draining.clone());
        let mut webhook = serve_tls(self.webhook, &self.config, &tls, &metrics, reviews);
        let probes = admin_router(readiness, metrics.clone());
        let mut admin = serve_plain(self.admin, &metrics, probes);
        let Addresses { webhook: listen, admin: admin_listen } = self.addresses;
        tracing::info!(%listen, %admin_listen, "serving");

        let signal = tokio::select! {
            signal = signals.next() => signal,
            error = webhook.ended() => return Err(error),
            error = admin.ended() => return Err(error),
            Death { name, how } = tasks.first_death() => return Err(ServeError::TaskEnded { name, how }),
        };
        shutdown.not_ready("stopping");
        draining.cancel();
        tracing::info!(signal, delay = ?self.config.shutdown_delay, "stopping");
        tokio::select! {
            result = stop(&mut webhook, &self.config, &metrics) => result,
            _ = signals.next() => Err(ServeError::Aborted { in_flight: metrics.serving().requests_in_flight() }),
        }
        // The admin listener and the tasks run until here: probes and decisions work to the end.
    }
}

fn open(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, flag, source };
    let listener = listen::listen(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves for the shutdown delay, then accepts no new connections and waits for requests in progress.
async fn stop(webhook: &mut Listening, config: &ServerConfig, metrics: &Metrics) -> Result<(), ServeError> {
    tokio::time::sleep(config.shutdown_delay).await;
    webhook.handle.graceful_shutdown(None);
    match tokio::time::timeout(config.drain_limit, &mut webhook.task).await {
        Ok(Ok(Ok(()))) => tracing::info!("stopped"),
        Ok(end) => return Err(webhook.error(end)),
        Err(_) => {
            let in_flight = metrics.serving().requests_in_flight();
            tracing::warn!(in_flight, limit = ?config.drain_limit, "stopped with connections still open");
        }
    }
    Ok(())
}

/// A listener and the task that serves it. Dropping it closes all its connections.
struct Listening {
    name: &'static str,
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
    /// Closes connections that have used up their time.
    upkeep: JoinHandle<()>,
}

impl Listening {
    /// Waits until the listener has stopped, which it should not. Do not call it again after it has returned. Cancel
    /// safe.
    async fn ended(&mut self) -> ServeError {
        tokio::select! {
            end = &mut self.task => self.error(end),
            end = &mut self.upkeep => self.error(end.map(Ok)),
        }
    }

    fn error(&self, end: Result<io::Result<()>, JoinError>) -> ServeError {
        let reason = match end {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        ServeError::ListenerEnded { name: self.name, reason }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.shutdown();
        self.task.abort();
        self.upkeep.abort();
    }
}

fn serve_tls(
    listener: TcpListener,
    config: &ServerConfig,
    tls: &Tls,
    metrics: &Metrics,
    router: Router,
) -> Listening {
    // Without TCP_NODELAY, an answer waits about 40 ms for the acknowledgement of the previous one.
    let acceptor = RustlsAcceptor::new(tls.rustls())
        .handshake_timeout(config.handshake_timeout)
        .acceptor(NoDelayAcceptor::new());
    let connections =
        Connections::new(config.connections.clone(), metrics.clone(), "webhook", tls.generation());
    start("webhook", listener, acceptor, connections, Failures::new("webhook", metrics.clone()), router)
}

fn serve_plain(listener: TcpListener, metrics: &Metrics, router: Router) -> Listening {
    let connections = Connections::new(ADMIN_LIMITS, metrics.clone(), "admin", Arc::default());
    let failures = Failures::new("admin", metrics.clone());
    start("admin port", listener, NoDelayAcceptor::new(), connections, failures, router)
}

/// Serves HTTP/1.1 only, which is what the API server uses.
fn start<A>(
    name: &'static str,
    listener: TcpListener,
    acceptor: A,
    connections: Arc<Connections>,
    failures: Failures,
    router: Router,
) -> Listening
where
    A: Accept<TcpStream, Router> + Clone + Send + Sync + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A::Service: Service<Request<Incoming>, Response = Response> + Clone + Send + 'static,
    <A::Service as Service<Request<Incoming>>>::Future: Send,
    <A::Service as Service<Request<Incoming>>>::Error: Into<BoxError>,
    A::Future: Send + 'static,
{
    let handle = Handle::new();
    let failures = Arc::new(failures);
    let reported = Arc::clone(&failures);
    let mut server = axum_server::Server::<SocketAddr>::from_listener(listener)
        .acceptor(Door::new(acceptor, Arc::clone(&connections)))
        .accept_error_handler(move |peer, error| reported.report(peer, error))
        .handle(handle.clone())
        .http1_only();
    server.http_builder().http1().keep_alive(true).max_buf_size(HEADER_BYTES);
    let task = tokio::spawn(server.serve(router.into_make_service()));
    let upkeep = tokio::spawn(async move { connections.sweep(&failures).await });
    Listening { name, handle, task, upkeep }
}
