//! Tests the controller with a simulated API server that stores records.
//!
//! The clock is paused and advances when all tasks wait, so the tests take no time.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use crm_core::api::Target;
use crm_core::existence::{Objects, Presence};
use futures::FutureExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::{BoxFuture, ready};
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::cluster::Reader;
use crate::directory::{Changes, Cluster, Found, LookUp, LookupError, PartStatus};

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// An API server with records and watches.
#[derive(Default)]
struct Server {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: Vec<Value>,
    version: u64,
    watches: Vec<(String, UnboundedSender<std::io::Result<Frame<Bytes>>>)>,
    /// The statuses with which the next requests for single records are answered.
    failures: VecDeque<u16>,
    reads: usize,
    /// The kinds that were listed, and when.
    lists: Vec<(String, Instant)>,
    /// The time that a list takes.
    list_takes: Duration,
    /// The names of the records whose status was written.
    written: Vec<String>,
    /// A change by somebody else before the next write.
    meddle: Option<(String, Value)>,
}

impl State {
    fn position(&self, plural: &str, name: &str) -> Option<usize> {
        self.records.iter().position(|record| is(record, plural) && record["metadata"]["name"] == name)
    }

    fn put(&mut self, mut record: Value) -> Value {
        self.version += 1;
        record["metadata"]["resourceVersion"] = self.version.to_string().into();
        let (plural, name) = (plural(&record), record["metadata"]["name"].as_str().unwrap().to_owned());
        let event = match self.position(&plural, &name) {
            Some(index) => {
                self.records[index] = record.clone();
                "MODIFIED"
            }
            None => {
                self.records.push(record.clone());
                "ADDED"
            }
        };
        self.tell(&plural, event, &record);
        record
    }

    fn tell(&mut self, plural: &str, event: &str, record: &Value) {
        let line = format!("{}\n", json!({"type": event, "object": record}));
        for (_, watch) in self.watches.iter().filter(|(of, _)| of == plural) {
            let _ = watch.unbounded_send(Ok(Frame::data(Bytes::from(line.clone()))));
        }
    }
}

fn plural(record: &Value) -> String {
    KINDS.into_iter().find(|kind| record["kind"] == kind.as_str()).unwrap().plural().to_owned()
}

fn is(record: &Value, of: &str) -> bool {
    plural(record) == of
}

fn whole(code: u16, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed();
    Response::builder().status(code).body(body).unwrap()
}

fn failure(code: u16) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a message", "reason": "AReason", "code": code});
    whole(code, &status)
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer(&self, method: &Method, uri: &http::Uri, body: &Bytes) -> Answer {
        let mut state = self.state();
        let path = uri.path().strip_prefix("/apis/crm.milo.io/v1alpha1/").unwrap().to_owned();
        let mut parts = path.split('/');
        let (plural, name) = (parts.next().unwrap().to_owned(), parts.next().map(str::to_owned));
        let Some(name) = name else {
            if uri.query().is_some_and(|query| query.contains("watch=true")) {
                let (events, stream) = unbounded();
                state.watches.push((plural, events));
                return Response::new(BodyExt::boxed(StreamBody::new(stream)));
            }
            state.lists.push((plural.clone(), Instant::now()));
            let items: Vec<&Value> = state.records.iter().filter(|record| is(record, &plural)).collect();
            let version = state.version.to_string();
            return whole(200, &json!({"metadata": {"resourceVersion": version}, "items": items}));
        };
        state.reads += usize::from(method == Method::GET);
        if let Some(code) = state.failures.pop_front() {
            return failure(code);
        }
        if method == Method::PATCH
            && let Some((name, spec)) = state.meddle.take()
        {
            let index = state.position("companies", &name).unwrap();
            let mut record = state.records[index].clone();
            record["spec"] = spec;
            record["metadata"]["generation"] = json!(record["metadata"]["generation"].as_i64().unwrap() + 1);
            state.put(record);
        }
        let Some(index) = state.position(&plural, &name) else { return failure(404) };
        let mut record = state.records[index].clone();
        if method == Method::GET {
            return whole(200, &record);
        }
        assert!(path.ends_with("/status") && method == Method::PATCH, "{method} {path}");
        let applied: Value = serde_json::from_slice(body).unwrap();
        for field in ["resourceVersion", "uid"] {
            if applied["metadata"][field] != record["metadata"][field] {
                return failure(409);
            }
        }
        record["status"] = applied["status"].clone();
        state.written.push(name);
        whole(200, &state.put(record))
    }

    fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let answer = move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                if head.uri.query().is_some_and(|query| query.contains("limit=")) {
                    let list_takes = server.state().list_takes;
                    sleep(list_takes).await;
                }
                Ok::<_, std::convert::Infallible>(server.answer(&head.method, &head.uri, &body))
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    fn condition(&self, name: &str) -> Value {
        let state = self.state();
        let record = state.records.iter().find(|record| record["metadata"]["name"] == name).unwrap();
        record["status"]["conditions"][0].clone()
    }

    fn put(&self, kind: CrmKind, name: &str, generation: i64, spec: Value) {
        self.state().put(json!({
            "apiVersion": "crm.milo.io/v1alpha1", "kind": kind.as_str(),
            "metadata": {"name": name, "uid": format!("uid-{name}"), "generation": generation},
            "spec": spec,
        }));
    }

    /// A company that complies.
    fn company(&self, name: &str, generation: i64) {
        self.put(CrmKind::Company, name, generation, good());
    }

    /// When the records of a kind were listed.
    fn lists(&self, plural: &str) -> Vec<Instant> {
        self.state().lists.iter().filter(|(of, _)| of == plural).map(|(_, time)| *time).collect()
    }

    fn written(&self) -> Vec<String> {
        let mut written = self.state().written.clone();
        written.sort();
        written
    }
}

fn good() -> Value {
    json!({"displayName": "Acme", "creatorRef": {"name": "zoe"}})
}

fn bad() -> Value {
    json!({"displayName": "Acme", "domains": ["no domain"], "creatorRef": {"name": "zoe"}})
}

/// A controller that is running.
struct Running {
    metrics: Metrics,
    policy: Arc<ArcSwap<Policy>>,
    task: JoinHandle<()>,
    end: tokio::sync::watch::Sender<Instant>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(server: &Arc<Server>) -> Running {
    start_with(server, |_| {})
}

/// The same with other settings.
fn start_with(server: &Arc<Server>, set: impl FnOnce(&mut Conditions)) -> Running {
    let (metrics, policy) = (Metrics::new(), Arc::new(ArcSwap::from_pointee(Policy::default())));
    let mut conditions = Conditions {
        reader: Reader::new(server.client()),
        namespace: "crm".to_owned(),
        directory: Arc::new(Objects::default()),
        changes: Arc::<Changes>::default(),
        policy: Arc::clone(&policy),
        policy_is_known: Box::new(|| true),
        metrics: metrics.clone(),
        interval: Duration::from_secs(3600),
        rate: 20,
    };
    set(&mut conditions);
    let (end, term) = Term::endless();
    let task = tokio::spawn(async move { Controller::new(&conditions, term).unwrap().run().await });
    Running { metrics, policy, task, end }
}

/// A directory that knows nothing, and gets no answers until it is allowed to.
#[derive(Clone, Default)]
struct Silent(Arc<AtomicBool>);

impl LookUp for Silent {
    fn recall(&self, _: &Target) -> Option<Presence> {
        None
    }

    fn identify<'a>(&'a self, _: &'a Target, limit: Duration) -> BoxFuture<'a, Result<Found, LookupError>> {
        let found = Found { presence: Presence::Exists, uid: None };
        let answers = self.0.load(Ordering::Relaxed);
        ready(if answers { Ok(found) } else { Err(LookupError::Late(limit)) }).boxed()
    }

    fn suggest<'a>(&'a self, _: &'a Target, _: &'a UserInfo, _: Duration) -> BoxFuture<'a, Option<String>> {
        ready(None).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        Vec::new()
    }
}

/// A policy that does this about a wrong domain.
fn domains(action: &str) -> Policy {
    let document = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicy", "metadata": {"name": "default"},
        "spec": {"rules": [{"rule": "domain", "action": action}]},
    });
    crm_core::policy::compile(&document, "default@2".to_owned()).unwrap()
}

/// Lets everything happen that is to happen within so many seconds.
async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn stored_records_and_changes_are_judged_and_each_result_is_written_once() {
    let server = Arc::<Server>::default();
    server.company("acme", 1);
    server.put(CrmKind::Company, "globex", 4, bad());
    let _running = start(&server);
    seconds(5).await;
    assert_eq!(server.condition("acme")["status"], "True");
    let denied = server.condition("globex");
    assert_eq!((&denied["reason"], &denied["observedGeneration"]), (&json!("Denied"), &json!(4)));
    server.put(CrmKind::Company, "globex", 5, good());
    server.put(CrmKind::Company, "initech", 1, bad());
    seconds(5).await;
    assert_eq!(server.condition("globex")["observedGeneration"], 5);
    assert_eq!(server.condition("initech")["status"], "False");
    assert_eq!(server.written(), ["acme", "globex", "globex", "initech"]);
    // Nothing happens, but for the passes.
    let reads = server.state().reads;
    seconds(3 * 3600).await;
    assert_eq!(server.written().len(), 4);
    assert_eq!(server.state().reads, reads, "the own writes need no second look");
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_is_right_already_is_not_written() {
    let server = Arc::<Server>::default();
    server.company("acme", 1);
    drop((start(&server), seconds(5).await));
    let running = start(&server);
    seconds(5).await;
    assert_eq!(server.written(), ["acme"]);
    drop(running);
    let _again = start(&server);
    seconds(3600).await;
    assert_eq!(server.written(), ["acme"]);
}

#[tokio::test(start_paused = true)]
async fn failures_and_conflicts_are_retried_until_the_condition_is_right() {
    let server = Arc::<Server>::default();
    server.company("acme", 1);
    server.state().failures = [500, 503, 429, 504].into();
    server.state().meddle = Some(("acme".to_owned(), bad()));
    let running = start(&server);
    seconds(120).await;
    let condition = server.condition("acme");
    assert_eq!((&condition["reason"], &condition["observedGeneration"]), (&json!("Denied"), &json!(2)));
    assert_eq!(server.written(), ["acme"]);
    let text = running.metrics.text().unwrap();
    for line in [
        r#"conditions_writes_total{result="conflict"} 1"#,
        r#"conditions_writes_total{result="written"} 1"#,
        "conditions_waiting_records 0",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_write_is_not_repeated_until_the_record_changes() {
    let server = Arc::<Server>::default();
    server.state().failures = [403].into();
    server.company("acme", 1);
    let _running = start(&server);
    seconds(600).await;
    assert_eq!(server.condition("acme"), Value::Null);
    server.company("acme", 2);
    seconds(5).await;
    assert_eq!(server.condition("acme")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_being_deleted_or_gone_is_forgotten() {
    let server = Arc::<Server>::default();
    let running = start(&server);
    seconds(1).await;
    server.company("acme", 1);
    seconds(5).await;
    assert!(
        running
            .metrics
            .text()
            .unwrap()
            .contains(r#"conditions_records{kind="Company",reason="Compliant"} 1"#)
    );
    let mut record = server.state().records[0].clone();
    record["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    server.state().put(record);
    seconds(5).await;
    assert!(
        running
            .metrics
            .text()
            .unwrap()
            .contains(r#"conditions_records{kind="Company",reason="Compliant"} 0"#)
    );
    assert_eq!(server.written(), ["acme"]);
}

#[tokio::test(start_paused = true)]
async fn another_policy_turns_the_records_that_it_is_about() {
    let server = Arc::<Server>::default();
    server.company("acme", 1);
    server.put(CrmKind::Company, "globex", 1, bad());
    let running = start(&server);
    seconds(5).await;
    let policy = domains("Warn");
    running.policy.store(Arc::new(policy.clone()));
    seconds(5).await;
    assert_eq!(server.condition("globex")["reason"], "Warned");
    assert_eq!(server.written(), ["acme", "globex", "globex"]);
    // The same policy in force again is no change.
    running.policy.store(Arc::new(policy));
    seconds(60).await;
    assert_eq!(server.written().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn writes_keep_the_rate() {
    let server = Arc::<Server>::default();
    for number in 0..200 {
        server.company(&format!("c{number:03}"), 1);
    }
    let _running = start(&server);
    seconds(5).await;
    let after_five = server.written().len();
    assert!((90..=101).contains(&after_five), "{after_five}");
    seconds(6).await;
    assert_eq!(server.written().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_the_term() {
    let server = Arc::<Server>::default();
    let running = start(&server);
    seconds(1).await;
    running.end.send_replace(Instant::now());
    server.company("acme", 1);
    seconds(60).await;
    assert_eq!(server.written(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_metrics_of_a_replica_that_does_not_lead_show_no_records() {
    let server = Arc::<Server>::default();
    let running = start(&server);
    seconds(1).await;
    assert!(running.metrics.text().unwrap().contains("conditions_leader 1"));
    running.task.abort();
    seconds(1).await;
    let text = running.metrics.text().unwrap();
    assert!(text.contains("conditions_leader 0") && !text.contains("conditions_waiting_records"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_the_cluster_does_not_have_causes_no_passes() {
    let server = Arc::<Server>::default();
    server.company("acme", 1);
    let nothing = tower::service_fn(async |_: Request<Body>| Ok::<_, std::convert::Infallible>(failure(404)));
    let reader = Reader::new(Client::new(nothing, "default"));
    let cluster = Arc::new(Cluster::start(reader, &CancellationToken::new(), &TaskTracker::new()));
    let _running = start_with(&server, |conditions| {
        conditions.changes = cluster.changes();
        conditions.directory = cluster;
    });
    seconds(1700).await;
    // One because it is new that there is no such kind.
    let lists = server.lists("notes").len();
    assert!(lists <= 2, "{lists}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_comes_to_its_end_whatever_changes_meanwhile() {
    let server = Arc::<Server>::default();
    server.put(CrmKind::Company, "globex", 1, bad());
    server.state().list_takes = Duration::from_secs(3);
    let running = start(&server);
    seconds(20).await;
    let before = server.lists("notes").len();
    for change in 0..30 {
        running.policy.store(Arc::new(domains(if change % 2 == 0 { "Deny" } else { "Warn" })));
        seconds(2).await;
    }
    let passes = server.lists("notes").len() - before;
    assert!((5..=7).contains(&passes), "{passes}");
    seconds(20).await;
    assert_eq!(server.condition("globex")["reason"], "Warned");
    let after = server.lists("notes").len();
    seconds(600).await;
    assert_eq!(server.lists("notes").len(), after, "one pass follows the last change, and no other");
}

#[tokio::test(start_paused = true)]
async fn another_policy_does_not_wait_for_a_pass_that_takes_its_time() {
    let server = Arc::<Server>::default();
    server.put(CrmKind::Company, "globex", 1, bad());
    let running = start_with(&server, |conditions| conditions.interval = Duration::from_secs(600));
    while server.lists("companies").len() < 2 {
        seconds(1).await;
    }
    running.policy.store(Arc::new(domains("Warn")));
    seconds(5).await;
    assert_eq!(server.condition("globex")["reason"], "Warned");
}

#[tokio::test(start_paused = true)]
async fn every_record_is_judged_again_in_each_interval() {
    let interval = Duration::from_secs(60);
    let server = Arc::<Server>::default();
    server.company("acme", 1);
    let running = start_with(&server, |conditions| conditions.interval = interval);
    seconds(305).await;
    // An urgent pass in between changes nothing about that.
    running.policy.store(Arc::new(domains("Warn")));
    seconds(300).await;
    for kind in KINDS {
        let lists = server.lists(kind.plural());
        let pauses: Vec<u128> = lists.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
        // The timer of the runtime counts milliseconds.
        assert!(pauses.iter().all(|pause| *pause <= interval.as_millis() + 10), "{kind:?}: {pauses:?}");
        assert!((10..=14).contains(&lists.len()), "{kind:?}: {pauses:?}");
    }
}

fn employee() -> Value {
    json!({"displayName": "Ada", "companyRef": {"name": "acme"}, "creatorRef": {"name": "zoe"}})
}

/// A server with so many people, and a controller that cannot look up their company. All have their conditions.
async fn unchecked(people: usize) -> (Arc<Server>, Silent, Running) {
    let (server, directory) = (Arc::<Server>::default(), Silent::default());
    for number in 0..people {
        server.put(CrmKind::Person, &format!("p{number:03}"), 1, employee());
    }
    let silent = directory.clone();
    let running = start_with(&server, |conditions| conditions.directory = Arc::new(silent));
    seconds(50).await;
    assert_eq!(server.condition("p000")["reason"], "NotChecked");
    assert_eq!(server.written().len(), people);
    server.state().reads = 0;
    (server, directory, running)
}

#[tokio::test(start_paused = true)]
async fn records_that_could_not_be_checked_are_read_ever_more_seldom() {
    let (server, _, _running) = unchecked(3).await;
    let mut reads = Vec::new();
    for _ in 0..4 {
        seconds(3600).await;
        reads.push(std::mem::take(&mut server.state().reads));
    }
    // After 1, 2, 4, 8, 16 and 32 minutes, and then once in the interval.
    assert_eq!(reads, [5 * 3, 3, 3, 3]);
    assert_eq!(server.written().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn records_that_could_not_be_checked_are_read_at_the_rate_of_writes() {
    let (server, _, _running) = unchecked(400).await;
    let mut reads = Vec::new();
    for _ in 0..60 {
        seconds(1).await;
        reads.push(std::mem::take(&mut server.state().reads));
    }
    assert!(reads.iter().all(|reads| *reads <= 20), "{reads:?}");
    assert!(reads.iter().sum::<usize>() >= 400, "{reads:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_does_not_wait_for_records_that_could_not_be_checked() {
    let (server, _, _running) = unchecked(400).await;
    seconds(15).await;
    assert!(server.state().reads > 0, "they are being read");
    server.company("acme", 1);
    seconds(3).await;
    assert_eq!(server.condition("acme")["reason"], "Compliant");
}

#[tokio::test(start_paused = true)]
async fn records_are_checked_once_lookups_work_again() {
    let (server, directory, _running) = unchecked(3).await;
    seconds(5 * 60).await;
    directory.0.store(true, Ordering::Relaxed);
    seconds(5 * 60).await;
    assert_eq!(server.condition("p002")["reason"], "Compliant");
    let reads = server.state().reads;
    seconds(3600).await;
    assert_eq!(server.state().reads, reads, "nothing is left to be checked");
    // The next failure is retried soon again.
    directory.0.store(false, Ordering::Relaxed);
    server.put(CrmKind::Person, "bob", 1, employee());
    seconds(5).await;
    assert_eq!(server.condition("bob")["reason"], "NotChecked");
    directory.0.store(true, Ordering::Relaxed);
    seconds(65).await;
    assert_eq!(server.condition("bob")["reason"], "Compliant");
}
