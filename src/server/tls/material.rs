//! Certificate, key and client CA as PEM: read from files and parsed.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{Role, TlsError};
use crate::pki::{self, Facts, PrivateKeyError, Validity};

/// PEM content and its origin. It may be a key, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    pub(super) origin: String,
    content: Vec<u8>,
}

impl Pem {
    /// `origin` is its name in messages: a path, or the name of a Secret and its key.
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

/// Certificate, key and client CA, always used together.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsMaterial {
    /// The certificate and its intermediates.
    pub certificate: Pem,
    /// The key of the certificate.
    pub key: Pem,
    /// The client CA; `None` accepts all callers.
    pub client_ca: Option<ClientCa>,
}

/// Which client certificates are accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCa {
    /// The CAs that must have issued the certificate.
    pub cas: Pem,
    /// The certificate must have one of these names, as its common name or as an alternative name. Empty accepts every
    /// certificate of the CAs.
    pub names: Vec<String>,
}

/// The files of a [`TlsMaterial`].
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and its intermediates.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// The client CA; `None` accepts all callers.
    pub client_ca: Option<ClientCaFile>,
}

/// The file of a [`ClientCa`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCaFile {
    /// The file with the CAs that must have issued the certificate.
    pub path: PathBuf,
    /// The certificate must have one of these names; empty accepts every certificate of the CAs.
    pub names: Vec<String>,
}

impl ClientCaFile {
    /// Reads the file.
    pub async fn read(&self) -> Result<ClientCa, TlsError> {
        Ok(ClientCa { cas: Pem::read(Role::ClientCa, &self.path).await?, names: self.names.clone() })
    }
}

impl TlsFiles {
    /// Reads all files.
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

/// All certificates of a PEM; at least one.
pub(super) fn certificates(role: Role, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let origin = || pem.origin.clone();
    let found = pki::all_certificates(&pem.content).map_err(|source| TlsError::Damaged {
        role,
        origin: origin(),
        source,
    })?;
    if found.is_empty() {
        return Err(TlsError::Absent { role, origin: origin() });
    }
    Ok(found)
}

/// The first private key of a PEM.
pub(super) fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let role = Role::Key;
    let origin = pem.origin.clone();
    pki::private_key(&pem.content).map_err(|error| match error {
        PrivateKeyError::Encrypted => TlsError::Encrypted { origin },
        PrivateKeyError::Absent => TlsError::Absent { role, origin },
        PrivateKeyError::Damaged(source) => TlsError::Damaged { role, origin, source },
    })
}

pub(super) fn validity(
    role: Role,
    pem: &Pem,
    der: Option<&CertificateDer<'_>>,
) -> Result<Validity, TlsError> {
    let der = der.ok_or_else(|| TlsError::Absent { role, origin: pem.origin.clone() })?;
    let facts = Facts::parse(der).map_err(|error| TlsError::Unusable {
        role,
        origin: pem.origin.clone(),
        reason: error.to_string(),
    })?;
    Ok(facts.validity)
}
