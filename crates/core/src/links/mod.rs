//! Which field of which kind refers to what: the one table of it, and what follows from it.
//!
//! The rules, `refs`, deletions and the selectable fields of the CRDs all go by this table. A new reference is one entry
//! in `table.rs`.
//!
//! *Architecture invariant:* pure; knows fields, kinds and the names of rules, and not what a rule says about them.

mod dependants;
mod table;
mod values;

pub use dependants::{Count, Dependants, NAMED, Sight, Tally};
pub use table::{CREATOR, LINKS, Link, NameForm, Referent, SUBJECT};
pub use values::{LinkValue, subject_kind, target_in, values};
