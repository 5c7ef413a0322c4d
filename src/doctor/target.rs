//! The installation to examine, and the address at which its webhook is called.

use std::time::Duration;

use crm_core::api::installation::{NAMESPACE, SERVICE, TLS_SECRET, service_host};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::certificates::Address;
use crate::invocation::invocation;

/// The settings of an examination.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the installation.
    pub namespace: String,
    /// The Service of the webhook.
    pub service: String,
    /// The Secret with the webhook's certificate.
    pub tls_secret: String,
    /// The address of the webhook as seen from here, if it differs from the one that the API server uses.
    pub connect: Option<Address>,
    /// Whether this runs in a pod, where the names of Services resolve.
    pub place: Place,
    /// The time limit of each request.
    pub timeout: Duration,
    /// The definitions that should be in the cluster.
    pub definitions: Vec<CustomResourceDefinition>,
    /// The current time.
    pub now: Timestamp,
}

/// Where the examination runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a pod of the cluster.
    Inside,
    /// Elsewhere.
    Outside,
}

impl Settings {
    /// The name by which the API server calls the Service.
    fn service_host(&self) -> String {
        service_host(&self.service, &self.namespace)
    }
}

/// The start of a kubectl command for the namespace of the installation.
pub(super) fn kubectl(settings: &Settings) -> String {
    format!("kubectl -n {}", settings.namespace)
}

/// A command of the program about this installation.
pub(super) fn command(name: &str, settings: &Settings) -> String {
    let flags = [
        ("namespace", &settings.namespace, NAMESPACE),
        ("service", &settings.service, SERVICE),
        ("tls-secret", &settings.tls_secret, TLS_SECRET),
    ];
    let given = flags.iter().filter(|(_, value, otherwise)| value != otherwise);
    given.fold(format!("{} {name}", invocation()), |command, (flag, value, _)| {
        format!("{command} --{flag} {value}")
    })
}

/// Where the API server calls the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// At this port of the Service.
    Service { port: u16 },
    /// At the address of a URL.
    Url(Address),
}

impl Target {
    /// Whether the API server reaches the webhook through the Service.
    pub(super) fn is_service(&self) -> bool {
        matches!(self, Self::Service { .. })
    }

    /// The port that the API server calls.
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Service { port } => *port,
            Self::Url(address) => address.port,
        }
    }

    /// The name for which the certificate must be valid.
    pub(super) fn host(&self, settings: &Settings) -> String {
        match self {
            Self::Service { .. } => settings.service_host(),
            Self::Url(address) => address.host.clone(),
        }
    }

    /// The address at which it can be reached from here; `None` if there is none.
    pub(super) fn address(&self, settings: &Settings) -> Option<Address> {
        match (&settings.connect, self, settings.place) {
            (Some(address), _, _) | (None, Self::Url(address), _) => Some(address.clone()),
            (None, Self::Service { port }, Place::Inside) => {
                Some(Address { host: settings.service_host(), port: *port })
            }
            (None, Self::Service { .. }, Place::Outside) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::settings;
    use super::*;

    #[test]
    fn the_name_of_a_service_is_an_address_only_in_the_cluster() {
        let service = Target::Service { port: 443 };
        let inside = Settings { place: Place::Inside, ..settings() };
        let expected = "crm-admission.crm-admission-system.svc:443";
        assert_eq!(service.address(&inside).unwrap().to_string(), expected);
        assert_eq!(service.address(&settings()), None);
        let forwarded: Address = "127.0.0.1:1".parse().unwrap();
        let settings = Settings { connect: Some(forwarded.clone()), ..settings() };
        assert_eq!(service.address(&settings), Some(forwarded));
    }
}
