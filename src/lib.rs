//! crm-admission: the admission webhook that guards CRM records in Kubernetes.
//!
//! This is the program. The rules are in `crm_core`, which is pure; `docs/architecture.md` lists the rooms of both, in
//! the order in which data meets them.

pub mod admission;
pub mod audit;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod directory;
pub mod doctor;
pub mod pki;
pub mod policy_source;
pub mod server;
pub mod telemetry;
