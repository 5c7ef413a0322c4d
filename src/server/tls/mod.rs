//! Serves the certificate of the webhook, and replaces it as a whole when it changes.

mod client;
mod error;
mod material;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};

pub use client::StrangerError;
pub use error::{Role, TlsError};
pub use material::{ClientCa, ClientCaFile, Pem, TlsFiles, TlsMaterial};
pub use watch::{RELOAD_INTERVAL, watch};

use self::material::{certificates, private_key, validity};
use super::readiness::{PartReport, PartState};
use crate::pki::{Validity, date, provider, unix_now};
use crate::telemetry::Metrics;

/// The names of the certificates in the metrics.
const SERVING: &str = "serving";
const CLIENT_CA: &str = "client-ca";

/// The certificate in use. It can be replaced while connections arrive.
///
/// Replaces the whole configuration, including its session store, so that no session of an older configuration is
/// resumed.
pub struct Tls {
    rustls: RustlsConfig,
    /// `None` before the first certificate.
    served: ArcSwapOption<Served>,
    /// Increases with every change of the client CA.
    generation: Arc<AtomicU64>,
    metrics: Metrics,
}

struct Served {
    material: TlsMaterial,
    validity: Validity,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("validity", &self.validity()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Serves the certificate in the files, see [`Tls::new`]. [`watch()`] keeps it up to date.
    pub async fn load(files: &TlsFiles, metrics: Metrics) -> Result<Self, TlsError> {
        Self::new(files.read().await?, metrics)
    }

    /// Serves `material`, even if the certificate has expired: `/readyz` reports it, and a renewal fixes it.
    pub fn new(material: TlsMaterial, metrics: Metrics) -> Result<Self, TlsError> {
        let checked = check(&material)?;
        checked.show(&metrics);
        let served = Served { material, validity: checked.validity };
        Ok(Self {
            rustls: RustlsConfig::from_config(checked.config),
            served: ArcSwapOption::from_pointee(served),
            generation: Arc::default(),
            metrics,
        })
    }

    /// Serves no certificate until [`Tls::replace`] provides the first one: until then handshakes fail.
    pub fn waiting(metrics: Metrics) -> Result<Self, TlsError> {
        let config = config(Arc::new(NoClientAuth), Arc::new(NoCertificate)).map_err(|error| {
            let reason = error.to_string();
            TlsError::Unusable { role: Role::Certificate, origin: "that is awaited".to_owned(), reason }
        })?;
        Ok(Self {
            rustls: RustlsConfig::from_config(Arc::new(config)),
            served: ArcSwapOption::empty(),
            generation: Arc::default(),
            metrics,
        })
    }

    /// Serves `material` from the next connection on if all of it is valid now; otherwise nothing changes.
    pub fn replace(&self, material: TlsMaterial) -> Result<(), TlsError> {
        let checked = check(&material)?;
        let validity = checked.validity;
        if !validity.covers(unix_now()) {
            return Err(TlsError::NotNow { origin: material.certificate.origin, validity });
        }
        let changes_callers =
            self.served.load().as_ref().is_some_and(|served| served.material.client_ca != material.client_ca);
        self.rustls.reload_from_config(Arc::clone(&checked.config));
        if changes_callers {
            // After the configuration: a handshake that sees the new number also has the new configuration.
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.served.store(Some(Arc::new(Served { material, validity })));
        checked.show(&self.metrics);
        self.metrics.certificates().reloaded();
        tracing::info!(not_after = date(validity.not_after), "serving a new certificate");
        Ok(())
    }

    /// When the certificate in use is valid; `None` if there is none yet.
    pub fn validity(&self) -> Option<Validity> {
        self.served.load().as_ref().map(|served| served.validity)
    }

    /// The part `certificate` of `/readyz`.
    pub fn report(&self) -> PartReport {
        let state = match self.validity() {
            Some(validity) => state_at(validity, unix_now()),
            None => PartState::NotReady("not created yet".to_owned()),
        };
        PartReport { name: "certificate".into(), state }
    }

    /// Increases when callers that the client CA has accepted may no longer be accepted.
    pub(super) fn generation(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.generation)
    }

    pub(super) fn rustls(&self) -> RustlsConfig {
        self.rustls.clone()
    }

    /// Whether this material is in use.
    pub fn serves(&self, material: &TlsMaterial) -> bool {
        self.served.load().as_ref().is_some_and(|served| served.material == *material)
    }
}

/// The state that `/readyz` shows for a certificate at `now`.
fn state_at(validity: Validity, now: i64) -> PartState {
    if now > validity.not_after {
        return PartState::NotReady(format!("expired at {}", date(validity.not_after)));
    }
    if now < validity.not_before {
        return PartState::NotReady(format!("not valid before {}", date(validity.not_before)));
    }
    PartState::Ready
}

/// A valid [`TlsMaterial`].
struct Checked {
    config: Arc<ServerConfig>,
    validity: Validity,
    client_ca_not_after: Option<i64>,
}

impl Checked {
    fn show(&self, metrics: &Metrics) {
        metrics.certificates().expires(SERVING, self.validity.not_after);
        if let Some(not_after) = self.client_ca_not_after {
            metrics.certificates().expires(CLIENT_CA, not_after);
        }
    }
}

fn check(material: &TlsMaterial) -> Result<Checked, TlsError> {
    let provider = provider();
    let (key, validity) = certified_key(material, &provider)?;
    let (verifier, client_ca_not_after) = match &material.client_ca {
        Some(callers) => client::verifier(callers, &provider)?,
        None => (Arc::new(NoClientAuth) as Arc<dyn ClientCertVerifier>, None),
    };
    let unusable = |error: rustls::Error| TlsError::Unusable {
        role: Role::Certificate,
        origin: material.certificate.origin.clone(),
        reason: error.to_string(),
    };
    let config = config(verifier, Arc::new(SingleCertAndKey::from(key))).map_err(unusable)?;
    Ok(Checked { config: Arc::new(config), validity, client_ca_not_after })
}

fn config(
    callers: Arc<dyn ClientCertVerifier>,
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(callers)
        .with_cert_resolver(certificate);
    // The API server uses HTTP/1.1 for webhooks, and HTTP/2 is not served.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Used before the first certificate.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

fn certified_key(
    material: &TlsMaterial,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Validity), TlsError> {
    let TlsMaterial { certificate, key, .. } = material;
    let chain = certificates(Role::Certificate, certificate)?;
    let validity = validity(Role::Certificate, certificate, chain.first())?;
    let der = private_key(key)?;
    match CertifiedKey::from_der(chain, der, provider) {
        Ok(certified) => Ok((certified, validity)),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(TlsError::Mismatch { certificate: certificate.origin.clone(), key: key.origin.clone() })
        }
        Err(error) => {
            Err(TlsError::Unusable { role: Role::Key, origin: key.origin.clone(), reason: error.to_string() })
        }
    }
}

#[cfg(test)]
mod tests;
