//! What the two webhook configurations trust: their `caBundle`, read and patched, and nothing else of them.

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

use super::chain::{self, Refusal};
use super::served::Address;
use super::store::FIELD_MANAGER;
use super::with_causes;

/// Why a webhook configuration could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It may not be.
    #[error(
        "may not {verb} {kind} {CONFIGURATION}: {message}; the ClusterRole and the ClusterRoleBinding \
         crm-admission-certificates grant it to the webhook"
    )]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// Of which kind.
        kind: String,
        /// What the API server says.
        message: String,
    },
    /// Something else is in the way.
    #[error("cannot {verb} {kind} {CONFIGURATION}: {}", with_causes(source))]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// Of which kind.
        kind: String,
        /// Why not.
        source: Error,
    },
}

/// A webhook configuration as it was when it was read.
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
    /// By what name the API server calls the server; `None` if it does not say.
    pub server: Option<String>,
    /// The certificates of its `caBundle`.
    pub bundle: Vec<CertificateDer<'static>>,
    /// The text of its `caBundle`.
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

    /// Makes this the `caBundle` of all webhooks of a configuration, if it is as it was when it was read.
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
        let text = STANDARD.encode(chain::pem(bundle));
        for index in 0..hooks.len() {
            let path = format!("/webhooks/{index}/clientConfig/caBundle");
            // To add what is there is to replace it.
            operations.push(json!({"op": "add", "path": path, "value": text}));
        }
        let patch = serde_json::from_value(json!(operations))
            .map_err(|error| failure("patch", kind, Error::SerdeError(error)))?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(CONFIGURATION, &params, &Patch::Json::<()>(patch)).await {
            Ok(_) => Ok(()),
            // Somebody was faster, and what is there now is going to be read: 422 is what a test that fails gives.
            Err(Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Ok(()),
            Err(error) => Err(failure("patch", kind, error)),
        }
    }
}

impl Hook {
    /// A webhook as the API server gives it: one of the `webhooks` of a configuration.
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
        Self { name, server, bundle: chain::certificates(&text), text }
    }

    /// Whether there is anything in its `caBundle`.
    pub fn has_bundle(&self) -> bool {
        !self.text.is_empty()
    }

    /// Whether the API server can make something of its `caBundle`.
    pub fn is_readable(&self) -> bool {
        chain::bundle(&self.text).is_some()
    }

    /// Why it would refuse this certificate; `None` if it accepts it, or calls nobody.
    pub fn refuses(&self, chain: &[CertificateDer<'static>], now: i64) -> Option<Refusal> {
        let server = self.server.as_deref()?;
        if self.has_bundle() && !self.is_readable() {
            return Some(Refusal::Bundle);
        }
        chain::verify(chain, &self.bundle, server, now).err()
    }

    /// Whether its `caBundle` has all of these.
    pub(super) fn trusts(&self, cas: &[CertificateDer<'static>]) -> bool {
        cas.iter().all(|ca| self.bundle.contains(ca))
    }

    /// Whether its `caBundle` is a text as we write it.
    pub(super) fn is_clean(&self) -> bool {
        self.text == chain::pem(&self.bundle).as_bytes()
    }
}

fn failure(verb: &'static str, kind: &str, error: Error) -> TrustError {
    let kind = kind.to_owned();
    match error {
        Error::Api(status) if status.code == 403 => {
            TrustError::Forbidden { verb, kind, message: status.message }
        }
        source => TrustError::Failed { verb, kind, source },
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
