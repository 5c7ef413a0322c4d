//! Stored records, page by page: what the rules say of them today, what refers to nothing, and bringing values to their
//! canonical form.
//!
//! *Architecture invariant:* it knows stored records and the engine, and nothing of places in files, sockets or how a
//! rule is decided.

mod background;
mod examine;
pub mod files;
mod lookup;
mod mend;
mod pages;
mod patience;
pub mod refs;
pub mod report;
mod stored;
mod tally;
#[cfg(test)]
mod tests;

pub use background::{Background, run as run_in_background};
pub use examine::{Examined, Examiner, Scope, Standing};
pub use lookup::{Existence, NoAnswer, Suggestions};
pub use mend::{Mended, Mender, NotMended, values};
pub use pages::{ListError, Pages};
pub use tally::{Tally, TallyKey};
