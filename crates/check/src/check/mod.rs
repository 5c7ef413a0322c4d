//! Checks and fixes the objects of many files.

mod bundle;
mod duplicates;
pub mod fix;
mod judge;
mod known;
mod merge_order;
mod order;
mod steps;
mod substitution;
mod suppressions;

pub use bundle::Bundle;
pub use judge::Judge;
pub use known::{Existing, Known};
pub use order::Applier;
