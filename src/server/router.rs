//! The webhook's two routes, and the HTTP errors for calls that get no review.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{Either, select};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Reviewer;
use super::connections::Caller;
use super::deadline::Deadline;
use super::limits::Limits;
use super::shares::{Share, Shares, Short};
use super::weight::weight;
use crate::admission::Endpoint;
use crate::telemetry::{BytesInFlight, Metrics, Span, Traces};

/// Names the span of the caller: <https://www.w3.org/TR/trace-context/>.
const TRACEPARENT: &str = "traceparent";

/// The routes of the webhook. Once `draining` is cancelled, every answer closes its connection, so that the caller
/// opens a new one.
pub fn router<R: Reviewer>(
    reviewer: Arc<R>,
    limits: &Limits,
    metrics: Metrics,
    traces: Traces,
    draining: CancellationToken,
) -> Router {
    let state = Arc::new(Webhook {
        reviewer,
        limits: limits.clone(),
        shares: Shares::new(limits.concurrent_requests, limits.memory_bytes),
        metrics,
        traces,
        draining,
    });
    let route = |endpoint| post(move |webhook, request| answer::<R>(webhook, endpoint, request));
    let reject = |rejection| {
        async move |State(webhook): State<Arc<Webhook<R>>>, request: Request| {
            webhook.reject(rejection, request.extensions().get())
        }
    };
    // No layer around the routes: it would box every request and answer again.
    Router::new()
        .route(Endpoint::Mutate.path(), route(Endpoint::Mutate))
        .route(Endpoint::Validate.path(), route(Endpoint::Validate))
        .method_not_allowed_fallback(reject(Rejection::METHOD))
        .fallback(reject(Rejection::PATH))
        .with_state(state)
}

struct Webhook<R> {
    reviewer: Arc<R>,
    limits: Limits,
    shares: Shares,
    metrics: Metrics,
    traces: Traces,
    draining: CancellationToken,
}

impl<R> Webhook<R> {
    fn reject(&self, rejection: Rejection, caller: Option<&Caller>) -> Response {
        self.metrics.serving().call_rejected(rejection.status.as_u16());
        self.closing(rejection.into_response(), caller)
    }

    /// Closes the connection after this answer if the caller must use another one.
    fn closing(&self, mut response: Response, caller: Option<&Caller>) -> Response {
        if self.draining.is_cancelled() || caller.is_some_and(Caller::must_leave) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Why a call gets no review, in one line.
#[derive(Clone, Debug)]
struct Rejection {
    status: StatusCode,
    reason: Cow<'static, str>,
}

impl Rejection {
    const PATH: Self =
        Self::fixed(StatusCode::NOT_FOUND, "no such path; POST reviews to /mutate or /validate");
    const METHOD: Self = Self::fixed(StatusCode::METHOD_NOT_ALLOWED, "only POST is allowed");
    const MEDIA_TYPE: Self =
        Self::fixed(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    const BUSY: Self =
        Self::fixed(StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time; try again in a moment");
    const FULL: Self = Self::fixed(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many large requests at a time; try again in a moment",
    );
    const GAVE_WAY: Self = Self::fixed(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many requests at a time, most of them from this address; try again in a moment",
    );
    const TOO_MANY_VALUES: Self =
        Self::fixed(StatusCode::PAYLOAD_TOO_LARGE, "the body contains too many values");
    const BODY_INCOMPLETE: Self = Self::fixed(StatusCode::REQUEST_TIMEOUT, "the body is incomplete");
    const PANIC: Self =
        Self::fixed(StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the log of the webhook");

    const fn fixed(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason: Cow::Borrowed(reason) }
    }

    fn too_large(limit: usize) -> Self {
        let reason = format!("the body is larger than {limit} bytes");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, reason: reason.into() }
    }

    fn body_too_late(timeout: Duration) -> Self {
        let reason = format!("the body did not arrive within {timeout:?}");
        Self { status: StatusCode::REQUEST_TIMEOUT, reason: reason.into() }
    }

    fn body_too_slow(timeout: Duration) -> Self {
        let reason = format!("the body arrives too slowly: it took longer than {timeout:?}");
        Self { status: StatusCode::REQUEST_TIMEOUT, reason: reason.into() }
    }

    fn review_too_late(timeout: Duration) -> Self {
        let reason = format!("no decision within {timeout:?}; try again");
        Self { status: StatusCode::GATEWAY_TIMEOUT, reason: reason.into() }
    }

    fn unreadable(reason: &str) -> Self {
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        Self { status: StatusCode::BAD_REQUEST, reason: reason.into() }
    }
}

impl From<Short> for Rejection {
    fn from(short: Short) -> Self {
        match short {
            Short::Places => Self::BUSY,
            Short::Bytes => Self::FULL,
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.reason)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Answers one call. A panic returns a 500 to this caller and does not affect others.
async fn answer<R: Reviewer>(
    State(webhook): State<Arc<Webhook<R>>>,
    endpoint: Endpoint,
    mut request: Request,
) -> Response {
    let caller = request.extensions_mut().remove::<Caller>();
    let mut span =
        webhook.traces.request(span_name(endpoint), endpoint.path(), || traceparent(request.headers()));
    let reviewed = {
        // Pinned here, because it would otherwise be moved from wrapper to wrapper.
        let review = pin!(review(&webhook, endpoint, caller.as_ref(), request, &mut span));
        AssertUnwindSafe(review).catch_unwind().await
    };
    let response = match reviewed {
        Ok(Ok(body)) => {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            webhook.closing(response, caller.as_ref())
        }
        Ok(Err(rejection)) => {
            // The reason is not logged, because it may quote the request.
            tracing::debug!(
                %endpoint,
                status = rejection.status.as_u16(),
                "call rejected"
            );
            webhook.reject(rejection, caller.as_ref())
        }
        Err(_) => {
            webhook.metrics.decisions().panicked();
            tracing::error!(
                %endpoint,
                "a review panicked and was answered with status 500"
            );
            webhook.reject(Rejection::PANIC, caller.as_ref())
        }
    };
    span.answered(response.status().as_u16());
    response
}

/// Method and path, as the semantic conventions of OpenTelemetry name spans of HTTP servers.
const fn span_name(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Mutate => "POST /mutate",
        Endpoint::Validate => "POST /validate",
    }
}

/// The header `traceparent`. With two of them, neither counts.
fn traceparent(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// Checks the limits and passes the body to the reviewer. Checks that do not need the body come first.
async fn review<R: Reviewer>(
    webhook: &Webhook<R>,
    endpoint: Endpoint,
    caller: Option<&Caller>,
    request: Request,
    span: &mut Span,
) -> Result<Vec<u8>, Rejection> {
    let deadline = Deadline::start(request.uri().query(), &webhook.limits);
    if !is_json(request.headers()) {
        return Err(Rejection::MEDIA_TYPE);
    }
    let limit = webhook.limits.body_bytes;
    if announced_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(Rejection::too_large(limit));
    }
    // Tests have no socket, so all their calls come from the same peer.
    let peer = caller.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), Caller::peer);
    let share = webhook.shares.enter(peer);
    let shared = pin!(share_in(webhook, endpoint, &share, deadline, request.into_body(), span));
    let gives_way = pin!(share.has_to_give_way());
    match select(shared, gives_way).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), _)) => Err(Rejection::GAVE_WAY),
    }
}

/// Reads and reviews the body. The memory stays reserved to the end, because the parsed values live as long as the
/// review.
async fn share_in<R: Reviewer>(
    webhook: &Webhook<R>,
    endpoint: Endpoint,
    share: &Share<'_>,
    deadline: Deadline,
    body: Body,
    span: &mut Span,
) -> Result<Vec<u8>, Rejection> {
    let mut memory = Memory { share, counted: webhook.metrics.serving().bytes_in_flight() };
    let body = {
        let reading = pin!(read(webhook, &mut memory, body));
        let read = timeout_at(deadline.end(), reading).await;
        read.unwrap_or_else(|_| Err(Rejection::body_too_late(deadline.timeout())))?
    };
    // Only now does the request take a place: a body that never ends takes no place from others.
    share.take(Short::Places, 1).await?;
    let _in_flight = webhook.metrics.serving().request_started();
    let weight = weight(&body);
    if weight > webhook.limits.memory_bytes {
        return Err(Rejection::TOO_MANY_VALUES);
    }
    memory.grow(weight - body.len()).await?;
    span.body_read();
    let left = deadline.left().ok_or_else(|| Rejection::body_too_late(deadline.timeout()))?;
    // The reviewer respects `left`. The timeout is for the case that it does not.
    let review = pin!(webhook.reviewer.review(endpoint, body, left, span));
    match timeout_at(deadline.end(), review).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(unreadable)) => Err(Rejection::unreadable(&unreadable.reason)),
        Err(_) => Err(Rejection::review_too_late(deadline.timeout())),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole body.
///
/// Reserves memory as the bytes arrive. If it went by the announced length, a few callers that announce much and send
/// nothing could reserve all of it.
async fn read<R>(webhook: &Webhook<R>, memory: &mut Memory<'_>, mut body: Body) -> Result<Bytes, Rejection> {
    let limit = webhook.limits.body_bytes;
    // Reserved space takes no memory until it is written.
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut bytes = BytesMut::new();
    let start = Instant::now();
    loop {
        let time = time_for_body(&webhook.limits, bytes.len());
        let frame = match timeout_at(start + time, body.frame()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(bytes.freeze()),
            Err(_) => return Err(Rejection::body_too_slow(time)),
        };
        let Ok(data) = frame.map_err(|_| Rejection::BODY_INCOMPLETE)?.into_data() else {
            continue; // Trailers.
        };
        if bytes.len() + data.len() > limit {
            return Err(Rejection::too_large(limit));
        }
        memory.grow(data.len()).await?;
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(data); // Most bodies arrive in one piece.
        }
        if bytes.is_empty() {
            bytes.reserve(announced.unwrap_or_default().min(limit));
        }
        bytes.extend_from_slice(&data);
    }
}

/// How long a body of this many bytes may have taken: `body_timeout`, and then at least the minimum rate.
fn time_for_body(limits: &Limits, arrived: usize) -> Duration {
    let arrived = u32::try_from(arrived).unwrap_or(u32::MAX);
    limits.body_timeout + Duration::from_secs(1) * arrived / limits.body_bytes_per_second.max(1)
}

/// The memory of one request.
struct Memory<'a> {
    share: &'a Share<'a>,
    counted: BytesInFlight,
}

impl Memory<'_> {
    async fn grow(&mut self, bytes: usize) -> Result<(), Rejection> {
        self.share.take(Short::Bytes, bytes).await?;
        self.counted.grow(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
