//! A TCP load balancer like the nodes of a cluster: it knows connections and readiness, but no calls.

use super::net;
use super::poll::{self, Seen};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// How often the readiness of a backend is checked.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take until a change of readiness is noticed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One address for several backends.
///
/// New connections go in turn to the backends whose last `/readyz` was 200. A connection stays with its backend even if
/// the backend is not ready any more. If the backend does not accept the connection, it is lost: like kube-proxy, the
/// balancer tries no other.
pub(crate) struct Balancer {
    port: u16,
    pool: Arc<Pool>,
    /// Runs the connections until it is dropped.
    _runtime: Runtime,
}

/// The backends of new connections.
#[derive(Default)]
struct Pool {
    backends: Mutex<Vec<Arc<Backend>>>,
    turn: AtomicUsize,
}

/// A replica behind the balancer.
pub(crate) struct Backend {
    port: u16,
    admin_port: u16,
    ready: AtomicBool,
    /// Connections that are open.
    open: AtomicUsize,
    /// The number of connections that it has accepted.
    taken: AtomicUsize,
    /// The number of connections that it did not accept.
    refused: AtomicUsize,
}

impl Balancer {
    /// Starts a balancer without backends.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port of the loopback address");
        let port = listener.local_addr().expect("a bound address").port();
        let pool = Arc::new(Pool::default());
        runtime.spawn(balance(listener, Arc::clone(&pool)));
        Self { port, pool, _runtime: runtime }
    }

    /// The port of the balancer.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Adds a backend with its port and admin port, and waits until it receives connections.
    #[track_caller]
    pub(crate) fn add(&self, port: u16, admin_port: u16) -> Arc<Backend> {
        let backend = Arc::new(Backend {
            port,
            admin_port,
            ready: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        self.pool.backends().push(Arc::clone(&backend));
        let probed = Arc::downgrade(&backend);
        thread::spawn(move || probe(&probed));
        backend.await_part(true);
        backend
    }

    /// Removes a backend. Its connections stay open as long as it keeps them.
    pub(crate) fn remove(&self, backend: &Arc<Backend>) {
        self.pool.backends().retain(|known| !Arc::ptr_eq(known, backend));
    }
}

impl Backend {
    /// The number of open connections to it.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// The number of connections that it has accepted, including closed ones.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// The number of connections that it did not accept.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Waits until the balancer has noticed that it is not ready any more.
    #[track_caller]
    pub(crate) fn await_gone(&self) {
        self.await_part(false);
    }

    #[track_caller]
    fn await_part(&self, part: bool) {
        let what = format!("a backend that {} new connections", if part { "gets" } else { "does not get" });
        poll::until(&what, PATIENCE, || match self.ready.load(Ordering::SeqCst) == part {
            true => Seen::Ready(()),
            false => Seen::NotYet(format!("/readyz: {:?}", net::get(self.admin_port, "/readyz"))),
        });
    }
}

impl Pool {
    fn backends(&self) -> MutexGuard<'_, Vec<Arc<Backend>>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next backend in turn.
    fn next(&self) -> Option<Arc<Backend>> {
        let backends = self.backends();
        let ready: Vec<_> = backends.iter().filter(|backend| backend.ready.load(Ordering::SeqCst)).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        ready.get(turn.checked_rem(ready.len())?).map(|backend| Arc::clone(backend))
    }
}

/// Checks the readiness as long as the backend is in use.
fn probe(backend: &Weak<Backend>) {
    while let Some(backend) = backend.upgrade() {
        let ready = matches!(net::get(backend.admin_port, "/readyz"), Ok((200, _)));
        backend.ready.store(ready, Ordering::SeqCst);
        drop(backend);
        thread::sleep(PROBE_INTERVAL);
    }
}

async fn balance(listener: TcpListener, pool: Arc<Pool>) {
    loop {
        // A connection that is closed before it is accepted does not matter. One without a backend is closed.
        if let (Ok((client, _)), Some(backend)) = (listener.accept().await, pool.next()) {
            tokio::spawn(forward(client, backend));
        }
    }
}

async fn forward(mut client: TcpStream, backend: Arc<Backend>) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, backend.port)).await else {
        backend.refused.fetch_add(1, Ordering::SeqCst);
        return;
    };
    for stream in [&client, &server] {
        // The balancer should add no delay.
        let _ = stream.set_nodelay(true);
    }
    backend.taken.fetch_add(1, Ordering::SeqCst);
    backend.open.fetch_add(1, Ordering::SeqCst);
    // Both sides notice how the connection ends, so the error does not matter here.
    let _ = copy_bidirectional(&mut client, &mut server).await;
    backend.open.fetch_sub(1, Ordering::SeqCst);
}
