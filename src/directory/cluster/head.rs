//! The fields that are read of an object: its name, and whether it is being deleted.

use crm_core::existence::Presence;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde::Deserialize;

use crate::cluster::{Fields, Partial};

/// The head of an object of any kind. Requests for it ask for metadata only.
pub(in crate::directory) type ObjectHead = Partial<Head>;

/// Nothing but metadata.
#[derive(Clone, Debug)]
pub(in crate::directory) struct Head;

#[derive(Deserialize)]
pub(in crate::directory) struct Shown {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    /// A watch continues from there.
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    uid: Option<String>,
}

impl Fields for Head {
    const METADATA_ONLY: bool = true;
    type Shown = Shown;

    fn split(shown: Shown) -> (ObjectMeta, Self) {
        let Metadata { name, namespace, resource_version, deletion_timestamp, uid } = shown.metadata;
        let metadata = ObjectMeta {
            name,
            namespace,
            resource_version,
            deletion_timestamp,
            uid,
            ..ObjectMeta::default()
        };
        (metadata, Self)
    }
}

impl ObjectHead {
    pub(in crate::directory) fn name(&self) -> Option<&str> {
        self.metadata.name.as_deref()
    }

    pub(in crate::directory) fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    pub(super) fn uid(&self) -> Option<&str> {
        self.metadata.uid.as_deref()
    }

    pub(in crate::directory) fn presence(&self) -> Presence {
        match self.metadata.deletion_timestamp {
            Some(_) => Presence::Terminating,
            None => Presence::Exists,
        }
    }
}
