//! The life of the server: it listens on both ports, serves, and stops so that no call is lost.

use std::io;
use std::net::SocketAddr;
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
use super::connections::{ConnectionLimits, Connections, Door};
use super::failures::Failures;
use super::readiness::Readiness;
use super::router::{Limits, router};
use super::signals::Signals;
use super::tasks::{Death, Tasks};
use super::tls::Tls;
use crate::telemetry::Metrics;

/// With how many bytes the headers of a request are too large. The one read that goes beyond it may go as far again.
const HEADER_BYTES: usize = 64 * 1024;

/// The admin port: probes and scrapes come one by one, so nobody needs long for anything.
const ADMIN_LIMITS: ConnectionLimits = ConnectionLimits {
    handshakes: 64,
    connections: 64,
    first_request_timeout: Duration::from_secs(5),
    header_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(5),
};

/// Where the server listens and how long it waits for what.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where reviews are answered, with TLS.
    pub listen: SocketAddr,
    /// Where probes and metrics are answered, without TLS.
    pub admin_listen: SocketAddr,
    /// What a call may take up.
    pub limits: Limits,
    /// How many connections the webhook has, and how long each may take for what.
    ///
    /// `idle_timeout` must be longer than callers keep their idle connections (90 seconds for the API server): whoever
    /// closes first decides whether a request that is on its way at that moment is lost.
    pub connections: ConnectionLimits,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long requests are still served after a signal, while the cluster learns that none should be sent any more.
    pub shutdown_delay: Duration,
    /// How long requests that are being worked on may take after that.
    pub drain_limit: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 9443)),
            admin_listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            limits: Limits::default(),
            connections: ConnectionLimits {
                // With the open connections, those of the admin port and our own to the API server it stays below the
                // 1024 files that a process may usually have open.
                handshakes: 128,
                // Room for several API servers with all the reviews that are answered at a time.
                connections: 512,
                first_request_timeout: Duration::from_secs(10),
                header_timeout: Duration::from_secs(3),
                idle_timeout: Duration::from_secs(120),
            },
            handshake_timeout: Duration::from_secs(3),
            shutdown_delay: Duration::from_secs(10),
            // The longest deadline of a request.
            drain_limit: Duration::from_secs(30),
        }
    }
}

/// What the server works with besides the reviewer.
#[derive(Debug)]
pub struct Parts {
    /// The certificate.
    pub tls: Arc<Tls>,
    /// The parts of `/readyz`: `certificate` first, and `shutdown` last, which the server adds when it runs.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The tasks without which the server must not go on.
    pub tasks: Tasks,
    /// What ends it.
    pub signals: Signals,
}

impl Parts {
    /// Parts that report on the certificate. Others may still be added to `readiness` and `tasks`.
    pub fn new(tls: Arc<Tls>, metrics: Metrics, signals: Signals) -> Self {
        let readiness = Readiness::default();
        let reported = Arc::clone(&tls);
        readiness.ask(move || vec![reported.report()]);
        Self { tls, readiness, metrics, tasks: Tasks::default(), signals }
    }
}

/// Why the server did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address could not be listened on.
    #[error("cannot listen on {address} ({flag}): {source}; {}", fix_of_listening(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that gives it.
        flag: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// One of the two listeners ended by itself.
    #[error("the {name} stopped listening{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    ListenerEnded {
        /// Which.
        name: &'static str,
        /// Why, if that is known.
        reason: Option<String>,
    },
    /// A background task ended. It cannot go on without it; a new process can.
    #[error("the background task {name:?} {how}")]
    TaskEnded {
        /// Which.
        name: &'static str,
        /// How.
        how: &'static str,
    },
    /// A second signal came before the first was done with.
    #[error("ended at once by a second signal; requests cut off: {in_flight}")]
    Aborted {
        /// How many requests were being worked on.
        in_flight: i64,
    },
}

fn fix_of_listening(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or give another port",
        io::ErrorKind::AddrNotAvailable => "give an address of this machine, such as 0.0.0.0",
        io::ErrorKind::PermissionDenied => "give a port above 1023",
        _ => "give another address",
    }
}

/// Serves until a signal ends it, as [`Server::bind`] and [`Server::run`] do.
pub async fn serve<R: Reviewer>(
    config: ServerConfig,
    reviewer: Arc<R>,
    parts: Parts,
) -> Result<(), ServeError> {
    Server::bind(config).await?.run(reviewer, parts).await
}

/// A server that has its ports, so that others find them taken, and answers nobody yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    webhook: TcpListener,
    admin: TcpListener,
    addresses: Addresses,
}

/// The addresses that a server listens on. Where port 0 was asked for, this tells the one that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Of the webhook.
    pub webhook: SocketAddr,
    /// Of the admin port.
    pub admin: SocketAddr,
}

impl Server {
    /// Takes both ports.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        let (webhook, webhook_address) = listen(config.listen, "--listen").await?;
        let (admin, admin_address) = listen(config.admin_listen, "--admin-listen").await?;
        let addresses = Addresses { webhook: webhook_address, admin: admin_address };
        Ok(Self { config, webhook, admin, addresses })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until a signal ends it.
    ///
    /// At the first signal `/readyz` turns to 503, and requests are served for the shutdown delay, each answer with
    /// `Connection: close`. Then nothing new is accepted, and when the last request is answered this returns. A second
    /// signal ends it at once, with an error; so does the death of a listener or of a background task.
    pub async fn run<R: Reviewer>(self, reviewer: Arc<R>, parts: Parts) -> Result<(), ServeError> {
        let Parts { tls, readiness, metrics, mut tasks, mut signals } = parts;
        let shutdown = readiness.part("shutdown");
        shutdown.ready();

        let draining = CancellationToken::new();
        let reviews = router(reviewer, &self.config.limits, metrics.clone(), draining.clone());
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
            _ = signals.next() => Err(ServeError::Aborted { in_flight: metrics.requests_in_flight() }),
        }
        // The admin listener and the tasks go on up to here: probes are answered, and decisions made, to the end.
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, flag, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Goes on serving for a while, then accepts nothing new and waits for what is being worked on.
async fn stop(webhook: &mut Listening, config: &ServerConfig, metrics: &Metrics) -> Result<(), ServeError> {
    tokio::time::sleep(config.shutdown_delay).await;
    webhook.handle.graceful_shutdown(None);
    match tokio::time::timeout(config.drain_limit, &mut webhook.task).await {
        Ok(Ok(Ok(()))) => tracing::info!("stopped"),
        Ok(end) => return Err(webhook.error(end)),
        Err(_) => {
            let in_flight = metrics.requests_in_flight();
            tracing::warn!(in_flight, limit = ?config.drain_limit, "stopped with connections still open");
        }
    }
    Ok(())
}

/// A listener that is being served by a task of its own. Dropping it ends that and all its connections.
struct Listening {
    name: &'static str,
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
    /// Closes connections whose time has passed.
    upkeep: JoinHandle<()>,
}

impl Listening {
    /// Waits until it has ended, which it should not. Must not be called again after it has returned. Cancel safe.
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
    // Without TCP_NODELAY an answer waits for the acknowledgement of the one before it, for 40 ms or so.
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

/// Speaks HTTP/1.1, as the API server does.
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
