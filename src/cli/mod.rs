//! Placeholder.

pub mod crds;
