//! Manifests as files hold them: reads what kubectl would read, in the order in which it stands.
//!
//! *Architecture invariant:* it knows nothing of HTTP.

mod compose;
mod documents;
mod fix;
mod json;
mod read;
pub mod report;
mod scalar;
mod text;
mod tree;

pub use documents::{SyntaxError, documents};
pub use read::{Document, ReadError, read_paths};
