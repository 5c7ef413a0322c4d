//! A certificate for local development, created once and renewed shortly before it expires.
//!
//! The key of the CA is not stored, so nobody can issue further certificates that the owner of the machine trusts.
//! Therefore the CA and the certificate are always created together.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use super::tls::TlsFiles;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A year without renewal. Some clients reject more than 825 days.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// With less time left, it is renewed, so that it does not expire during work.
const RENEWAL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The name that identifies our own certificates.
const CA_NAME: &str = "crm-admission development CA";

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The files of a development certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCertificate {
    /// The CA that clients must trust.
    pub ca: PathBuf,
    /// The certificate for `localhost`, `127.0.0.1` and `::1`.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// What [`ensure`] did.
    pub outcome: Outcome,
}

impl DevCertificate {
    /// The files for the server. Callers need no certificate.
    pub fn tls_files(&self) -> TlsFiles {
        TlsFiles { certificate: self.certificate.clone(), key: self.key.clone(), client_ca: None }
    }
}

/// What [`ensure`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All three files were created, and replaced older ones if there were any.
    Made,
    /// The files exist, are valid, and were left unchanged.
    Kept,
}

/// Why there is no development certificate.
#[derive(Debug, thiserror::Error)]
pub enum DevCertificateError {
    /// A file or the directory could not be read or written.
    #[error("cannot {action} {}: {source}; give a directory that you may write to", path.display())]
    File {
        /// The action that failed.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory contains a file that is not ours and would be overwritten.
    #[error("{} was not created by crm-admission and is not overwritten; give another directory, or move the file away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The certificate could not be created.
    #[error("the certificate could not be created: {0}")]
    Make(#[from] rcgen::Error),
}

/// Creates `ca.crt`, `tls.crt` and `tls.key` with mode 0600 in a directory, unless they exist and are valid for more
/// than seven days. Creates the directory with mode 0700 if it does not exist.
///
/// Never overwrites a certificate of another CA, or a key without a certificate of ours beside it. Several processes
/// may call this at the same time.
pub fn ensure(dir: &Path) -> Result<DevCertificate, DevCertificateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(dir)
        .map_err(failed("create the directory", dir))?;
    // Locked until the end of this function, so that two processes do not mix their files. Not every file system has
    // locks (NFS may not); without them, continue without a lock.
    let directory = File::open(dir).map_err(failed("open", dir))?;
    let _ = directory.lock();

    let paths = Paths::of(dir);
    let found = Found::read(&paths)?;
    let outcome = if found.is_good() {
        Outcome::Kept
    } else {
        found.may_be_replaced(&paths)?;
        make(&paths)?;
        Outcome::Made
    };
    let Paths { ca, certificate, key } = paths;
    Ok(DevCertificate { ca, certificate, key, outcome })
}

fn failed<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> DevCertificateError + 'p {
    move |source| DevCertificateError::File { action, path: path.to_owned(), source }
}

struct Paths {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Paths {
    fn of(dir: &Path) -> Self {
        Self { ca: dir.join("ca.crt"), certificate: dir.join("tls.crt"), key: dir.join("tls.key") }
    }
}

/// The content of the files that exist.
struct Found {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Found {
    fn read(paths: &Paths) -> Result<Self, DevCertificateError> {
        let read = |path: &Path| match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", path)(error)),
        };
        Ok(Self { ca: read(&paths.ca)?, certificate: read(&paths.certificate)?, key: read(&paths.key)? })
    }

    /// Whether a client that trusts the CA accepts the certificate for each of its names, now and when the renewal is
    /// due. Who created it does not matter.
    fn is_good(&self) -> bool {
        let (Some(ca), Some(certificate), Some(key)) = (&self.ca, &self.certificate, &self.key) else {
            return false;
        };
        accepted(ca, certificate, key).unwrap_or(false)
    }

    /// Never replaces what we cannot create again: a certificate of another CA, or a key without a certificate of ours
    /// beside it.
    fn may_be_replaced(&self, paths: &Paths) -> Result<(), DevCertificateError> {
        let mut ours = false;
        for (content, path) in [(&self.ca, &paths.ca), (&self.certificate, &paths.certificate)] {
            match content.as_deref().and_then(is_ours) {
                Some(true) => ours = true,
                Some(false) => return Err(DevCertificateError::Foreign { path: path.clone() }),
                None => {}
            }
        }
        if self.key.is_some() && !ours {
            return Err(DevCertificateError::Foreign { path: paths.key.clone() });
        }
        Ok(())
    }
}

/// Whether a certificate was issued by a CA of ours; `None` if it is not a certificate.
fn is_ours(pem: &[u8]) -> Option<bool> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = parse_x509_certificate(&der).ok()?;
    let mut issuer = certificate.issuer().iter_common_name().filter_map(|name| name.as_str().ok());
    Some(issuer.any(|name| name == CA_NAME))
}

fn accepted(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<bool, Box<dyn std::error::Error>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca)?)?;
    let certificate = CertificateDer::from_pem_slice(certificate)?;
    CertifiedKey::from_der(vec![certificate.clone()], PrivateKeyDer::from_pem_slice(key)?, &provider)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    let now = UnixTime::now();
    let renewal = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + RENEWAL);
    for time in [now, renewal] {
        for name in ["localhost", "127.0.0.1", "::1"] {
            verifier.verify_server_cert(&certificate, &[], &ServerName::try_from(name)?, &[], time)?;
        }
    }
    Ok(true)
}

fn make(paths: &Paths) -> Result<(), DevCertificateError> {
    let issuer = CertifiedIssuer::self_signed(ca_params(), KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = leaf_params()?.signed_by(&key, &issuer)?;
    // The key is written last: while it is missing, the next start treats the other files as ours and incomplete.
    write(&paths.ca, issuer.pem().as_bytes())?;
    write(&paths.certificate, certificate.pem().as_bytes())?;
    write(&paths.key, key.serialize_pem().as_bytes())
}

fn ca_params() -> CertificateParams {
    let mut params = params(CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = params("localhost");
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(common_name: &str) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // A day early, because the clock of a virtual machine or a container may be slow.
    params.not_before = now - DAY;
    params.not_after = now + LIFETIME;
    params
}

/// Writes a file atomically: a reader sees the old content or the new one.
fn write(path: &Path, content: &[u8]) -> Result<(), DevCertificateError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    write_and_rename(&new, path, content).map_err(failed("write", path))
}

fn write_and_rename(new: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    // A file left by an earlier run may have any mode.
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(new)?;
    // The umask reduces the mode above.
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests;
