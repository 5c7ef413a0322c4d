//! The names that the certificates of an installation need, and their Secret.

use crm_core::api::installation::service_host;

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
