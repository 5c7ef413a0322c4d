//! Reads the policy from a file or the cluster, and holds the policy in force.
//!
//! *Architecture invariant:* a source reads documents, and only [`crm_core::policy`] knows what they mean. The
//! policy is replaced as a whole, and the last valid one stays in force if a new one is invalid.

pub mod cluster;
mod current;
mod file;
mod version;

pub use current::{Current, State};
pub use file::{Followed, PolicyFileError, RELOAD_INTERVAL, read, read_with_document};
