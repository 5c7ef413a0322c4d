//! The parts of a record that say whether it has to be judged again, as a watch reads them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use super::records::Mark;
use crate::audit::{Condition, Labels};
use crate::cluster::Watchable;

/// A record in an event of a watch. The spec is not read: its number says whether it has changed.
#[derive(Debug, Deserialize)]
pub(super) struct Watched {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, rename = "status", deserialize_with = "Condition::of_status")]
    condition: Option<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    uid: Option<String>,
    generation: Option<i64>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
}

impl Watchable for Watched {
    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
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
        let Metadata { uid, generation, labels, .. } = &self.metadata;
        let labels = labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
        Mark::of(uid.as_deref(), *generation, labels, wanted, self.condition.as_ref())
    }
}
