//! The fields that are read of an object: its name, and whether it is being deleted.

use crm_core::existence::Presence;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use crate::cluster::Watchable;

/// The head of an object of any kind. Requests for it ask for metadata only.
///
/// kube's `PartialObjectMeta` parses all metadata, including managed fields and annotations, and buffers every field
/// first: five times the work for each of a million objects.
#[derive(Debug, Deserialize)]
pub(in crate::directory) struct ObjectHead {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    uid: Option<String>,
}

impl Watchable for ObjectHead {
    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
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
