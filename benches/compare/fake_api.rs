//! A fake API server with any number of Companies and People, which has lists in pages and by
//! watches, changes and delays.
//!
//! Whoever asks for whole records gets those of `records.rs`, and can write their conditions.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum_server::accept::NoDelayAcceptor;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, interval, sleep, timeout_at};

use crate::http::Place;
use crate::load::Client;
use crate::records::{self, LISTED, Records};
use crate::support::workspace::Workspace;

const GROUP: &str = "/apis/crm.milo.io/v1alpha1";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases";
/// The time between two events of a watch, while there are changes.
const CHANGE: Duration = Duration::from_millis(10);
/// The number of events that are sent at once in a list by a watch.
const EVENTS: usize = 100;
/// The duration of a watch without a timeout, in seconds.
const WATCH: u64 = 300;

/// The fake API server, which runs on the client's thread.
pub(crate) struct FakeApi {
    pub(crate) port: u16,
    /// A kubeconfig for programs.
    pub(crate) kubeconfig: PathBuf,
    cluster: Arc<Cluster>,
}

struct Cluster {
    /// The number of Companies in lists: `company-00000000` and so on. A GET also finds every name `late-…`, as if it
    /// had just been created.
    companies: u64,
    /// The number of People in lists: `person-00000000` and so on.
    people: u64,
    records: Records,
    delay: AtomicU64,
    gets: AtomicU64,
    changes: AtomicBool,
    version: AtomicU64,
    listing: Mutex<Option<(Instant, Instant)>>,
}

impl FakeApi {
    pub(crate) fn start(client: &Client, workspace: &Workspace, companies: u64) -> Self {
        Self::with_people(client, workspace, companies, 0)
    }

    pub(crate) fn with_people(client: &Client, workspace: &Workspace, companies: u64, people: u64) -> Self {
        let cluster = Arc::new(Cluster {
            companies,
            people,
            records: Records::default(),
            delay: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            changes: AtomicBool::new(false),
            version: AtomicU64::new(1000),
            listing: Mutex::new(None),
        });
        let router = router(Arc::clone(&cluster));
        let port = client.run(async move {
            let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            // Answers must not wait for the acknowledgement of earlier ones.
            let server =
                axum_server::Server::<SocketAddr>::from_listener(listener).acceptor(NoDelayAcceptor::new());
            tokio::spawn(server.serve(router.into_make_service()));
            port
        });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        });
        let kubeconfig = workspace.write("kubeconfigs", &format!("fake-{port}"), &config.to_string());
        Self { port, kubeconfig, cluster }
    }

    pub(crate) fn place(&self) -> Place {
        Place { port: self.port, tls: None }
    }

    pub(crate) fn companies(&self) -> u64 {
        self.cluster.companies
    }

    /// Sets the delay of a GET of a single object.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.cluster.delay.store(u64::try_from(delay.as_micros()).unwrap(), Relaxed);
    }

    /// Sets whether watches report changes.
    pub(crate) fn set_changes(&self, changes: bool) {
        self.cluster.changes.store(changes, Relaxed);
    }

    /// The number of GETs of single objects since the last call of this function.
    pub(crate) fn take_gets(&self) -> u64 {
        self.cluster.gets.swap(0, Relaxed)
    }

    /// The duration of the last list of Companies, from the request for the first page to the answer with the last one.
    pub(crate) fn take_listing(&self) -> Duration {
        let listing = self.cluster.listing.lock().unwrap().take();
        listing.map_or(Duration::ZERO, |(start, end)| end - start)
    }

    /// Forgets all conditions and the Lease. `judged` says whether all records have their condition from then on.
    pub(crate) fn reset_conditions(&self, judged: bool) {
        self.cluster.records.reset(judged);
    }

    /// The number of lists of whole records since [`Self::reset_conditions`].
    pub(crate) fn lists_of_records(&self) -> usize {
        self.cluster.records.lists.load(Relaxed)
    }

    /// The number of conditions that were written so far.
    pub(crate) fn writes(&self) -> u64 {
        self.cluster.records.writes()
    }

    /// The path of a page of the list of Companies.
    pub(crate) fn page(&self, size: u64, start: u64) -> String {
        let next = if start == 0 { String::new() } else { format!("&continue={start}") };
        format!("{GROUP}/companies?limit={size}{next}")
    }
}

fn router(cluster: Arc<Cluster>) -> Router {
    Router::new()
        .route(&format!("{GROUP}/{{plural}}"), get(collection))
        .route(&format!("{GROUP}/{{plural}}/{{name}}"), get(by_name))
        .route(&format!("{GROUP}/{{plural}}/{{name}}/status"), patch(write_status))
        .route(LEASES, post(hold_lease))
        .route(&format!("{LEASES}/{{name}}"), get(lease).put(hold_lease))
        .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(allow))
        .fallback(async || not_found())
        .with_state(cluster)
}

/// The path of a Company.
pub(crate) fn company_path(name: &str) -> String {
    format!("{GROUP}/companies/{name}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    limit: Option<u64>,
    r#continue: Option<u64>,
    watch: Option<String>,
    send_initial_events: Option<String>,
    timeout_seconds: Option<u64>,
}

/// Whether an object is returned as a whole, and not only its metadata.
fn wants_whole(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_none_or(|accepted| !accepted.contains("as=PartialObjectMetadata"))
}

/// A list or a watch of a kind.
async fn collection(
    State(cluster): State<Arc<Cluster>>,
    Path(plural): Path<String>,
    Query(options): Query<Options>,
    headers: HeaderMap,
) -> Response {
    let Some(kind) = records::kind(&plural) else { return not_found() };
    let (whole, count) = (wants_whole(&headers), cluster.count(kind));
    match options.watch.as_deref() {
        Some("true" | "1") => watch(cluster, &options, kind, whole, count),
        _ => list(&cluster, &options, kind, whole, count),
    }
}

fn list(cluster: &Cluster, options: &Options, kind: &'static str, whole: bool, count: u64) -> Response {
    let called = Instant::now();
    let start = options.r#continue.unwrap_or(0);
    let end = options.limit.filter(|limit| *limit > 0).map_or(count, |limit| count.min(start + limit));
    let mut metadata = json!({"resourceVersion": LISTED.to_string()});
    if end < count {
        metadata["continue"] = end.to_string().into();
        metadata["remainingItemCount"] = (count - end).into();
    }
    let (list_kind, version) = if whole {
        (format!("{kind}List"), "crm.milo.io/v1alpha1")
    } else {
        ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1")
    };
    let mut text =
        format!(r#"{{"kind":"{list_kind}","apiVersion":"{version}","metadata":{metadata},"items":["#);
    for number in start..end {
        if number > start {
            text.push(',');
        }
        cluster.write_listed(&mut text, (kind, number), whole);
    }
    text.push_str("]}");
    if whole {
        cluster.records.lists.fetch_add(usize::from(end == count), Relaxed);
    } else if kind == "Company" {
        let mut listing = cluster.listing.lock().unwrap();
        let began = if start == 0 { called } else { listing.map_or(called, |(began, _)| began) };
        *listing = Some((began, Instant::now()));
    }
    json_text(text)
}

impl Cluster {
    fn write_listed(&self, text: &mut String, id: records::Id, whole: bool) {
        if whole {
            self.records.show(text, id, self.companies);
        } else {
            write_object(text, id.0, &records::name(id), LISTED);
        }
    }
}

/// What a watch sends next.
struct Watching {
    cluster: Arc<Cluster>,
    kind: &'static str,
    whole: bool,
    ticks: Interval,
    /// The records whose condition was written.
    written: Receiver<records::Id>,
    /// The number of changes so far.
    number: u64,
}

fn watch(cluster: Arc<Cluster>, options: &Options, kind: &'static str, whole: bool, count: u64) -> Response {
    let listed = if options.send_initial_events.as_deref() == Some("true") {
        listed_by_watch(Arc::clone(&cluster), kind, whole, count).left_stream()
    } else {
        stream::empty().right_stream()
    };
    let lasts = Duration::from_secs(options.timeout_seconds.unwrap_or(WATCH));
    let end = tokio::time::Instant::now() + lasts;
    let written = cluster.records.changes.subscribe();
    let watching = Watching { cluster, kind, whole, ticks: interval(CHANGE), written, number: 0 };
    let events = stream::unfold(watching, move |mut watching| async move {
        let event = timeout_at(end, watching.next()).await.ok()?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(listed.chain(events))).into_response()
}

/// The events of a list by a watch, some hundred at a time, and the event that ends it.
fn listed_by_watch(
    cluster: Arc<Cluster>,
    kind: &'static str,
    whole: bool,
    count: u64,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let began = Instant::now();
    let starts = (0..count).step_by(EVENTS).map(Some).chain([None]);
    stream::iter(starts).map(move |start| {
        let Some(start) = start else {
            if kind == "Company" {
                *cluster.listing.lock().unwrap() = Some((began, Instant::now()));
            }
            let end = json!({"type": "BOOKMARK", "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {
                    "resourceVersion": LISTED.to_string(),
                    "annotations": {"k8s.io/initial-events-end": "true"},
                },
            }});
            return Ok(format!("{end}\n").into());
        };
        let mut text = String::new();
        for number in start..count.min(start + EVENTS as u64) {
            text.push_str(r#"{"type":"ADDED","object":"#);
            cluster.write_listed(&mut text, (kind, number), whole);
            text.push_str("}\n");
        }
        Ok(text.into())
    })
}

impl Watching {
    async fn next(&mut self) -> Bytes {
        loop {
            tokio::select! {
                written = self.written.recv() => match written {
                    Ok(id) if id.0 == self.kind => return self.written(id),
                    // It misses events, as a watch that a real API server ends and that then continues.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    // The sender lives as long as the cluster.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                _ = self.ticks.tick() => {
                    if self.kind == "Company" && self.cluster.changes.load(Relaxed) {
                        self.number += 1;
                        return change(&self.cluster, self.number - 1);
                    }
                }
            }
        }
    }

    fn written(&self, id: records::Id) -> Bytes {
        let records = &self.cluster.records;
        let mut text = r#"{"type":"MODIFIED","object":"#.to_owned();
        if self.whole {
            records.show(&mut text, id, self.cluster.companies);
        } else {
            write_object(&mut text, id.0, &records::name(id), records.version(id));
        }
        text.push_str("}\n");
        text.into()
    }
}

fn change(cluster: &Cluster, number: u64) -> Bytes {
    let version = cluster.version.fetch_add(1, Relaxed) + 1;
    let mut text = r#"{"type":"MODIFIED","object":"#.to_owned();
    write_object(&mut text, "Company", &company_name(number % cluster.companies.max(1)), version);
    text.push_str("}\n");
    text.into()
}

async fn by_name(
    State(cluster): State<Arc<Cluster>>,
    Path((plural, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    cluster.gets.fetch_add(1, Relaxed);
    let delay = cluster.delay.load(Relaxed);
    if delay > 0 {
        sleep(Duration::from_micros(delay)).await;
    }
    let mut text = String::new();
    match cluster.stored(&plural, &name) {
        Some(id) if wants_whole(&headers) => cluster.records.show(&mut text, id, cluster.companies),
        Some(id) => write_object(&mut text, id.0, &name, LISTED),
        None if plural == "companies" && name.starts_with("late-") => {
            write_object(&mut text, "Company", &name, LISTED);
        }
        None => return not_found(),
    }
    json_text(text)
}

/// A server-side apply of a condition.
async fn write_status(
    State(cluster): State<Arc<Cluster>>,
    Path((plural, name)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let Some(id) = cluster.stored(&plural, &name) else { return not_found() };
    let applied: Value = serde_json::from_slice(&body).unwrap();
    let current = cluster.records.version(id).to_string();
    if applied["metadata"]["resourceVersion"] != current {
        return status(StatusCode::CONFLICT, "Conflict", "the object has been modified");
    }
    cluster.records.write(id, cluster.version.fetch_add(1, Relaxed) + 1, &applied);
    let mut text = String::new();
    cluster.records.show(&mut text, id, cluster.companies);
    json_text(text)
}

async fn lease(State(cluster): State<Arc<Cluster>>) -> Response {
    cluster.records.lease().map_or_else(not_found, |lease| json_text(lease.to_string()))
}

/// Creates or replaces the Lease.
async fn hold_lease(State(cluster): State<Arc<Cluster>>, body: Bytes) -> Response {
    let lease = serde_json::from_slice(&body).unwrap();
    let version = cluster.version.fetch_add(1, Relaxed) + 1;
    json_text(cluster.records.hold(lease, version).to_string())
}

impl Cluster {
    /// The record of that name, if it is in a list.
    fn stored(&self, plural: &str, name: &str) -> Option<records::Id> {
        records::id(plural, name).filter(|id| id.1 < self.count(id.0))
    }

    /// The number of records of a kind in lists.
    fn count(&self, kind: &str) -> u64 {
        match kind {
            "Company" => self.companies,
            "Person" => self.people,
            _ => 0,
        }
    }
}

async fn allow() -> Response {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {},
        "status": {"allowed": true},
    });
    json_text(review.to_string())
}

/// The metadata of an object as an API server returns it, with a common size.
fn write_object(text: &mut String, kind: &str, name: &str, version: u64) {
    let is_written = write!(
        text,
        r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{"name":"{name}","uid":"6f1c7d1e-3a52-4c0e-9d3f-{version:012}","resourceVersion":"{version}","generation":1,"creationTimestamp":"2026-03-01T09:30:00Z","labels":{{"crm.milo.io/source":"referral","crm.milo.io/segment":"logistics","bench/kind":"{kind}"}},"managedFields":[{{"manager":"kubectl-create","operation":"Update","apiVersion":"crm.milo.io/v1alpha1","time":"2026-03-01T09:30:00Z","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:labels":{{".":{{}},"f:crm.milo.io/source":{{}},"f:crm.milo.io/segment":{{}}}}}},"f:spec":{{".":{{}},"f:creatorRef":{{".":{{}},"f:name":{{}}}},"f:displayName":{{}},"f:domains":{{}},"f:linkedinProfile":{{}}}}}}}}]}}}}"#
    );
    is_written.unwrap();
}

pub(crate) fn company_name(number: u64) -> String {
    records::name(("Company", number))
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn not_found() -> Response {
    status(StatusCode::NOT_FOUND, "NotFound", "there is no such object")
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code.as_u16(),
    });
    (code, json_text(status.to_string())).into_response()
}
