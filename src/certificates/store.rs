//! Reads and writes the Secret; if several replicas write at the same time, one succeeds.

use std::collections::BTreeMap;

use crm_core::api::installation::NAME;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};

use super::owner::{DESCRIPTION, MANAGED_BY, Owner};
use super::renewal::Contents;
use crate::cluster::RequestError;

/// The name under which the API server records our writes.
pub(super) const FIELD_MANAGER: &str = NAME;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const CAS: &str = "ca.crt";
const CA_KEY: &str = "ca.key";

/// Why the Secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The permission is missing.
    #[error(
        "no permission to {verb} Secret {namespace}/{name}: {message}; the Role and the RoleBinding \
         crm-admission-certificates grant it to the webhook"
    )]
    Forbidden {
        /// The verb.
        verb: &'static str,
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The message of the API server.
        message: String,
    },
    /// Another error.
    #[error("cannot {verb} Secret {namespace}/{name}: {source}")]
    Failed {
        /// The verb.
        verb: &'static str,
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The cause.
        source: RequestError,
    },
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is stored.
    Done,
    /// Another replica was faster: the Secret must be read again.
    Conflict,
}

/// The Secret of one installation.
pub(super) struct Store {
    secrets: Api<Secret>,
    namespace: String,
    name: String,
}

/// The Secret as it was read.
pub(super) struct Stored {
    object: Secret,
    pub(super) contents: Contents,
    pub(super) owner: Owner,
}

impl Store {
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The Secret, or `None` if it does not exist.
    pub(super) async fn read(&self) -> Result<Option<Stored>, StoreError> {
        // Without a resource version, so that earlier writes of all replicas are visible.
        let object = self.secrets.get_opt(&self.name).await.map_err(|error| self.error("get", error))?;
        Ok(object.map(|object| Stored { contents: Contents::of(&object), owner: Owner::of(&object), object }))
    }

    /// Stores `contents` if the Secret has not changed since it was read.
    pub(super) async fn write(
        &self,
        before: Option<Stored>,
        contents: &Contents,
    ) -> Result<Written, StoreError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run: false };
        let written = match before {
            None => {
                self.secrets.create(&params, &self.first(contents)).await.map_err(|error| ("create", error))
            }
            Some(Stored { mut object, .. }) => {
                // Other labels and keys stay; the resource version is the condition.
                object.data.get_or_insert_default().extend(contents.data());
                mark(&mut object.metadata);
                self.secrets.replace(&self.name, &params, &object).await.map_err(|error| ("update", error))
            }
        };
        match written {
            Ok(_) => Ok(Written::Done),
            // "Conflict" and "AlreadyExists" are both 409; a Secret that was deleted meanwhile is 404.
            Err((verb, Error::Api(status)))
                if status.code == 409 || (status.code == 404 && verb == "update") =>
            {
                Ok(Written::Conflict)
            }
            Err((verb, error)) => Err(self.error(verb, error)),
        }
    }

    fn first(&self, contents: &Contents) -> Secret {
        let mut metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            ..ObjectMeta::default()
        };
        mark(&mut metadata);
        Secret {
            metadata,
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(contents.data()),
            ..Secret::default()
        }
    }

    fn error(&self, verb: &'static str, error: Error) -> StoreError {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        match error {
            Error::Api(status) if status.code == 403 => {
                StoreError::Forbidden { verb, namespace, name, message: status.message }
            }
            error => StoreError::Failed { verb, namespace, name, source: error.into() },
        }
    }
}

impl Contents {
    /// What a Secret contains.
    pub(super) fn of(object: &Secret) -> Self {
        let text = |key: &str| {
            let found = object.data.as_ref().and_then(|data| data.get(key));
            found.map(|bytes| bytes.0.clone()).unwrap_or_default()
        };
        Self { certificate: text(CERTIFICATE), key: text(KEY), cas: text(CAS), ca_key: text(CA_KEY) }
    }

    /// The data of a Secret with this content.
    pub(super) fn data(&self) -> BTreeMap<String, ByteString> {
        let Self { certificate, key, cas, ca_key } = self;
        let texts = [(CERTIFICATE, certificate), (KEY, key), (CAS, cas), (CA_KEY, ca_key)];
        texts.map(|(key, text)| (key.to_owned(), ByteString(text.clone()))).into()
    }
}

/// Says on a Secret whose it is: to programs in a label, to people in an annotation.
fn mark(metadata: &mut ObjectMeta) {
    let labels = [("app.kubernetes.io/name", NAME), (MANAGED_BY, NAME)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    metadata.labels.get_or_insert_default().extend(labels);
    let description = "crm-admission serve --tls-self-managed creates and renews these certificates. To use others, \
                       serve with --tls-cert and --tls-key.";
    metadata.annotations.get_or_insert_default().insert(DESCRIPTION.to_owned(), description.to_owned());
}
