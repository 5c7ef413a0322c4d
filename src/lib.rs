//! crm-admission: the admission webhook that guards CRM records in Kubernetes.
//!
//! This is the program. `crm_core` decides about records, `crm_manifest` reads and edits files, and `crm_check` judges
//! objects without a cluster. `docs/architecture.md` lists the rooms of all four.

pub mod admission;
pub mod audit;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod conditions;
pub mod directory;
pub mod doctor;
pub mod invocation;
mod json;
pub mod kustomize;
pub mod lsp;
pub mod pki;
pub mod policy_source;
pub mod policy_tests;
pub mod replay;
pub mod server;
pub mod telemetry;
