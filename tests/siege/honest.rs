//! Honest callers and the kubelet: they call at a fixed rate and count the calls that are answered in time.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::program::Program;
use crate::requests;
use crate::support::http::{Connection, Place};
use crate::support::pki::Identity;

/// The address of honest callers.
pub(crate) const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The address of the kubelet.
pub(crate) const KUBELET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// How long a caller waits. The API server waits longer, but the user waits with it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a probe waits. This is the default of Kubernetes; the manifests set longer timeouts.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// How many callers use new connections, and how many use kept ones. Each calls once in this period, so each group
/// makes 25 calls a second.
const CALLERS: u32 = 8;
const CALLER_PERIOD: Duration = Duration::from_millis(320);
const PROBE_PERIOD: Duration = Duration::from_millis(500);
/// How long the first call of each caller may take. It is made before the attack begins.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);

/// Callers that do the same.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) source: Ipv4Addr,
    /// Sent in turn.
    pub(crate) requests: Vec<Arc<[u8]>>,
    pub(crate) callers: u32,
    /// The time between two calls of one caller.
    pub(crate) period: Duration,
    pub(crate) rhythm: Rhythm,
    pub(crate) connections: Connections,
    pub(crate) patience: Duration,
    /// What percentage of the calls must be answered in time.
    pub(crate) percent: usize,
}

/// When the callers of a group call.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rhythm {
    /// One after the other, evenly spread over the period.
    Even,
    /// All at the same moment.
    Together,
}

/// Which connections the callers of a group use.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Connections {
    /// Each caller keeps a connection. A call fails if the server has closed it.
    Kept,
    /// Each call opens a new one.
    New,
}

/// Callers on new connections, callers on kept ones, and the kubelet. `identity` is the callers' client certificate.
pub(crate) fn everybody(program: &Program, identity: Option<&Identity>) -> Vec<Group> {
    let callers = Group {
        name: "kept",
        place: program.webhook_as(identity),
        source: CALLER,
        requests: requests::honest().to_vec(),
        callers: CALLERS,
        period: CALLER_PERIOD,
        rhythm: Rhythm::Even,
        connections: Connections::Kept,
        patience: PATIENCE,
        percent: 99,
    };
    let probe = |name: &'static str, path| Group {
        name,
        place: program.admin(),
        source: KUBELET,
        requests: vec![requests::get(path)],
        callers: 1,
        period: PROBE_PERIOD,
        connections: Connections::New,
        patience: PROBE_PATIENCE,
        percent: 100,
        ..callers.clone()
    };
    let [livez, readyz] = [probe("livez", "/livez"), probe("readyz", "/readyz")];
    let strangers = Group { name: "new connections", connections: Connections::New, ..callers.clone() };
    vec![strangers, callers, livez, readyz]
}

/// The number of calls, and of those that were answered with status 200 in time.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    pub(crate) made: usize,
    pub(crate) answered: usize,
    slowest: Duration,
    /// Why the other calls failed, with the number of calls.
    failures: BTreeMap<String, usize>,
}

impl Calls {
    fn record(&mut self, took: Duration, outcome: Result<(), String>) {
        self.made += 1;
        match outcome {
            Ok(()) => {
                self.answered += 1;
                self.slowest = self.slowest.max(took);
            }
            Err(why) => *self.failures.entry(why).or_default() += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.made += other.made;
        self.answered += other.answered;
        self.slowest = self.slowest.max(other.slowest);
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }

    /// The time of the slowest answer, and the failures.
    pub(crate) fn details(&self) -> String {
        let failures = self.failures.iter().map(|(why, count)| format!(", {count} × {why}"));
        format!("slowest {:.0?}{}", self.slowest, failures.collect::<String>())
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.answered, self.made)
    }
}

/// Callers that have called once and wait for the attack to begin.
///
/// They run in their own thread, so that the work of the attackers does not make answers look slow.
pub(crate) struct Ready {
    go: oneshot::Sender<Duration>,
    calls: oneshot::Receiver<Vec<(Group, Calls)>>,
}

impl Ready {
    /// Starts the thread, and returns when every caller has got one answer.
    pub(crate) async fn prepare(groups: Vec<Group>) -> Self {
        let (ready, prepared) = oneshot::channel();
        let (go, time) = oneshot::channel();
        let (result, calls) = oneshot::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let callers = callers(groups).await;
                ready.send(()).expect("a test that waits");
                // A test that has failed sends nothing.
                let Ok(time) = time.await else { return };
                let _ = result.send(call(callers, time).await);
            });
        });
        prepared.await.expect("an answer to every caller before the attack begins");
        Self { go, calls }
    }

    /// Makes all callers call for this time, and returns the calls of each group.
    pub(crate) async fn call_for(self, time: Duration) -> Vec<(Group, Calls)> {
        self.go.send(time).expect("a thread that waits");
        self.calls.await.expect("the result of the callers")
    }
}

/// One caller of a group.
struct Caller {
    group: Group,
    index: u32,
    kept: Option<Connection>,
}

/// Makes all callers, and lets each call for the first time.
async fn callers(groups: Vec<Group>) -> Vec<Vec<Caller>> {
    let mut all = Vec::new();
    for group in groups {
        let mut callers = Vec::new();
        for index in 0..group.callers {
            let mut caller = Caller { group: group.clone(), index, kept: None };
            let first = timeout(FIRST_PATIENCE, caller.call(0)).await.expect("an answer in time");
            first.unwrap_or_else(|error| panic!("{}: the first call failed: {error}", group.name));
            callers.push(caller);
        }
        all.push(callers);
    }
    all
}

async fn call(groups: Vec<Vec<Caller>>, time: Duration) -> Vec<(Group, Calls)> {
    let start = Instant::now();
    let mut running = Vec::new();
    for callers in groups {
        let group = callers[0].group.clone();
        let tasks: JoinSet<_> =
            callers.into_iter().map(|caller| caller.call_until(start, start + time)).collect();
        running.push((group, tasks));
    }
    let mut all = Vec::new();
    for (group, tasks) in running {
        let mut calls = Calls::default();
        tasks.join_all().await.into_iter().for_each(|each| calls.add(each));
        all.push((group, calls));
    }
    all
}

impl Caller {
    /// Calls whenever a call is due. The time of a call counts from when it was due, even if the caller was still
    /// waiting for the answer before.
    async fn call_until(mut self, start: Instant, end: Instant) -> Calls {
        let mut calls = Calls::default();
        let Group { callers, period, rhythm, patience, .. } = self.group;
        let mut due = match rhythm {
            Rhythm::Even => start + period * self.index / callers,
            Rhythm::Together => start,
        };
        while due < end {
            sleep_until(due).await;
            let outcome = match timeout_at(due + patience, self.call(calls.made)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {patience:?}")),
            };
            calls.record(due.elapsed(), outcome);
            due += period;
        }
        calls
    }

    async fn call(&mut self, number: usize) -> io::Result<()> {
        let mut connection = match self.kept.take() {
            Some(kept) => kept,
            None => Connection::open_from(self.group.source, &self.group.place).await?,
        };
        let request = &self.group.requests[number % self.group.requests.len()];
        let answer = connection.call(request).await?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("status {}", answer.status)));
        }
        if self.group.connections == Connections::Kept {
            self.kept = Some(connection);
        }
        Ok(())
    }
}
