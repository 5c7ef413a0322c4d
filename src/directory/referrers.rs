//! How to list the dependents of a record, and which of the listed records count.

use crm_core::api::GROUP;
use crm_core::links::Dependents;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cluster::{Content, Listing};

/// The fields that are read of a listed record; the others are skipped.
#[derive(Debug, Deserialize)]
pub(crate) struct Referrer {
    metadata: Metadata,
    /// Present only in Notes, which are listed as whole objects.
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    api_version: String,
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    subject_ref: Option<Subject>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    api_group: Option<String>,
}

impl Referrer {
    /// The list of all possible dependents, which [`Self::counted`] filters.
    pub(crate) fn listing(question: &Dependents) -> Listing {
        let content = if question.selects_group() { Content::Metadata } else { Content::Whole };
        Listing::all(&question.kind.resource().api_resource(), content).selected(question.selector())
    }

    /// A listed record; `None` if it refers to an object of another group, or is being deleted.
    pub(crate) fn counted(self, question: &Dependents) -> Option<Dependent> {
        let group = || self.spec.as_ref()?.subject_ref.as_ref()?.api_group.as_deref();
        let counts = self.metadata.deletion_timestamp.is_none()
            && (question.selects_group() || group() == Some(GROUP));
        let owners = self.metadata.owner_references.unwrap_or_default();
        let is_owner = |owner: &Owner| question.is_owner(&owner.api_version, &owner.kind, &owner.name);
        // With another owner, it stays.
        let is_owned = !owners.is_empty() && owners.iter().all(is_owner);
        counts.then_some(Dependent { name: self.metadata.name, is_owned })
    }
}

/// A record that refers to another one.
pub(crate) struct Dependent {
    pub(crate) name: String,
    /// Whether the other one is its owner, so that the garbage collector deletes it too.
    pub(crate) is_owned: bool,
}
