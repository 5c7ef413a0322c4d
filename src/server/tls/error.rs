//! Why a certificate cannot be served, and the fix.

use std::fmt;
use std::io;

use rustls::pki_types::pem;

use crate::pki::{Validity, date};

/// What a PEM is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The serving certificate, followed by its intermediates.
    Certificate,
    /// The private key of the certificate.
    Key,
    /// The CAs of accepted client certificates.
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

/// Why a certificate cannot be served. Every message names the origin and the fix.
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
    /// The PEM is damaged.
    #[error("the {role} {origin} is damaged: {source}; write the complete PEM file again")]
    Damaged {
        /// What the PEM is for.
        role: Role,
        /// Its origin.
        origin: String,
        /// What is wrong.
        source: pem::Error,
    },
    /// The PEM has no block of the expected type.
    #[error("the {role} {origin} contains no such PEM block; {}", fix_of_absence(*role))]
    Absent {
        /// What the PEM is for.
        role: Role,
        /// Its origin.
        origin: String,
    },
    /// The key is encrypted.
    #[error(
        "the private key {origin} is encrypted; decrypt it (openssl pkey -in FILE -out NEW) and protect the file"
    )]
    Encrypted {
        /// The origin of the key.
        origin: String,
    },
    /// The block is malformed, or its algorithm is not supported.
    #[error(
        "the {role} {origin} cannot be used: {reason}; use an ECDSA (P-256 or P-384), Ed25519 or RSA one"
    )]
    Unusable {
        /// What the PEM is for.
        role: Role,
        /// Its origin.
        origin: String,
        /// Why not.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error("the private key {key} does not belong to the certificate {certificate}; use a matching pair")]
    Mismatch {
        /// The origin of the certificate.
        certificate: String,
        /// The origin of the key.
        key: String,
    },
    /// The certificate is not valid now.
    #[error("the certificate {origin} is valid from {} to {}, and not now; renew it, or correct the clock", date(validity.not_before), date(validity.not_after))]
    NotNow {
        /// The origin of the certificate.
        origin: String,
        /// When it is valid.
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
            "it must begin with -----BEGIN CERTIFICATE----- (is it DER, or are the files swapped?)"
        }
        Role::Key => "it must begin with -----BEGIN PRIVATE KEY----- (is it DER, or are the files swapped?)",
    }
}
