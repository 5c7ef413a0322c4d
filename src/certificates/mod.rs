//! Manages a CA and a certificate in a Secret, and makes the API server trust them.
//!
//! *Architecture invariant:* this room knows Secrets and webhook configurations, but no sockets, rules or records;
//! [`crate::pki`] knows certificates, and [`Serve`] passes them to the server. [`renewal`] decides what is due, as a function of the
//! Secret, the trusted CAs and the time; the rest reads and writes.

mod inspect;
mod keeper;
pub mod renewal;
mod served;
mod store;
mod trust;

use crm_core::api::installation::service_host;

pub use inspect::{
    BundleView, CertificateView, ConfigurationView, InspectError, Inspection, SecretView, ServedView, inspect,
};
pub use keeper::{Keeper, Serve, State};
pub use served::{Address, LookError, NotAnAddress, look_at_served};
pub use store::StoreError;
pub use trust::{Hook, TrustError};

/// The Secret, and the names of the webhook.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the Secret and of the Service.
    pub namespace: String,
    /// The name of the Secret.
    pub secret: String,
    /// The name of the Service.
    pub service: String,
    /// More names, for an API server that calls the webhook by URL.
    pub further: Vec<String>,
}

impl Settings {
    /// The name by which the API server calls the Service.
    pub fn service_host(&self) -> String {
        service_host(&self.service, &self.namespace)
    }

    /// The names of the certificate. The first is the name of the Service that the API server uses.
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

/// A kube error with all its causes: its own message does not say why a connection failed.
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
