//! Tests the cluster directory against a simulated API server.
//!
//! The clock is paused and advances when all tasks wait, so the tests take no time.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use crm_core::api::CrmKind;
use crm_core::links::Count;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower_test::mock::{self, SendResponse};

use super::*;
use crate::directory::{Changed, TargetId};

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// The API server's side of the connection.
struct Server(mock::Handle<Request<Body>, Answer>);

/// A request that has not been answered yet.
struct Call {
    method: String,
    path: String,
    query: HashMap<String, String>,
    accept: String,
    body: Value,
    respond: SendResponse<Answer>,
}

/// The server side of a watch. It closes when this is dropped.
struct Watch(UnboundedSender<io::Result<Frame<Bytes>>>);

/// The reply to a call.
enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    /// More than is ever read.
    TooLarge,
    Reset,
    Never,
}

fn cluster() -> (Arc<Cluster>, Server) {
    cluster_counting(CrmKind::Note)
}

/// A cluster that counts records of this kind as dependents.
fn cluster_counting(kind: CrmKind) -> (Arc<Cluster>, Server) {
    let (service, handle) = mock::pair();
    let reader = Reader::new(Client::new(service, "default"));
    let cluster = Cluster::without_kinds(reader, &CancellationToken::new(), &TaskTracker::new());
    (Arc::new(cluster.counting_milo_notes(!kind.is_own())), Server(handle))
}

/// A cluster with these companies, and the watch that reports others.
async fn cluster_with(names: &[&str]) -> (Arc<Cluster>, Server, Watch) {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    server.next().await.list(names, "1", None);
    let watch = server.next().await.watch();
    (cluster, server, watch)
}

fn companies() -> Arc<ResourceKind> {
    Arc::new(ResourceKind::crm("Company", "companies"))
}

fn company(name: &str) -> Target {
    Target { kind: companies(), namespace: None, name: name.to_owned() }
}

fn contact(namespace: &str, name: &str) -> Target {
    let kind = ResourceKind {
        group: "example.com".into(),
        version: "v1".into(),
        kind: "Contact".into(),
        plural: "contacts".into(),
        namespaced: true,
    };
    Target { kind: Arc::new(kind), namespace: Some(namespace.into()), name: name.into() }
}

fn object(name: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "resourceVersion": "7"},
    })
}

fn terminating(name: &str) -> Value {
    let mut object = object(name);
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object
}

/// The object with this many more bytes of metadata.
fn large(mut object: Value, bytes: usize) -> Value {
    object["metadata"]["finalizers"] = json!(["x".repeat(bytes)]);
    object
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a message", "reason": reason, "code": code})
}

/// Lets all tasks run until they wait.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn limit() -> Duration {
    Duration::from_secs(2)
}

fn only(status: Vec<PartStatus>) -> PartStatus {
    let [part] = <[PartStatus; 1]>::try_from(status).unwrap();
    part
}

impl Server {
    /// The next call. This API server does not offer lists by a watch, so clients list pages.
    async fn next(&mut self) -> Call {
        loop {
            let call = self.any().await;
            if !call.is_list_by_watch() {
                return call;
            }
            call.fail(422, "Invalid");
        }
    }

    /// The next call, which may be a list by a watch.
    async fn any(&mut self) -> Call {
        let call = timeout(Duration::from_secs(3600), self.0.next_request()).await;
        let (request, respond) = call.expect("a call within an hour").expect("a client");
        Call::read(request, respond).await
    }

    /// Fails if there is a call before a watch would be renewed.
    async fn no_call(&mut self) {
        let call = timeout(Duration::from_secs(60), self.0.next_request()).await;
        assert!(call.is_err(), "{:?}", call.map(|call| call.map(|(request, _)| request.uri().clone())));
    }

    /// Fails if there is a call before the client is gone.
    async fn no_call_to_the_end(mut self) {
        let call = self.0.next_request().await;
        assert!(call.is_none(), "{:?}", call.map(|(request, _)| request.uri().clone()));
    }
}

impl Call {
    async fn read(request: Request<Body>, respond: SendResponse<Answer>) -> Self {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: query.into_owned().collect(),
            accept: head
                .headers
                .get("accept")
                .map(|accept| accept.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            respond,
        }
    }

    fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// Replies. Keep the returned value for a reply that never arrives.
    fn reply(self, reply: Reply) -> Option<SendResponse<Answer>> {
        let answer = |code: u16, text: Bytes| {
            let body = Full::new(text).map_err(|never| match never {}).boxed();
            Response::builder().status(code).body(body).unwrap()
        };
        match reply {
            Reply::Json(code, value) => self.respond.send_response(answer(code, value.to_string().into())),
            Reply::Text(code, text) => self.respond.send_response(answer(code, text.into())),
            Reply::TooLarge => self.respond.send_response(answer(200, vec![b' '; 9 << 20].into())),
            Reply::Reset => self.respond.send_error(io::Error::from(io::ErrorKind::ConnectionReset)),
            Reply::Never => return Some(self.respond),
        }
        None
    }

    fn fail(self, code: u16, reason: &str) {
        self.reply(Reply::Json(code, failure(code, reason)));
    }

    fn list(self, names: &[&str], version: &str, next: Option<&str>) {
        assert!(self.is_list(), "{} {:?}", self.path, self.query);
        let list = json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": version, "continue": next.unwrap_or_default()},
            "items": names.iter().map(|name| object(name)).collect::<Vec<_>>(),
        });
        self.reply(Reply::Json(200, list));
    }

    fn is_list(&self) -> bool {
        self.method == "GET" && self.query("limit").is_some() && self.query("watch").is_none()
    }

    fn is_list_by_watch(&self) -> bool {
        self.query("sendInitialEvents") == Some("true")
    }

    fn watch(self) -> Watch {
        assert_eq!(self.query("watch"), Some("true"), "{} {:?}", self.path, self.query);
        let (events, stream) = unbounded();
        self.respond.send_response(Response::new(BodyExt::boxed(StreamBody::new(stream))));
        Watch(events)
    }
}

/// An event as a watch sends it.
fn line(event: &str, object: Value) -> String {
    format!("{}\n", json!({"type": event, "object": object}))
}

impl Watch {
    async fn send(&self, event: &str, object: Value) {
        self.send_text(line(event, object)).await;
    }

    async fn send_text(&self, text: impl Into<Bytes>) {
        self.0.unbounded_send(Ok(Frame::data(text.into()))).unwrap();
        settle().await;
    }

    async fn reset(self) {
        self.0.unbounded_send(Err(io::ErrorKind::ConnectionReset.into())).unwrap();
        settle().await;
    }

    fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }
}

// Watching

#[tokio::test(start_paused = true)]
async fn names_are_read_in_pages_of_metadata_and_then_watched() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    let call = server.next().await;
    assert_eq!(call.path, "/apis/crm.milo.io/v1alpha1/companies");
    assert_eq!(call.query("limit"), Some("50"));
    assert_eq!(call.query("continue"), None);
    assert!(call.accept.contains("as=PartialObjectMetadataList"), "{}", call.accept);
    call.list(&["acme"], "5", Some("more"));
    let call = server.next().await;
    assert_eq!(call.query("limit"), Some("100"));
    assert_eq!(call.query("continue"), Some("more"));
    assert_eq!(cluster.recall(&company("acme")), None, "an incomplete list is not used");
    let part = only(cluster.status());
    assert_eq!((part.not_ready.as_deref(), part.required), (Some("not read yet"), true));
    call.list(&["globex"], "5", None);
    let call = server.next().await;
    assert_eq!(call.query("resourceVersion"), Some("5"));
    assert_eq!(call.query("timeoutSeconds"), Some("60"));
    assert_eq!(call.query("allowWatchBookmarks"), Some("true"));
    assert!(call.accept.contains("as=PartialObjectMetadata"), "{}", call.accept);
    let _watch = call.watch();
    for name in ["acme", "globex"] {
        assert_eq!(cluster.recall(&company(name)), Some(Presence::Exists));
    }
    assert_eq!(cluster.recall(&company("initech")), None);
    let expected = PartStatus {
        kind: "Company.crm.milo.io".into(),
        objects: 2,
        not_ready: None,
        required: false,
        restarts: 0,
    };
    assert_eq!(only(cluster.status()), expected);
}

#[tokio::test(start_paused = true)]
async fn events_update_the_known_names() {
    let (cluster, _server, watch) = cluster_with(&["acme"]).await;
    watch.send("ADDED", object("globex")).await;
    assert_eq!(cluster.recall(&company("globex")), Some(Presence::Exists));
    watch.send("MODIFIED", terminating("globex")).await;
    assert_eq!(cluster.recall(&company("globex")), Some(Presence::Terminating));
    watch.send("DELETED", terminating("globex")).await;
    assert_eq!(cluster.recall(&company("globex")), None);
    assert_eq!(cluster.recall(&company("acme")), Some(Presence::Exists));
}

#[tokio::test(start_paused = true)]
async fn followers_hear_of_objects_that_appear_or_disappear() {
    let (cluster, mut server, watch) = cluster_with(&["acme"]).await;
    let changes = cluster.changes();
    let following = changes.follow();
    let id = |name: &str| TargetId::from(&company(name));
    watch.send("MODIFIED", object("acme")).await;
    watch.send("ADDED", object("globex")).await;
    assert_eq!(following.next().await, Changed { targets: [id("globex")].into(), any: false });
    watch.send("MODIFIED", terminating("globex")).await;
    assert_eq!(following.next().await, Changed { targets: [id("globex")].into(), any: false });
    watch.send("DELETED", object("acme")).await;
    assert_eq!(following.next().await, Changed { targets: [id("acme")].into(), any: false });
    // After a new list, nobody knows what has changed.
    watch.send("ERROR", failure(410, "Expired")).await;
    server.next().await.list(&["acme"], "20", None);
    assert_eq!(following.next().await, Changed { targets: [].into(), any: true });
}

#[tokio::test(start_paused = true)]
async fn followers_hear_once_that_a_kind_does_not_exist() {
    let (cluster, mut server) = cluster();
    let changes = cluster.changes();
    let following = changes.follow();
    let any = Changed { targets: [].into(), any: true };
    cluster.watch(companies(), Need::Required);
    server.next().await.reply(Reply::Text(404, "404 page not found\n"));
    assert_eq!(following.next().await, any);
    for _ in 0..5 {
        server.next().await.reply(Reply::Text(404, "404 page not found\n"));
        settle().await;
    }
    assert_eq!(following.next().now_or_never(), None);
    server.next().await.list(&["acme"], "1", None);
    assert_eq!(following.next().await, any, "objects may exist now");
}

/// The event that ends a list by a watch.
fn end_of_list(version: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}},
    })
}

#[tokio::test(start_paused = true)]
async fn names_are_read_by_a_watch_that_goes_on_after_the_list() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    let call = server.any().await;
    assert_eq!(call.path, "/apis/crm.milo.io/v1alpha1/companies");
    assert_eq!(call.query("resourceVersionMatch"), Some("NotOlderThan"));
    assert_eq!(call.query("resourceVersion").unwrap_or_default(), "", "the latest state");
    assert_eq!(call.query("allowWatchBookmarks"), Some("true"));
    assert!(call.accept.contains("PartialObjectMetadata"), "{}", call.accept);
    let watch = call.watch();
    watch.send("ADDED", object("acme")).await;
    watch.send("ADDED", object("globex")).await;
    watch.send("DELETED", object("globex")).await;
    assert_eq!(only(cluster.status()).not_ready.as_deref(), Some("not read yet"));
    assert_eq!(cluster.recall(&company("acme")), None, "a list counts when it is complete");
    watch.send("BOOKMARK", end_of_list("9")).await;
    assert_eq!(only(cluster.status()).not_ready, None);
    assert_eq!(cluster.recall(&company("acme")), Some(Presence::Exists));
    assert_eq!(cluster.recall(&company("globex")), None);
    watch.send("ADDED", object("initech")).await;
    assert_eq!(cluster.recall(&company("initech")), Some(Presence::Exists));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_listed_continues_after_the_list() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    let watch = server.any().await.watch();
    watch.send("ADDED", object("acme")).await;
    watch.send("BOOKMARK", end_of_list("9")).await;
    drop(watch);
    let call = server.any().await;
    assert_eq!(call.query("resourceVersion"), Some("9"));
    assert!(!call.is_list_by_watch());
}

/// What is wrong with a list by a watch.
enum Broken {
    Ends,
    Resets,
    IsSilent,
    Fails(u16),
}

#[rstest]
#[case::ends(Broken::Ends)]
#[case::resets(Broken::Resets)]
#[case::silent(Broken::IsSilent)]
#[case::not_offered(Broken::Fails(422))]
#[case::not_known(Broken::Fails(400))]
#[case::not_now(Broken::Fails(504))]
#[tokio::test(start_paused = true)]
async fn pages_are_listed_if_a_list_by_a_watch_does_not_end(#[case] broken: Broken) {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    let call = server.any().await;
    assert!(call.is_list_by_watch());
    let mut kept = None;
    if let Broken::Fails(code) = broken {
        call.fail(code, "AReason");
    } else {
        let watch = call.watch();
        watch.send("ADDED", object("acme")).await;
        match broken {
            Broken::Ends => drop(watch),
            Broken::Resets => watch.reset().await,
            _ => kept = Some(watch),
        }
    }
    server.any().await.list(&["globex"], "1", None);
    let _watch = server.any().await.watch();
    settle().await;
    assert_eq!(cluster.recall(&company("acme")), None, "an incomplete list does not count");
    assert_eq!(cluster.recall(&company("globex")), Some(Presence::Exists));
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn the_pages_of_a_missing_kind_are_not_listed() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    server.any().await.fail(404, "NotFound");
    settle().await;
    assert_eq!(only(cluster.status()).not_ready.as_deref(), Some("the cluster has no such kind"));
    assert!(server.any().await.is_list_by_watch(), "it begins again");
}

#[tokio::test(start_paused = true)]
async fn namespaced_objects_are_watched_in_all_namespaces() {
    let (cluster, mut server) = cluster();
    cluster.watch(contact("sales", "bob").kind, Need::Optional);
    let call = server.next().await;
    assert_eq!(call.path, "/apis/example.com/v1/contacts");
    call.list(&[], "1", None);
    let watch = server.next().await.watch();
    let mut bob = object("bob");
    bob["metadata"]["namespace"] = json!("sales");
    watch.send("ADDED", bob).await;
    assert_eq!(cluster.recall(&contact("sales", "bob")), Some(Presence::Exists));
    assert_eq!(cluster.recall(&contact("support", "bob")), None);
}

#[derive(Debug, PartialEq)]
enum Gone {
    Event,
    Status,
    Line,
}

#[rstest]
#[case(Gone::Event)]
#[case(Gone::Status)]
#[case(Gone::Line)]
#[tokio::test(start_paused = true)]
async fn an_expired_watch_lists_again_and_answers_meanwhile(#[case] gone: Gone) {
    let (cluster, mut server, watch) = cluster_with(&["acme", "globex"]).await;
    match gone {
        Gone::Event => watch.send("ERROR", failure(410, "Expired")).await,
        Gone::Line => watch.send_text(failure(410, "Expired").to_string() + "\n").await,
        Gone::Status => {
            drop(watch);
            server.next().await.fail(410, "Expired");
        }
    }
    server.next().await.list(&["globex"], "20", Some("more"));
    let rest = server.next().await;
    assert_eq!(cluster.recall(&company("acme")), Some(Presence::Exists));
    assert_eq!(only(cluster.status()).not_ready.as_deref(), Some("the watch fell too far behind"));
    rest.list(&["hooli"], "20", None);
    let call = server.next().await;
    assert_eq!(call.query("resourceVersion"), Some("20"));
    assert_eq!(cluster.recall(&company("acme")), None);
    for name in ["globex", "hooli"] {
        assert_eq!(cluster.recall(&company(name)), Some(Presence::Exists));
    }
    assert_eq!(only(cluster.status()).not_ready, None);
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_continues_where_it_was() {
    let (cluster, mut server, watch) = cluster_with(&["acme"]).await;
    watch.send("ADDED", object("globex")).await;
    watch.reset().await;
    let part = only(cluster.status());
    assert_eq!(part.not_ready.as_deref(), Some("the API server cannot be reached"));
    assert!(!part.required, "all replicas would stop serving at once");
    assert_eq!(cluster.recall(&company("acme")), Some(Presence::Exists));
    let call = server.next().await;
    assert_eq!(call.query("resourceVersion"), Some("7"));
    let _watch = call.watch();
    sleep(crate::cluster::SILENCE).await;
    assert!(only(cluster.status()).not_ready.is_some());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(only(cluster.status()).not_ready, None, "a silent watch counts as working");
}

#[tokio::test(start_paused = true)]
async fn without_a_watch_names_are_used_only_for_some_minutes() {
    let (cluster, mut server, watch) = cluster_with(&["acme-corp"]).await;
    drop(watch);
    let denying: JoinHandle<()> = tokio::spawn(async move {
        loop {
            let call = server.next().await;
            match call.path.as_str() {
                REVIEWS => drop(call.reply(review(json!({"allowed": true})))),
                _ => call.fail(403, "Forbidden"),
            }
        }
    });
    let user = UserInfo::default();
    sleep(Duration::from_secs(299)).await;
    assert_eq!(cluster.recall(&company("acme-corp")), Some(Presence::Exists));
    assert!(cluster.suggest(&company("acme-crop"), &user, limit()).await.is_some());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(cluster.recall(&company("acme-corp")), None);
    assert!(cluster.suggest(&company("acme-crop"), &user, limit()).await.is_none());
    let trouble = "the API server answers with status 403";
    assert_eq!(only(cluster.status()).not_ready.as_deref(), Some(trouble));
    denying.abort();
}

#[tokio::test(start_paused = true)]
async fn a_missing_kind_is_retried_with_increasing_pauses() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    let begin = Instant::now();
    let mut waits = Vec::new();
    for _ in 0..10 {
        let call = server.next().await;
        assert!(call.is_list());
        waits.push(begin.elapsed().as_secs());
        call.reply(Reply::Text(404, "404 page not found\n"));
    }
    assert!(waits[9] - waits[8] >= 30, "{waits:?}");
    settle().await;
    let part = only(cluster.status());
    assert_eq!(part.not_ready.as_deref(), Some("the cluster has no such kind"));
    assert!(!part.required, "there is nothing to wait for");
    server.next().await.list(&["acme"], "1", None);
    let _watch = server.next().await.watch();
    assert_eq!(only(cluster.status()).not_ready, None);
    assert_eq!(cluster.recall(&company("acme")), Some(Presence::Exists));
}

#[tokio::test(start_paused = true)]
async fn the_names_of_a_removed_kind_are_forgotten() {
    let (cluster, mut server, watch) = cluster_with(&["acme"]).await;
    drop(watch);
    server.next().await.reply(Reply::Text(404, "404 page not found\n"));
    settle().await;
    assert_eq!(cluster.recall(&company("acme")), None);
    assert!(server.next().await.is_list());
}

#[tokio::test(start_paused = true)]
async fn a_required_kind_without_permission_is_not_ready() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Optional);
    server.next().await.fail(403, "Forbidden");
    settle().await;
    assert!(!only(cluster.status()).required);
    for need in [Need::Required, Need::Optional] {
        cluster.watch(companies(), need);
        let part = only(cluster.status());
        let trouble = "the API server answers with status 403";
        assert_eq!(part.not_ready.as_deref(), Some(trouble));
        assert!(part.required);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_without_an_answer_is_retried() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    let begin = Instant::now();
    let _unanswered = server.next().await;
    server.next().await.list(&["acme"], "1", None);
    assert!((70..75).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert_eq!(only(cluster.status()).not_ready.as_deref(), Some("the API server does not answer"));
    let _watch = server.next().await.watch();
    assert_eq!(cluster.recall(&company("acme")), Some(Presence::Exists));
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_watched_once() {
    let (cluster, mut server, _watch) = cluster_with(&["acme"]).await;
    cluster.watch(companies(), Need::Optional);
    cluster.recall(&company("acme"));
    cluster.watch_only(&[companies()]);
    server.no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_watched_after_the_first_question() {
    let (cluster, mut server) = cluster();
    assert_eq!(cluster.recall(&contact("sales", "bob")), None);
    assert_eq!(server.next().await.path, "/apis/example.com/v1/contacts");
    assert!(!only(cluster.status()).required);
}

#[tokio::test(start_paused = true)]
async fn only_our_own_kinds_and_those_of_the_policy_are_watched() {
    let (cluster, mut server, companies_watch) = cluster_with(&[]).await;
    cluster.watch_only(&[contact("sales", "bob").kind]);
    server.next().await.list(&[], "1", None);
    let contacts_watch = server.next().await.watch();
    cluster.watch_only(&[]);
    settle().await;
    assert!(contacts_watch.is_given_up());
    assert!(!companies_watch.is_given_up());
    assert_eq!(only(cluster.status()).kind, "Company.crm.milo.io");
}

#[tokio::test(start_paused = true)]
async fn a_started_cluster_waits_for_companies_and_people() {
    let (service, handle) = mock::pair();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let cluster = Cluster::start(Reader::new(Client::new(service, "default")), &stop, &tasks);
    let mut server = Server(handle);
    let mut paths = [server.next().await.path, server.next().await.path];
    paths.sort();
    let expected = ["/apis/crm.milo.io/v1alpha1/companies", "/apis/crm.milo.io/v1alpha1/people"];
    assert_eq!(paths, expected);
    assert!(cluster.status().iter().all(|part| part.required && part.not_ready.is_some()));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn the_tasks_stop_with_the_directory() {
    let (cluster, server, _watch) = cluster_with(&[]).await;
    let tasks = cluster.tasks.clone();
    drop(cluster);
    tasks.close();
    tasks.wait().await;
    server.no_call_to_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_restarted_and_reported() {
    let part = Part::new(companies(), CancellationToken::new(), Arc::default());
    let runs = std::cell::Cell::new(0);
    let work = || async {
        runs.set(runs.get() + 1);
        match runs.get() {
            1 => panic!("intended by the test"),
            _ => std::future::pending::<()>().await,
        }
    };
    let supervised = watch::supervise(&part, work);
    let mut supervised = std::pin::pin!(supervised);
    assert!(futures::poll!(&mut supervised).is_pending());
    assert_eq!(part.status().not_ready.as_deref(), Some("the watch panicked"));
    assert_eq!(part.status().restarts, 1);
    assert!(timeout(Duration::from_secs(5), supervised).await.is_err());
    assert_eq!(runs.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_large_metadata_is_read_in_smaller_pages_and_then_watched() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    server.next().await.reply(Reply::TooLarge);
    let call = server.next().await;
    assert_eq!(call.query("limit"), Some("25"));
    call.list(&["acme"], "5", Some("more"));
    let call = server.next().await;
    assert_eq!((call.query("limit"), call.query("continue")), (Some("50"), Some("more")));
    call.list(&["globex"], "6", None);
    let call = server.next().await;
    assert_eq!(call.query("resourceVersion"), Some("6"), "the version of the last page");
    let watch = call.watch();
    watch.send("ADDED", large(object("hooli"), 3 << 20)).await;
    for name in ["acme", "globex", "hooli"] {
        assert_eq!(cluster.recall(&company(name)), Some(Presence::Exists));
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_too_large_for_a_page_is_reported() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    for _ in 0..6 {
        server.next().await.reply(Reply::TooLarge);
    }
    let call = server.next().await;
    assert_eq!(call.query("limit"), Some("50"), "from the beginning, after a pause");
    assert_eq!(only(cluster.status()).not_ready.as_deref(), Some("an object is too large to be read"));
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_resource_version_is_requested_again() {
    let (cluster, mut server) = cluster();
    cluster.watch(companies(), Need::Required);
    server.next().await.list(&["acme"], "", None);
    let call = server.next().await;
    assert!(call.is_list());
    assert_eq!(cluster.recall(&company("acme")), None);
}

#[tokio::test(start_paused = true)]
async fn a_finished_watch_continues_at_once_from_the_last_bookmark() {
    let (cluster, mut server, watch) = cluster_with(&["acme"]).await;
    watch.send("ADDED", object("globex")).await;
    let mut bookmark = object("");
    bookmark["metadata"] = json!({"resourceVersion": "42"});
    watch.send("BOOKMARK", bookmark).await;
    let begin = Instant::now();
    drop(watch);
    let call = server.next().await;
    assert_eq!(call.query("resourceVersion"), Some("42"));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let _watch = call.watch();
    assert_eq!(only(cluster.status()).not_ready, None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_does_not_continue_at_once() {
    let (cluster, mut server, watch) = cluster_with(&["acme"]).await;
    let begin = Instant::now();
    drop(watch);
    let mut ends = vec![];
    for _ in 0..3 {
        drop(server.next().await.watch());
        ends.push(begin.elapsed());
    }
    assert!(ends[0] > Duration::from_millis(100), "{ends:?}");
    assert!(ends[2] - ends[1] > ends[0], "the pauses get longer: {ends:?}");
    assert_eq!(only(cluster.status()).not_ready.as_deref(), Some("the API server ends watches at once"));
    assert_eq!(cluster.recall(&company("acme")), Some(Presence::Exists));
}

#[tokio::test(start_paused = true)]
async fn empty_lines_between_events_are_passed() {
    let (cluster, _server, watch) = cluster_with(&[]).await;
    watch.send_text("\n\r\n".to_owned() + &line("ADDED", object("globex")) + "\n").await;
    watch.send("ADDED", object("hooli")).await;
    for name in ["globex", "hooli"] {
        assert_eq!(cluster.recall(&company(name)), Some(Presence::Exists), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_arrive_in_pieces_and_together() {
    let (cluster, _server, watch) = cluster_with(&[]).await;
    let globex = line("ADDED", object("globex"));
    for at in [1, 30, globex.len() - 1] {
        watch.send_text(line("DELETED", object("globex"))).await;
        let (begin, end) = globex.split_at(at);
        watch.send_text(begin.to_owned()).await;
        assert_eq!(cluster.recall(&company("globex")), None);
        watch.send_text(end.to_owned()).await;
        assert_eq!(cluster.recall(&company("globex")), Some(Presence::Exists), "after {begin}");
    }
    let together = line("DELETED", object("globex")) + &line("ADDED", object("hooli")) + &globex[..40];
    watch.send_text(together).await;
    assert_eq!(cluster.recall(&company("globex")), None);
    assert_eq!(cluster.recall(&company("hooli")), Some(Presence::Exists));
    watch.send_text(globex[40..].to_owned()).await;
    assert_eq!(cluster.recall(&company("globex")), Some(Presence::Exists));
}

#[tokio::test(start_paused = true)]
async fn an_event_without_its_end_does_not_count() {
    let (cluster, mut server, watch) = cluster_with(&[]).await;
    watch.send("ADDED", object("acme")).await;
    let mut globex = object("globex");
    globex["metadata"]["resourceVersion"] = json!("8");
    watch.send_text(line("ADDED", globex).trim_end().to_owned()).await;
    drop(watch);
    let call = server.next().await;
    assert_eq!(call.query("resourceVersion"), Some("7"), "the next call sends it again");
    assert_eq!(cluster.recall(&company("globex")), None);
}

#[rstest]
#[case::no_json("{\n".to_owned())]
#[case::no_event("{\"kind\":\"Status\"}\n".to_owned())]
#[case::another_type(line("CHANGED", object("globex")))]
#[case::too_large(line("ADDED", large(object("globex"), 9 << 20)))]
#[tokio::test(start_paused = true)]
async fn a_watch_continues_after_an_event_that_cannot_be_read(#[case] event: String) {
    let (cluster, mut server, watch) = cluster_with(&["acme"]).await;
    watch.send_text(event).await;
    assert!(watch.is_given_up());
    assert!(only(cluster.status()).not_ready.is_some());
    let watch = server.next().await.watch();
    watch.send("ADDED", object("hooli")).await;
    assert_eq!(cluster.recall(&company("hooli")), Some(Presence::Exists));
    assert_eq!(only(cluster.status()).not_ready, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_replaced() {
    let (_cluster, mut server, silent) = cluster_with(&["acme"]).await;
    let begin = Instant::now();
    let call = server.next().await;
    assert_eq!(call.query("watch"), Some("true"));
    assert_eq!(begin.elapsed().as_secs(), 65);
    assert!(silent.is_given_up());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_event_is_requested_again() {
    let (cluster, mut server, watch) = cluster_with(&["acme"]).await;
    watch.send("ADDED", json!({"metadata": {"name": 7, "resourceVersion": "9"}})).await;
    let call = server.next().await;
    assert_eq!(call.query("resourceVersion"), Some("1"), "before the event");
    let watch = call.watch();
    watch.send("ADDED", object("globex")).await;
    assert_eq!(cluster.recall(&company("globex")), Some(Presence::Exists));
}

// Single objects

/// The expected call for one question: it is called once, at this path, and replies this.
struct Called(&'static str, Reply);

impl Called {
    fn play(self, mut server: Server) -> JoinHandle<()> {
        tokio::spawn(async move {
            let Self(path, reply) = self;
            let call = server.next().await;
            assert_eq!(call.path, path);
            let _unanswered = call.reply(reply);
            server.no_call_to_the_end().await;
        })
    }
}

const ACME: &str = "/apis/crm.milo.io/v1alpha1/companies/acme";

#[rstest]
#[case::found(Reply::Json(200, object("acme")), "Ok(Exists)")]
#[case::terminating(Reply::Json(200, terminating("acme")), "Ok(Terminating)")]
#[case::no_permission(Reply::Json(403, failure(403, "Forbidden")), "Failed")]
#[case::overloaded(Reply::Json(429, failure(429, "TooManyRequests")), "Failed")]
#[case::broken(Reply::Text(500, "oops"), "Failed")]
#[case::unavailable(Reply::Text(503, "no backend"), "Failed")]
#[case::reset(Reply::Reset, "Failed")]
#[case::no_json(Reply::Text(200, "<html>Welcome</html>"), "Failed")]
#[case::no_object(Reply::Json(200, json!({})), "Failed")]
#[case::another_object(Reply::Json(200, object("globex")), "Failed")]
#[case::too_large(Reply::TooLarge, "TooLarge")]
#[case::silence(Reply::Never, "Late")]
#[case::missing(Reply::Json(404, failure(404, "NotFound")), "Ok(Missing)")]
#[case::no_such_kind(Reply::Text(404, "404 page not found"), "Ok(Missing)")]
#[tokio::test(start_paused = true)]
async fn a_question_is_one_call(#[case] reply: Reply, #[case] expected: &str) {
    let (cluster, server) = cluster();
    let playing = Called(ACME, reply).play(server);
    let answer = cluster.confirm(&company("acme"), limit()).await;
    let answer = match &answer {
        Ok(presence) => format!("Ok({presence:?})"),
        Err(LookupError::Failed(_)) => "Failed".to_owned(),
        Err(LookupError::TooLarge(_)) => "TooLarge".to_owned(),
        Err(LookupError::Busy) => "Busy".to_owned(),
        Err(LookupError::NoUid) => "NoUid".to_owned(),
        Err(LookupError::Late(after)) => {
            assert_eq!(*after, limit());
            "Late".to_owned()
        }
    };
    assert_eq!(answer, expected);
    drop(cluster);
    playing.await.unwrap();
}

#[rstest]
#[case::in_a_namespace(contact("sales", "bob"), "/apis/example.com/v1/namespaces/sales/contacts/bob")]
#[case::with_signs(company("system:a@b.c+d"), "/apis/crm.milo.io/v1alpha1/companies/system:a@b.c+d")]
#[case::with_characters_that_end_a_path(
    company("a?b#c d"),
    "/apis/crm.milo.io/v1alpha1/companies/a%3Fb%23c%20d"
)]
#[case::beyond_ascii(company("josé"), "/apis/crm.milo.io/v1alpha1/companies/jos%C3%A9")]
#[tokio::test(start_paused = true)]
async fn a_name_is_one_segment_of_the_path(#[case] target: Target, #[case] path: &'static str) {
    let (cluster, server) = cluster();
    let playing = Called(path, Reply::Json(200, object(&target.name))).play(server);
    assert_eq!(cluster.confirm(&target, limit()).await.unwrap(), Presence::Exists);
    drop(cluster);
    playing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_metadata_is_requested() {
    let (cluster, mut server) = cluster();
    let asking = tokio::spawn(async move { cluster.confirm(&company("acme"), limit()).await });
    let call = server.next().await;
    assert!(call.accept.contains("as=PartialObjectMetadata"), "{}", call.accept);
    assert_eq!(call.query, HashMap::new());
    call.reply(Reply::Json(200, object("acme")));
    assert_eq!(asking.await.unwrap().unwrap(), Presence::Exists);
}

/// Asks this many times at once; the tasks have asked when this returns.
async fn ask_at_once(cluster: &Arc<Cluster>, times: usize) -> JoinHandle<Vec<Result<Presence, LookupError>>> {
    let cluster = cluster.clone();
    let asking = tokio::spawn(async move {
        let target = company("acme");
        join_all((0..times).map(|_| cluster.confirm(&target, limit()))).await
    });
    settle().await;
    asking
}

#[tokio::test(start_paused = true)]
async fn sixty_four_equal_misses_are_two_calls() {
    let (cluster, mut server) = cluster();
    let asking = ask_at_once(&cluster, 64).await;
    for _ in 0..2 {
        server.next().await.fail(404, "NotFound");
    }
    let answers = asking.await.unwrap();
    assert_eq!(answers.len(), 64);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Presence::Missing))));
    drop(cluster);
    server.no_call_to_the_end().await;
}

#[rstest]
#[case::found(Reply::Json(200, object("acme")))]
#[case::failed(Reply::Text(500, "oops"))]
#[tokio::test(start_paused = true)]
async fn sixty_four_other_equal_questions_are_one_call(#[case] reply: Reply) {
    let (cluster, mut server) = cluster();
    let asking = ask_at_once(&cluster, 64).await;
    server.next().await.reply(reply);
    let answers = asking.await.unwrap();
    assert!(answers.iter().all(|answer| !matches!(answer, Ok(Presence::Missing))));
    drop(cluster);
    server.no_call_to_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_created_during_a_call_is_found_by_later_questions() {
    let (cluster, mut server) = cluster();
    let early = ask_at_once(&cluster, 1).await;
    let call = server.next().await;
    // The API server has answered. Then the object is created, and then somebody asks.
    let late = ask_at_once(&cluster, 3).await;
    call.fail(404, "NotFound");
    assert!(matches!(early.await.unwrap()[..], [Ok(Presence::Missing)]));
    server.next().await.reply(Reply::Json(200, object("acme")));
    assert!(late.await.unwrap().iter().all(|answer| matches!(answer, Ok(Presence::Exists))));
    drop(cluster);
    server.no_call_to_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_affects_only_its_own_question() {
    let (cluster, mut server) = cluster();
    let patient = ask_at_once(&cluster, 1).await;
    let begin = Instant::now();
    let hasty = cluster.confirm(&company("acme"), Duration::from_millis(100)).await;
    assert!(matches!(hasty, Err(LookupError::Late(_))));
    assert_eq!(begin.elapsed(), Duration::from_millis(100));
    server.next().await.reply(Reply::Json(200, object("acme")));
    assert!(matches!(patient.await.unwrap()[..], [Ok(Presence::Exists)]));
    drop(cluster);
    server.no_call_to_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_the_second_call_as_well() {
    let (cluster, mut server) = cluster();
    let asking = ask_at_once(&cluster, 2).await;
    let begin = Instant::now();
    let call = server.next().await;
    sleep(Duration::from_millis(1500)).await;
    call.fail(404, "NotFound");
    let _unanswered = server.next().await;
    let answers = asking.await.unwrap();
    assert!(matches!(answers[..], [Ok(Presence::Missing), Err(LookupError::Late(_))]), "{answers:?}");
    assert!(begin.elapsed() <= limit());
}

// Suggestions

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

fn review(status: Value) -> Reply {
    let kind = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"});
    let mut review = kind;
    review["spec"] = json!({});
    review["status"] = status;
    Reply::Json(201, review)
}

#[rstest]
#[case::allowed("acme-crop", Called(REVIEWS, review(json!({"allowed": true}))), Some("acme-corp"))]
#[case::not_allowed("acme-crop", Called(REVIEWS, review(json!({"allowed": false}))), None)]
#[case::denied("acme-crop", Called(REVIEWS, review(json!({"allowed": true, "denied": true}))), None)]
#[case::without_status("acme-crop", Called(REVIEWS, review(Value::Null)), None)]
#[case::denied("acme-crop", Called(REVIEWS, Reply::Json(403, failure(403, "Forbidden"))), None)]
#[case::reset("acme-crop", Called(REVIEWS, Reply::Reset), None)]
#[case::silence("acme-crop", Called(REVIEWS, Reply::Never), None)]
#[case::nothing_near("umbrella", Called(REVIEWS, review(json!({"allowed": true}))), None)]
#[case::nothing_near_and_not_allowed("umbrella", Called(REVIEWS, review(json!({"allowed": false}))), None)]
#[case::the_near_one_is_being_deleted("globes", Called(REVIEWS, review(json!({"allowed": true}))), None)]
#[tokio::test(start_paused = true)]
async fn a_name_is_suggested_to_users_who_may_list(
    #[case] wanted: &str,
    #[case] called: Called,
    #[case] expected: Option<&str>,
) {
    let (cluster, server, watch) = cluster_with(&["acme-corp", "hooli"]).await;
    watch.send("ADDED", terminating("globex")).await;
    let playing = called.play(server);
    let begin = Instant::now();
    let name = cluster.suggest(&company(wanted), &UserInfo::default(), limit()).await;
    assert_eq!(name.as_deref(), expected);
    assert!(begin.elapsed() <= limit());
    drop(cluster);
    playing.await.unwrap();
}

/// Otherwise the response time would tell users without permission whether a similar name exists.
#[rstest]
#[case::never_watched(contact("sales", "bob"))]
#[case::something_near(company("acme-crop"))]
#[case::nothing_near(company("umbrella"))]
#[tokio::test(start_paused = true)]
async fn the_permission_is_checked_first_and_nothing_is_searched_without_it(#[case] wanted: Target) {
    let (cluster, mut server, _watch) = cluster_with(&["acme-corp"]).await;
    let suggesting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.suggest(&wanted, &UserInfo::default(), limit()).await }
    });
    let call = server.next().await;
    assert_eq!(call.path, REVIEWS);
    // A kind is watched from the first search on.
    assert_eq!(cluster.status().len(), 1);
    call.reply(review(json!({"allowed": false})));
    assert_eq!(suggesting.await.unwrap(), None);
    assert_eq!(cluster.status().len(), 1);
    drop(cluster);
    server.no_call_to_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn an_access_review_of_a_large_user_waits_for_its_turn() {
    let (cluster, mut server, _watch) = cluster_with(&["acme-corp"]).await;
    let user = UserInfo { groups: Some(vec!["g".repeat(1 << 20)]), ..UserInfo::default() };
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let (cluster, user) = (cluster.clone(), user.clone());
            tokio::spawn(async move { cluster.suggest(&company("acme-crop"), &user, limit()).await })
        })
        .collect();
    let first = server.next().await;
    let _second = server.next().await;
    assert!(timeout(Duration::from_millis(100), server.0.next_request()).await.is_err());
    first.reply(review(json!({"allowed": true})));
    let _third = server.next().await;
    for asking in asking {
        asking.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_permission_to_list_is_checked_for_this_user_and_namespace() {
    let (cluster, mut server) = cluster();
    let target = contact("sales", "bobb");
    cluster.watch(target.kind.clone(), Need::Optional);
    server.next().await.list(&[], "1", None);
    let watch = server.next().await.watch();
    let mut bob = object("bob");
    bob["metadata"]["namespace"] = json!("sales");
    watch.send("ADDED", bob).await;
    let user: UserInfo = serde_json::from_value(json!({
        "username": "ann", "uid": "7", "groups": ["staff"], "extra": {"example.com/team": ["a", "b"]},
    }))
    .unwrap();
    let asking = tokio::spawn(async move { cluster.suggest(&target, &user, limit()).await });
    let call = server.next().await;
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", REVIEWS));
    let expected = json!({
        "user": "ann", "uid": "7", "groups": ["staff"], "extra": {"example.com/team": ["a", "b"]},
        "resourceAttributes": {
            "verb": "list", "group": "example.com", "version": "v1", "resource": "contacts", "namespace": "sales",
        },
    });
    assert_eq!(call.body["spec"], expected);
    call.reply(review(json!({"allowed": true})));
    assert_eq!(asking.await.unwrap().as_deref(), Some("bob"));
}

// Dependents

const PEOPLE: &str = "/apis/crm.milo.io/v1alpha1/people";
const NOTES: &str = "/apis/crm.milo.io/v1alpha1/notes";

/// A note about an object of this group, as in a list.
fn note(name: &str, group: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7"}, "spec": {
        "content": "said much", "subjectRef": {"apiGroup": group, "kind": "Company", "name": "acme"},
    }})
}

fn page(items: Vec<Value>, next: &str) -> Reply {
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"continue": next}, "items": items});
    Reply::Json(200, list)
}

fn objects(names: std::ops::Range<usize>) -> Vec<Value> {
    names.map(|number| object(&format!("p{number:04}"))).collect()
}

type Finding = JoinHandle<Result<Tally, LookupError>>;

/// Counts the dependents of this kind of the company, and answers whether the user may list them.
async fn find(kind: CrmKind, may_list: Reply) -> (Finding, Server, Call) {
    let (cluster, mut server) = cluster_counting(kind);
    let question = Dependents::of(CrmKind::Company, "acme").into_iter().find(|found| found.kind == kind);
    let finding =
        tokio::spawn(
            async move { cluster.dependents(&question.unwrap(), &UserInfo::default(), limit()).await },
        );
    let list = server.next().await;
    let right = server.next().await;
    assert_eq!((list.method.as_str(), right.path.as_str()), ("GET", REVIEWS));
    assert_eq!(right.body["spec"]["resourceAttributes"]["resource"], kind.plural());
    right.reply(may_list);
    (finding, server, list)
}

fn allowed() -> Reply {
    review(json!({"allowed": true}))
}

#[tokio::test(start_paused = true)]
async fn people_are_counted_by_their_metadata() {
    let (finding, _server, list) = find(CrmKind::Person, allowed()).await;
    assert_eq!(list.path, PEOPLE);
    assert_eq!(list.query("fieldSelector"), Some("spec.companyRef.name=acme"));
    assert_eq!(list.query("resourceVersion"), None, "only the latest state is valid");
    assert!(list.accept.contains("PartialObjectMetadataList"), "{}", list.accept);
    let items = vec![object("ada"), object("bob"), terminating("cem"), object("dan"), object("eve")];
    list.reply(page(items, ""));
    let names = ["ada", "bob", "dan"].map(str::to_owned).to_vec();
    let (count, owned) = (Count::Exactly(4), Count::Exactly(0));
    let expected = Tally { count, owned, names, visibility: Visibility::Visible };
    assert_eq!(finding.await.unwrap().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_may_be_null() {
    let (finding, _server, list) = find(CrmKind::Person, allowed()).await;
    list.reply(Reply::Json(200, json!({"kind": "PartialObjectMetadataList", "metadata": {}, "items": null})));
    assert_eq!(finding.await.unwrap().unwrap().count, Count::Exactly(0));
}

#[tokio::test(start_paused = true)]
async fn notes_about_a_kind_of_another_group_do_not_count() {
    let (finding, _server, list) = find(CrmKind::Note, review(json!({"allowed": false}))).await;
    assert_eq!(list.path, NOTES);
    let selector = "spec.subjectRef.kind=Company,spec.subjectRef.name=acme";
    assert_eq!(list.query("fieldSelector"), Some(selector));
    list.reply(page(vec![note("a", "example.com"), note("b", "crm.milo.io"), object("c")], ""));
    let (count, owned) = (Count::Exactly(1), Count::Exactly(0));
    let expected = Tally { count, owned, names: vec!["b".into()], visibility: Visibility::Hidden };
    assert_eq!(finding.await.unwrap().unwrap(), expected);
}

fn owned(name: &str, kind: &str) -> Value {
    let mut object = object(name);
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "name": "acme", "uid": "u-1"}]);
    object
}

#[tokio::test(start_paused = true)]
async fn dependents_that_the_record_owns_are_counted_apart() {
    let (finding, _server, list) = find(CrmKind::Person, allowed()).await;
    list.reply(page(vec![owned("ada", "Company"), object("bob"), owned("cem", "Person")], ""));
    let tally = finding.await.unwrap().unwrap();
    assert_eq!((tally.count, tally.owned), (Count::Exactly(2), Count::Exactly(1)));
    assert_eq!(tally.names, ["bob", "cem"]);
}

#[tokio::test(start_paused = true)]
async fn a_partial_count_of_only_owned_dependents_is_no_answer() {
    let (finding, mut server, list) = find(CrmKind::Person, allowed()).await;
    list.reply(page(vec![owned("ada", "Company")], "more"));
    let _kept = server.next().await.reply(Reply::Json(410, failure(410, "Expired")));
    assert!(finding.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn owned_dependents_do_not_end_the_count() {
    let (finding, mut server, list) = find(CrmKind::Person, allowed()).await;
    list.reply(page((0..1001).map(|index| owned(&format!("a{index}"), "Company")).collect(), "more"));
    let _kept = server.next().await.reply(page(vec![object("zoe")], ""));
    let tally = finding.await.unwrap().unwrap();
    assert_eq!((tally.count, tally.owned), (Count::Exactly(1), Count::Exactly(1001)));
}

#[tokio::test(start_paused = true)]
async fn milos_notes_are_counted_only_if_they_are_registered() {
    let (cluster, server) = cluster();
    let questions = Dependents::of(CrmKind::Company, "acme");
    let question = questions.into_iter().find(|question| question.kind == CrmKind::ClusterNote).unwrap();
    let tally = cluster.dependents(&question, &UserInfo::default(), limit()).await.unwrap();
    assert_eq!(tally, Tally::none());
    drop(cluster);
    server.no_call_to_the_end().await;

    let (finding, _server, list) = find(CrmKind::ClusterNote, allowed()).await;
    assert_eq!(list.path, "/apis/notes.miloapis.com/v1alpha1/clusternotes");
    let selector = "spec.subjectRef.kind=Company,spec.subjectRef.name=acme";
    assert_eq!(list.query("fieldSelector"), Some(selector));
    list.reply(page(vec![note("a", "crm.milo.io")], ""));
    assert_eq!(finding.await.unwrap().unwrap().count, Count::Exactly(1));
}

#[tokio::test(start_paused = true)]
async fn the_uid_comes_from_the_api_server_and_shares_the_call_of_equal_questions() {
    let (cluster, mut server) = cluster();
    let target =
        || Target { kind: Arc::new(CrmKind::Company.resource()), namespace: None, name: "acme".into() };
    let asking = |cluster: &Arc<Cluster>| {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.identify(&target(), limit()).await })
    };
    let (first, second) = (asking(&cluster), asking(&cluster));
    settle().await;
    let mut acme = object("acme");
    acme["metadata"]["uid"] = json!("u-1");
    let call = server.next().await;
    call.reply(Reply::Json(200, acme));
    for finding in [first, second] {
        let found = finding.await.unwrap().unwrap();
        assert_eq!((found.presence, found.uid.as_deref()), (Presence::Exists, Some("u-1")));
    }
    drop(cluster);
    server.no_call_to_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn counting_stops_at_the_maximum_and_shows_whether_there_are_more() {
    for (last, expected) in [(0, Count::Exactly(1000)), (1, Count::MoreThan(1000))] {
        let (finding, mut server, mut list) = find(CrmKind::Person, allowed()).await;
        let (mut told, mut limits) = (0, Vec::new());
        while told < 1000 {
            let limit: usize = list.query("limit").unwrap().parse().unwrap();
            limits.push(limit);
            let end = (told + limit).min(1000);
            list.reply(page(objects(told..end), &format!("after-{end}")));
            list = server.next().await;
            assert_eq!(list.query("continue"), Some(format!("after-{end}").as_str()));
            told = end;
        }
        assert_eq!(limits, [50, 100, 200, 250, 250, 151], "no more are requested than needed");
        assert_eq!(list.query("limit"), Some("1"));
        list.reply(page(objects(1000..1000 + last), ""));
        assert_eq!(finding.await.unwrap().unwrap().count, expected);
    }
}

#[rstest]
#[case::denied(Reply::Json(410, failure(410, "Expired")))]
#[case::reset(Reply::Reset)]
#[case::silent(Reply::Never)]
#[tokio::test(start_paused = true)]
async fn a_partial_count_before_a_failure_is_an_answer(#[case] reply: Reply) {
    let (finding, mut server, list) = find(CrmKind::Person, allowed()).await;
    list.reply(page(objects(0..250), "more"));
    let _kept = server.next().await.reply(reply);
    assert_eq!(finding.await.unwrap().unwrap().count, Count::AtLeast(250));
}

#[rstest]
#[case::denied(Reply::Json(403, failure(403, "Forbidden")), false)]
#[case::another_document(Reply::Json(200, json!({"kind": "Status", "metadata": {}})), false)]
#[case::reset(Reply::Reset, false)]
#[case::silent(Reply::Never, true)]
#[tokio::test(start_paused = true)]
async fn a_failed_list_is_not_an_answer(#[case] reply: Reply, #[case] late: bool) {
    let begin = Instant::now();
    let (finding, _server, list) = find(CrmKind::Person, allowed()).await;
    let _kept = list.reply(reply);
    let error = finding.await.unwrap().unwrap_err();
    assert_eq!(matches!(error, LookupError::Late(_)), late, "{error:?}");
    assert!(begin.elapsed() <= limit());
}

#[rstest]
#[case::denied(Reply::Json(403, failure(403, "Forbidden")))]
#[case::reset(Reply::Reset)]
#[tokio::test(start_paused = true)]
async fn a_failed_access_review_is_not_an_answer(#[case] reply: Reply) {
    let (finding, _server, list) = find(CrmKind::Person, reply).await;
    list.reply(page(vec![object("ada")], ""));
    assert!(matches!(finding.await.unwrap(), Err(LookupError::Failed(_))));
}

/// Counts the people of a company. The task has sent its requests when this returns.
async fn count(cluster: &Arc<Cluster>, company: &str, limit: Duration) -> Finding {
    let (cluster, question) = (cluster.clone(), Dependents::of(CrmKind::Company, company).remove(0));
    let user = UserInfo::default();
    let finding = tokio::spawn(async move { cluster.dependents(&question, &user, limit).await });
    settle().await;
    finding
}

/// The next list call, after all reviews before it were allowed.
async fn next_list(server: &mut Server) -> Call {
    loop {
        let call = server.next().await;
        match call.path.as_str() {
            REVIEWS => drop(call.reply(allowed())),
            _ => return call,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn equal_counts_are_shared_and_the_permission_of_each_user_is_checked() {
    let (cluster, mut server) = cluster();
    let mut finding = Vec::new();
    for _ in 0..3 {
        finding.push(count(&cluster, "acme", limit()).await);
    }
    let list = server.next().await;
    assert_eq!(list.path, PEOPLE);
    for may_list in [true, false, true] {
        let call = server.next().await;
        assert_eq!(call.path, REVIEWS);
        call.reply(review(json!({"allowed": may_list})));
    }
    list.reply(page(vec![object("ada")], ""));
    let mut visibilities = Vec::new();
    for finding in finding {
        let Tally { count, names, visibility, .. } = finding.await.unwrap().unwrap();
        assert_eq!((count, names), (Count::Exactly(1), vec!["ada".to_owned()]));
        visibilities.push(visibility);
    }
    assert_eq!(visibilities, [Visibility::Visible, Visibility::Hidden, Visibility::Visible]);
    drop(cluster);
    server.no_call_to_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn zero_dependents_is_valid_only_for_questions_before_the_count() {
    let (cluster, mut server) = cluster();
    let early = count(&cluster, "acme", limit()).await;
    let list = server.next().await;
    // The API server has counted. Then a person is created, and somebody else deletes the company.
    let late = count(&cluster, "acme", limit()).await;
    list.reply(page(vec![], ""));
    let again = next_list(&mut server).await;
    again.reply(page(vec![object("ada")], ""));
    assert_eq!(early.await.unwrap().unwrap().count, Count::Exactly(0));
    assert_eq!(late.await.unwrap().unwrap().count, Count::Exactly(1));
}

#[tokio::test(start_paused = true)]
async fn a_third_count_waits_briefly_for_its_turn() {
    let (cluster, mut server) = cluster();
    let mut lists = Vec::new();
    let mut first = Vec::new();
    for company in ["a", "b"] {
        first.push(count(&cluster, company, limit()).await);
        lists.push(next_list(&mut server).await);
    }
    let begin = Instant::now();
    let third = count(&cluster, "c", limit()).await;
    assert_eq!(server.next().await.path, REVIEWS, "the permission of the second user");
    server.next().await.reply(allowed());
    let error = third.await.unwrap().unwrap_err();
    assert!(matches!(error, LookupError::Busy), "{error:?}");
    assert_eq!(begin.elapsed().as_millis(), 500);

    let fourth = count(&cluster, "d", limit()).await;
    sleep(Duration::from_millis(400)).await;
    lists.remove(0).reply(page(vec![object("ada")], ""));
    let list = next_list(&mut server).await;
    assert_eq!(list.query("fieldSelector"), Some("spec.companyRef.name=d"));
    list.reply(page(vec![object("bob")], ""));
    assert_eq!(fourth.await.unwrap().unwrap().count, Count::Exactly(1));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_count_frees_its_turn() {
    let (cluster, mut server) = cluster();
    let mut lists = Vec::new();
    for company in ["a", "b"] {
        let finding = count(&cluster, company, Duration::from_millis(100)).await;
        lists.push(next_list(&mut server).await);
        assert!(matches!(finding.await.unwrap(), Err(LookupError::Late(_))));
    }
    let third = count(&cluster, "c", limit()).await;
    next_list(&mut server).await.reply(page(vec![object("ada")], ""));
    server.next().await.reply(allowed());
    assert_eq!(third.await.unwrap().unwrap().count, Count::Exactly(1));
}

#[tokio::test(start_paused = true)]
async fn pages_of_large_metadata_are_halved_and_counted_to_the_end() {
    let (finding, mut server, mut list) = find(CrmKind::Person, allowed()).await;
    for limit in ["50", "25", "12", "6"] {
        assert_eq!(list.query("limit"), Some(limit));
        list.reply(Reply::TooLarge);
        list = server.next().await;
    }
    let two = ["ada", "bob"].map(|name| large(object(name), 3 << 20));
    list.reply(page(two.to_vec(), "more"));
    let list = server.next().await;
    assert_eq!((list.query("limit"), list.query("continue")), (Some("1"), Some("more")));
    list.reply(page(vec![object("cem")], ""));
    assert_eq!(finding.await.unwrap().unwrap().count, Count::Exactly(3));
}
