//! Reads and patches the `caBundle` of the two webhook configurations, and nothing else of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crm_core::api::installation::{CONFIGURATION, service_host};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Error};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Value, json};

use super::served::Address;
use super::store::FIELD_MANAGER;
use crate::cluster::RequestError;
use crate::pki::{self, Untrusted};

/// Why a webhook configuration could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The permission is missing.
    #[error(
        "no permission to {verb} {kind} {CONFIGURATION}: {message}; the ClusterRole and the ClusterRoleBinding \
         crm-admission-certificates grant it to the webhook"
    )]
    Forbidden {
        /// The verb.
        verb: &'static str,
        /// The kind of the configuration.
        kind: String,
        /// The message of the API server.
        message: String,
    },
    /// Another error.
    #[error("cannot {verb} {kind} {CONFIGURATION}: {source}")]
    Failed {
        /// The verb.
        verb: &'static str,
        /// The kind of the configuration.
        kind: String,
        /// The cause.
        source: RequestError,
    },
}

/// A webhook configuration as it was read.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) kind: String,
    resource_version: Option<String>,
    pub(super) hooks: Vec<Hook>,
}

/// One webhook of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// The name by which the API server calls the server; `None` if it has none.
    pub server: Option<String>,
    /// The certificates of its `caBundle`.
    pub bundle: Vec<CertificateDer<'static>>,
    /// The content of its `caBundle`.
    text: Vec<u8>,
}

/// The webhook configurations of one installation.
pub(super) struct Trust {
    kinds: [(String, Api<DynamicObject>); 2],
}

impl Trust {
    pub(super) fn new(client: &Client) -> Self {
        let api = |resource: ApiResource| {
            (resource.kind.clone(), Api::<DynamicObject>::all_with(client.clone(), &resource))
        };
        Self {
            kinds: [
                api(ApiResource::erase::<MutatingWebhookConfiguration>(&())),
                api(ApiResource::erase::<ValidatingWebhookConfiguration>(&())),
            ],
        }
    }

    /// The configurations that exist.
    pub(super) async fn read(&self) -> Result<Vec<Configuration>, TrustError> {
        let mut found = Vec::with_capacity(self.kinds.len());
        for (kind, api) in &self.kinds {
            let object = api.get_opt(CONFIGURATION).await.map_err(|source| failure("get", kind, source))?;
            if let Some(object) = object {
                found.push(configuration(kind, &object));
            }
        }
        Ok(found)
    }

    /// Writes the `caBundle` of all webhooks of a configuration, if it has not changed since it was read.
    pub(super) async fn publish(
        &self,
        configuration: &Configuration,
        bundle: &[CertificateDer<'static>],
    ) -> Result<(), TrustError> {
        let Configuration { kind, resource_version, hooks } = configuration;
        let Some((_, api)) = self.kinds.iter().find(|(known, _)| known == kind) else {
            return Ok(());
        };
        let mut operations =
            vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": resource_version})];
        let text = STANDARD.encode(pki::write(bundle));
        for index in 0..hooks.len() {
            let path = format!("/webhooks/{index}/clientConfig/caBundle");
            // "add" replaces an existing value.
            operations.push(json!({"op": "add", "path": path, "value": text}));
        }
        let patch = serde_json::from_value(json!(operations))
            .map_err(|error| failure("patch", kind, Error::SerdeError(error)))?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(CONFIGURATION, &params, &Patch::Json::<()>(patch)).await {
            Ok(_) => Ok(()),
            // Another replica was faster, and the current state is read next: a failed test returns 422.
            Err(Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Ok(()),
            Err(error) => Err(failure("patch", kind, error)),
        }
    }
}

impl Hook {
    /// Parses a webhook from the `webhooks` of a configuration.
    pub fn of(webhook: &Value) -> Self {
        // The API server has validated it.
        let webhook = Webhook::deserialize(webhook).unwrap_or_default();
        let Webhook { name, client_config: ClientConfig { ca_bundle, service, url } } = webhook;
        let text = ca_bundle.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let server = match (service, url) {
            (Some(Service { name, namespace }), _) => Some(service_host(&name, &namespace)),
            (None, Some(url)) => Address::of_url(&url).map(|address| address.host),
            (None, None) => None,
        };
        Self { name, server, bundle: pki::certificates(&text), text }
    }

    /// Whether its `caBundle` has any content.
    pub fn has_bundle(&self) -> bool {
        !self.text.is_empty()
    }

    /// Whether the API server can parse its `caBundle`.
    pub fn is_readable(&self) -> bool {
        pki::bundle(&self.text).is_some()
    }

    /// Why it would not accept this certificate; `None` if it accepts it, or has no server.
    pub fn distrusts(&self, chain: &[CertificateDer<'static>], now: i64) -> Option<Untrusted> {
        let server = self.server.as_deref()?;
        if self.has_bundle() && !self.is_readable() {
            return Some(Untrusted::Bundle);
        }
        pki::verify(chain, &self.bundle, server, now).err()
    }

    /// Whether its `caBundle` contains all of these.
    pub(super) fn trusts(&self, cas: &[CertificateDer<'static>]) -> bool {
        cas.iter().all(|ca| self.bundle.contains(ca))
    }

    /// Whether its `caBundle` has the format that we write.
    pub(super) fn is_clean(&self) -> bool {
        self.text == pki::write(&self.bundle).as_bytes()
    }
}

fn failure(verb: &'static str, kind: &str, error: Error) -> TrustError {
    let kind = kind.to_owned();
    match error {
        Error::Api(status) if status.code == 403 => {
            TrustError::Forbidden { verb, kind, message: status.message }
        }
        error => TrustError::Failed { verb, kind, source: error.into() },
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    name: String,
    client_config: ClientConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    ca_bundle: Option<String>,
    service: Option<Service>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    namespace: String,
}

fn configuration(kind: &str, object: &DynamicObject) -> Configuration {
    let webhooks = object.data["webhooks"].as_array();
    Configuration {
        kind: kind.to_owned(),
        resource_version: object.metadata.resource_version.clone(),
        hooks: webhooks.into_iter().flatten().map(Hook::of).collect(),
    }
}
