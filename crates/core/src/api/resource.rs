//! The types that identify kinds and objects, for the policy, the rules and the directory.

use std::fmt;
use std::sync::Arc;

use kube::core::{ApiResource, GroupVersionKind};

use super::record::{GROUP, VERSION};

/// A kind of object, with everything that its API path needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The API version, such as `v1alpha1`.
    pub version: String,
    /// The kind, such as `Company`.
    pub kind: String,
    /// The plural in lower case, such as `companies`.
    pub plural: String,
    /// Whether the kind is namespaced.
    pub namespaced: bool,
}

impl ResourceKind {
    /// A CRM kind: group and version are those of the CRM, and the scope is Cluster.
    pub fn crm(kind: &str, plural: &str) -> Self {
        Self {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: false,
        }
    }

    /// The same for kube. It needs no discovery request to the API server.
    pub fn api_resource(&self) -> ApiResource {
        let identity = GroupVersionKind::gvk(&self.group, &self.version, &self.kind);
        ApiResource::from_gvk_with_plural(&identity, &self.plural)
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            return f.write_str(&self.kind);
        }
        write!(f, "{}.{}", self.kind, self.group)
    }
}

/// The object that a reference names, by kind, namespace and name.
///
/// The names have been validated: they are safe as segments of an API path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The kind of the object.
    pub kind: Arc<ResourceKind>,
    /// The namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// The kinds of records that the webhook decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CrmKind {
    /// A company.
    Company,
    /// A person, who may work at a company.
    Person,
    /// A note about another object.
    Note,
    /// Milo's note about a cluster-scoped object. Its CRD is Milo's, as is the next one.
    ClusterNote,
    /// Milo's note about an object in its own namespace. Its kind is `Note`, too, in another group.
    NamespacedNote,
}

/// The API group of Milo's notes. Their version is that of the CRM records.
pub const MILO_NOTES_GROUP: &str = "notes.miloapis.com";

impl CrmKind {
    /// The kinds whose CRDs are ours, in the order in which they are documented.
    pub const OWN: [Self; 3] = [Self::Company, Self::Person, Self::Note];

    /// All kinds: ours, and then Milo's.
    pub const ALL: [Self; 5] =
        [Self::Company, Self::Person, Self::Note, Self::ClusterNote, Self::NamespacedNote];

    /// The kind as it is written in manifests. Two kinds have the same, see [`Self::label`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Company => "Company",
            Self::Person => "Person",
            Self::Note | Self::NamespacedNote => "Note",
            Self::ClusterNote => "ClusterNote",
        }
    }

    /// A unique name for metrics and reports: the kind, and for Milo's kinds the group.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Company | Self::Person | Self::Note => self.as_str(),
            Self::ClusterNote => "ClusterNote.notes.miloapis.com",
            Self::NamespacedNote => "Note.notes.miloapis.com",
        }
    }

    /// The plural in lower case, as it is written in API paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Company => "companies",
            Self::Person => "people",
            Self::Note | Self::NamespacedNote => "notes",
            Self::ClusterNote => "clusternotes",
        }
    }

    /// The API group.
    pub const fn group(self) -> &'static str {
        if self.is_own() { GROUP } else { MILO_NOTES_GROUP }
    }

    /// Whether the CRD of the kind is ours.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Company | Self::Person | Self::Note)
    }

    /// Whether the kind is namespaced.
    pub const fn is_namespaced(self) -> bool {
        matches!(self, Self::NamespacedNote)
    }

    /// The kind of ours whose rules, references and labels also hold for this kind.
    pub const fn model(self) -> Self {
        match self {
            Self::ClusterNote | Self::NamespacedNote => Self::Note,
            own => own,
        }
    }

    /// The CRM kind of that group, version and kind; `None` if there is no such CRM kind.
    pub fn of(group: &str, version: &str, kind: &str) -> Option<Self> {
        let is = |known: &Self| known.group() == group && version == VERSION && known.as_str() == kind;
        Self::ALL.into_iter().find(is)
    }

    /// The same with everything that an API path needs.
    pub fn resource(self) -> ResourceKind {
        ResourceKind {
            group: self.group().to_owned(),
            namespaced: self.is_namespaced(),
            ..ResourceKind::crm(self.as_str(), self.plural())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_kind_is_found_by_group_version_and_kind() {
        for kind in CrmKind::ALL {
            let resource = kind.resource();
            assert_eq!(CrmKind::of(&resource.group, &resource.version, &resource.kind), Some(kind));
            assert_eq!(kind.is_own(), CrmKind::OWN.contains(&kind), "{kind:?}");
        }
        assert_eq!(CrmKind::of(GROUP, VERSION, "ClusterNote"), None);
        assert_eq!(CrmKind::of(MILO_NOTES_GROUP, VERSION, "Company"), None);
        assert_eq!(CrmKind::of(MILO_NOTES_GROUP, "v1", "Note"), None);
    }

    #[test]
    fn labels_are_unique() {
        let labels: HashSet<&str> = CrmKind::ALL.into_iter().map(CrmKind::label).collect();
        assert_eq!(labels.len(), CrmKind::ALL.len());
    }
}
