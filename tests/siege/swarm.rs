//! Attackers: many clients that do the same, and connect again when the server closes a connection, at a limited rate.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::support::http::{Connection, Place};

/// The number of files that this program needs: 700 attackers and some hundred honest callers, with room to spare.
const FILES: u64 = 4096;

/// The addresses of an attack.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// One address.
    One(Ipv4Addr),
    /// This many addresses, with the same number of attackers each.
    Several(u8),
}

impl Origin {
    /// The address of most attacks.
    pub(crate) const ATTACKER: Self = Self::One(Ipv4Addr::new(127, 0, 0, 66));

    fn address(self, index: usize) -> Ipv4Addr {
        match self {
            Self::One(address) => address,
            Self::Several(count) => {
                let index = u8::try_from(index % usize::from(count)).expect("less than `count`");
                Ipv4Addr::new(127, 0, 0, 66 + index)
            }
        }
    }
}

/// How often a slow attacker sends something.
const PAUSE: Duration = Duration::from_millis(500);

/// What the attackers of one attack have in common.
pub(crate) struct Attack {
    pub(crate) origin: Origin,
    /// Where they connect to.
    pub(crate) place: Place,
    /// How many attackers there are, with one connection each at a time.
    pub(crate) connections: usize,
    /// How many connections they open in a second at most, all together.
    pub(crate) per_second: u32,
    /// What they send first. Each connection takes the next one in turn.
    pub(crate) words: Vec<Arc<[u8]>>,
}

/// A running attack. Dropping it ends it.
pub(crate) struct Swarm {
    connections: usize,
    opened: Arc<AtomicUsize>,
    _attackers: JoinSet<()>,
}

impl Attack {
    /// An attack from one address that sends nothing.
    pub(crate) fn silent(place: Place, connections: usize, per_second: u32) -> Self {
        Self { origin: Origin::ATTACKER, place, connections, per_second, words: vec![Arc::from([])] }
    }

    /// Starts the attack. `life` does what an attacker does with one connection, given what to send first.
    pub(crate) fn start<F>(
        self,
        life: impl Fn(Connection, Arc<[u8]>) -> F + Copy + Send + Sync + 'static,
    ) -> Swarm
    where
        F: Future<Output = io::Result<()>> + Send,
    {
        allow_files();
        let opened = Arc::new(AtomicUsize::new(0));
        let turns = Arc::new(Turns::new(self.per_second));
        let connections = self.connections;
        let attack = Arc::new(self);
        let mut attackers = JoinSet::new();
        for index in 0..connections {
            let (attack, opened, turns) = (Arc::clone(&attack), Arc::clone(&opened), Arc::clone(&turns));
            attackers.spawn(async move {
                loop {
                    turns.next().await;
                    let number = opened.fetch_add(1, Ordering::Relaxed);
                    // The attacker opens another connection in any case.
                    let _ = attack.live(index, number, life).await;
                }
            });
        }
        Swarm { connections, opened, _attackers: attackers }
    }

    async fn live<F>(
        &self,
        index: usize,
        number: usize,
        life: impl Fn(Connection, Arc<[u8]>) -> F,
    ) -> io::Result<()>
    where
        F: Future<Output = io::Result<()>>,
    {
        let connection = Connection::open_from(self.origin.address(index), &self.place).await?;
        life(connection, Arc::clone(&self.words[number % self.words.len()])).await
    }
}

/// Sends its words, and then nothing until the server closes the connection.
pub(crate) async fn hold(mut connection: Connection, words: Arc<[u8]>) -> io::Result<()> {
    connection.send(&words).await?;
    connection.closed().await;
    Ok(())
}

/// Sends its words, and then `more` now and then until the server closes the connection.
pub(crate) async fn trickle(mut connection: Connection, words: Arc<[u8]>, more: &[u8]) -> io::Result<()> {
    connection.send(&words).await?;
    while timeout(PAUSE, connection.closed()).await.is_err() {
        connection.send(more).await?;
    }
    Ok(())
}

/// Sends its words and reads the answer.
pub(crate) async fn ask(mut connection: Connection, words: Arc<[u8]>) -> io::Result<()> {
    connection.call(&words).await.map(drop)
}

/// Sends its words and never reads the answer.
pub(crate) async fn ask_without_reading(mut connection: Connection, words: Arc<[u8]>) -> io::Result<()> {
    connection.send(&words).await?;
    loop {
        sleep(PAUSE).await;
        // Fails once the connection is closed. Empty lines are allowed before a request.
        connection.send(b"\r\n").await?;
    }
}

impl Swarm {
    /// How many attackers there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// How many connections the attackers have tried to open so far.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

/// Limits the rate: gives one turn at a time to waiting tasks.
struct Turns {
    next: Mutex<Instant>,
    interval: Duration,
}

impl Turns {
    fn new(per_second: u32) -> Self {
        Self { next: Mutex::new(Instant::now()), interval: Duration::from_secs(1) / per_second }
    }

    async fn next(&self) {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        // Turns that nobody took must not add up to a flood.
        *next = (*next + self.interval).max(Instant::now() - 10 * self.interval);
    }
}

/// Raises the soft limit on open files of this program. `rustix` does so without `unsafe`. A `ulimit` in the make
/// target would not help those who run a single test.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = FILES.min(limit.maximum.unwrap_or(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).expect("a raised limit");
    }
}
