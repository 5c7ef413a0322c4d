//! Another mutating webhook, which changes records.

use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::pki::Authority;
use crate::support::poll::{self, Seen};
use crate::support::records::company;
use crate::support::webhook::calls;
use axum::Router;
use axum::routing::post;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(60);

/// When the API server calls it, which depends on the names of the configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Before us.
    Before,
    /// After us, and not a second time.
    After,
    /// After us, and a second time if others have changed the object after it.
    AfterAndAgain,
}

/// A running webhook, registered for records whose names start with its own.
pub(crate) struct Stranger {
    configuration: String,
    admin: Kubectl,
    /// Runs the server until it is dropped.
    _runtime: Runtime,
}

impl Stranger {
    /// Starts it and waits until it is called. `change` returns the JSON Patch for an object.
    pub(crate) fn start(
        site: &Installation,
        name: &str,
        turn: Turn,
        change: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::create("stranger");
        let (port, runtime) = serve(&authority, change);
        let (place, again) = match turn {
            Turn::Before => ("before", "Never"),
            Turn::After => ("later", "Never"),
            Turn::AfterAndAgain => ("later", "IfNeeded"),
        };
        let (configuration, hook) = (format!("{place}-{name}"), format!("{name}.stranger.example"));
        let registration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": configuration},
            "webhooks": [{
                "name": hook,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "reinvocationPolicy": again,
                "clientConfig": {
                    "url": format!("https://127.0.0.1:{port}/"),
                    "caBundle": STANDARD.encode(&authority.pem),
                },
                "rules": [{
                    "apiGroups": ["crm.milo.io"], "apiVersions": ["*"], "resources": ["*"],
                    "operations": ["CREATE", "UPDATE"],
                }],
                "matchConditions": [{
                    "name": "its-own-records",
                    "expression": format!("object.metadata.?name.orValue('').startsWith('{name}')"),
                }],
            }],
        });
        let admin = site.plane.kubectl("admin");
        admin.apply(&registration.to_string()).succeeds();
        let stranger = Self { configuration, admin, _runtime: runtime };
        poll::until("a call of the stranger", PATIENCE, || {
            let probe = company(&format!("{name}-probe"), "{displayName: Probe}");
            let tried = stranger.admin.run_with(&probe, ["create", "--dry-run=server", "-f", "-"]);
            match calls(&stranger.admin, &hook) {
                0 => Seen::NotYet(tried.to_string()),
                _ => Seen::Ready(()),
            }
        });
        stranger
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // Until API servers notice this, they call it only for records of its own.
        let _ = self.admin.run([
            "delete",
            "mutatingwebhookconfiguration",
            &self.configuration,
            "--ignore-not-found",
        ]);
    }
}

fn serve(
    authority: &Authority,
    change: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static,
) -> (u16, Runtime) {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let identity = authority.server();
    let (listener, tls) = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let tls = RustlsConfig::from_pem(identity.certificate.into(), identity.key.into());
        (listener, tls.await.expect("a certificate"))
    });
    let port = listener.local_addr().expect("a bound address").port();
    let answer = move |review: String| async move {
        ([("content-type", "application/json")], answer(&review, &change).to_string())
    };
    let router = Router::new().route("/", post(answer));
    let server = axum_server::Server::<SocketAddr>::from_listener(listener);
    runtime.spawn(server.acceptor(RustlsAcceptor::new(tls)).serve(router.into_make_service()));
    (port, runtime)
}

fn answer(review: &str, change: &impl Fn(&Value) -> Value) -> Value {
    let mut review: Value = serde_json::from_str(review).expect("a review");
    let request = review["request"].take();
    let patch = STANDARD.encode(change(&request["object"]).to_string());
    review["response"] =
        json!({"uid": request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch});
    review
}
