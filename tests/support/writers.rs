//! Writes CRM records at a constant rate and records the result of each write.

use super::control_plane::{self, ControlPlane};
use super::poll::{self, Seen};
use super::records::company;
use reqwest::header::{AUTHORIZATION, WARNING};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The default rate in writes per second; `$ROLLOUT_RATE` sets another.
const RATE: u32 = 200;
/// Writes come in bursts, as from controllers and scripts.
const WAVES_APART: Duration = Duration::from_millis(50);
/// The maximum number of writes in progress.
pub(crate) const IN_FLIGHT: usize = 64;
/// How late a write may start. Later ones are skipped; otherwise, the delay would grow on a slow machine.
const LATE: Duration = Duration::from_secs(2);
/// The time limit for an answer and for the writers as a whole.
const PATIENCE: Duration = Duration::from_secs(60);

/// The company of the people.
const EMPLOYER: &str = "writers-employer";

/// Running writers.
pub(crate) struct Writers {
    shared: Arc<Shared>,
    writing: JoinSet<()>,
    runtime: Runtime,
}

struct Shared {
    client: Client,
    server: String,
    started: Instant,
    /// The required number of writes per second.
    rate: u32,
    /// The number of writes in a burst.
    wave: usize,
    next: AtomicUsize,
    /// The number of writes to make.
    end: AtomicUsize,
    labels: Mutex<Labels>,
    /// The stored companies.
    created: Mutex<Vec<String>>,
    written: Mutex<Vec<Written>>,
}

/// The action of the policy for a label value that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labels {
    Warned,
    Refused,
    /// The policy is being changed, so both are right.
    Changing,
}

/// A kind of write.
#[derive(Clone, Debug)]
enum Write {
    /// A company whose domain is not canonical.
    Company,
    /// A company with a label value that is not allowed.
    Labelled,
    /// A person at a company that exists.
    Employee,
    /// A person at a company that does not exist.
    Stray,
    /// A company that is stored.
    Create(String),
    /// The deletion of that company.
    Delete(String),
}

/// The result of a write.
#[derive(Debug)]
struct Written {
    write: Write,
    began: Instant,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The expected answer.
    Right,
    /// An answer about a label, to compare with the policy at that time.
    Judged(Labels),
    /// The API server could not call the webhook or did not answer, with the reason.
    Failed(String),
    /// An unexpected answer.
    Wrong(String),
}

/// The results of the writes.
pub(crate) struct Record<'a>(MutexGuard<'a, Vec<Written>>);

impl Writers {
    /// Starts writing as alice. A webhook must be running.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        Self::start_at(plane, RATE)
    }

    /// Like [`Writers::start`], with another default rate.
    pub(crate) fn start_at(plane: &ControlPlane, rate: u32) -> Self {
        plane.kubectl("alice").apply(&company(EMPLOYER, "{displayName: Acme}")).succeeds();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(&plane.ca()).unwrap();
        let token = format!("Bearer {}", control_plane::token("alice")).parse().unwrap();
        let client = Client::builder()
            .tls_certs_only([authority])
            .default_headers([(AUTHORIZATION, token)].into_iter().collect())
            .http1_only()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let rate =
            std::env::var("ROLLOUT_RATE").map_or(rate, |rate| rate.parse().expect("a number of writes"));
        let shared = Arc::new(Shared {
            client,
            server: format!("https://127.0.0.1:{}/apis/crm.milo.io/v1alpha1", plane.ports()[1]),
            started: Instant::now(),
            rate,
            // A tenth more than required, to make up for moments in which the machine is busy.
            wave: usize::try_from(rate.saturating_mul(11).div_ceil(200)).unwrap().max(1),
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(usize::MAX),
            labels: Mutex::new(Labels::Warned),
            created: Mutex::default(),
            written: Mutex::default(),
        });
        let place = plane.place();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || place.join_network())
            .enable_all()
            .build()
            .unwrap();
        let mut writing = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            writing.spawn_on(keep_writing(Arc::clone(&shared)), runtime.handle());
        }
        Self { shared, writing, runtime }
    }

    /// Sets the expected result of writes with labels from now on.
    pub(crate) fn expect(&self, labels: Labels) {
        *lock(&self.shared.labels) = labels;
    }

    /// Waits until this many writes that start from now on have finished.
    #[track_caller]
    pub(crate) fn go_on_for(&self, writes: usize) {
        // The first that finish may have started earlier.
        let goal = self.record().len() + IN_FLIGHT + writes;
        poll::until("further writes", PATIENCE, || match self.record().len() {
            made if made >= goal => Seen::Ready(()),
            made => Seen::NotYet(format!("{made} of {goal} writes are made")),
        });
    }

    /// Waits until several writes with labels have this result.
    #[track_caller]
    pub(crate) fn await_judged(&self, labels: Labels) {
        let judged = || {
            let record = self.record();
            record.0.iter().filter(|written| written.outcome == Outcome::Judged(labels)).count()
        };
        let goal = judged() + 10;
        poll::until(&format!("labels that are {labels:?}"), PATIENCE, || match judged() {
            count if count >= goal => Seen::Ready(()),
            count => Seen::NotYet(format!("{count} of {goal} times")),
        });
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record(lock(&self.shared.written))
    }

    /// Waits for the writes that are due, and asserts that the required rate was reached.
    #[track_caller]
    pub(crate) fn finish(self) {
        let Self { shared, mut writing, runtime } = self;
        let due = shared.due_after(shared.started.elapsed());
        shared.end.store(due, Ordering::SeqCst);
        let all = async {
            while let Some(ended) = writing.join_next().await {
                ended.expect("a writer")
            }
        };
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, all).await })
            .expect("the end of the writers");
        let took = shared.started.elapsed();
        let (made, rate) = (lock(&shared.written).len(), shared.rate);
        assert!(
            took * rate <= Duration::from_secs(made as u64),
            "{made} of {due} writes were made in {took:.1?}, which is less than {rate} a second: this machine cannot \
             keep up, with {IN_FLIGHT} at a time. $ROLLOUT_RATE lowers what is asked of it"
        );
    }
}

impl Record<'_> {
    /// The number of finished writes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Asserts that every write got the expected answer.
    #[track_caller]
    pub(crate) fn is_flawless(&self, when: &str) {
        self.has_no_wrong_answer(when);
        let failed: Vec<_> = self.failed().collect();
        assert!(
            failed.is_empty(),
            "{when}: {} of {} writes failed{}",
            failed.len(),
            self.len(),
            List(&failed)
        );
    }

    /// Asserts that all answers are as expected.
    #[track_caller]
    pub(crate) fn has_no_wrong_answer(&self, when: &str) {
        let wrong: Vec<_> =
            self.0.iter().filter(|written| matches!(written.outcome, Outcome::Wrong(_))).collect();
        assert!(
            wrong.is_empty(),
            "{when}: {} of {} answers are wrong{}",
            wrong.len(),
            self.len(),
            List(&wrong)
        );
    }

    fn failed(&self) -> impl Iterator<Item = &Written> {
        self.0.iter().filter(|written| matches!(written.outcome, Outcome::Failed(_)))
    }

    /// When failed writes started, and why they failed.
    pub(crate) fn failures(&self) -> Vec<(Instant, String)> {
        self.failed().map(|written| (written.began, format!("{:?}", written.outcome))).collect()
    }
}

/// The first of these writes, one in each line.
struct List<'a>(&'a [&'a Written]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(10)
            .try_for_each(|written| write!(f, "\n  {:?}: {:?}", written.write, written.outcome))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one writer, which makes the next write when it is due.
async fn keep_writing(shared: Arc<Shared>) {
    loop {
        let index = shared.next.fetch_add(1, Ordering::SeqCst);
        let due = shared.started + shared.due(index);
        tokio::time::sleep_until(due.into()).await;
        if index >= shared.end.load(Ordering::SeqCst) {
            return;
        }
        if due.elapsed() > LATE {
            continue;
        }
        let write = shared.choose(index);
        let expected = *lock(&shared.labels);
        let began = Instant::now();
        let answer = shared.send(&write).await;
        // If the policy changed during the write, both answers are right.
        let expected = if *lock(&shared.labels) == expected { expected } else { Labels::Changing };
        let outcome = answer.map_or_else(Outcome::Failed, |answer| answer.judge(&write, expected));
        if let (Write::Create(name), Outcome::Right) = (&write, &outcome) {
            lock(&shared.created).push(name.clone());
        }
        lock(&shared.written).push(Written { write, began, outcome });
    }
}

impl Shared {
    /// When a write is due.
    fn due(&self, index: usize) -> Duration {
        WAVES_APART * u32::try_from(index / self.wave).unwrap()
    }

    /// The number of writes that are due at that time.
    fn due_after(&self, time: Duration) -> usize {
        let waves = time.as_nanos() / WAVES_APART.as_nanos() + 1;
        self.wave * usize::try_from(waves).unwrap()
    }

    /// Chooses a write. Most are dry runs, which cost etcd nothing; a few are stored.
    fn choose(&self, index: usize) -> Write {
        match index % 20 {
            0 => Write::Create(format!("writers-{index}")),
            10 => lock(&self.created).pop().map_or(Write::Company, Write::Delete),
            3 | 8 | 13 => Write::Labelled,
            5 => Write::Stray,
            slot if slot % 2 == 1 => Write::Employee,
            _ => Write::Company,
        }
    }

    async fn send(&self, write: &Write) -> Result<Answer, String> {
        let create = |dry_run, record: Value| self.create(dry_run, &record);
        let person = |company: &str| json!({"displayName": "Ada", "companyRef": {"name": company}});
        let company = json!({"displayName": "Acme", "domains": ["HTTPS://Acme.com/"]});
        let request = match write {
            Write::Company => create(true, record("Company", "writers-company", &company)),
            Write::Labelled => {
                let mut labelled = record("Company", "writers-labelled", &company);
                labelled["metadata"]["labels"] = json!({"crm.milo.io/source": "cold-call"});
                create(true, labelled)
            }
            Write::Employee => create(true, record("Person", "writers-employee", &person(EMPLOYER))),
            Write::Stray => create(true, record("Person", "writers-stray", &person("writers-nowhere"))),
            Write::Create(name) => create(false, record("Company", name, &company)),
            Write::Delete(name) => {
                self.client.request(Method::DELETE, format!("{}/companies/{name}", self.server))
            }
        };
        let answer = async { Answer::read(request.send().await?).await };
        answer.await.map_err(|error: reqwest::Error| format!("no answer: {error:?}"))?.if_asked()
    }

    fn create(&self, dry_run: bool, record: &Value) -> RequestBuilder {
        let plural = if record["kind"] == "Person" { "people" } else { "companies" };
        let query = if dry_run { "?dryRun=All" } else { "" };
        self.client.post(format!("{}/{plural}{query}", self.server)).json(record)
    }
}

fn record(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// An answer of the API server.
struct Answer {
    status: StatusCode,
    warnings: String,
    body: String,
}

impl Answer {
    async fn read(response: Response) -> reqwest::Result<Self> {
        let warnings: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        let warnings = format!("{warnings:?}");
        Ok(Self { status: response.status(), warnings, body: response.text().await? })
    }

    /// `Err` with the reason if the webhook could not be called.
    fn if_asked(self) -> Result<Self, String> {
        if self.body.contains("failed calling webhook") { Err(self.message()) } else { Ok(self) }
    }

    fn judge(&self, write: &Write, labels: Labels) -> Outcome {
        let refused =
            |rule: &str| self.status == StatusCode::UNPROCESSABLE_ENTITY && self.message().contains(rule);
        let normalized = || {
            let record: Value = serde_json::from_str(&self.body).unwrap_or_default();
            self.status == StatusCode::CREATED
                && record["spec"]["domains"] == json!(["acme.com"])
                && record["spec"]["creatorRef"]["name"] == "alice"
        };
        let warned = || normalized() && self.warnings.contains("[label-value");
        let right = match (write, labels) {
            (Write::Company | Write::Create(_), _) => normalized(),
            (Write::Labelled, Labels::Warned) => warned(),
            (Write::Labelled, Labels::Refused) => refused("[label-value"),
            (Write::Labelled, Labels::Changing) => warned() || refused("[label-value"),
            (Write::Employee, _) => {
                self.status == StatusCode::CREATED && self.body.contains(r#""creatorRef""#)
            }
            (Write::Stray, _) => refused("[company-exists]"),
            (Write::Delete(_), _) => self.status == StatusCode::OK,
        };
        match (right, write) {
            (true, Write::Labelled) => Outcome::Judged(labels),
            (true, _) => Outcome::Right,
            (false, _) => {
                Outcome::Wrong(format!("{labels:?} {} {} {}", self.status, self.message(), self.warnings))
            }
        }
    }

    /// The message of an error; the whole body if it is not a Status.
    fn message(&self) -> String {
        let status: Value = serde_json::from_str(&self.body).unwrap_or_default();
        status["message"].as_str().unwrap_or(&self.body).to_owned()
    }
}
