//! A CA that issues certificates, and the keys of both.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::{CertificateDer, DnsName};
use time::OffsetDateTime;

use super::certificate::has_public_key;
use super::validity::Validity;

/// A certificate and its key as PEM. They are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key of the certificate.
    pub key: Vec<u8>,
}

/// A CA with its key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// Why a certificate could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A name is invalid.
    #[error("{name:?} is not a DNS name or IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// The library failed.
    #[error("the certificate could not be created: {0}")]
    Library(#[from] rcgen::Error),
    /// A date is out of range.
    #[error("the clock is outside the range of certificate dates; set it")]
    Clock,
}

/// Why a key cannot sign for a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not a key.
    #[error("has a key that is missing or damaged")]
    Damaged,
    /// It is the key of another certificate.
    #[error("has the key of another certificate")]
    Foreign,
}

impl Authority {
    /// Creates a CA with a new key. It may sign certificates, but no further CAs.
    pub fn create(common_name: &str, validity: Validity) -> Result<Self, CreateError> {
        let key = KeyPair::generate()?;
        let certificate = ca_params(common_name, validity)?.self_signed(&key)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// Restores a stored CA from its certificate and its key as PEM.
    pub fn stored(certificate: CertificateDer<'static>, key: &[u8]) -> Result<Self, KeyError> {
        let key = std::str::from_utf8(key).ok().and_then(|text| KeyPair::from_pem(text).ok());
        let key = key.ok_or(KeyError::Damaged)?;
        if !has_public_key(&certificate, &key.subject_public_key_info()) {
            return Err(KeyError::Foreign);
        }
        Ok(Self { certificate, key })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its key as PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Issues a server certificate with a new key for these DNS names and IP addresses.
    pub fn issue(
        &self,
        common_name: &str,
        names: &[String],
        validity: Validity,
    ) -> Result<Identity, CreateError> {
        let key = KeyPair::generate()?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        let certificate = server_params(common_name, names, validity)?.signed_by(&key, &issuer)?;
        Ok(Identity { certificate: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() })
    }
}

fn ca_params(common_name: &str, validity: Validity) -> Result<CertificateParams, CreateError> {
    let mut params = params(common_name, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server_params(
    common_name: &str,
    names: &[String],
    validity: Validity,
) -> Result<CertificateParams, CreateError> {
    let mut params = params(common_name, validity)?;
    params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(common_name: &str, validity: Validity) -> Result<CertificateParams, CreateError> {
    let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CreateError::Clock);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    Ok(params)
}

fn alternative(name: &str) -> Result<SanType, CreateError> {
    let wrong = || CreateError::Name { name: name.to_owned() };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    DnsName::try_from(name).map_err(|_| wrong())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;
    use x509_parser::parse_x509_certificate;

    use super::super::validity::DAY;
    use super::*;

    const VALIDITY: Validity = Validity { not_before: 1_800_000_000, not_after: 1_800_000_000 + DAY };

    fn authority() -> Authority {
        Authority::create("some CA", VALIDITY).unwrap()
    }

    #[test]
    fn the_ca_may_sign_certificates_but_no_other_cas() {
        let authority = authority();
        let (_, ca) = parse_x509_certificate(authority.certificate()).unwrap();
        let constraints = ca.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        assert!(ca.key_usage().unwrap().unwrap().value.key_cert_sign());
    }

    #[test]
    fn the_certificate_has_the_fields_that_openssl_and_go_require() {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let pem = authority().issue("localhost", &names, VALIDITY).unwrap().certificate;
        let der = super::super::certificates(&pem).remove(0);
        let (_, leaf) = parse_x509_certificate(&der).unwrap();
        assert_eq!(leaf.version().0, 2, "X.509 v3");
        assert!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
        assert!(!leaf.basic_constraints().unwrap().unwrap().value.ca);
        assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        let mut ipv6 = [0; 16];
        ipv6[15] = 1;
        let expected = [
            GeneralName::DNSName("localhost"),
            GeneralName::IPAddress(&[127, 0, 0, 1]),
            GeneralName::IPAddress(&ipv6),
        ];
        assert_eq!(names[..], expected);
    }

    #[test]
    fn a_stored_ca_needs_its_own_key() {
        let (one, other) = (authority(), authority());
        let stored = |key: &str| Authority::stored(one.certificate().clone(), key.as_bytes()).map(drop);
        assert_eq!(stored(&one.key_pem()), Ok(()));
        assert_eq!(stored(&other.key_pem()), Err(KeyError::Foreign));
        assert_eq!(stored("text"), Err(KeyError::Damaged));
    }
}
