//! The fields that are read of an object: its name, and whether it is being deleted.

use std::borrow::Cow;

use crm_core::existence::Presence;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::DynamicObject;
use kube::core::{ApiResource, ObjectMeta};
use serde::Deserialize;

/// The head of an object of any kind. Requests for it ask for metadata only.
///
/// kube's `PartialObjectMeta` parses all metadata, including managed fields and annotations, and buffers every field
/// first: five times the work for each of a million objects.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Shown")]
pub(in crate::directory) struct ObjectHead {
    /// Has only the fields of [`Metadata`].
    metadata: ObjectMeta,
}

#[derive(Deserialize)]
struct Shown {
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

impl From<Shown> for ObjectHead {
    fn from(shown: Shown) -> Self {
        let Metadata { name, namespace, resource_version, deletion_timestamp, uid } = shown.metadata;
        let metadata = ObjectMeta {
            name,
            namespace,
            resource_version,
            deletion_timestamp,
            uid,
            ..ObjectMeta::default()
        };
        Self { metadata }
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

    pub(super) fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }

    pub(in crate::directory) fn presence(&self) -> Presence {
        match self.metadata.deletion_timestamp {
            Some(_) => Presence::Terminating,
            None => Presence::Exists,
        }
    }
}

/// Like a [`DynamicObject`], but only the metadata is requested.
impl Resource for ObjectHead {
    type DynamicType = ApiResource;
    type Scope = <DynamicObject as Resource>::Scope;

    fn metadata_api() -> bool {
        true
    }

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
