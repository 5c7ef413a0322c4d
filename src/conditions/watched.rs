//! The parts of a record that say whether it has to be judged again, as a watch reads them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::DynamicObject;
use kube::core::{ApiResource, ObjectMeta};
use serde::Deserialize;

use super::records::Mark;
use crate::audit::{Condition, Labels};

/// A record in an event of a watch. The spec is not read: its number says whether it has changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Shown")]
pub(super) struct Watched {
    /// Has only the fields of [`Metadata`].
    metadata: ObjectMeta,
    condition: Option<Condition>,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, rename = "status", deserialize_with = "Condition::of_status")]
    condition: Option<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    uid: Option<String>,
    generation: Option<i64>,
    /// A watch continues from there.
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
}

impl From<Shown> for Watched {
    fn from(shown: Shown) -> Self {
        let Metadata { name, uid, generation, resource_version, deletion_timestamp, labels } = shown.metadata;
        let metadata = ObjectMeta {
            name,
            uid,
            generation,
            resource_version,
            deletion_timestamp,
            labels,
            ..ObjectMeta::default()
        };
        Self { metadata, condition: shown.condition }
    }
}

impl Watched {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is being deleted.
    pub(super) fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Its state.
    pub(super) fn mark(&self, wanted: &Labels) -> Mark {
        let ObjectMeta { uid, generation, labels, .. } = &self.metadata;
        let labels = labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
        Mark::of(uid.as_deref(), *generation, labels, wanted, self.condition.as_ref())
    }
}

/// Like a [`DynamicObject`].
impl Resource for Watched {
    type DynamicType = ApiResource;
    type Scope = <DynamicObject as Resource>::Scope;

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
