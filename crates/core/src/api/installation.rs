//! What the objects of an installation are called, unless somebody says otherwise.

/// The Deployment, and all else that is shipped and has no name of its own.
pub const NAME: &str = "crm-admission";
/// The namespace of all that is in one.
pub const NAMESPACE: &str = "crm-admission-system";
/// The Service by which the API server calls the webhook.
pub const SERVICE: &str = NAME;
/// The service account as which the program runs.
pub const SERVICE_ACCOUNT: &str = NAME;
/// The Secret with the webhook's certificate.
pub const TLS_SECRET: &str = "crm-admission-tls";
/// Both webhook configurations. This name cannot be changed.
pub const CONFIGURATION: &str = NAME;

/// The name by which an API server calls a Service, and for which its certificate has to be.
pub fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}
