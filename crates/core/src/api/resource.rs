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
}

impl CrmKind {
    /// All kinds, in the order in which they are documented.
    pub const ALL: [Self; 3] = [Self::Company, Self::Person, Self::Note];

    /// The kind as it is written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Company => "Company",
            Self::Person => "Person",
            Self::Note => "Note",
        }
    }

    /// The plural in lower case, as it is written in API paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Company => "companies",
            Self::Person => "people",
            Self::Note => "notes",
        }
    }

    /// The CRM kind of that group, version and kind; `None` if there is no such CRM kind.
    pub fn of(group: &str, version: &str, kind: &str) -> Option<Self> {
        if group != GROUP || version != VERSION {
            return None;
        }
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// The same with everything that an API path needs.
    pub fn resource(self) -> ResourceKind {
        ResourceKind::crm(self.as_str(), self.plural())
    }
}
