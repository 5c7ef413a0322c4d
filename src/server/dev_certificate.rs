//! A certificate for local development, created once and renewed shortly before it expires.
//!
//! The key of the CA is not stored, so nobody can issue further certificates that the owner of the machine trusts.
//! Therefore the CA and the certificate are always created together.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::tls::TlsFiles;
use crate::pki::{self, Authority, CreateError, DAY, Facts, Identity, Validity, certificates, unix_now};

/// A year without renewal. Some clients reject more than 825 days.
const LIFETIME: i64 = 365 * DAY;
/// With less time left, it is renewed, so that it does not expire during work.
const RENEWAL: i64 = 7 * DAY;

/// The names of the certificate.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
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
    #[error(transparent)]
    Create(#[from] CreateError),
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
        make(&paths, LIFETIME)?;
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
        accepted(ca, certificate, key)
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
    let facts = Facts::of(certificates(pem).first()?)?;
    Some(facts.issuer == format!("CN={CA_NAME}"))
}

fn accepted(ca: &[u8], certificate: &[u8], key: &[u8]) -> bool {
    let (cas, chain) = (certificates(ca), certificates(certificate));
    let now = unix_now();
    let accepts = |time| NAMES.iter().all(|name| pki::verify(&chain, &cas, name, time).is_ok());
    pki::key_fits(&chain, key).is_ok() && [now, now + RENEWAL].into_iter().all(accepts)
}

fn make(paths: &Paths, lifetime: i64) -> Result<(), DevCertificateError> {
    let validity = Validity::from_now(unix_now(), lifetime);
    let authority = Authority::create(CA_NAME, validity)?;
    let Identity { certificate, key } = authority.issue(NAMES[0], &NAMES.map(str::to_owned), validity)?;
    // The key is written last: while it is missing, the next start treats the other files as ours and incomplete.
    write(&paths.ca, pki::write(std::slice::from_ref(authority.certificate())).as_bytes())?;
    write(&paths.certificate, &certificate)?;
    write(&paths.key, &key)
}

/// Writes a file atomically: a reader sees the old content or the new one.
fn write(path: &Path, content: &[u8]) -> Result<(), DevCertificateError> {
    let replace = || {
        let beside = path.parent().unwrap_or(Path::new("."));
        let mut file = NamedTempFile::with_prefix_in(".crm-admission-", beside)?;
        // The umask can take more from the mode of a new file.
        file.as_file().set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    replace().map_err(failed("write", path))
}

#[cfg(test)]
mod tests;
