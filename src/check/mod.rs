//! Manifests as files hold them: reads what kubectl would read, in the order in which it stands.
//!
//! *Architecture invariant:* it knows nothing of HTTP.

mod read;
pub mod report;
mod scalar;
mod yaml;

pub use read::{Document, ReadError, read_paths};
pub use yaml::{SyntaxError, documents};
