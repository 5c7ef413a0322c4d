//! Certificates as data: read out of PEM, described, and held against the CAs that are trusted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// How many characters a line of PEM has.
const PEM_COLUMNS: usize = 64;

/// What is worth knowing of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subject, as `CN=…`.
    pub subject: String,
    /// The issuer, as `CN=…`.
    pub issuer: String,
    /// The DNS names and IP addresses that it is for.
    pub names: Vec<String>,
    /// From when it holds, in seconds of Unix time.
    pub not_before: i64,
    /// Until when it holds, in seconds of Unix time.
    pub not_after: i64,
    /// Whether it may sign others.
    pub is_ca: bool,
}

impl Facts {
    /// `None` for what is no certificate.
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

    /// Whether it holds at this time.
    pub fn covers(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether half of its life is over.
    pub fn past_half(&self, now: i64) -> bool {
        now >= self.not_before + (self.not_after - self.not_before) / 2
    }
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

/// The certificates in a text. Blocks that are damaged are left out, and so is one that comes a second time.
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem).filter_map(Result::ok) {
        if Facts::of(&der).is_some() && !found.contains(&der) {
            found.push(der);
        }
    }
    found
}

/// Certificates as a text.
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

/// Whether a caller that trusts `cas` accepts `chain` from a server that it calls `name`; if not, why.
pub fn verify(
    chain: &[CertificateDer<'_>],
    cas: &[CertificateDer<'_>],
    name: &str,
    now: i64,
) -> Result<(), String> {
    let (leaf, between) = chain.split_first().ok_or("there is no certificate")?;
    let mut roots = RootCertStore::empty();
    for ca in cas {
        // One that cannot be used is one that is not trusted.
        let _ = roots.add(ca.clone().into_owned());
    }
    if roots.is_empty() {
        return Err("no CA is trusted".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name).map_err(|_| format!("{name:?} is no name of a server"))?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
    match verifier.verify_server_cert(leaf, between, &name, &[], now) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
