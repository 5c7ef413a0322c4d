//! The default names of the objects of an installation.

/// The Deployment, and every other shipped object without a name of its own.
pub const NAME: &str = "crm-admission";
/// The namespace of all namespaced objects.
pub const NAMESPACE: &str = "crm-admission-system";
/// The Service through which the API server calls the webhook.
pub const SERVICE: &str = NAME;
/// The service account of the program.
pub const SERVICE_ACCOUNT: &str = NAME;
/// The Secret with the certificate of the webhook.
pub const TLS_SECRET: &str = "crm-admission-tls";
/// The Lease of the replica that writes conditions. This name is fixed.
pub const CONDITIONS_LEASE: &str = "crm-admission-conditions";
/// Both webhook configurations. This name is fixed.
pub const CONFIGURATION: &str = NAME;

/// The host name that the API server uses for a Service, and for which the certificate must be valid.
pub fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}
