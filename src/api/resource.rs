//! Names of kinds and of single objects, as policy, rules and directory pass them to each other.

use std::fmt;
use std::sync::Arc;

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
            group: super::GROUP.to_owned(),
            version: super::VERSION.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: false,
        }
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
