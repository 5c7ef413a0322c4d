//! Checks and fixes the objects of many files.

mod bundle;
mod duplicates;
pub mod fix;
mod judge;
mod known;
mod merge_order;
mod order;
mod suppressions;
mod workspace;

pub use bundle::{Bundle, Fault};
pub use judge::Judge;
pub use known::Known;
pub use order::Applier;
pub use workspace::{Checked, Marked, Workspace};
