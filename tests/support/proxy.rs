//! A proxy to the API server that can inject faults while it is in use.

use super::control_plane::{ControlPlane, token};
use bytes::Bytes;
use futures::stream::{self, Stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is delayed by this time.
    Latency(Duration),
    /// It is answered with status 500.
    Status500,
    /// Its connection breaks.
    Reset,
    /// It is never answered.
    Hang,
}

/// The requests that a fault affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Requests for one object, which the webhook sends while a review waits.
    Lookups,
    /// All requests, including running watches.
    Everything,
}

type Trouble = Option<(Scope, Fault)>;
type Body = BoxBody<Bytes, io::Error>;

/// Listens without TLS on the loopback address, and forwards requests with the token of a user.
pub(crate) struct Proxy {
    port: u16,
    trouble: watch::Sender<Trouble>,
    met: Arc<AtomicUsize>,
    /// Runs everything until it is dropped.
    _runtime: Runtime,
}

impl Proxy {
    /// A proxy to the API server of a control plane, without faults. Its requests are those of this user, because
    /// clients send no credentials without TLS.
    pub(crate) fn start(plane: &ControlPlane, user: &str) -> Self {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let (trouble, _) = watch::channel(None);
        let met = Arc::new(AtomicUsize::new(0));
        let way = Way {
            upstream: Upstream::new(plane, token(user)),
            trouble: trouble.subscribe(),
            met: Arc::clone(&met),
        };
        runtime.spawn(way.listen(listener));
        Self { port, trouble, met, _runtime: runtime }
    }

    /// `http://…`
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Injects this fault into requests from now on.
    pub(crate) fn inject(&self, scope: Scope, fault: Fault) {
        self.trouble.send_replace(Some((scope, fault)));
    }

    /// Removes the fault. The connections of hanging requests break.
    pub(crate) fn heal(&self) {
        self.trouble.send_replace(None);
    }

    /// The number of requests that were affected by a fault.
    pub(crate) fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }
}

/// The API server itself.
#[derive(Clone)]
struct Upstream {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Upstream {
    fn new(plane: &ControlPlane, token: String) -> Self {
        let authority = std::fs::read(plane.authority()).expect("the authority of the API server");
        let authority = reqwest::Certificate::from_pem(&authority).expect("a certificate");
        let client = reqwest::Client::builder().tls_certs_only([authority]).http1_only().no_proxy().build();
        let [_, port] = plane.ports();
        Self { client: client.expect("a client"), url: format!("https://127.0.0.1:{port}"), token }
    }

    async fn ask(&self, request: Request<Incoming>) -> io::Result<reqwest::Response> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        // Some products serve many clusters under such paths.
        let path = path.strip_prefix("/k8s/clusters/c-1").unwrap_or(path);
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let asked = self
            .client
            .request(head.method, format!("{}{path}", self.url))
            .headers(end_to_end(head.headers))
            .bearer_auth(&self.token)
            .body(body);
        asked.send().await.map_err(io::Error::other)
    }
}

#[derive(Clone)]
struct Way {
    upstream: Upstream,
    trouble: watch::Receiver<Trouble>,
    met: Arc<AtomicUsize>,
}

impl Way {
    async fn listen(self, listener: TcpListener) {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().serve(stream));
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        // An aborted connection is reset, like in a network.
        let _ = stream.set_zero_linger();
        let answer = service_fn(|request| self.clone().answer(request));
        // The error of a request intentionally breaks its connection.
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(mut self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        match self.met_by(&request) {
            None => {}
            Some(Fault::Latency(time)) => tokio::time::sleep(time).await,
            Some(Fault::Reset) => return Err(reset()),
            Some(Fault::Hang) => {
                let _ = self.trouble.changed().await;
                return Err(reset());
            }
            Some(Fault::Status500) => {
                let body = Full::new(Bytes::from_static(b"out of order")).map_err(io::Error::other);
                let mut response = Response::new(BodyExt::boxed(body));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return Ok(response);
            }
        }
        let answer = self.upstream.ask(request).await?;
        let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(passed_on(answer, self.trouble))));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn met_by(&mut self, request: &Request<Incoming>) -> Option<Fault> {
        let (scope, fault) = (*self.trouble.borrow_and_update())?;
        if scope == Scope::Lookups && !is_lookup(request) {
            return None;
        }
        self.met.fetch_add(1, Ordering::SeqCst);
        Some(fault)
    }
}

/// `GET /apis/GROUP/VERSION/PLURAL/NAME`, or the same in a namespace.
fn is_lookup(request: &Request<Incoming>) -> bool {
    let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let names_one = match segments[..] {
        ["apis", _, _, "namespaces", _, _, _] => true,
        ["apis", _, _, plural, _] => plural != "namespaces",
        _ => false,
    };
    request.method() == Method::GET && names_one
}

fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for header in [CONNECTION, HOST, TRANSFER_ENCODING] {
        headers.remove(header);
    }
    headers
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// The body of an answer, piece by piece as it arrives, until a fault is injected.
fn passed_on(
    answer: reqwest::Response,
    trouble: watch::Receiver<Trouble>,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    stream::try_unfold((answer, trouble), async |(mut answer, mut trouble)| {
        loop {
            let current = *trouble.borrow_and_update();
            let is_silent = match current {
                Some((Scope::Everything, Fault::Reset | Fault::Status500)) => return Err(reset()),
                Some((Scope::Everything, Fault::Hang)) => true,
                _ => false,
            };
            tokio::select! {
                changed = trouble.changed() => changed.map_err(io::Error::other)?,
                chunk = answer.chunk(), if !is_silent => {
                    let chunk = chunk.map_err(io::Error::other)?;
                    return Ok(chunk.map(|chunk| (Frame::data(chunk), (answer, trouble))));
                }
            }
        }
    })
}
