//! The Secret, read and written so that of several replicas that write at a time one succeeds.

use std::collections::BTreeMap;

use crm_core::api::installation::NAME;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};

use super::authority::Contents;
use super::with_causes;

/// By this name the API server records who wrote a field.
pub(super) const FIELD_MANAGER: &str = NAME;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const CAS: &str = "ca.crt";
const CA_KEY: &str = "ca.key";

/// Why the Secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may not be.
    #[error(
        "may not {verb} Secret {namespace}/{name}: {message}; the Role and the RoleBinding \
         crm-admission-certificates grant it to the webhook"
    )]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
        /// What the API server says.
        message: String,
    },
    /// Something else is in the way.
    #[error("cannot {verb} Secret {namespace}/{name}: {}", with_causes(source))]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// Which.
        name: String,
        /// Why not.
        source: Error,
    },
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is stored.
    Done,
    /// Another replica was faster: what is stored now has to be read.
    Conflict,
}

/// The Secret of one installation.
pub(super) struct Store {
    secrets: Api<Secret>,
    namespace: String,
    name: String,
}

/// The Secret as it was when it was read.
pub(super) struct Stored {
    object: Secret,
    pub(super) contents: Contents,
}

impl Store {
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// `None` if there is no Secret.
    pub(super) async fn read(&self) -> Result<Option<Stored>, StoreError> {
        // Without a resource version: a read that every replica's write before it is part of.
        let object = self.secrets.get_opt(&self.name).await.map_err(|error| self.error("get", error))?;
        Ok(object.map(|object| Stored { contents: contents(&object), object }))
    }

    /// Stores `contents` unless the Secret is not as it was when it was read.
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
                // Labels, and keys that are not ours, stay; the resource version makes it a condition.
                object.data.get_or_insert_default().extend(data(contents));
                self.secrets.replace(&self.name, &params, &object).await.map_err(|error| ("update", error))
            }
        };
        match written {
            Ok(_) => Ok(Written::Done),
            // "Conflict" and "AlreadyExists" are both 409; what was deleted in between is 404.
            Err((verb, Error::Api(status)))
                if status.code == 409 || (status.code == 404 && verb == "update") =>
            {
                Ok(Written::Conflict)
            }
            Err((verb, error)) => Err(self.error(verb, error)),
        }
    }

    fn first(&self, contents: &Contents) -> Secret {
        let labels = [("app.kubernetes.io/name", NAME), ("app.kubernetes.io/managed-by", NAME)];
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data(contents)),
            ..Secret::default()
        }
    }

    fn error(&self, verb: &'static str, error: Error) -> StoreError {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        match error {
            Error::Api(status) if status.code == 403 => {
                StoreError::Forbidden { verb, namespace, name, message: status.message }
            }
            source => StoreError::Failed { verb, namespace, name, source },
        }
    }
}

fn contents(object: &Secret) -> Contents {
    let text = |key: &str| {
        let found = object.data.as_ref().and_then(|data| data.get(key));
        found.map(|bytes| bytes.0.clone()).unwrap_or_default()
    };
    Contents { certificate: text(CERTIFICATE), key: text(KEY), cas: text(CAS), ca_key: text(CA_KEY) }
}

fn data(contents: &Contents) -> BTreeMap<String, ByteString> {
    let Contents { certificate, key, cas, ca_key } = contents;
    let texts = [(CERTIFICATE, certificate), (KEY, key), (CAS, cas), (CA_KEY, ca_key)];
    texts.map(|(key, text)| (key.to_owned(), ByteString(text.clone()))).into()
}
