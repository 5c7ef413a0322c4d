//! What the webhook shows its callers: a certificate and its key, swapped as a whole when they change.

mod error;
mod material;
mod validity;
mod watch;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

pub use error::{Role, TlsError};
pub use material::{Pem, TlsFiles, TlsMaterial};
pub use validity::Validity;
pub(super) use validity::unix_now;
pub use watch::{RELOAD_INTERVAL, watch};

use self::material::{certificates, private_key, validity};
use self::validity::{date, state_at};
use super::readiness::PartReport;
use crate::telemetry::Metrics;

/// The certificates, as the metrics name them.
const SERVING: &str = "serving";
const CLIENT_CA: &str = "client-ca";

/// The certificate that is served, which can be swapped for another while connections come in.
///
/// The whole configuration is swapped, and not only the certificate in it: its store of sessions goes with it, so no
/// session that began under an older one is resumed.
pub struct Tls {
    rustls: RustlsConfig,
    served: ArcSwap<Served>,
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
    /// Serves what the files hold, as [`Tls::new`] does. [`watch()`] keeps it up to date.
    pub async fn load(files: &TlsFiles, metrics: Metrics) -> Result<Self, TlsError> {
        Self::new(files.read().await?, metrics)
    }

    /// Serves `material`. A certificate that has expired is taken: then `/readyz` says so, and a renewal mends it.
    pub fn new(material: TlsMaterial, metrics: Metrics) -> Result<Self, TlsError> {
        let checked = check(&material)?;
        checked.show(&metrics);
        let served = Served { material, validity: checked.validity };
        Ok(Self {
            rustls: RustlsConfig::from_config(checked.config),
            served: ArcSwap::from_pointee(served),
            metrics,
        })
    }

    /// Serves `material` from the next connection on, if all of it is good and holds now; else nothing changes.
    pub fn replace(&self, material: TlsMaterial) -> Result<(), TlsError> {
        let checked = check(&material)?;
        let validity = checked.validity;
        if !validity.covers(unix_now()) {
            return Err(TlsError::NotNow { origin: material.certificate.origin, validity });
        }
        self.rustls.reload_from_config(Arc::clone(&checked.config));
        self.served.store(Arc::new(Served { material, validity }));
        checked.show(&self.metrics);
        self.metrics.certificate_reloaded();
        tracing::info!(not_after = date(validity.not_after), "serving a new certificate");
        Ok(())
    }

    /// When the certificate that is served holds.
    pub fn validity(&self) -> Validity {
        self.served.load().validity
    }

    /// The part `certificate` of `/readyz`.
    pub fn report(&self) -> PartReport {
        PartReport { name: "certificate".into(), state: state_at(self.validity(), unix_now()) }
    }

    pub(super) fn rustls(&self) -> RustlsConfig {
        self.rustls.clone()
    }

    fn serves(&self, material: &TlsMaterial) -> bool {
        self.served.load().material == *material
    }
}

/// A [`TlsMaterial`] that was found good.
struct Checked {
    config: Arc<ServerConfig>,
    validity: Validity,
    client_ca_not_after: Option<i64>,
}

impl Checked {
    fn show(&self, metrics: &Metrics) {
        metrics.certificate_expires(SERVING, self.validity.not_after);
        if let Some(not_after) = self.client_ca_not_after {
            metrics.certificate_expires(CLIENT_CA, not_after);
        }
    }
}

fn check(material: &TlsMaterial) -> Result<Checked, TlsError> {
    // Named, and not the process's default, so that this works whatever else the process installs.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (key, validity) = certified_key(material, &provider)?;
    let (verifier, client_ca_not_after) = match &material.client_ca {
        Some(pem) => client_verifier(pem, &provider)?,
        None => (Arc::new(NoClientAuth) as Arc<dyn ClientCertVerifier>, None),
    };
    let unusable = |error: rustls::Error| TlsError::Unusable {
        role: Role::Certificate,
        origin: material.certificate.origin.clone(),
        reason: error.to_string(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    // The API server speaks HTTP/1.1 to webhooks, and HTTP/2 is not served.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Checked { config: Arc::new(config), validity, client_ca_not_after })
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

/// Lets in callers with a certificate of one of the CAs. With it comes when the first of the CAs ends.
fn client_verifier(
    pem: &Pem,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Option<i64>), TlsError> {
    let role = Role::ClientCa;
    let unusable = |reason: String| TlsError::Unusable { role, origin: pem.origin.clone(), reason };
    let mut roots = RootCertStore::empty();
    let mut not_after = None;
    for der in certificates(role, pem)? {
        let ends = validity(role, pem, Some(&der))?.not_after;
        not_after = Some(not_after.map_or(ends, |earliest: i64| earliest.min(ends)));
        roots.add(der).map_err(|error| unusable(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    Ok((verifier, not_after))
}

#[cfg(test)]
mod tests;
