//! Certificates without another product: a CA and a certificate in a Secret, and the trust of the API server in them.
//!
//! *Architecture invariant:* this room knows Secrets, certificates and webhook configurations. It knows nothing of
//! sockets, rules or records: whoever serves is told through [`Serve`]. What has to be done is decided in
//! [`authority`], a function of what is stored, what is trusted and the time; the rest reads and writes.

pub mod authority;
pub mod chain;
mod inspect;
mod keeper;
mod served;
mod store;
mod trust;

use crm_core::api::installation::service_host;

pub use inspect::{
    BundleView, CertificateView, ConfigurationView, InspectError, Inspection, SecretView, ServedView, inspect,
};
pub use keeper::{Identity, Keeper, Serve, State};
pub use served::{Address, LookError, NotAnAddress, look_at_served};
pub use store::StoreError;
pub use trust::{Hook, TrustError};

use std::time::{SystemTime, UNIX_EPOCH};

/// The Secret, and the names under which the webhook is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the Secret and of the Service.
    pub namespace: String,
    /// The name of the Secret.
    pub secret: String,
    /// The name of the Service.
    pub service: String,
    /// Further names, for an API server that reaches the webhook by URL.
    pub further: Vec<String>,
}

impl Settings {
    /// The name by which the API server calls the Service.
    pub fn service_host(&self) -> String {
        service_host(&self.service, &self.namespace)
    }

    /// The names that the certificate is for, that of the Service first, by which the API server calls.
    pub fn names(&self) -> Vec<String> {
        let Self { namespace, service, further, .. } = self;
        let mut names = vec![
            self.service_host(),
            format!("{}.cluster.local", self.service_host()),
            format!("{service}.{namespace}"),
            service.clone(),
        ];
        for name in further {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

/// The wall clock, in seconds of Unix time.
fn unix_now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// A kube error with all its causes: its own text leaves out why a connection failed.
fn with_causes(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
