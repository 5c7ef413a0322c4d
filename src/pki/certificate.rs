//! Parses a certificate and describes it.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::validity::Validity;

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// The properties of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subject, as `CN=…`.
    pub subject: String,
    /// The issuer, as `CN=…`.
    pub issuer: String,
    /// Its DNS names and IP addresses.
    pub names: Vec<String>,
    /// When it is valid.
    pub validity: Validity,
    /// Whether it is a CA.
    pub is_ca: bool,
}

impl Facts {
    /// Parses a certificate.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, Malformed> {
        let certificate = parsed(der)?;
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives.map(|found| found.value.general_names.iter().filter_map(name).collect());
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names.unwrap_or_default(),
            validity: Validity {
                not_before: certificate.validity().not_before.timestamp(),
                not_after: certificate.validity().not_after.timestamp(),
            },
            is_ca: certificate.is_ca(),
        })
    }

    /// `None` if it is not a certificate.
    pub fn of(der: &CertificateDer<'_>) -> Option<Self> {
        Self::parse(der).ok()
    }
}

/// The names by which a client may be known: the common name, and alternative names that are DNS names or URIs. Empty
/// if it is not a certificate.
pub fn client_names(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = parsed(der) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.map(str::to_owned).collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    names
}

/// Whether this is the public key of a certificate, encoded as in the certificate.
pub(super) fn has_public_key(der: &CertificateDer<'_>, key: &[u8]) -> bool {
    parsed(der).is_ok_and(|certificate| certificate.public_key().raw == key)
}

fn parsed<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, Malformed> {
    match parse_x509_certificate(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(Malformed(error.to_string())),
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
