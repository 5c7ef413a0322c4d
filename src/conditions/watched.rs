//! The parts of a record that say whether it has to be judged again, as a watch reads them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde::Deserialize;

use super::records::Mark;
use crate::audit::{Condition, Labels};
use crate::cluster::{Fields, Partial};

/// A record in an event of a watch. The spec is not read: its number says whether it has changed.
pub(super) type Watched = Partial<Judged>;

/// The condition of a record.
#[derive(Clone, Debug)]
pub(super) struct Judged(Option<Condition>);

#[derive(Deserialize)]
pub(super) struct Shown {
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

impl Fields for Judged {
    const METADATA_ONLY: bool = false;
    type Shown = Shown;

    fn split(shown: Shown) -> (ObjectMeta, Self) {
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
        (metadata, Self(shown.condition))
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
        let ObjectMeta { uid, generation, labels, .. } = &*self.metadata;
        let labels = labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
        Mark::of(uid.as_deref(), *generation, labels, wanted, self.fields.0.as_ref())
    }
}
