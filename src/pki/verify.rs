//! Verifies certificates against CAs, and keys against certificates.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};

use super::certificate::Facts;
use super::pem::private_key;
use super::validity::Age;

/// Checks that the private key belongs to the certificate; if not, returns why.
pub fn key_fits(chain: &[CertificateDer<'static>], key: &[u8]) -> Result<(), String> {
    let key = private_key(key).map_err(|_| "it is not a private key in PEM".to_owned())?;
    match CertifiedKey::from_der(chain.to_vec(), key, &provider()) {
        Ok(_) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("it is not the key of the certificate".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Why a caller does not accept a certificate. Of several reasons, a later variant says more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Untrusted {
    /// There is no certificate.
    #[error("there is no certificate")]
    Absent,
    /// The API server cannot parse the `caBundle`.
    #[error("its caBundle contains an invalid certificate, so none of it is trusted")]
    Bundle,
    /// The caller trusts no valid CA.
    #[error("no valid CA is trusted")]
    NoCa,
    /// It is from another CA.
    #[error("it was not signed by a trusted CA")]
    UnknownCa,
    /// It is not valid now, or not a server certificate.
    #[error("{0}")]
    Unfit(String),
    /// It has another name than the server.
    #[error("{0}")]
    Name(String),
}

/// Checks that a caller that trusts `cas` accepts `chain` from a server with this name; if not, returns why.
pub fn verify(
    chain: &[CertificateDer<'static>],
    cas: &[CertificateDer<'static>],
    name: &str,
    now: i64,
) -> Result<(), Untrusted> {
    // The verifier does not check the dates of a trusted CA. Go, and so the API server, does.
    let holds = |ca: &&CertificateDer<'_>| Facts::of(ca).is_some_and(|facts| facts.validity.covers(now));
    let cas: Vec<_> = cas.iter().filter(holds).cloned().collect();
    trusting_ca(chain, &cas, name, now).map(drop)
}

/// The CA by which a caller accepts `chain` from a server with this name, whether or not the CA itself is valid now; of
/// several, a valid one, and the one that lasts longest.
pub fn trusting_ca<'c>(
    chain: &[CertificateDer<'static>],
    cas: &'c [CertificateDer<'static>],
    name: &str,
    now: i64,
) -> Result<&'c CertificateDer<'static>, Untrusted> {
    let (leaf, between) = chain.split_first().ok_or(Untrusted::Absent)?;
    let server = ServerName::try_from(name)
        .map_err(|_| Untrusted::Name(format!("{name:?} is not a valid name for a certificate")))?;
    let mut untrusted = if cas.is_empty() { Untrusted::NoCa } else { Untrusted::UnknownCa };
    let mut vouching = Vec::new();
    for ca in cas {
        match verify_by(leaf, between, ca, &server, now) {
            Ok(()) => vouching.push(ca),
            Err(error) => untrusted = untrusted.max(Untrusted::of(&error)),
        }
    }
    let rank = |ca: &&CertificateDer<'_>| {
        Facts::of(ca).map(|facts| (facts.validity.covers(now), facts.validity.not_after))
    };
    vouching.into_iter().max_by_key(rank).ok_or(untrusted)
}

impl Untrusted {
    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => Self::UnknownCa,
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::Name(error.to_string()),
            error => Self::Unfit(error.to_string()),
        }
    }
}

fn verify_by(
    leaf: &CertificateDer<'static>,
    between: &[CertificateDer<'static>],
    ca: &CertificateDer<'static>,
    server: &ServerName<'_>,
    now: i64,
) -> Result<(), Error> {
    if leaf == ca {
        return verify_by_itself(leaf, server, now);
    }
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
    verifier.verify_server_cert(leaf, between, server, &[], now).map(drop)
}

/// A certificate that is itself trusted. Go, and so the API server, accepts it whether or not it is a CA.
fn verify_by_itself(leaf: &CertificateDer<'_>, server: &ServerName<'_>, now: i64) -> Result<(), Error> {
    verify_server_name(&ParsedCertificate::try_from(leaf)?, server)?;
    match Facts::of(leaf).map(|facts| facts.validity.age(now)) {
        None => Err(CertificateError::BadEncoding.into()),
        Some(Age::NotYet) => Err(CertificateError::NotValidYet.into()),
        Some(Age::Over) => Err(CertificateError::Expired.into()),
        Some(Age::Good | Age::EndsSoon) => Ok(()),
    }
}

/// The crypto provider of this file. It does not depend on the default of the process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
