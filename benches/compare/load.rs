//! Loads a server: in a closed loop, or at a rate with latencies that count from the time at which a request is due.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::http::{Connection, Place, Template};
use crate::server::Usage;
use crate::settings::Cores;

/// The length of the warm-up, as a part of the measured time.
const WARM_UP: f64 = 0.15;
/// The precision of the runtime's timer. The rest of a wait is a busy loop.
const TIMER: Duration = Duration::from_millis(2);

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// On every connection, the next request follows the last answer.
    Closed,
    /// This many requests a second, whether they are answered or not. The latency of a request counts from the time at
    /// which it is due, even if it must wait for a connection. So the requests during a stall of the server count,
    /// which a closed loop would not send.
    Open(f64),
}

pub(crate) struct Load {
    pub(crate) place: Place,
    pub(crate) request: Arc<Template>,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) time: Duration,
    /// The process whose processor time is measured.
    pub(crate) process: Option<u32>,
    /// The API server, if it receives the requests.
    pub(crate) api_server: Option<u32>,
}

/// The result of one measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Percentiles of the latency, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Microseconds of processor time for a request.
    pub(crate) cpu: f64,
    /// The same of the API server.
    pub(crate) api_server_cpu: f64,
    /// Resident memory at the end, in bytes.
    pub(crate) resident: f64,
}

/// The thread of the load and of the fake API server. One thread uses one core.
#[derive(Clone)]
pub(crate) struct Client {
    handle: Handle,
    has_a_core: bool,
}

impl Client {
    /// Starts the thread, which runs as long as the program. `cores` has its core, if it has its own.
    pub(crate) fn start(cores: Option<Cores>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self { handle, has_a_core: cores.is_some() }
    }

    /// Runs `work` on the thread and waits for the result.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        self.handle.spawn(async move { sender.send(work.await) });
        receiver.recv().expect("the client thread panicked")
    }

    pub(crate) fn measure(&self, load: Load) -> Sample {
        self.run(measure(load, self.has_a_core))
    }

    /// Sends one request on a new connection. Returns the status and the body.
    pub(crate) fn call(&self, place: &Place, request: &Arc<Template>) -> (u16, String) {
        let (place, request) = (place.clone(), Arc::clone(request));
        self.run(async move {
            let mut bytes = Vec::new();
            request.fill(&mut bytes);
            let mut connection = Connection::open(&place).await.unwrap();
            let answer = connection.call(&bytes).await.unwrap();
            (answer.status, String::from_utf8_lossy(answer.body).into_owned())
        })
    }
}

/// The state that the connections of a phase share.
struct Phase {
    request: Arc<Template>,
    pace: Pace,
    start: Instant,
    end: Instant,
    /// The number of requests that were due. The holder of the lock waits for the next one.
    due: Mutex<u64>,
}

async fn measure(load: Load, has_a_core: bool) -> Sample {
    let awake = has_a_core && load.connections > 1;
    let _awake = awake.then(|| AbortOnDropHandle::new(tokio::spawn(stay_awake())));
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        let connection = Connection::open(&load.place).await;
        connections.push(connection.unwrap_or_else(|error| panic!("no connection: {error}")));
    }
    let (connections, _) = phase(&load, connections, load.time.mul_f64(WARM_UP)).await;
    let usage = || [load.process, load.api_server].map(|process| process.map(Usage::of));
    let [before, api_server_before] = usage();
    let start = Instant::now();
    let (connections, mut latencies) = phase(&load, connections, load.time).await;
    let elapsed = start.elapsed().as_secs_f64();
    let [after, api_server_after] = usage();
    drop(connections);
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    assert!(count > 0.0, "nothing was answered within {:?}", load.time);
    let percentile = |part: f64| {
        let index = ((count * part) as usize).min(latencies.len() - 1);
        latencies[index] as f64 / 1000.0
    };
    let cpu = |before: Option<Usage>, after: Option<Usage>| {
        let spent = before.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        spent.unwrap_or_default().as_secs_f64() * 1e6 / count
    };
    Sample {
        rate: count / elapsed,
        p50: percentile(0.5),
        p99: percentile(0.99),
        cpu: cpu(before, after),
        api_server_cpu: cpu(api_server_before, api_server_after),
        resident: after.map_or(0.0, |usage| usage.resident as f64),
    }
}

/// Loads all connections for a while. Returns them, with the latencies in nanoseconds.
async fn phase(load: &Load, connections: Vec<Connection>, time: Duration) -> (Vec<Connection>, Vec<u64>) {
    let start = Instant::now();
    let phase = Arc::new(Phase {
        request: Arc::clone(&load.request),
        pace: load.pace,
        start,
        end: start + time,
        due: Mutex::new(0),
    });
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(Arc::clone(&phase).drive(connection)))
        .collect();
    let (mut connections, mut latencies) = (Vec::new(), Vec::new());
    for task in tasks {
        let (connection, mut own) = task.await.unwrap();
        connections.push(connection);
        latencies.append(&mut own);
    }
    (connections, latencies)
}

/// Keeps the client's thread awake.
///
/// To wake a thread on another core costs the server 2 or 3 µs. A fast server, which keeps the client busy, would not
/// have this cost, but a slower one would have it for each answer. That would distort the comparison.
async fn stay_awake() {
    loop {
        yield_now().await;
    }
}

impl Phase {
    async fn drive(self: Arc<Self>, mut connection: Connection) -> (Connection, Vec<u64>) {
        let mut latencies = Vec::new();
        let mut request = Vec::new();
        while let Some(due) = self.next().await {
            self.request.fill(&mut request);
            let answer = connection.call(&request).await;
            let answer = answer.unwrap_or_else(|error| panic!("a call failed: {error}"));
            let status = answer.status;
            assert!(status == self.request.status, "{status}: {}", String::from_utf8_lossy(answer.body));
            latencies.push(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        (connection, latencies)
    }

    /// Waits until the next request is due, and returns that time.
    async fn next(&self) -> Option<Instant> {
        let Pace::Open(rate) = self.pace else {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        };
        let mut due = self.due.lock().await;
        let at = self.start + Duration::from_secs_f64(*due as f64 / rate);
        *due += 1;
        if at >= self.end {
            return None;
        }
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(at);
            }
            if left > TIMER { sleep(left - TIMER).await } else { yield_now().await }
        }
    }
}
