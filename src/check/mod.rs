//! Manifests as files hold them: reads what kubectl would read, in the order in which it stands.
//!
//! *Architecture invariant:* it knows nothing of HTTP.

mod bundle;
mod compose;
mod conform;
mod diff;
mod documents;
mod fix;
mod json;
mod judge;
mod order;
mod read;
pub mod report;
mod scalar;
mod schema;
mod text;
mod tree;
mod write;

pub use bundle::{Bundle, Outside, Rewritten};
pub(crate) use conform::{merged, record, schema_findings};
pub use documents::{SyntaxError, documents};
pub use judge::{Judge, Known};
pub use order::Applier;
pub use read::{ReadError, read_objects};
pub(crate) use schema::Schemas;
pub use schema::UnusableSchema;
