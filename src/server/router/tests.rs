//! Tests the router without a socket.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::Method;
use axum::http::header::ALLOW;
use axum::http::request::Builder;
use futures::StreamExt;
use futures::stream;
use rstest::rstest;
use tokio::sync::Notify;
use tower::ServiceExt;

use super::*;
use crate::admission::Endpoint;
use crate::server::Unreadable;

/// What the reviewer in these tests does with a review.
#[derive(Default)]
enum Behaviour {
    #[default]
    Answers,
    /// With this reason.
    FindsItUnreadable(&'static str),
    Panics,
    NeverAnswers,
    /// Until `release` is notified.
    Waits,
}

#[derive(Default)]
struct StubReviewer {
    behaviour: Behaviour,
    calls: AtomicUsize,
    last: Mutex<Option<(Endpoint, Bytes, Duration)>>,
    release: Notify,
}

impl Reviewer for StubReviewer {
    async fn review(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        limit: Duration,
        _span: &mut Span,
    ) -> Result<Vec<u8>, Unreadable> {
        *self.last.lock().unwrap() = Some((endpoint, body, limit));
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.behaviour {
            Behaviour::Answers => {}
            Behaviour::FindsItUnreadable(reason) => {
                return Err(Unreadable { reason: reason.into() });
            }
            Behaviour::Panics => panic!("this one"),
            Behaviour::NeverAnswers => std::future::pending().await,
            Behaviour::Waits => self.release.notified().await,
        }
        Ok(br#"{"kind":"AdmissionReview"}"#.to_vec())
    }
}

struct Fixture {
    reviewer: Arc<StubReviewer>,
    metrics: Metrics,
    draining: CancellationToken,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: axum::http::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Fixture {
    fn new(behaviour: Behaviour) -> Self {
        Self::with_limits(behaviour, &Limits::default())
    }

    fn with_limits(behaviour: Behaviour, limits: &Limits) -> Self {
        let reviewer = Arc::new(StubReviewer { behaviour, ..StubReviewer::default() });
        let metrics = Metrics::new();
        let draining = CancellationToken::new();
        let router = router(Arc::clone(&reviewer), limits, metrics.clone(), Traces::off(), draining.clone());
        Self { reviewer, metrics, draining, router }
    }

    async fn send(&self, request: Request) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn reviews(&self) -> usize {
        self.reviewer.calls.load(Ordering::SeqCst)
    }

    /// The limit of the last review.
    fn last_limit(&self) -> Duration {
        self.reviewer.last.lock().unwrap().as_ref().unwrap().2
    }
}

fn post_to(path: &str) -> Builder {
    Request::builder().method(Method::POST).uri(path).header(CONTENT_TYPE, "application/json")
}

fn review_of(body: impl Into<Body>) -> Request {
    post_to("/mutate").body(body.into()).unwrap()
}

/// A rejection is one line of plain text with a line break.
#[track_caller]
fn assert_rejected(answer: &Answer, status: StatusCode, reason: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, format!("{reason}\n").as_str()));
    assert_eq!(answer.header(CONTENT_TYPE), Some("text/plain; charset=utf-8"));
}

#[rstest]
#[case("/mutate", Endpoint::Mutate)]
#[case("/validate", Endpoint::Validate)]
#[tokio::test]
async fn each_path_is_reviewed_as_its_endpoint(#[case] path: &str, #[case] endpoint: Endpoint) {
    let fixture = Fixture::new(Behaviour::Answers);
    let answer = fixture.send(post_to(path).body("{}".into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header(CONTENT_TYPE), Some("application/json"));
    assert_eq!(answer.body, r#"{"kind":"AdmissionReview"}"#);
    assert_eq!(answer.header(CONNECTION), None);
    let last = fixture.reviewer.last.lock().unwrap().clone().unwrap();
    assert_eq!((last.0, &last.1[..]), (endpoint, &b"{}"[..]));
}

#[tokio::test]
async fn an_unknown_path_gets_the_list_of_paths() {
    let answer = Fixture::new(Behaviour::Answers).send(post_to("/").body("{}".into()).unwrap()).await;
    let reason = "no such path; POST reviews to /mutate or /validate";
    assert_rejected(&answer, StatusCode::NOT_FOUND, reason);
}

#[rstest]
#[case(Method::GET)]
#[case(Method::PUT)]
#[case(Method::OPTIONS)]
#[tokio::test]
async fn only_post_is_answered(#[case] method: Method) {
    let request = post_to("/validate").method(method).body(Body::empty()).unwrap();
    let answer = Fixture::new(Behaviour::Answers).send(request).await;
    assert_rejected(&answer, StatusCode::METHOD_NOT_ALLOWED, "only POST is allowed");
    assert_eq!(answer.header(ALLOW), Some("POST"));
}

#[rstest]
#[case::plain(Some("text/plain"))]
#[case::form(Some("application/x-www-form-urlencoded"))]
#[case::a_longer_name(Some("application/jsonx"))]
#[case::none(None)]
#[tokio::test]
async fn only_json_is_accepted(#[case] content_type: Option<&str>) {
    let mut request = Request::post("/mutate").body(Body::from("{}")).unwrap();
    if let Some(content_type) = content_type {
        request.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
    }
    let fixture = Fixture::new(Behaviour::Answers);
    let answer = fixture.send(request).await;
    let reason = "the content type must be application/json";
    assert_rejected(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
    assert_eq!(fixture.reviews(), 0);
}

#[rstest]
#[case("application/json; charset=utf-8")]
#[case("Application/JSON")]
#[tokio::test]
async fn json_may_have_parameters_and_any_case(#[case] content_type: &str) {
    let mut request = review_of("{}");
    request.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
    assert_eq!(Fixture::new(Behaviour::Answers).send(request).await.status, StatusCode::OK);
}

const LIMIT: usize = 7 * 1024 * 1024;
const TOO_LARGE: &str = "the body is larger than 7340032 bytes";

#[tokio::test]
async fn a_body_with_a_content_length_over_the_limit_is_rejected_unread() {
    let unread =
        Body::from_stream(stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, Infallible>>> {
            panic!("the body was read")
        }));
    let mut request = review_of(unread);
    request.headers_mut().insert(CONTENT_LENGTH, (LIMIT + 1).into());
    let fixture = Fixture::new(Behaviour::Answers);
    let answer = fixture.send(request).await;
    assert_rejected(&answer, StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE);
}

#[tokio::test]
async fn a_body_without_a_content_length_is_rejected_at_the_limit() {
    let polled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polled);
    let endless = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1024 * 1024]))
    });
    let fixture = Fixture::new(Behaviour::Answers);
    let answer = fixture.send(review_of(Body::from_stream(endless))).await;
    assert_rejected(&answer, StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE);
    assert_eq!((polled.load(Ordering::SeqCst), fixture.reviews()), (8, 0));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_reviewed() {
    let fixture = Fixture::new(Behaviour::Answers);
    let answer = fixture.send(review_of(vec![b' '; LIMIT])).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(fixture.reviewer.last.lock().unwrap().as_ref().unwrap().1.len(), LIMIT);
}

#[tokio::test]
async fn an_incomplete_body_is_not_reviewed() {
    let parts: [Result<&str, _>; 2] = [Ok("{"), Err(std::io::Error::other("reset"))];
    let fixture = Fixture::new(Behaviour::Answers);
    let answer = fixture.send(review_of(Body::from_stream(stream::iter(parts)))).await;
    assert_rejected(&answer, StatusCode::REQUEST_TIMEOUT, "the body is incomplete");
    assert_eq!(fixture.reviews(), 0);
}

const FULL: &str = "too many large requests at a time; try again in a moment";

/// Memory for all requests together, in bytes.
fn with_room(bytes: usize) -> Limits {
    Limits { memory_bytes: bytes, ..Limits::default() }
}

#[tokio::test]
async fn a_body_that_exceeds_the_memory_of_all_bodies_is_rejected_and_frees_its_memory() {
    let fixture = Arc::new(Fixture::with_limits(Behaviour::Waits, &with_room(10)));
    let waiting = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move { fixture.send(review_of("123456")).await }
    });
    while fixture.reviews() < 1 {
        tokio::task::yield_now().await;
    }
    // The first four bytes still fit.
    let parts = stream::iter(["7890", "1"].map(Ok::<_, Infallible>));
    let rejected = fixture.send(review_of(Body::from_stream(parts))).await;
    assert_rejected(&rejected, StatusCode::SERVICE_UNAVAILABLE, FULL);
    assert_eq!(rejected.header(RETRY_AFTER), Some("1"));
    assert!(fixture.metrics.text().unwrap().contains("crm_admission_inflight_bytes 6\n"));

    fixture.reviewer.release.notify_one();
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    fixture.reviewer.release.notify_one();
    assert_eq!(fixture.send(review_of("1234567890")).await.status, StatusCode::OK);
    assert!(fixture.metrics.text().unwrap().contains("crm_admission_inflight_bytes 0\n"));
}

#[tokio::test]
async fn a_body_with_too_many_values_is_rejected_before_it_is_parsed() {
    let fixture = Fixture::with_limits(Behaviour::Answers, &with_room(10_000));
    let rejected = fixture.send(review_of("[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]")).await;
    let reason = "the body contains too many values";
    assert_rejected(&rejected, StatusCode::PAYLOAD_TOO_LARGE, reason);
    assert_eq!(fixture.reviews(), 0);
    assert_eq!(fixture.send(review_of("[{},{}]")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn parsed_values_count_until_the_review_is_done() {
    let fixture = Arc::new(Fixture::with_limits(Behaviour::Waits, &with_room(1_500)));
    let waiting = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move { fixture.send(review_of("{}")).await }
    });
    while fixture.reviews() < 1 {
        tokio::task::yield_now().await;
    }
    let rejected = fixture.send(review_of("[{}]")).await;
    assert_rejected(&rejected, StatusCode::SERVICE_UNAVAILABLE, FULL);
    fixture.reviewer.release.notify_one();
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    fixture.reviewer.release.notify_one();
    assert_eq!(fixture.send(review_of("[{}]")).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn announced_bodies_that_do_not_arrive_take_no_memory_and_no_places() {
    let limits = Limits { concurrent_requests: 1, ..with_room(10) };
    let fixture = Arc::new(Fixture::with_limits(Behaviour::Answers, &limits));
    let announced = (0..5).map(|_| {
        let fixture = Arc::clone(&fixture);
        let mut request = review_of(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()));
        request.headers_mut().insert(CONTENT_LENGTH, 10.into());
        async move { fixture.send(request).await }
    });
    let mut announced = pin!(futures::future::join_all(announced));
    assert!(futures::poll!(&mut announced).is_pending());
    assert_eq!(fixture.send(review_of("1234567890")).await.status, StatusCode::OK);
    assert!(announced.await.iter().all(|answer| answer.status == StatusCode::REQUEST_TIMEOUT));
}

/// A body of several pieces of this many bytes, one piece per second.
fn trickle(pieces: usize, bytes: usize) -> Body {
    let piece = Bytes::from(vec![b' '; bytes]);
    Body::from_stream(stream::iter(0..pieces).then(move |_| {
        let piece = piece.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(piece)
        }
    }))
}

#[rstest]
#[case::a_byte_a_second(1)]
#[case::almost_the_least_rate(1024 * 1024 / 2)]
#[tokio::test(start_paused = true)]
async fn a_body_that_arrives_too_slowly_is_rejected_before_the_deadline(#[case] bytes: usize) {
    let fixture = Fixture::new(Behaviour::Answers);
    let begin = Instant::now();
    let answer = fixture.send(review_of(trickle(10, bytes))).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert!(answer.body.starts_with("the body arrives too slowly: it took longer than "), "{}", answer.body);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(fixture.reviews(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_at_the_minimum_rate_is_accepted() {
    let fixture = Fixture::new(Behaviour::Answers);
    assert_eq!(fixture.send(review_of(trickle(6, 1024 * 1024))).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_in_time_is_not_waited_for() {
    let first = stream::iter([Ok::<_, Infallible>("{")]);
    let request = post_to("/mutate?timeout=1s");
    let body = Body::from_stream(first.chain(stream::pending()));
    let fixture = Fixture::new(Behaviour::Answers);
    let answer = fixture.send(request.body(body).unwrap()).await;
    assert_rejected(&answer, StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 1s");
    assert_eq!(fixture.reviews(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_body_is_subtracted_from_the_review() {
    let slow = stream::once(async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        Ok::<_, Infallible>("{}")
    });
    let fixture = Fixture::new(Behaviour::Answers);
    let request = post_to("/mutate?timeout=10s").body(Body::from_stream(slow)).unwrap();
    assert_eq!(fixture.send(request).await.status, StatusCode::OK);
    assert_eq!(fixture.last_limit(), Duration::from_millis(8_000));
}

#[rstest]
#[case::as_the_api_server_sends_it("?timeout=2s", 1_800)]
#[case::none("", 9_500)]
#[case::nonsense("?timeout=9999999999999999999999s", 9_500)]
#[case::negative("?timeout=-10s", 9_500)]
#[case::hours("?timeout=1000h", 29_500)]
#[tokio::test(start_paused = true)]
async fn the_review_gets_the_time_of_the_caller_minus_a_margin(
    #[case] query: &str,
    #[case] milliseconds: u64,
) {
    let fixture = Fixture::new(Behaviour::Answers);
    let request = post_to(&format!("/mutate{query}")).body("{}".into()).unwrap();
    assert_eq!(fixture.send(request).await.status, StatusCode::OK);
    assert_eq!(fixture.last_limit(), Duration::from_millis(milliseconds));
}

#[tokio::test(start_paused = true)]
async fn a_review_that_takes_too_long_is_dropped_and_frees_its_place() {
    let limits = Limits { concurrent_requests: 1, ..Limits::default() };
    let fixture = Fixture::with_limits(Behaviour::NeverAnswers, &limits);
    for _ in 0..2 {
        let request = post_to("/mutate?timeout=2s").body("{}".into()).unwrap();
        let answer = fixture.send(request).await;
        assert_rejected(&answer, StatusCode::GATEWAY_TIMEOUT, "no decision within 2s; try again");
    }
    assert_eq!(fixture.metrics.serving().requests_in_flight(), 0);
}

#[tokio::test]
async fn an_unreadable_review_is_a_bad_request_with_its_reason() {
    let fixture = Fixture::new(Behaviour::FindsItUnreadable("request.uid is missing\nand more"));
    let answer = fixture.send(review_of("{}")).await;
    assert_rejected(&answer, StatusCode::BAD_REQUEST, "request.uid is missing");
}

#[tokio::test]
async fn calls_over_the_limit_are_rejected_at_once() {
    let limits = Limits { concurrent_requests: 2, ..Limits::default() };
    let fixture = Arc::new(Fixture::with_limits(Behaviour::Waits, &limits));
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move { fixture.send(review_of("{}")).await })
        })
        .collect();
    while fixture.reviews() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.metrics.serving().requests_in_flight(), 2);

    let rejected = fixture.send(review_of("{}")).await;
    let reason = "too many requests at a time; try again in a moment";
    assert_rejected(&rejected, StatusCode::SERVICE_UNAVAILABLE, reason);
    assert_eq!(rejected.header(RETRY_AFTER), Some("1"));

    fixture.reviewer.release.notify_waiters();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
    fixture.reviewer.release.notify_one();
    assert_eq!(fixture.send(review_of("{}")).await.status, StatusCode::OK);
    assert_eq!(fixture.metrics.serving().requests_in_flight(), 0);
}

fn from(peer: u8, mut request: Request) -> Request {
    request.extensions_mut().insert(Caller::at(IpAddr::from(Ipv4Addr::new(192, 0, 2, peer))));
    request
}

/// The memory that `[]` takes.
const WEIGHT: usize = 162;

#[rstest]
#[case::places(Limits { concurrent_requests: 2, ..Limits::default() })]
#[case::memory(with_room(2 * WEIGHT + 1))]
#[tokio::test]
async fn when_memory_runs_short_a_request_of_the_caller_that_has_most_is_dropped(#[case] limits: Limits) {
    let fixture = Arc::new(Fixture::with_limits(Behaviour::Waits, &limits));
    let send = |peer| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move { fixture.send(from(peer, review_of("[]"))).await })
    };
    let most = [send(1), send(1)];
    while fixture.reviews() < 2 {
        tokio::task::yield_now().await;
    }
    let newcomer = send(2);
    while fixture.reviews() < 3 {
        tokio::task::yield_now().await;
    }
    fixture.reviewer.release.notify_waiters();
    assert_eq!(newcomer.await.unwrap().status, StatusCode::OK);
    let [first, second] = most;
    let gone = first.await.unwrap();
    let reason = "too many requests at a time, most of them from this address; try again in a moment";
    assert_rejected(&gone, StatusCode::SERVICE_UNAVAILABLE, reason);
    assert_eq!(gone.header(RETRY_AFTER), Some("1"));
    assert_eq!(second.await.unwrap().status, StatusCode::OK);
    assert_eq!(fixture.metrics.serving().requests_in_flight(), 0);
}

#[tokio::test]
async fn a_panic_is_answered_and_counted_and_frees_its_place() {
    let limits = Limits { concurrent_requests: 1, ..Limits::default() };
    let fixture = Fixture::with_limits(Behaviour::Panics, &limits);
    for _ in 0..2 {
        let answer = fixture.send(review_of("{}")).await;
        let reason = "internal error; see the log of the webhook";
        assert_rejected(&answer, StatusCode::INTERNAL_SERVER_ERROR, reason);
    }
    assert!(fixture.metrics.text().unwrap().contains("crm_admission_panics_total 2"));
    assert_eq!(fixture.metrics.serving().requests_in_flight(), 0);
}

#[tokio::test]
async fn rejections_are_counted_by_status_and_reviews_are_not() {
    let fixture = Fixture::new(Behaviour::Answers);
    fixture.send(review_of("{}")).await;
    fixture.send(post_to("/nowhere").body("{}".into()).unwrap()).await;
    fixture.send(post_to("/mutate").method(Method::GET).body("{}".into()).unwrap()).await;
    let text = fixture.metrics.text().unwrap();
    for (code, count) in [(404, 1), (405, 1), (400, 0), (500, 0)] {
        let sample = format!(r#"crm_admission_http_rejections_total{{code="{code}"}} {count}"#);
        assert!(text.contains(&sample), "no {sample} in {text}");
    }
    assert!(!text.contains(r#"code="200""#), "{text}");
}

#[tokio::test]
async fn while_draining_every_answer_closes_its_connection() {
    let fixture = Fixture::new(Behaviour::Answers);
    fixture.draining.cancel();
    assert_eq!(fixture.send(review_of("{}")).await.header(CONNECTION), Some("close"));
    let lost = fixture.send(post_to("/nowhere").body("{}".into()).unwrap()).await;
    assert_eq!(lost.header(CONNECTION), Some("close"));
}
