//! Lists the names of all objects that records may refer to.

use std::collections::HashSet;
use std::sync::Arc;

use crm_core::api::{CrmKind, ResourceKind};
use crm_core::policy::Policy;
use crm_core::rules;

use crate::cluster::{ReadError, Reader};
use crate::directory::Listed;

/// The names of a kind cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list {kind}")]
pub struct TargetsError {
    /// The kind.
    kind: Arc<ResourceKind>,
    /// The cause.
    #[source]
    source: ReadError,
}

/// The names of all objects that records of these kinds may refer to under these policies. Lookups of a kind that the
/// user may not list go to the API server, one by one. `on_name` is called for each name.
///
/// # Errors
/// The API server keeps failing.
pub async fn listed(
    reader: &Reader,
    policies: impl IntoIterator<Item = &Policy>,
    kinds: &[CrmKind],
    on_name: &dyn Fn(),
) -> Result<Listed, TargetsError> {
    let mut directory = Listed::new(reader.clone());
    let mut done = HashSet::new();
    let wanted = policies.into_iter().flat_map(|policy| rules::looked_up(policy, kinds));
    for kind in wanted.filter(|kind| done.insert(kind.to_string())) {
        match directory.list(&kind, on_name).await {
            Ok(()) => {}
            // Few users may list everything, and a cluster need not have every kind.
            Err(error) if matches!(error.code(), Some(401 | 403 | 404 | 405)) => {}
            Err(source) => return Err(TargetsError { kind, source }),
        }
    }
    Ok(directory)
}
