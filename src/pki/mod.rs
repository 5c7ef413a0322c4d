//! Certificates and keys: parsed, dated, verified, created, and written as PEM.
//!
//! *Architecture invariant:* this room is pure but for the clock in [`unix_now`] and the randomness of keys. It knows no
//! files, Secrets, sockets, rules or records; those who use it say where a certificate comes from and what it is for.

mod authority;
mod certificate;
mod pem;
mod validity;
mod verify;

pub use authority::{Authority, CreateError, Identity, KeyError};
pub use certificate::{Facts, Malformed, client_names};
pub use pem::{PrivateKeyError, all_certificates, bundle, certificates, private_key, write};
pub use validity::{Age, BACKDATE, DAY, Validity, date, unix_now};
pub use verify::{Untrusted, key_fits, provider, trusting_ca, verify};
