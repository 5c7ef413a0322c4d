//! crm-admission: the admission webhook that guards CRM records in Kubernetes.
//!
//! The rooms are listed, in the order in which data meets them, in `docs/architecture.md`. The pure ones
//! (`api`, `catalog`, `normalize`, `policy`, `rules`) build without the `program` feature.

pub mod api;
pub mod catalog;
mod characters;
pub mod normalize;
pub mod policy;
pub mod rules;

#[cfg(feature = "program")]
pub mod admission;
#[cfg(feature = "program")]
pub mod audit;
#[cfg(feature = "program")]
pub mod certificates;
#[cfg(feature = "program")]
pub mod check;
#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
pub mod cluster;
#[cfg(feature = "program")]
pub mod directory;
#[cfg(feature = "program")]
pub mod doctor;
#[cfg(feature = "program")]
pub mod policy_source;
#[cfg(feature = "program")]
pub mod server;
#[cfg(feature = "program")]
pub mod telemetry;
