//! Tests the server on real sockets: TLS, keep-alive, certificate rotation, and a shutdown that loses no call.

// Clippy exempts test functions, but not their helpers.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crm_admission::admission::Endpoint;
use crm_admission::server::dev_certificate::{self, DevCertificate};
use crm_admission::server::{
    Addresses, ClientCaFile, ConnectionLimits, Parts, Readiness, Reviewer, ServeError, Server, ServerConfig,
    Signals, Tasks, Tls, TlsFiles, Unreadable, tls,
};
use crm_admission::telemetry::{self, Metrics, Span};
use reqwest::header::CONNECTION;
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Client, Identity, StatusCode, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Much longer than any of these tests takes, so that a hanging test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(3600);

/// Answers at once, except if the body is `wait`: then it waits until it is released.
struct StubReviewer {
    calls: AtomicUsize,
    gate: Semaphore,
}

impl Reviewer for StubReviewer {
    async fn review(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        _: Duration,
        _: &mut Span,
    ) -> Result<Vec<u8>, Unreadable> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if body == "wait" {
            self.gate.acquire().await.unwrap().forget();
        }
        Ok(format!(r#"{{"reviewed":"{endpoint}"}}"#).into_bytes())
    }
}

/// The usual limits of connections.
fn connections() -> ConnectionLimits {
    ServerConfig::default().connections
}

/// The server of one test, with its own development certificate.
struct Running {
    dev: DevCertificate,
    addresses: Addresses,
    metrics: Metrics,
    readiness: Readiness,
    reviewer: Arc<StubReviewer>,
    signals: mpsc::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
    _dir: TempDir,
}

/// The settings that a test changes.
#[derive(Default)]
struct Wishes {
    config: Option<ServerConfig>,
    /// In place of the files of the development certificate.
    files: Option<TlsFiles>,
    tasks: Tasks,
}

/// A server on free ports, without a shutdown delay.
fn config() -> ServerConfig {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    ServerConfig { listen: any, admin_listen: any, shutdown_delay: Duration::ZERO, ..ServerConfig::default() }
}

impl Running {
    async fn start() -> Self {
        Self::start_with(Wishes::default()).await
    }

    async fn start_with(wishes: Wishes) -> Self {
        // Another test of this process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = TempDir::new().unwrap();
        let dev = dev_certificate::ensure(dir.path()).unwrap();
        let files = wishes.files.unwrap_or_else(|| dev.tls_files());
        let metrics = Metrics::new();
        let tls = Arc::new(Tls::load(&files, metrics.clone()).await.unwrap());
        let (sender, signals) = Signals::channel();
        let mut parts = Parts::new(Arc::clone(&tls), metrics.clone(), signals);
        parts.tasks = wishes.tasks;
        parts.tasks.spawn("certificate reload", tls::watch(tls, files, Duration::from_millis(5)));
        let readiness = parts.readiness.clone();
        let reviewer = Arc::new(StubReviewer { calls: AtomicUsize::new(0), gate: Semaphore::new(0) });

        let server = Server::bind(wishes.config.unwrap_or_else(config)).unwrap();
        let addresses = server.addresses();
        let task = tokio::spawn(server.run(Arc::clone(&reviewer), parts));
        Self { dev, addresses, metrics, readiness, reviewer, signals: sender, task, _dir: dir }
    }

    /// A client that trusts only the development CA.
    fn client(&self) -> reqwest::ClientBuilder {
        trusting(&self.dev.ca)
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addresses.webhook.port())
    }

    fn post(&self, client: &Client, body: &'static str) -> reqwest::RequestBuilder {
        client.post(self.url("/mutate")).header("content-type", "application/json").body(body)
    }

    /// A new connection, and one review.
    async fn review(&self) -> reqwest::Response {
        let client = self.client().build().unwrap();
        self.post(&client, "{}").send().await.unwrap()
    }

    async fn admin(&self, path: &str) -> (StatusCode, String) {
        let response = reqwest::get(format!("http://{}{path}", self.addresses.admin)).await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn signal(&self) {
        self.signals.send(()).await.unwrap();
    }

    /// Starts a review that waits, and returns when it is in progress.
    async fn start_waiting_review(&self) -> JoinHandle<reqwest::Result<reqwest::Response>> {
        let calls = self.reviewer.calls.load(Ordering::SeqCst);
        let request = self.post(&self.client().build().unwrap(), "wait");
        let waiting = tokio::spawn(request.send());
        until("the review is in progress", async || self.reviewer.calls.load(Ordering::SeqCst) > calls).await;
        waiting
    }

    async fn end(self) -> Result<(), ServeError> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server ends").unwrap()
    }

    async fn raw(&self) -> RawTls {
        let (address, ca) = (self.addresses.webhook, self.dev.ca.clone());
        blocking(move || RawTls::connect(address, &ca).unwrap()).await
    }
}

fn trusting(ca: &Path) -> reqwest::ClientBuilder {
    let ca = Certificate::from_pem(&fs::read(ca).unwrap()).unwrap();
    Client::builder().tls_certs_only([ca]).timeout(PATIENCE)
}

/// Polls until a condition is true.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: never happened"));
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// One connection, byte by byte, for details that an HTTP client hides.
struct RawTls(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl RawTls {
    fn connect(address: SocketAddr, ca: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self(BufReader::new(StreamOwned::new(connection, stream))))
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())?;
        self.0.get_mut().flush()
    }

    /// The head of an answer, in lower case, and its body.
    fn read_answer(&mut self) -> io::Result<(String, String)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body)?;
        Ok((head, String::from_utf8(body).unwrap()))
    }

    fn post(&mut self, path: &str, body: &str) -> io::Result<(String, String)> {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))?;
        self.read_answer()
    }

    /// Whether the server has closed the connection. Waits until it closes the connection or sends something.
    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}

#[tokio::test]
async fn a_client_that_trusts_the_development_ca_gets_answers() {
    let server = Running::start().await;
    let client = server.client().build().unwrap();
    for host in ["localhost", "127.0.0.1"] {
        for (path, answer) in
            [("mutate", r#"{"reviewed":"mutate"}"#), ("validate", r#"{"reviewed":"validate"}"#)]
        {
            let url = format!("https://{host}:{}/{path}?timeout=10s", server.addresses.webhook.port());
            let response = client.post(url).header("content-type", "application/json").send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.text().await.unwrap(), answer);
        }
    }
}

#[tokio::test]
async fn a_client_that_offers_http_2_gets_http_1_1() {
    let response = Running::start().await.review().await;
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_11));
    assert_eq!(response.headers().get(CONNECTION), None);
}

#[tokio::test]
async fn tls_1_2_is_accepted() {
    let server = Running::start().await;
    let client = server.client().tls_version_max(reqwest::tls::Version::TLS_1_2).build().unwrap();
    assert_eq!(server.post(&client, "{}").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_review() {
    let server = Running::start().await;
    let mut connection = server.raw().await;
    blocking(move || {
        for _ in 0..3 {
            let (head, body) = connection.post("/validate", "{}").unwrap();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            assert!(!head.contains("connection:"), "{head}");
            assert_eq!(body, r#"{"reviewed":"validate"}"#);
        }
    })
    .await;
    assert_eq!(server.reviewer.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_server_is_counted() {
    let server = Running::start().await;
    let another = TempDir::new().unwrap();
    let client = trusting(&dev_certificate::ensure(another.path()).unwrap().ca).build().unwrap();
    server.post(&client, "{}").send().await.unwrap_err();
    until("the handshake is counted", async || {
        let sample = r#"crm_admission_connection_failures_total{stage="handshake"} 1"#;
        server.admin("/metrics").await.1.contains(sample)
    })
    .await;
}

#[tokio::test]
async fn plain_http_on_the_tls_port_does_not_affect_others() {
    let server = Running::start().await;
    let address = server.addresses.webhook;
    let answer = blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // The server may reset the connection instead of closing it.
        let _ = stream.read_to_end(&mut answer);
        answer
    })
    .await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(server.review().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn silent_clients_do_not_block_others_and_are_dropped() {
    let config = ServerConfig { handshake_timeout: Duration::from_millis(300), ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let address = server.addresses.webhook;
    let start = std::time::Instant::now();
    let silent: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(server.review().await.status(), StatusCode::OK);
    blocking(move || {
        for mut stream in silent {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let end = stream.read(&mut [0]);
            assert!(
                matches!(&end, Ok(0))
                    || end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
            );
        }
    })
    .await;
    // By the limit of this test, not by the default of 10 seconds.
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_without_requests_and_one_without_the_end_of_its_headers_are_closed() {
    let short = Duration::from_millis(100);
    let limits = ConnectionLimits {
        first_request_timeout: short,
        header_timeout: short,
        idle_timeout: short,
        ..connections()
    };
    let config = ServerConfig { connections: limits, ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let (mut fresh, mut used, mut slow) = (server.raw().await, server.raw().await, server.raw().await);
    blocking(move || {
        used.post("/mutate", "{}").unwrap();
        slow.send("POST /mutate HTTP/1.1\r\nhost: local").unwrap();
        assert!(fresh.is_closed());
        assert!(used.is_closed());
        slow.0.read_to_end(&mut Vec::new()).unwrap_or_default();
        assert!(slow.is_closed());
    })
    .await;
}

#[tokio::test]
async fn a_body_with_a_content_length_over_the_limit_is_rejected_before_it_is_sent() {
    let server = Running::start().await;
    let mut connection = server.raw().await;
    let (head, body) = blocking(move || {
        connection
            .send("POST /mutate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n")
            .unwrap();
        connection.read_answer().unwrap()
    })
    .await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
    assert_eq!(body, "the body is larger than 7340032 bytes\n");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_frees_its_connection_and_its_place() {
    let server = Running::start().await;
    let mut connection = server.raw().await;
    let (head, body) = blocking(move || {
        connection
            .send("POST /mutate?timeout=100ms HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
            .unwrap();
        let answer = connection.read_answer().unwrap();
        // Bytes that arrive later must not be read as the next request.
        assert!(connection.is_closed());
        answer
    })
    .await;
    assert!(head.starts_with("http/1.1 408"), "{head}");
    assert_eq!(body, "the body did not arrive within 100ms\n");
    assert_eq!(server.metrics.serving().requests_in_flight(), 0);
}

#[tokio::test]
async fn at_the_limit_a_new_connection_replaces_the_longest_idle_one_of_the_caller() {
    let config =
        ServerConfig { connections: ConnectionLimits { connections: 2, ..connections() }, ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let shows = async |sample: &str| server.admin("/metrics").await.1.lines().any(|line| line == sample);
    let (mut first, mut second) = (server.raw().await, server.raw().await);
    until("both are open", async || shows(r#"crm_admission_open_connections{port="webhook"} 2"#).await).await;

    let mut third = server.raw().await;
    blocking(move || {
        assert!(first.is_closed());
        for connection in [&mut second, &mut third] {
            let (head, _) = connection.post("/mutate", "{}").unwrap();
            assert!(head.starts_with("http/1.1 200"), "{head}");
        }
    })
    .await;
    assert!(shows(r#"crm_admission_connection_failures_total{stage="limit"} 1"#).await);
    assert!(shows(r#"crm_admission_connection_failures_total{stage="handshake"} 0"#).await);
    until("all are closed", async || shows(r#"crm_admission_open_connections{port="webhook"} 0"#).await)
        .await;
}

#[tokio::test]
async fn at_the_limit_a_caller_with_only_busy_connections_gets_no_new_one() {
    let config =
        ServerConfig { connections: ConnectionLimits { connections: 1, ..connections() }, ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let mut busy = server.raw().await;
    busy.send("POST /mutate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nwait").unwrap();
    until("it is busy", async || server.reviewer.calls.load(Ordering::SeqCst) == 1).await;
    let mut denied = server.raw().await;
    blocking(move || assert!(denied.is_closed())).await;
    server.reviewer.gate.add_permits(1);
    let (head, _) = blocking(move || busy.read_answer().unwrap()).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
}

#[tokio::test]
async fn a_stalled_handshake_does_not_block_others_and_is_closed() {
    let limits = ConnectionLimits { connections: 1, ..connections() };
    let handshake_timeout = Duration::from_millis(200);
    let config = ServerConfig { connections: limits, handshake_timeout, ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let _silent = TcpStream::connect(server.addresses.webhook).unwrap();
    assert_eq!(server.review().await.status(), StatusCode::OK);
    until("the failure is counted", async || {
        let sample = r#"crm_admission_connection_failures_total{stage="handshake"} 1"#;
        server.admin("/metrics").await.1.contains(sample)
    })
    .await;
}

#[tokio::test]
async fn headers_that_are_too_large_are_rejected() {
    let server = Running::start().await;
    let client = server.client().build().unwrap();
    // The server may close the connection while the client still sends headers, and then the client sees no status.
    if let Ok(response) = server.post(&client, "{}").header("x-large", "x".repeat(1_000_000)).send().await {
        assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    assert_eq!(server.reviewer.calls.load(Ordering::SeqCst), 0);
    assert_eq!(server.review().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn only_callers_with_a_certificate_of_the_client_ca_are_accepted() {
    let dir = TempDir::new().unwrap();
    let identity = callers_ca(&dir.path().join("clients.crt"));
    let dev = dev_certificate::ensure(dir.path()).unwrap();
    let files = TlsFiles {
        client_ca: Some(ClientCaFile { path: dir.path().join("clients.crt"), names: Vec::new() }),
        ..dev.tls_files()
    };
    let server = Running::start_with(Wishes { files: Some(files), ..Wishes::default() }).await;
    let known = trusting(&dev.ca).identity(identity).build().unwrap();
    assert_eq!(server.post(&known, "{}").send().await.unwrap().status(), StatusCode::OK);
    let unknown = trusting(&dev.ca).build().unwrap();
    server.post(&unknown, "{}").send().await.unwrap_err();
    assert_eq!(server.reviewer.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn only_callers_with_an_accepted_name_are_accepted() {
    let dir = TempDir::new().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.path().join("clients.crt"), ca.pem()).unwrap();
    let caller = |common_name: &str, alternatives: Vec<rcgen::SanType>| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        params.subject_alt_names = alternatives;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let pem = params.signed_by(&key, &ca).unwrap().pem() + &key.serialize_pem();
        Identity::from_pem(pem.as_bytes()).unwrap()
    };
    let dev = dev_certificate::ensure(dir.path()).unwrap();
    let path = dir.path().join("clients.crt");
    let names = ["kube-apiserver", "api.example.com", "spiffe://example.com/api"].map(str::to_owned).into();
    let files = TlsFiles { client_ca: Some(ClientCaFile { path, names }), ..dev.tls_files() };
    let server = Running::start_with(Wishes { files: Some(files), ..Wishes::default() }).await;
    let dns = rcgen::SanType::DnsName("api.example.com".try_into().unwrap());
    let uri = rcgen::SanType::URI("spiffe://example.com/api".try_into().unwrap());
    for known in [caller("kube-apiserver", vec![]), caller("any", vec![dns]), caller("any", vec![uri])] {
        let known = trusting(&dev.ca).identity(known).build().unwrap();
        assert_eq!(server.post(&known, "{}").send().await.unwrap().status(), StatusCode::OK);
    }
    for stranger in ["Kube-Apiserver", "kube-apiserver.example.com", ""] {
        let stranger = trusting(&dev.ca).identity(caller(stranger, vec![])).build().unwrap();
        server.post(&stranger, "{}").send().await.unwrap_err();
    }
    assert_eq!(server.reviewer.calls.load(Ordering::SeqCst), 3);
    until("the rejected callers are counted", async || {
        let counted = "crm_admission_connection_failures_total{stage=\"client-certificate\"} 3\n";
        server.admin("/metrics").await.1.contains(counted)
    })
    .await;
}

/// Writes a new CA to `path`. Returns a client with a certificate from it.
fn callers_ca(path: &Path) -> Identity {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let caller = params.signed_by(&key, &ca).unwrap().pem() + &key.serialize_pem();
    fs::write(path, ca.pem()).unwrap();
    Identity::from_pem(caller.as_bytes()).unwrap()
}

#[tokio::test]
async fn connections_accepted_by_an_old_client_ca_are_closed_after_their_request() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("clients.crt");
    let identity = callers_ca(&path);
    let dev = dev_certificate::ensure(dir.path()).unwrap();
    let client_ca = Some(ClientCaFile { path: path.clone(), names: Vec::new() });
    let files = TlsFiles { client_ca, ..dev.tls_files() };
    let server = Running::start_with(Wishes { files: Some(files), ..Wishes::default() }).await;
    let caller = |identity| trusting(&dev.ca).identity(identity).build().unwrap();
    let old = caller(identity);
    assert_eq!(server.post(&old, "{}").send().await.unwrap().status(), StatusCode::OK);
    let request = server.post(&old, "wait");
    let busy = tokio::spawn(request.send());
    until("it is busy", async || server.reviewer.calls.load(Ordering::SeqCst) == 2).await;

    let new = caller(callers_ca(&path));
    until("the new CA is in use", async || server.post(&new, "{}").send().await.is_ok()).await;
    let closing = server.post(&old, "{}").send().await;
    assert!(closing.is_err(), "a new connection is denied: {closing:?}");
    server.reviewer.gate.add_permits(1);
    assert_eq!(busy.await.unwrap().unwrap().status(), StatusCode::OK, "a request in progress is answered");
    let after = server.post(&old, "{}").send().await;
    assert!(after.is_err(), "the connection of the last request is closed: {after:?}");
}

/// A directory like a mounted Secret: the files are symlinks through `..data`, which is replaced as a whole.
struct Mount {
    dir: TempDir,
    versions: usize,
}

impl Mount {
    fn new() -> Self {
        let mount = Self { dir: TempDir::new().unwrap(), versions: 0 };
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            std::os::unix::fs::symlink(Path::new("..data").join(name), mount.path(name)).unwrap();
        }
        mount
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Creates the directory of the next version, which is not in use yet.
    fn prepare(&mut self) -> PathBuf {
        self.versions += 1;
        let version = self.path(&format!("..version-{}", self.versions));
        fs::create_dir(&version).unwrap();
        version
    }

    fn swap(&self, version: &Path) {
        std::os::unix::fs::symlink(version.file_name().unwrap(), self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }

    /// Replaces the certificate by one from a new CA.
    fn renew(&mut self) {
        let version = self.prepare();
        dev_certificate::ensure(&version).unwrap();
        self.swap(&version);
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.path("tls.crt"), key: self.path("tls.key"), client_ca: None }
    }

    fn certificate(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(self.path("tls.crt")).unwrap().to_vec()
    }
}

/// The certificate that a new connection gets.
async fn shown(server: &Running) -> Vec<u8> {
    let client = Client::builder().tls_danger_accept_invalid_certs(true).tls_info(true).build().unwrap();
    let response = server.post(&client, "{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
}

#[tokio::test]
async fn new_connections_get_a_renewed_certificate_and_old_ones_continue() {
    let mut mount = Mount::new();
    mount.renew();
    let server = Running::start_with(Wishes { files: Some(mount.files()), ..Wishes::default() }).await;
    let first = mount.certificate();
    assert_eq!(shown(&server).await, first);
    let (address, ca) = (server.addresses.webhook, mount.path("ca.crt"));
    let mut old = blocking(move || RawTls::connect(address, &ca).unwrap()).await;

    mount.renew();
    let second = mount.certificate();
    assert_ne!(first, second);
    until("the renewed certificate is served", async || shown(&server).await == second).await;
    let (head, _) = blocking(move || old.post("/mutate", "{}").unwrap()).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
}

#[tokio::test]
async fn an_invalid_certificate_is_counted_and_the_last_valid_one_stays() {
    let mut mount = Mount::new();
    mount.renew();
    let server = Running::start_with(Wishes { files: Some(mount.files()), ..Wishes::default() }).await;
    let good = mount.certificate();
    let bad = mount.prepare();
    fs::write(bad.join("tls.crt"), "not a certificate").unwrap();
    fs::write(bad.join("tls.key"), "not a key").unwrap();
    mount.swap(&bad);
    until("the invalid certificate is counted", async || {
        server.admin("/metrics").await.1.contains("crm_admission_certificate_reload_failures_total 1\n")
    })
    .await;
    assert_eq!(shown(&server).await, good);
    assert_eq!(server.admin("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_server_is_ready_when_all_its_parts_are() {
    let server = Running::start().await;
    assert_eq!(server.admin("/readyz").await.0, StatusCode::OK);
    let policy = server.readiness.part("policy");
    let (status, body) = server.admin("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "[+]certificate ok\n[+]shutdown ok\n[-]policy: starting\nreadyz check failed\n");
    policy.ready();
    assert_eq!(server.admin("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_have_the_documented_names() {
    let server = Running::start().await;
    let metrics = &server.metrics;
    metrics.decisions().decided("mutate", "Company", "CREATE", "allowed", Duration::from_millis(1));
    metrics.decisions().finding("domain", "Deny");
    metrics.decisions().change("domain");
    metrics.directory().lookup(&Arc::from("Company.crm.milo.io"), "cached");
    metrics.directory().count_objects(|| {
        let kind = "Company.crm.milo.io".to_owned();
        vec![telemetry::DirectoryKind { kind, objects: 1, ready: true, restarts: 0 }]
    });
    metrics.directory().policy_in_force("default@1");
    let (status, text) = server.admin("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for start in [
        "requests_total{endpoint=\"mutate\",kind=\"Company\",operation=\"CREATE\",decision=\"allowed\"} 1",
        "request_duration_seconds_bucket{le=\"0.0001\",endpoint=\"mutate\"} 0",
        "findings_total{rule=\"domain\",action=\"Deny\"} 1",
        "changes_total{rule=\"domain\"} 1",
        "directory_lookups_total{kind=\"Company.crm.milo.io\",result=\"cached\"} 1",
        "directory_objects{kind=\"Company.crm.milo.io\"} 1",
        "certificate_expiry_timestamp_seconds{certificate=\"serving\"} ",
        "policy_info{policy=\"default@1\"} 1",
        "inflight_requests 0",
        "inflight_bytes 0",
        "open_connections{port=\"admin\"} 1",
        "connection_failures_total{stage=\"limit\"} 0",
        "task_restarts_total{task=\"directory Company.crm.milo.io\"} 0",
    ] {
        let start = format!("crm_admission_{start}");
        assert!(text.lines().any(|line| line.starts_with(&start)), "no {start} in\n{text}");
    }
}

#[tokio::test]
async fn during_the_shutdown_delay_it_is_not_ready_and_serves_with_connection_close() {
    let config = ServerConfig { shutdown_delay: FOREVER, ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let mut kept = server.raw().await;
    assert_eq!(server.admin("/readyz").await.0, StatusCode::OK);

    server.signal().await;
    until("it is not ready", async || server.admin("/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE)
        .await;
    assert!(server.admin("/readyz").await.1.contains("[-]shutdown: stopping\n"));
    assert_eq!(server.admin("/livez").await.0, StatusCode::OK);
    let response = server.review().await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONNECTION], "close");
    // Existing connections get the header too, and are closed after that answer.
    blocking(move || {
        let (head, _) = kept.post("/mutate", "{}").unwrap();
        assert!(head.contains("connection: close\r\n"), "{head}");
        assert!(kept.is_closed());
    })
    .await;

    server.signal().await;
    let error = server.end().await.unwrap_err().to_string();
    assert_eq!(error, "stopped at once by a second signal; requests cut off: 0");
}

#[tokio::test]
async fn no_call_is_lost_during_a_shutdown() {
    let config = ServerConfig { shutdown_delay: FOREVER, ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let callers: Vec<_> = (0..4)
        .map(|_| {
            // Keeps its connection as long as possible.
            let request = server.post(&server.client().build().unwrap(), "{}");
            tokio::spawn(async move {
                let mut closing = 0;
                while closing < 10 {
                    let response = request.try_clone().unwrap().send().await.unwrap();
                    assert_eq!(response.status(), StatusCode::OK);
                    closing += usize::from(response.headers().contains_key(CONNECTION));
                }
            })
        })
        .collect();
    until("calls arrive", async || server.reviewer.calls.load(Ordering::SeqCst) > 20).await;
    server.signal().await;
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn a_review_in_progress_is_answered_before_the_server_stops() {
    let server = Running::start().await;
    let waiting = server.start_waiting_review().await;
    let mut idle = server.raw().await;
    server.signal().await;
    let address = server.addresses.webhook;
    until("new connections fail", async || TcpStream::connect(address).is_err()).await;
    assert!(blocking(move || idle.is_closed()).await, "an idle connection does not delay the shutdown");
    assert!(!server.task.is_finished());

    server.reviewer.gate.add_permits(1);
    let response = waiting.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONNECTION], "close");
    assert_eq!(response.text().await.unwrap(), r#"{"reviewed":"mutate"}"#);
    server.end().await.unwrap();
}

#[tokio::test]
async fn the_admin_port_answers_until_the_last_review_is_answered() {
    let server = Running::start().await;
    let waiting = server.start_waiting_review().await;
    server.signal().await;
    let address = server.addresses.webhook;
    until("new connections fail", async || TcpStream::connect(address).is_err()).await;
    assert_eq!(server.admin("/livez").await.0, StatusCode::OK);
    assert_eq!(server.admin("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(server.admin("/metrics").await.1.contains("crm_admission_inflight_requests 1\n"));

    server.reviewer.gate.add_permits(1);
    waiting.await.unwrap().unwrap();
    let admin = server.addresses.admin;
    server.end().await.unwrap();
    until("the admin port is free", async || TcpStream::connect(admin).is_err()).await;
}

#[tokio::test]
async fn a_review_that_does_not_finish_is_aborted_at_the_drain_limit() {
    let config = ServerConfig { drain_limit: Duration::from_millis(50), ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let waiting = server.start_waiting_review().await;
    server.signal().await;
    waiting.await.unwrap().unwrap_err();
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_second_signal_stops_the_server_at_once() {
    let server = Running::start().await;
    let waiting = server.start_waiting_review().await;
    server.signal().await;
    server.signal().await;
    waiting.await.unwrap().unwrap_err();
    let error = server.end().await.unwrap_err().to_string();
    assert_eq!(error, "stopped at once by a second signal; requests cut off: 1");
}

#[tokio::test(start_paused = true)]
async fn the_server_waits_for_the_whole_shutdown_delay() {
    let config = ServerConfig { shutdown_delay: Duration::from_secs(10), ..config() };
    let server = Running::start_with(Wishes { config: Some(config), ..Wishes::default() }).await;
    let start = tokio::time::Instant::now();
    server.signal().await;
    server.end().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_stopped_background_task_stops_the_server_with_its_name() {
    for (how, expected) in [
        (Death::Panic, r#"the background task "company watch" panicked"#),
        (Death::Return, r#"the background task "company watch" stopped"#),
    ] {
        let mut tasks = Tasks::default();
        tasks.spawn("company watch", async move {
            if matches!(how, Death::Panic) {
                panic!("intended by the test");
            }
        });
        let server = Running::start_with(Wishes { tasks, ..Wishes::default() }).await;
        assert_eq!(server.end().await.unwrap_err().to_string(), expected);
    }
}

enum Death {
    Panic,
    Return,
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::bind(ServerConfig { listen: address, ..config() }).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (--listen): ")), "{error}");
    assert!(error.ends_with("; stop the program that uses it, or give another port"), "{error}");
    let error = Server::bind(ServerConfig { admin_listen: address, ..config() }).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (--admin-listen): ")), "{error}");
}
