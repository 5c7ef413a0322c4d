//! Replays the writes in audit logs of an API server under two policies, and reports the differences.
//!
//! It reads logs of any length in bounded memory. Only what the log says about each object stays in memory: whether it
//! exists, and its last state.
//!
//! *Architecture invariant:* this room knows audit events and the engine, but no sockets and not how a rule is decided.
//! Values of fields are in a report only if the caller asks for them.

mod event;
mod existence;
mod judge;
mod log;
mod report;
mod run;
mod state;
mod tally;

pub use existence::Existing;
pub use judge::Policies;
pub use log::Unreadable;
pub use report::{Format, Heading, render};
pub use run::replay;
pub use tally::{Listing, Tally, Undecided, Values};
