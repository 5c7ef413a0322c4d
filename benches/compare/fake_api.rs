//! A fake API server with any number of Companies, which has paged lists, watches and delays.

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
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::accept::NoDelayAcceptor;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout_at};

use crate::http::Place;
use crate::load::Client;
use crate::support::workspace::Workspace;

const GROUP: &str = "/apis/crm.milo.io/v1alpha1";
/// The time between two events of a watch, while there are changes.
const CHANGE: Duration = Duration::from_millis(10);
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
    delay: AtomicU64,
    gets: AtomicU64,
    changes: AtomicBool,
    version: AtomicU64,
    listing: Mutex<Option<(Instant, Instant)>>,
}

impl FakeApi {
    pub(crate) fn start(client: &Client, workspace: &Workspace, companies: u64) -> Self {
        let cluster = Arc::new(Cluster {
            companies,
            delay: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            changes: AtomicBool::new(false),
            version: AtomicU64::new(1000),
            listing: Mutex::new(None),
        });
        let router = Router::new()
            .route(&format!("{GROUP}/companies"), get(companies_list))
            .route(&format!("{GROUP}/people"), get(people_list))
            .route(&format!("{GROUP}/{{plural}}/{{name}}"), get(by_name))
            .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(allow))
            .fallback(async || not_found())
            .with_state(Arc::clone(&cluster));
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

    /// The path of a page of the list of Companies.
    pub(crate) fn page(&self, size: u64, start: u64) -> String {
        let next = if start == 0 { String::new() } else { format!("&continue={start}") };
        format!("{GROUP}/companies?limit={size}{next}")
    }
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

async fn companies_list(State(cluster): State<Arc<Cluster>>, Query(options): Query<Options>) -> Response {
    let companies = cluster.companies;
    list_or_watch(&cluster, &options, "Company", companies)
}

async fn people_list(State(cluster): State<Arc<Cluster>>, Query(options): Query<Options>) -> Response {
    list_or_watch(&cluster, &options, "Person", 0)
}

fn list_or_watch(cluster: &Arc<Cluster>, options: &Options, kind: &'static str, count: u64) -> Response {
    if options.send_initial_events.is_some() {
        // Like an API server without this feature. Clients then list.
        return status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "sendInitialEvents is forbidden");
    }
    match options.watch.as_deref() {
        Some("true" | "1") => watch(Arc::clone(cluster), options, kind),
        _ => list(cluster, options, kind, count),
    }
}

fn list(cluster: &Cluster, options: &Options, kind: &str, count: u64) -> Response {
    let called = Instant::now();
    let start = options.r#continue.unwrap_or(0);
    let end = options.limit.filter(|limit| *limit > 0).map_or(count, |limit| count.min(start + limit));
    let mut metadata = json!({"resourceVersion": "1000"});
    if end < count {
        metadata["continue"] = end.to_string().into();
        metadata["remainingItemCount"] = (count - end).into();
    }
    let mut text = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"items":["#
    );
    for number in start..end {
        if number > start {
            text.push(',');
        }
        write_object(&mut text, kind, &company_name(number), 1000);
    }
    text.push_str("]}");
    if kind == "Company" {
        let mut listing = cluster.listing.lock().unwrap();
        let began = if start == 0 { called } else { listing.map_or(called, |(began, _)| began) };
        *listing = Some((began, Instant::now()));
    }
    json_text(text)
}

fn watch(cluster: Arc<Cluster>, options: &Options, kind: &'static str) -> Response {
    let lasts = Duration::from_secs(options.timeout_seconds.unwrap_or(WATCH));
    let end = tokio::time::Instant::now() + lasts;
    let events = stream::unfold((cluster, 0_u64), move |(cluster, number)| async move {
        let change = async {
            loop {
                sleep(CHANGE).await;
                if kind == "Company" && cluster.changes.load(Relaxed) {
                    return change(&cluster, number);
                }
            }
        };
        let event = timeout_at(end, change).await.ok()?;
        Some((Ok::<_, Infallible>(event), (cluster, number + 1)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(events)).into_response()
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
) -> Response {
    cluster.gets.fetch_add(1, Relaxed);
    let delay = cluster.delay.load(Relaxed);
    if delay > 0 {
        sleep(Duration::from_micros(delay)).await;
    }
    let number = name.strip_prefix("company-").and_then(|number| number.parse::<u64>().ok());
    let exists = number.is_some_and(|number| number < cluster.companies) || name.starts_with("late-");
    if plural != "companies" || !exists {
        return not_found();
    }
    let mut text = String::new();
    write_object(&mut text, "Company", &name, 1000);
    json_text(text)
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
    format!("company-{number:08}")
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
