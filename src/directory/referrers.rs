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
    /// The list of all possible dependents, which [`Self::name_if_counted`] filters.
    pub(crate) fn listing(question: &Dependents) -> Listing {
        let content = if question.selects_group() { Content::Metadata } else { Content::Whole };
        Listing::all(&question.kind.resource().api_resource(), content).selected(question.selector())
    }

    /// The name of a listed record; `None` if it refers to an object of another group, or is being deleted.
    pub(crate) fn name_if_counted(self, question: &Dependents) -> Option<String> {
        let group = || self.spec.as_ref()?.subject_ref.as_ref()?.api_group.as_deref();
        let counts = self.metadata.deletion_timestamp.is_none()
            && (question.selects_group() || group() == Some(GROUP));
        counts.then_some(self.metadata.name)
    }
}
