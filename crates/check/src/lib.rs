//! crm-check: checks CRM records in files, without a cluster.
//!
//! - [`conformance`] checks one whole object with the engine and the schema of its kind.
//! - [`check`] checks and fixes the objects of many files: references between them, and the order in which an applier
//!   sends them.
//! - [`units`] knows which files belong together for kustomize.
//! - [`report`] has one diagnostic with its place and its line, the baseline, and one file for each format.
//!
//! `crm-admission check` is this crate with arguments. `crm-admission audit` uses its conformance and its report.
//!
//! *Architecture invariant:* it knows no cluster and no asynchronous runtime. The caller passes the answers of a
//! cluster.

pub mod check;
pub mod conformance;
pub mod report;
pub mod units;
