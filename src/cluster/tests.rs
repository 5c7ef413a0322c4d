//! Tests reading and paging against a simulated API server.
//!
//! The clock is paused and advances when all tasks wait, so the tests take no time.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::api::{ApiResource, GroupVersionKind};
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower_test::mock::{self, SendResponse};

use super::*;

const MIB: usize = 1024 * 1024;

type Reply = Response<BoxBody<Bytes, io::Error>>;

/// The API server's side of the connection.
struct Server(mock::Handle<Request<Body>, Reply>);

/// A request that has not been answered yet.
struct Call {
    query: HashMap<String, String>,
    accept: String,
    respond: SendResponse<Reply>,
}

fn reader() -> (Reader, ReadBudget, Server) {
    let (service, handle) = mock::pair();
    let budget = ReadBudget::default();
    (Reader::within(Client::new(service, "default"), budget.clone()), budget, Server(handle))
}

impl Server {
    async fn next(&mut self) -> Call {
        let call = timeout(Duration::from_secs(3600), self.0.next_request()).await;
        let (request, respond) = call.expect("a call within an hour").expect("a client");
        let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
        let accept = request.headers().get("accept").map(|accept| accept.to_str().unwrap().to_owned());
        Call { query: query.into_owned().collect(), accept: accept.unwrap_or_default(), respond }
    }
}

impl Call {
    fn limit(&self) -> u32 {
        self.query["limit"].parse().unwrap()
    }

    fn token(&self) -> Option<&str> {
        self.query.get("continue").map(String::as_str)
    }

    fn answer(self, code: u16, body: impl Into<Bytes>) {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed();
        self.respond.send_response(Response::builder().status(code).body(body).unwrap());
    }

    fn stream(self, chunks: impl futures::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) {
        let frames = chunks.map(|chunk| chunk.map(Frame::data));
        self.respond.send_response(Response::new(BodyExt::boxed(StreamBody::new(frames))));
    }

    /// A page with this many objects and bytes.
    fn page(self, objects: usize, bytes: usize, next: &str) {
        let object = |number: usize| {
            let filling = "x".repeat(bytes / objects.max(1));
            json!({"metadata": {"name": format!("o{number}"), "finalizers": [filling]}})
        };
        let objects: Vec<Value> = (0..objects).map(object).collect();
        let list = json!({"metadata": {"resourceVersion": "7", "continue": next}, "items": objects});
        self.answer(200, list.to_string());
    }

    fn too_large(self) {
        self.answer(200, vec![b' '; 9 * MIB]);
    }

    fn fail(self, code: u16) {
        self.answer(
            code,
            json!({"kind": "Status", "status": "Failure", "code": code, "message": ""}).to_string(),
        );
    }
}

fn get() -> Request<Vec<u8>> {
    Request::get("/apis/example.com/v1/things/a").body(Vec::new()).unwrap()
}

/// Lets all tasks run until they wait.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn read(reader: &Reader) -> JoinHandle<Result<Answer, ReadError>> {
    let reader = reader.clone();
    tokio::spawn(async move { reader.read(get()).await })
}

fn text(bytes: usize) -> String {
    json!("x".repeat(bytes)).to_string()
}

// Reading

#[tokio::test(start_paused = true)]
async fn an_answer_counts_until_it_is_dropped() {
    let (reader, budget, mut server) = reader();
    let reading = read(&reader);
    server.next().await.answer(200, r#"{"a": 1}"#);
    let answer = reading.await.unwrap().unwrap();
    assert_eq!(answer.parse::<Value>().unwrap(), json!({"a": 1}));
    assert_eq!(budget.held(), 8);
    drop(answer);
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_not_read_to_the_end() {
    let (reader, budget, mut server) = reader();
    let reading = read(&reader);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let chunks = stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from(vec![b' '; MIB]))
    });
    server.next().await.stream(chunks);
    let error = reading.await.unwrap().unwrap_err();
    assert!(matches!(error, ReadError::TooLarge), "{error:?}");
    assert_eq!(error.to_string(), "the answer of the API server is larger than 8 MiB");
    assert_eq!(sent.load(Ordering::Relaxed), 9, "in MiB");
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_largest_size_is_read() {
    let (reader, _budget, mut server) = reader();
    let reading = read(&reader);
    server.next().await.answer(200, text(8 * MIB - 2));
    let answer = reading.await.unwrap().unwrap();
    assert_eq!(answer.parse::<String>().unwrap().len(), 8 * MIB - 2);
}

#[tokio::test(start_paused = true)]
async fn two_large_answers_are_read_at_a_time() {
    let (reader, budget, mut server) = reader();
    let mut reading: Vec<_> = (0..5).map(|_| read(&reader)).collect();
    for _ in 0..5 {
        server.next().await.answer(200, text(MIB));
    }
    settle().await;
    assert_eq!(reading.iter().filter(|reading| reading.is_finished()).count(), 2);
    assert_eq!(budget.held(), 2 * (MIB + 2), "a waiting answer takes no memory");
    reading.sort_by_key(|reading| !reading.is_finished());
    drop(reading.remove(0).await.unwrap().unwrap());
    settle().await;
    assert_eq!(reading.iter().filter(|reading| reading.is_finished()).count(), 2);
    for reading in reading {
        drop(reading.await.unwrap().unwrap());
    }
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn small_answers_do_not_wait_for_large_ones() {
    let (reader, _budget, mut server) = reader();
    let mut large = Vec::new();
    for _ in 0..2 {
        let reading = read(&reader);
        server.next().await.answer(200, text(MIB));
        large.push(reading.await.unwrap().unwrap());
    }
    let reading = read(&reader);
    server.next().await.answer(200, text(16 * 1024 - 2));
    settle().await;
    assert!(reading.is_finished());
    let reading = read(&reader);
    server.next().await.answer(200, text(16 * 1024));
    settle().await;
    assert!(!reading.is_finished(), "a byte too many");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_stops_waiting_does_not_block_others() {
    let (reader, budget, mut server) = reader();
    let mut large = Vec::new();
    for _ in 0..2 {
        let reading = read(&reader);
        server.next().await.answer(200, text(MIB));
        large.push(reading.await.unwrap().unwrap());
    }
    let waiting = read(&reader);
    server.next().await.answer(200, text(MIB));
    settle().await;
    waiting.abort();
    let next = read(&reader);
    server.next().await.answer(200, text(MIB));
    large.pop();
    drop(next.await.unwrap().unwrap());
    large.clear();
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_together_with_its_answer() {
    let (reader, budget, mut server) = reader();
    let mut claim = reader.claim();
    claim.grow(6 * MIB).await.unwrap();
    let asking = tokio::spawn({
        let reader = reader.clone();
        async move { reader.read_under(claim, get()).await }
    });
    server.next().await.answer(200, text(3 * MIB));
    assert!(matches!(asking.await.unwrap(), Err(ReadError::TooLarge)));
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_answer_is_a_failure() {
    let (reader, budget, mut server) = reader();
    let reading = read(&reader);
    let chunks = [Ok(Bytes::from("[1,")), Err(io::ErrorKind::ConnectionReset.into())];
    server.next().await.stream(stream::iter(chunks));
    let error = reading.await.unwrap().unwrap_err();
    assert!(matches!(error, ReadError::Failed(_)), "{error:?}");
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_denial_has_its_status() {
    let (reader, _budget, mut server) = reader();
    let reading = read(&reader);
    server.next().await.fail(403);
    assert_eq!(reading.await.unwrap().unwrap_err().code(), Some(403));
}

// Pages

#[derive(Debug, Deserialize)]
struct Thing {
    metadata: Name,
}

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
}

type Listed = Vec<Result<usize, ReadError>>;

fn things() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Thing"), "things")
}

/// Lists to the end, or to the third failure; returns the number of objects of each page.
fn list(reader: Reader, most: u32) -> JoinHandle<Listed> {
    tokio::spawn(async move {
        let mut pages = Pager::new(reader, Listing::all(&things(), Content::Metadata));
        let mut listed = Listed::new();
        while listed.iter().filter(|page| page.is_err()).count() < 3 {
            match pages.next::<Thing>(most).await {
                Ok(None) => break,
                Ok(Some(page)) => {
                    assert!(page.items.iter().all(|thing| thing.metadata.name.starts_with('o')));
                    listed.push(Ok(page.items.len()));
                }
                Err(error) => listed.push(Err(error)),
            }
        }
        listed
    })
}

fn counts(listed: Listed) -> Vec<usize> {
    listed.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn small_pages_double_up_to_the_maximum() {
    let (reader, _budget, mut server) = reader();
    let listing = list(reader, 250);
    for (limit, token, next) in
        [(50, None, "a"), (100, Some("a"), "b"), (200, Some("b"), "c"), (250, Some("c"), "")]
    {
        let call = server.next().await;
        assert_eq!((call.limit(), call.token()), (limit, token));
        assert!(call.accept.contains("as=PartialObjectMetadataList"), "{}", call.accept);
        call.page(limit as usize, 1000, next);
    }
    assert_eq!(counts(listing.await.unwrap()), [50, 100, 200, 250]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_requested_again_with_half_as_many_objects() {
    let (reader, budget, mut server) = reader();
    let listing = list(reader, 500);
    server.next().await.page(50, 1000, "a");
    for limit in [100, 50, 25] {
        let call = server.next().await;
        assert_eq!((call.limit(), call.token()), (limit, Some("a")));
        call.too_large();
    }
    let call = server.next().await;
    assert_eq!((call.limit(), call.token()), (12, Some("a")));
    call.page(12, 1000, "b");
    let call = server.next().await;
    assert_eq!((call.limit(), call.token()), (24, Some("b")), "it grows again");
    call.page(3, 1000, "");
    assert_eq!(counts(listing.await.unwrap()), [50, 12, 3]);
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_next_page_aims_at_half_of_the_maximum() {
    let (reader, _budget, mut server) = reader();
    let listing = list(reader, 500);
    server.next().await.page(50, 7 * MIB, "a");
    let call = server.next().await;
    // 50 * 4 / 7, minus the bytes around the objects.
    assert_eq!(call.limit(), 28);
    call.page(3, 6 * MIB, "b");
    let call = server.next().await;
    assert_eq!(call.limit(), 1, "two would just fit, so one is requested");
    call.page(1, 6 * MIB, "c");
    let call = server.next().await;
    assert_eq!(call.limit(), 1, "at least one");
    call.page(1, 1000, "");
    listing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_single_object_that_is_too_large_is_an_error_that_names_only_the_kind() {
    let (reader, budget, mut server) = reader();
    let listing = list(reader, 500);
    for limit in [50, 25, 12, 6, 3, 1, 1, 1] {
        let call = server.next().await;
        assert_eq!(call.limit(), limit);
        call.too_large();
    }
    for page in listing.await.unwrap() {
        let error = page.unwrap_err();
        assert_eq!(error.to_string(), "an object of the kind Thing.example.com is larger than 8 MiB");
    }
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_same_page_can_be_requested_again() {
    let (reader, _budget, mut server) = reader();
    let listing = list(reader, 500);
    server.next().await.page(50, 1000, "a");
    server.next().await.too_large();
    server.next().await.fail(503);
    let call = server.next().await;
    assert_eq!((call.limit(), call.token()), (50, Some("a")), "the size that was too large stays known");
    call.page(1, 1000, "");
    let listed = listing.await.unwrap();
    assert!(matches!(listed[..], [Ok(50), Err(ReadError::Failed(_)), Ok(1)]), "{listed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_arrive_is_a_failure() {
    let (reader, _budget, mut server) = reader();
    let begin = Instant::now();
    let listing = list(reader, 500);
    let _unanswered = server.next().await;
    server.next().await.page(1, 1000, "");
    assert_eq!(begin.elapsed().as_secs(), 70);
    let listed = listing.await.unwrap();
    assert!(matches!(listed[..], [Err(ReadError::Late(_)), Ok(1)]), "{listed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_continues_at_a_token_and_selects_whole_objects_by_fields() {
    let (reader, _budget, mut server) = reader();
    let listing = Listing::all(&things(), Content::Whole).selected("spec.a=b".to_owned());
    let mut pages = Pager::new(reader, listing);
    pages.continue_at("there".to_owned());
    let listing = tokio::spawn(async move { pages.next::<Thing>(10).await.unwrap().unwrap() });
    let call = server.next().await;
    assert_eq!((call.limit(), call.token()), (10, Some("there")));
    assert_eq!(call.query["fieldSelector"], "spec.a=b");
    assert!(!call.accept.contains("PartialObjectMetadata"), "{}", call.accept);
    call.page(1, 10, "");
    assert_eq!(listing.await.unwrap().resource_version.as_deref(), Some("7"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_may_be_null_and_an_answer_without_items_is_an_error() {
    let (reader, _budget, mut server) = reader();
    let listing = list(reader, 500);
    server.next().await.answer(200, r#"{"kind": "Status", "metadata": {}}"#);
    server.next().await.answer(200, r#"{"metadata": {}, "items": null}"#);
    let listed = listing.await.unwrap();
    assert!(matches!(listed[..], [Err(ReadError::Failed(_)), Ok(0)]), "{listed:?}");
}
