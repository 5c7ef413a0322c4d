//! Verifies client certificates against a CA and, if given, a list of names.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme,
};

use super::error::{Role, TlsError};
use super::material::{ClientCa, certificates, validity};
use crate::pki::client_names;

/// The maximum length of a caller's name in messages.
const SHOWN: usize = 64;

/// The certificate is from the right CA but has none of the accepted names.
#[derive(Debug)]
pub struct StrangerError {
    /// The name of the caller.
    pub name: String,
}

impl fmt::Display for StrangerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the caller {:?} has none of the names of --client-name", self.name)
    }
}

impl std::error::Error for StrangerError {}

/// A verifier for these callers, and the earliest expiry date of the CAs.
pub(super) fn verifier(
    callers: &ClientCa,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Option<i64>), TlsError> {
    let (role, pem) = (Role::ClientCa, &callers.cas);
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
    if callers.names.is_empty() {
        return Ok((verifier, not_after));
    }
    Ok((Arc::new(Named { verifier, names: callers.names.clone() }), not_after))
}

/// Accepts certificates that have one of these names.
#[derive(Debug)]
struct Named {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        let names = client_names(end_entity);
        if names.iter().any(|name| self.names.contains(name)) {
            return Ok(verified);
        }
        let name: String =
            names.first().map(String::as_str).unwrap_or_default().chars().take(SHOWN).collect();
        Err(CertificateError::Other(OtherError(Arc::new(StrangerError { name }))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
