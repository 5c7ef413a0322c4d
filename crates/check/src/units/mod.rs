//! Knows which files belong together for kustomize: a directory with a kustomization file is a unit.
//!
//! *Architecture invariant:* it knows no rule and runs no program. Whoever has built a unit passes in what was rendered.

mod graph;
mod kustomization;
mod paths;
mod rendered;

pub use graph::{Cause, Obstacle, Root, Units};
pub(crate) use graph::{Members, Part};
pub(crate) use rendered::{Origin, Rendered, rendered};
