//! Manages a CA and a certificate in a Secret, and makes the API server trust them.
//!
//! *Architecture invariant:* this room knows Secrets and webhook configurations, but no sockets, rules or records;
//! [`crate::pki`] knows certificates, and [`Serve`] passes them to the server. `owner` decides whether a
//! Secret may be written, and [`renewal`] what is due, as a function of the Secret, the trusted CAs and the time; the
//! rest reads and writes.

mod changes;
mod inspect;
mod keeper;
mod owner;
mod pace;
pub mod renewal;
mod served;
mod settings;
mod store;
mod trust;

pub use inspect::{
    BundleView, CertificateView, ConfigurationView, InspectError, Inspection, SecretView, ServedView, inspect,
};
pub use keeper::{Keeper, Serve, State};
pub use owner::{CERT_MANAGER, Other, Owner};
pub use served::{Address, LookError, NotAnAddress, look_at_served};
pub use settings::Settings;
pub use store::StoreError;
pub use trust::{Hook, TrustError};
