//! Parses certificates, describes them, and verifies them against CAs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// The line length of PEM.
const PEM_COLUMNS: usize = 64;

/// In seconds.
pub(super) const DAY: i64 = 24 * 60 * 60;
/// With fewer days left, somebody should check: it should have been renewed long before.
const FEW_DAYS: i64 = 14;
/// This applies only below this part of the lifetime, as a divisor: some certificates are valid for only a day.
const LITTLE: i64 = 5;

/// The state of a certificate at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Not valid yet.
    NotYet,
    /// Valid.
    Good,
    /// Valid, but should have been renewed: few days of its lifetime are left.
    EndsSoon,
    /// Expired.
    Over,
}

/// The properties of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subject, as `CN=…`.
    pub subject: String,
    /// The issuer, as `CN=…`.
    pub issuer: String,
    /// Its DNS names and IP addresses.
    pub names: Vec<String>,
    /// Valid from, in seconds of Unix time.
    pub not_before: i64,
    /// Valid until, in seconds of Unix time.
    pub not_after: i64,
    /// Whether it is a CA.
    pub is_ca: bool,
}

impl Facts {
    /// `None` if it is not a certificate.
    pub fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives.map(|found| found.value.general_names.iter().filter_map(name).collect());
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names.unwrap_or_default(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            is_ca: certificate.is_ca(),
        })
    }

    /// Whether it is valid at this time.
    pub fn covers(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Its state at this time.
    pub fn age(&self, now: i64) -> Age {
        let life = self.not_after - self.not_before;
        if now < self.not_before {
            Age::NotYet
        } else if now > self.not_after {
            Age::Over
        } else if self.not_after - now < (FEW_DAYS * DAY).min(life / LITTLE) {
            Age::EndsSoon
        } else {
            Age::Good
        }
    }

    /// The number of whole days left; negative if it has expired.
    pub fn days_left(&self, now: i64) -> i64 {
        (self.not_after - now).div_euclid(DAY)
    }

    /// This time, or the closest time at which it is valid.
    pub fn nearest(&self, now: i64) -> i64 {
        if self.not_before <= self.not_after { now.clamp(self.not_before, self.not_after) } else { now }
    }

    /// Whether half of its lifetime has passed.
    pub fn past_half(&self, now: i64) -> bool {
        now >= self.not_before + (self.not_after - self.not_before) / 2
    }
}

/// A time in readable form.
pub fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |date| date.to_string())
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
            };
            Some(address.to_string())
        }
        _ => None,
    }
}

/// The certificates in a PEM. Damaged blocks and duplicates are skipped.
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem).filter_map(Result::ok) {
        if Facts::of(&der).is_some() && !found.contains(&der) {
            found.push(der);
        }
    }
    found
}

/// Certificates as PEM.
pub fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(der);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(PEM_COLUMNS));
            text.push_str(line);
            text.push('\n');
            rest = more;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// The CAs that an API server trusts by a `caBundle`. If one block is not a certificate, it trusts none, so this is
/// `None`; also if there is no block.
pub fn bundle(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let blocks: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    let good = !blocks.is_empty() && blocks.iter().all(|der| Facts::of(der).is_some());
    good.then_some(blocks)
}

/// Checks that the private key belongs to the certificate; if not, returns why.
pub fn key_fits(chain: &[CertificateDer<'static>], key: &[u8]) -> Result<(), String> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "it is not a private key in PEM".to_owned())?;
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
pub enum Refusal {
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
) -> Result<(), Refusal> {
    // The verifier does not check the dates of a trusted CA. Go, and so the API server, does.
    let holds = |ca: &&CertificateDer<'_>| Facts::of(ca).is_some_and(|facts| facts.covers(now));
    let cas: Vec<_> = cas.iter().filter(holds).cloned().collect();
    voucher(chain, &cas, name, now).map(drop)
}

/// The CA by which a caller accepts `chain` from a server with this name, whether or not the CA itself is valid now; of
/// several, a valid one, and the one that lasts longest.
pub fn voucher<'c>(
    chain: &[CertificateDer<'static>],
    cas: &'c [CertificateDer<'static>],
    name: &str,
    now: i64,
) -> Result<&'c CertificateDer<'static>, Refusal> {
    let (leaf, between) = chain.split_first().ok_or(Refusal::Absent)?;
    let server = ServerName::try_from(name)
        .map_err(|_| Refusal::Name(format!("{name:?} is not a valid name for a certificate")))?;
    let mut refusal = if cas.is_empty() { Refusal::NoCa } else { Refusal::UnknownCa };
    let mut vouching = Vec::new();
    for ca in cas {
        match verify_by(leaf, between, ca, &server, now) {
            Ok(()) => vouching.push(ca),
            Err(error) => refusal = refusal.max(Refusal::of(&error)),
        }
    }
    let rank = |ca: &&CertificateDer<'_>| Facts::of(ca).map(|facts| (facts.covers(now), facts.not_after));
    vouching.into_iter().max_by_key(rank).ok_or(refusal)
}

impl Refusal {
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
    match Facts::of(leaf).map(|facts| facts.age(now)) {
        None => Err(CertificateError::BadEncoding.into()),
        Some(Age::NotYet) => Err(CertificateError::NotValidYet.into()),
        Some(Age::Over) => Err(CertificateError::Expired.into()),
        Some(Age::Good | Age::EndsSoon) => Ok(()),
    }
}

/// Named explicitly, so that this works whatever default the process installs.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
