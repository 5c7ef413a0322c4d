//! The references between records and other objects: a table of the fields, and the functions that use it.
//!
//! The rules, `refs`, deletions and the selectable fields of the CRDs use this table. A new reference is one entry
//! in `table.rs`.
//!
//! *Architecture invariant:* pure; knows fields, kinds and the ids of rules, but not how a rule checks a reference.

mod dependents;
mod table;
mod values;

pub use dependents::{Count, Dependents, NAMED, Tally, Visibility};
pub use table::{CONTACTS, CREATOR, LINKS, Link, NameFormat, ReferenceTarget, SUBJECT};
pub use values::{LinkValue, subject_kind, target_in, values};
