//! Reads certificates and keys from PEM, and writes certificates as PEM.
//!
//! rustls-pki-types reads: it knows the kinds of keys, and skips damaged blocks and those of other kinds. The
//! crate `pem` writes, as in rcgen, so that all our PEM has one form.

use ::pem::{EncodeConfig, LineEnding, Pem, encode_config};
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::Facts;

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

/// All blocks of a PEM that should be certificates, or the first error.
pub fn all_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// The CAs that an API server trusts by a `caBundle`. If one block is not a certificate, it trusts none, so this is
/// `None`; also if there is no block.
pub fn bundle(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let blocks: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    let good = !blocks.is_empty() && blocks.iter().all(|der| Facts::of(der).is_some());
    good.then_some(blocks)
}

/// Why a PEM has no private key that can be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateKeyError {
    /// The key is encrypted.
    #[error("the private key is encrypted")]
    Encrypted,
    /// There is no private key.
    #[error("there is no private key")]
    Absent,
    /// The PEM is damaged.
    #[error(transparent)]
    Damaged(Error),
}

/// The first private key of a PEM.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PrivateKeyError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        // In the name of the block, or in a header inside it (older tools).
        _ if contains(pem, b"ENCRYPTED") => PrivateKeyError::Encrypted,
        Error::NoItemsFound => PrivateKeyError::Absent,
        error => PrivateKeyError::Damaged(error),
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Certificates as PEM.
pub fn write(certificates: &[CertificateDer<'_>]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    certificates.iter().map(|der| encode_config(&Pem::new("CERTIFICATE", der.as_ref()), config)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, DAY, Validity};
    use super::*;

    #[test]
    fn one_invalid_certificate_makes_a_bundle_invalid() {
        let good =
            write(&[Authority::create("some CA", Validity::from_now(0, DAY)).unwrap().certificate().clone()]);
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(bundle(good.as_bytes()).unwrap().len(), 1);
        for text in [String::new(), "text".to_owned(), format!("{good}{bad}"), format!("{bad}{good}")] {
            assert_eq!(bundle(text.as_bytes()), None, "{text}");
        }
        // Certificates that are only inspected are parsed as far as possible.
        assert_eq!(certificates(format!("{bad}{good}").as_bytes()).len(), 1);
    }

    #[test]
    fn certificates_are_written_without_a_line_between_them() {
        let text = write(&[vec![0; 49], vec![0; 48]].map(CertificateDer::from));
        let (begin, end) = ("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n");
        let line = "A".repeat(64);
        assert_eq!(text, format!("{begin}{line}\nAA==\n{end}{begin}{line}\n{end}"));
        assert_eq!(write(&[]), "");
    }
}
