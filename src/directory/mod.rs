//! Answers two questions: does this object exist, and which records refer to it?
//!
//! *Architecture invariant:* a directory knows kinds and names, but no rules and no HTTP serving. Names are validated
//! before they reach it.

mod background;
mod changes;
mod cluster;
mod listed;
mod lookup;
mod memory;
mod observed;
mod referrers;

pub use background::Background;
pub use changes::{Changed, Changes, Following, TargetId};
pub use cluster::{COUNTS_AT_A_TIME, Cluster, Live, Need};
pub use listed::Listed;
pub use lookup::{CountDependents, Directory, Found, LookUp, LookupError, PartStatus};
pub use observed::{Observed, Observer, Outcome};
pub(crate) use referrers::Referrer;
