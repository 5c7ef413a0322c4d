//! Tests elections with a simulated API server that stores one Lease.
//!
//! The clock is paused and advances when all tasks wait, so the tests take no time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

/// What the API server does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Answers,
    Fails,
    Hangs,
    /// It stores the write and does not answer.
    Swallows,
}

struct Server {
    lease: Mutex<Option<Value>>,
    mode: Mutex<Mode>,
}

/// A candidate that is running.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// 1 while it leads.
    leading: Arc<AtomicUsize>,
    /// When it was last able to write.
    wrote: Arc<Mutex<Option<Instant>>>,
}

impl Server {
    fn new() -> Arc<Self> {
        Arc::new(Self { lease: Mutex::default(), mode: Mutex::new(Mode::Answers) })
    }

    fn does(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn holder(&self) -> String {
        let lease = self.lease.lock().unwrap();
        lease.as_ref().map_or("nobody", |lease| lease["spec"]["holderIdentity"].as_str().unwrap()).to_owned()
    }

    fn transitions(&self) -> i64 {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"]["leaseTransitions"].as_i64().unwrap()
    }

    fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let answer = move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let mode = *server.mode.lock().unwrap();
                let method = request.method().clone();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (code, value) = match mode {
                    Mode::Hangs => std::future::pending().await,
                    Mode::Fails => (503, failure(503)),
                    Mode::Answers => server.store(&method, &body),
                    Mode::Swallows => {
                        server.store(&method, &body);
                        std::future::pending().await
                    }
                };
                let body = Full::new(Bytes::from(value.to_string()));
                Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    fn store(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        let mut lease = self.lease.lock().unwrap();
        let version =
            |lease: &Value| lease["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
        let sent = || serde_json::from_slice::<Value>(body).unwrap();
        let (mut new, next) = match (method, lease.as_ref()) {
            (&Method::GET, None) | (&Method::PUT, None) => return (404, failure(404)),
            (&Method::GET, Some(stored)) => return (200, stored.clone()),
            (&Method::POST, Some(_)) => return (409, failure(409)),
            (&Method::POST, None) => (sent(), 1),
            (_, Some(stored)) => {
                let new = sent();
                if new["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"] {
                    return (409, failure(409));
                }
                (new, version(stored) + 1)
            }
            (method, None) => panic!("an unexpected {method}"),
        };
        new["metadata"]["resourceVersion"] = json!(next.to_string());
        *lease = Some(new.clone());
        (200, new)
    }

    /// Starts a candidate that tries to write all the time while it leads.
    fn start(self: &Arc<Self>, identity: &str) -> Running {
        let candidate = Candidate::new(self.client(), "crm", "the-lease", identity.to_owned());
        let stop = CancellationToken::new();
        let (leading, wrote) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Option<Instant>>>::default());
        let (shared, stopped, written) = (Arc::clone(&leading), stop.clone(), Arc::clone(&wrote));
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let work = |term: Term| {
                    let (leading, wrote) = (Leading::new(&shared), Arc::clone(&written));
                    async move {
                        let _leading = leading;
                        loop {
                            sleep(Duration::from_millis(100)).await;
                            if term.run(async {}).await.is_some() {
                                *wrote.lock().unwrap() = Some(Instant::now());
                            }
                        }
                    }
                };
                candidate.lead(&stopped, work).await;
            }
        });
        Running { stop, task, leading, wrote }
    }
}

struct Leading(Arc<AtomicUsize>);

impl Leading {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Running {
    fn leads(&self) -> bool {
        self.leading.load(Ordering::Relaxed) == 1
    }

    async fn begins_to_lead(&self) -> Duration {
        self.waits_until(true).await
    }

    /// How long it takes until it leads, or does not any more.
    async fn waits_until(&self, leads: bool) -> Duration {
        let begin = Instant::now();
        while self.leads() != leads {
            assert!(begin.elapsed() < Duration::from_secs(120), "it does not happen");
            sleep(Duration::from_millis(10)).await;
        }
        begin.elapsed()
    }

    fn wrote_within(&self, time: Duration) -> bool {
        self.wrote.lock().unwrap().is_some_and(|wrote| wrote.elapsed() <= time)
    }
}

fn failure(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a message", "reason": "AReason", "code": code})
}

/// The Lease of another product's process, with this time of its last renewal.
fn lease_of(holder: &str, renewed: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "the-lease", "namespace": "crm", "resourceVersion": "7"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4, "renewTime": renewed},
    })
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leads_and_keeps_leading() {
    let server = Server::new();
    let one = server.start("one");
    one.begins_to_lead().await;
    let other = server.start("other");
    for _ in 0..300 {
        sleep(Duration::from_secs(1)).await;
        assert!(one.leads() && !other.leads());
    }
    assert_eq!((server.holder().as_str(), server.transitions()), ("one", 0));
}

#[tokio::test(start_paused = true)]
async fn another_takes_over_when_the_leader_is_gone_without_a_word() {
    let server = Server::new();
    let one = server.start("one");
    one.begins_to_lead().await;
    let other = server.start("other");
    sleep(Duration::from_secs(60)).await;
    one.task.abort();
    let after = other.begins_to_lead().await;
    assert!(after > RENEW_DEADLINE && after <= DURATION + 2 * RETRY, "{after:?}");
    assert_eq!((server.holder().as_str(), server.transitions()), ("other", 1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_releases_the_lease() {
    let server = Server::new();
    let one = server.start("one");
    one.begins_to_lead().await;
    let other = server.start("other");
    sleep(Duration::from_secs(60)).await;
    one.stop.cancel();
    one.task.await.unwrap();
    let after = other.begins_to_lead().await;
    assert!(after <= RETRY + Duration::from_millis(100), "{after:?}");
}

#[rstest]
#[case(Mode::Fails)]
#[case(Mode::Hangs)]
#[case(Mode::Swallows)]
#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_can_lead(#[case] mode: Mode) {
    let server = Server::new();
    let one = server.start("one");
    one.begins_to_lead().await;
    sleep(Duration::from_secs(60)).await;
    server.does(mode);
    let after = one.waits_until(false).await;
    assert!(after <= RENEW_DEADLINE, "{after:?}");
    sleep(Duration::from_secs(1)).await;
    assert!(!one.wrote_within(Duration::from_millis(900)), "it writes after its term");
    server.does(Mode::Answers);
    one.begins_to_lead().await;
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_does_not_end_a_term() {
    let server = Server::new();
    let one = server.start("one");
    one.begins_to_lead().await;
    for _ in 0..20 {
        server.does(Mode::Fails);
        sleep(Duration::from_secs(5)).await;
        server.does(Mode::Answers);
        sleep(Duration::from_secs(5)).await;
        assert!(one.leads() && one.wrote_within(Duration::from_millis(200)));
    }
    assert_eq!(server.transitions(), 0);
}

#[rstest]
#[case::long_ago("2001-01-01T00:00:00.000000Z")]
#[case::in_the_future("2999-01-01T00:00:00.000000Z")]
#[tokio::test(start_paused = true)]
async fn the_clock_of_another_does_not_matter(#[case] renewed: &str) {
    let server = Server::new();
    *server.lease.lock().unwrap() = Some(lease_of("another", renewed));
    let one = server.start("one");
    let after = one.begins_to_lead().await;
    assert!(after >= DURATION && after <= DURATION + 2 * RETRY, "{after:?}");
    assert_eq!((server.holder().as_str(), server.transitions()), ("one", 5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_has_taken_ends_the_term() {
    let server = Server::new();
    let one = server.start("one");
    one.begins_to_lead().await;
    *server.lease.lock().unwrap() = Some(lease_of("another", "2026-01-01T00:00:00.000000Z"));
    let after = one.waits_until(false).await;
    assert!(after <= RETRY + Duration::from_millis(100), "{after:?}");
    assert_eq!(server.holder(), "another", "it is not overwritten");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_created_again() {
    let server = Server::new();
    let one = server.start("one");
    one.begins_to_lead().await;
    *server.lease.lock().unwrap() = None;
    sleep(2 * RETRY).await;
    assert!(one.leads());
    assert_eq!(server.holder(), "one");
}

#[tokio::test(start_paused = true)]
async fn no_two_ever_lead_at_the_same_time() {
    let server = Server::new();
    let candidates: Vec<_> = ["a", "b", "c"].into_iter().map(|identity| server.start(identity)).collect();
    let modes = [Mode::Answers, Mode::Fails, Mode::Answers, Mode::Hangs, Mode::Swallows];
    let mut terms = 0;
    for step in 0..3000_u64 {
        // Outages of all lengths up to half a minute.
        if step % (1 + step % 31) == 0 {
            server.does(modes[(step / 7 % 5) as usize]);
        }
        sleep(Duration::from_millis(997)).await;
        let leading = candidates.iter().filter(|candidate| candidate.leads()).count();
        assert!(leading <= 1, "{leading} lead after {step} steps");
        terms += leading;
    }
    assert!(terms > 300, "somebody leads most of the time: {terms}");
}
