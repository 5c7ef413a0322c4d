//! A TCP load balancer, as the nodes of a cluster are one: it knows connections and readiness, and nothing of calls.

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

/// How often a backend is asked whether it is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take until a change of readiness is noticed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One address before several backends.
///
/// A new connection goes to the backends in turn, of those whose `/readyz` said 200 when it was asked last. It stays
/// where it is, whatever becomes of the backend's readiness. If the backend does not take it, it is lost: as with
/// kube-proxy, nobody tries another.
pub(crate) struct Balancer {
    port: u16,
    pool: Arc<Pool>,
    /// Runs the connections, and ends them when it is dropped.
    _runtime: Runtime,
}

/// Whom new connections go to.
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
    /// Connections that it took, ever.
    taken: AtomicUsize,
    /// Connections that it did not take.
    refused: AtomicUsize,
}

impl Balancer {
    /// Starts one without backends.
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

    /// The port of the one address.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Adds what listens on `port` and answers `/readyz` on `admin_port`, and waits until it takes part.
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

    /// Forgets a backend. Its connections stay open as long as it keeps them.
    pub(crate) fn remove(&self, backend: &Arc<Backend>) {
        self.pool.backends().retain(|known| !Arc::ptr_eq(known, backend));
    }
}

impl Backend {
    /// How many connections to it are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many connections it has taken, those that have ended included.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// How many connections it did not take.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Waits until it has been noticed that it is not ready any more.
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

    /// The next in turn.
    fn next(&self) -> Option<Arc<Backend>> {
        let backends = self.backends();
        let ready: Vec<_> = backends.iter().filter(|backend| backend.ready.load(Ordering::SeqCst)).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        ready.get(turn.checked_rem(ready.len())?).map(|backend| Arc::clone(backend))
    }
}

/// Asks for readiness as long as anybody is interested.
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
        // A connection that goes before it is accepted is nobody's loss; one without a backend is closed.
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
        // What delays packets here would not be there without us.
        let _ = stream.set_nodelay(true);
    }
    backend.taken.fetch_add(1, Ordering::SeqCst);
    backend.open.fetch_add(1, Ordering::SeqCst);
    // How it ends is known to both sides, which is all that matters.
    let _ = copy_bidirectional(&mut client, &mut server).await;
    backend.open.fetch_sub(1, Ordering::SeqCst);
}
