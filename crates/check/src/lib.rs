//! crm-check: checks CRM records in files, without a cluster.
//!
//! - [`conformance`] judges one whole object by the engine and by the schema of its kind.
//! - [`check`] judges and fixes the objects of many files: references between them, and the order in which an applier
//!   sends them.
//! - [`report`] has one diagnostic with its place, and one file for each format.
//!
//! `crm-admission check` is this crate with arguments. `crm-admission audit` uses its conformance and its report.
//!
//! *Architecture invariant:* it knows no cluster and no asynchronous runtime. Whoever asks a cluster hands in the
//! answers.

pub mod check;
pub mod conformance;
pub mod report;
