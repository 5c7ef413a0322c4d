//! Audits stored records page by page: findings, references to missing objects, and fixes of values.
//!
//! *Architecture invariant:* this room knows stored records and the engine, but no places in files, no sockets and not
//! how a rule is decided.

mod background;
mod compliance;
mod examine;
pub mod files;
mod fix;
mod lookup;
mod pages;
pub mod refs;
pub mod report;
mod run;
mod stored;
mod tally;
mod targets;
#[cfg(test)]
mod tests;

pub use background::{Background, run as run_in_background};
pub use compliance::{COMPLIANT, Compliance, Condition};
pub use examine::{Examined, Examiner, Scope, Standing};
pub use fix::NotFixed;
pub use lookup::{Existence, NoAnswer, Suggestions};
pub use pages::{ListError, Pages};
pub use run::{AuditError, Fixing, Run};
pub use stored::{Labels, Record, Stored, get, path};
pub use tally::{Tally, TallyKey};
pub use targets::{TargetsError, listed};
