//! The compared programs: crm-admission, a minimal echo on the same stack, and a webhook on controller-runtime.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::http::{self, Place};
use crate::server::{Program, Ready, Server};
use crate::settings::Cores;
use crate::support::pki::Authority;
use crate::support::workspace::Workspace;
use crate::support::{net, repository};

/// The argument that makes the benchmark serve the echo.
pub(crate) const ECHO: &str = "serve-echo";

/// The path with a constant answer.
pub(crate) const CONSTANT: &str = "/constant";

/// The path that also parses the fields that every webhook needs.
pub(crate) const READING: &str = "/reading";

/// One of the compared programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Echo,
    Ours,
    /// The program of releases, which is linked with musl.
    Static,
    Go,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Ours => "crm-admission",
            Self::Static => "crm-admission, static",
            Self::Go => "controller-runtime",
        }
    }

    /// The programs that exist on this machine.
    pub(crate) fn present() -> Vec<Self> {
        let mut present = vec![Self::Echo, Self::Ours];
        if go_webhook().is_file() {
            present.push(Self::Go);
        } else {
            crate::say("The webhook on controller-runtime was not built (is Go installed?): skipping it.");
        }
        present
    }

    /// The program of releases, if `scripts/static-programs` has built it.
    pub(crate) fn of_releases() -> Option<Self> {
        let exists = static_program().is_file();
        if !exists {
            crate::say("The static program was not built (scripts/static-programs does): skipping it.");
        }
        exists.then_some(Self::Static)
    }
}

fn static_program() -> PathBuf {
    let architecture = crm_release::Architecture::OWN.name();
    repository().join("target/static").join(architecture).join("crm-admission")
}

/// The path to which `make bench` builds it.
fn go_webhook() -> PathBuf {
    repository().join("target/bench/go-webhook")
}

/// A running contender.
pub(crate) struct Running {
    pub(crate) contender: Contender,
    pub(crate) server: Server,
    pub(crate) place: Place,
}

/// The settings with which contenders are started.
pub(crate) struct Stable {
    pub(crate) workspace: Workspace,
    pub(crate) authority: Authority,
    certificates: PathBuf,
    trust: Arc<ClientConfig>,
    cores: Option<Cores>,
}

impl Stable {
    /// `cores` are the cores on which they run; `None` for all.
    pub(crate) fn new(cores: Option<Cores>) -> Self {
        let workspace = Workspace::create();
        let authority = Authority::create("webhooks of a benchmark");
        let server = authority.server();
        workspace.write("certificates", "tls.key", &server.key);
        let certificates = workspace.write("certificates", "tls.crt", &server.certificate);
        let certificates = certificates.parent().unwrap().to_owned();
        let trust = http::trust(&authority.pem);
        Self { workspace, authority, certificates, trust, cores }
    }

    pub(crate) fn start(&self, contender: Contender, kubeconfig: &Path) -> Running {
        self.start_with(contender, kubeconfig, &[])
    }

    /// Starts it with additional flags.
    pub(crate) fn start_with(&self, contender: Contender, kubeconfig: &Path, flags: &[String]) -> Running {
        let (server, port) = net::on_free_ports(|[port, admin]| {
            let own = std::env::current_exe().unwrap();
            let (path, args, ready) = match contender {
                Contender::Echo => (own, self.echo_args(port), Ready::Listens(port)),
                Contender::Ours => (product(), self.our_args(port, admin), Ready::Page(admin)),
                Contender::Static => (static_program(), self.our_args(port, admin), Ready::Page(admin)),
                Contender::Go => (go_webhook(), self.go_args(port, admin), Ready::Page(admin)),
            };
            let program = Program {
                name: contender.name(),
                path: &path,
                args: args.into_iter().chain(flags.iter().cloned()).collect(),
                kubeconfig: Some(kubeconfig),
                ready,
                core: self.cores.map(|cores| cores.server),
            };
            Server::start(&self.workspace, &program).map(|server| (server, port))
        });
        Running { contender, server, place: Place { port, tls: Some(Arc::clone(&self.trust)) } }
    }

    fn certificate(&self, name: &str) -> String {
        self.certificates.join(name).display().to_string()
    }

    fn echo_args(&self, port: u16) -> Vec<String> {
        vec![ECHO.to_owned(), port.to_string(), self.certificate("tls.crt"), self.certificate("tls.key")]
    }

    fn our_args(&self, port: u16, admin: u16) -> Vec<String> {
        let (listen, admin) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{admin}"));
        let (certificate, key) = (self.certificate("tls.crt"), self.certificate("tls.key"));
        let args = ["serve", "--listen", &listen, "--admin-listen", &admin, "--directory", "cluster"];
        args.into_iter().chain(["--tls-cert", &certificate, "--tls-key", &key]).map(str::to_owned).collect()
    }

    fn go_args(&self, port: u16, health: u16) -> Vec<String> {
        vec![
            format!("--port={port}"),
            format!("--health=127.0.0.1:{health}"),
            format!("--cert-dir={}", self.certificates.display()),
        ]
    }
}

fn product() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_crm-admission"))
}

/// Serves the echo on the same stack as crm-admission: axum, axum-server and rustls.
pub(crate) fn serve_echo(args: &[String]) {
    let [port, certificate, key] = args else { panic!("the echo needs a port, a certificate and a key") };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let router = Router::new().route(CONSTANT, post(constant)).route(READING, post(reading)).fallback(echo);
    runtime.block_on(async {
        let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls(certificate, key)))
            .acceptor(NoDelayAcceptor::new());
        let server = axum_server::bind(address).acceptor(acceptor).http1_only();
        server.serve(router.into_make_service()).await.unwrap();
    });
}

/// Without HTTP/2, like crm-admission; the default of `RustlsConfig` has it.
fn tls(certificate: &str, key: &str) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// Reads the body and returns a constant answer.
async fn constant(body: Bytes) -> impl IntoResponse {
    drop(body);
    let answer = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"8f6f4a5e-5b0d-4d53-a9b1-0c9c6a1f7e21","allowed":true}}"#;
    ([(header::CONTENT_TYPE, "application/json")], answer)
}

/// Parses the uid and the spec, skips the rest, and returns a constant answer.
async fn reading(body: Bytes) -> impl IntoResponse {
    let review: Review = serde_json::from_slice(&body).unwrap();
    let is_review = review.request.uid.len() == 36 && review.request.object.spec.is_object();
    assert!(is_review, "the parsed review must be used");
    constant(body).await
}

#[derive(Deserialize)]
struct Review {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    uid: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    spec: Value,
}

/// Allows the request. Reads only the uid, which the answer must repeat.
async fn echo(body: Bytes) -> impl IntoResponse {
    const FIELD: &[u8] = br#""uid":""#;
    const LENGTH: usize = 36;
    let start = body.windows(FIELD.len()).position(|window| window == FIELD).map(|at| at + FIELD.len());
    let uid = start.and_then(|start| body.get(start..start + LENGTH)).unwrap_or_default();
    let answer = format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{{"uid":"{}","allowed":true}}}}"#,
        String::from_utf8_lossy(uid)
    );
    ([(header::CONTENT_TYPE, "application/json")], answer)
}
