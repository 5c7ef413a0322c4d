//! Sends the requests of the exporter, over the HTTP client and the TLS that the program has anyway.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::settings::{Authorities, Settings};

/// The maximum size of an answer in bytes. A collector answers with a few bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Why the collector cannot be reached with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file with the CAs cannot be used.
    #[error("{variable}: {path} {problem}; give a PEM file with the CA of the collector")]
    Authorities {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An image without a system has no CAs.
    #[error(
        "there are no CA certificates on this system to verify the collector with; name a PEM file with its CA in OTEL_EXPORTER_OTLP_CERTIFICATE"
    )]
    NoSystemAuthorities,
}

/// The reason of the last failure without an answer. The exporter only says that there was one.
pub(super) type LastFailure = Arc<ArcSwapOption<HttpError>>;

/// An HTTP client that waits for an answer no longer than the timeout of the settings.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    last_failure: LastFailure,
}

impl Client {
    /// # Errors
    /// The collector has an `https` address, and there are no CAs to verify it with.
    pub(super) fn new(settings: &Settings, last_failure: LastFailure) -> Result<Self, ClientError> {
        let roots = match settings.endpoint.scheme_str() {
            Some("https") => authorities(settings.authorities.as_ref())?,
            _ => RootCertStore::empty(),
        };
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, timeout: settings.timeout, last_failure })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let response = self.http.request(request.map(Full::new)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, body))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {:?}", self.timeout).into()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl HttpClient for Client {
    // What the macro `async_trait` would write.
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            match self.send(request).await {
                Ok(answer) => {
                    self.last_failure.store(None);
                    Ok(answer)
                }
                Err(error) => {
                    self.last_failure.store(Some(Arc::new(error)));
                    Err("no answer".into())
                }
            }
        })
    }
}

fn authorities(file: Option<&Authorities>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let Some(Authorities { variable, path }) = file else {
        // Certificates that cannot be read are skipped, as every program with these roots does.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(ClientError::NoSystemAuthorities) } else { Ok(roots) };
    };
    let unusable =
        |problem: String| ClientError::Authorities { variable, path: path.display().to_string(), problem };
    let pem = std::fs::read(path).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| unusable("is not PEM".to_owned()))?;
        roots.add(certificate).map_err(|error| unusable(format!("has an invalid certificate: {error}")))?;
    }
    if roots.is_empty() { Err(unusable("has no certificate".to_owned())) } else { Ok(roots) }
}
