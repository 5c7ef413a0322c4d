//! Why a certificate cannot be served, and what to do about it.

use std::fmt;
use std::io;

use rustls::pki_types::pem;

use super::validity::{Validity, date};

/// What a PEM text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The certificate that is shown, followed by those between it and the CA.
    Certificate,
    /// The private key of the certificate.
    Key,
    /// The CAs whose certificates callers must have.
    ClientCa,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::ClientCa => "client CA",
        })
    }
}

/// Why a certificate cannot be served. Every message names the text's origin and the fix.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file could not be read.
    #[error("the {role} {origin} cannot be read: {source}; {}", fix_of_reading(source))]
    Unreadable {
        /// What the file is for.
        role: Role,
        /// The path.
        origin: String,
        /// Why not.
        source: io::Error,
    },
    /// The text holds something like PEM that is broken.
    #[error("the {role} {origin} is damaged: {source}; write the PEM file again, whole")]
    Damaged {
        /// What the text is for.
        role: Role,
        /// Where it is from.
        origin: String,
        /// What is wrong.
        source: pem::Error,
    },
    /// The text holds nothing of the sort that is wanted.
    #[error("the {role} {origin} holds no PEM block of that sort; {}", fix_of_absence(*role))]
    Absent {
        /// What the text is for.
        role: Role,
        /// Where it is from.
        origin: String,
    },
    /// The key is encrypted.
    #[error(
        "the private key {origin} is encrypted; decrypt it (openssl pkey -in FILE -out NEW) and protect the file"
    )]
    Encrypted {
        /// Where the key is from.
        origin: String,
    },
    /// The block is not what it says it is, or of an algorithm that is not supported.
    #[error(
        "the {role} {origin} cannot be used: {reason}; use an ECDSA (P-256 or P-384), Ed25519 or RSA one"
    )]
    Unusable {
        /// What the text is for.
        role: Role,
        /// Where it is from.
        origin: String,
        /// Why not.
        reason: String,
    },
    /// The key is another certificate's.
    #[error(
        "the private key {key} is not that of the certificate {certificate}; use the pair that was made together"
    )]
    Mismatch {
        /// Where the certificate is from.
        certificate: String,
        /// Where the key is from.
        key: String,
    },
    /// The certificate holds at another time.
    #[error("the certificate {origin} holds from {} to {}, and not now; renew it, or set the clock", date(validity.not_before), date(validity.not_after))]
    NotNow {
        /// Where the certificate is from.
        origin: String,
        /// When it holds.
        validity: Validity,
    },
}

fn fix_of_reading(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => {
            "let this user read it (in a Pod: the volume's defaultMode and fsGroup)"
        }
        io::ErrorKind::IsADirectory => "give the path of the file in it",
        _ => "check the file",
    }
}

fn fix_of_absence(role: Role) -> &'static str {
    match role {
        Role::Certificate | Role::ClientCa => {
            "it must begin with -----BEGIN CERTIFICATE----- (is it DER, or are the files exchanged?)"
        }
        Role::Key => {
            "it must begin with -----BEGIN PRIVATE KEY----- (is it DER, or are the files exchanged?)"
        }
    }
}
