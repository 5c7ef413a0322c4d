//! Names of kinds and of single objects, as policy, rules and directory pass them to each other.

use std::fmt;
use std::sync::Arc;

use kube::core::{ApiResource, GroupVersionKind};

use super::record::{GROUP, VERSION};

/// A kind of object that a reference may name, with all that its API path needs.
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
    /// Whether objects of the kind live in namespaces.
    pub namespaced: bool,
}

impl ResourceKind {
    /// One of our own kinds: group and version are those of the CRM, the scope is Cluster.
    pub fn crm(kind: &str, plural: &str) -> Self {
        Self {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: false,
        }
    }

    /// What kube needs to know of it. It is all here, so the API server is not asked what it serves.
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

/// One object by kind and name: what a reference points at.
///
/// Whoever makes one has checked the names: they are safe as segments of an API path.
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
    /// All of them, in the order in which they are documented.
    pub const ALL: [Self; 3] = [Self::Company, Self::Person, Self::Note];

    /// The kind as manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Company => "Company",
            Self::Person => "Person",
            Self::Note => "Note",
        }
    }

    /// The plural in lower case, as API paths spell it.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Company => "companies",
            Self::Person => "people",
            Self::Note => "notes",
        }
    }

    /// The CRM kind of that group, version and kind; `None` for every other.
    pub fn of(group: &str, version: &str, kind: &str) -> Option<Self> {
        if group != GROUP || version != VERSION {
            return None;
        }
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// The same with all that an API path needs.
    pub fn resource(self) -> ResourceKind {
        ResourceKind::crm(self.as_str(), self.plural())
    }
}
