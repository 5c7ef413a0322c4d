//! The custom resource types and their schemas, and the names that the other rooms share.

mod resource;

pub use resource::{CrmKind, ResourceKind, Target};

/// The API group of the CRM kinds.
pub const GROUP: &str = "crm.milo.io";
/// The one served and stored version of the CRM kinds.
pub const VERSION: &str = "v1alpha1";
