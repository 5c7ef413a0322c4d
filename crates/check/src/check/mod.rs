//! Checks and fixes the objects of many files.

mod builds;
mod built;
mod bundle;
mod duplicates;
mod file;
pub mod fix;
mod judge;
mod known;
mod merge_order;
mod order;
mod steps;
mod substitution;
mod suppressions;
mod workspace;

pub use builds::Outcome;
pub use bundle::Bundle;
pub use file::Fault;
pub use judge::Judge;
pub use known::{Declared, Existing, Known};
pub use order::Applier;
pub use workspace::{Checked, Marked, Workspace};
