//! The texts that a certificate is made of: read from files, and parsed.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::error::{Role, TlsError};
use super::validity::Validity;

/// A PEM text, and where it is from. It may be a key, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    pub(super) origin: String,
    content: Vec<u8>,
}

impl Pem {
    /// `origin` is what messages call it: a path, or the name of a Secret and its key.
    pub fn new(origin: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { origin: origin.into(), content: content.into() }
    }

    async fn read(role: Role, path: &Path) -> Result<Self, TlsError> {
        let origin = path.display().to_string();
        match tokio::fs::read(path).await {
            Ok(content) => Ok(Self { origin, content }),
            Err(source) => Err(TlsError::Unreadable { role, origin, source }),
        }
    }
}

/// The texts from which the certificate, its key and the callers' CAs are taken, always together.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsMaterial {
    /// The certificate and those between it and the CA.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// Whom callers must be; `None` lets in all callers.
    pub client_ca: Option<ClientCa>,
}

/// Whom callers must be.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCa {
    /// The CAs of which they must have a certificate.
    pub cas: Pem,
    /// The names of which their certificate must have one, as its common name or as an alternative name. Empty lets
    /// in everybody with a certificate.
    pub names: Vec<String>,
}

/// The files of a [`TlsMaterial`].
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those between it and the CA.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whom callers must be; `None` lets in all callers.
    pub client_ca: Option<ClientCaFile>,
}

/// The file of a [`ClientCa`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCaFile {
    /// The CAs of which callers must have a certificate.
    pub path: PathBuf,
    /// The names of which their certificate must have one; empty lets in everybody with a certificate.
    pub names: Vec<String>,
}

impl ClientCaFile {
    /// Reads it.
    pub async fn read(&self) -> Result<ClientCa, TlsError> {
        Ok(ClientCa { cas: Pem::read(Role::ClientCa, &self.path).await?, names: self.names.clone() })
    }
}

impl TlsFiles {
    /// Reads them all.
    pub async fn read(&self) -> Result<TlsMaterial, TlsError> {
        let client_ca = match &self.client_ca {
            Some(file) => Some(file.read().await?),
            None => None,
        };
        Ok(TlsMaterial {
            certificate: Pem::read(Role::Certificate, &self.certificate).await?,
            key: Pem::read(Role::Key, &self.key).await?,
            client_ca,
        })
    }
}

/// All certificates of a text; there is at least one.
pub(super) fn certificates(role: Role, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let origin = || pem.origin.clone();
    let found = CertificateDer::pem_slice_iter(&pem.content)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Damaged { role, origin: origin(), source })?;
    if found.is_empty() {
        return Err(TlsError::Absent { role, origin: origin() });
    }
    Ok(found)
}

/// The first private key of a text.
pub(super) fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let role = Role::Key;
    let origin = pem.origin.clone();
    PrivateKeyDer::from_pem_slice(&pem.content).map_err(|error| match error {
        // In the name of the block, or, with older tools, in a header inside it.
        _ if contains(&pem.content, b"ENCRYPTED") => TlsError::Encrypted { origin },
        pem::Error::NoItemsFound => TlsError::Absent { role, origin },
        source => TlsError::Damaged { role, origin, source },
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

pub(super) fn validity(
    role: Role,
    pem: &Pem,
    der: Option<&CertificateDer<'_>>,
) -> Result<Validity, TlsError> {
    let der = der.ok_or_else(|| TlsError::Absent { role, origin: pem.origin.clone() })?;
    let (_, certificate) = parse_x509_certificate(der).map_err(|error| TlsError::Unusable {
        role,
        origin: pem.origin.clone(),
        reason: error.to_string(),
    })?;
    let validity = certificate.validity();
    Ok(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}
