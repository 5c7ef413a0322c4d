//! One violation of a schema.

use crm_core::rules::{FieldPath, Reason, Shown};

/// One violation of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) field: FieldPath,
    pub(super) reason: Reason,
    pub(super) value: Shown,
    pub(super) text: String,
    /// As in [`crm_core::rules::Finding::suggestion`].
    pub(super) suggestion: Option<String>,
}
