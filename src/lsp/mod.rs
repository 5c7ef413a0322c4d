//! The language server: what `check` finds, where people type.
//!
//! Messages arrive on a thread of their own, and so do the answers of a cluster. One loop handles them in order. It first
//! takes all messages that have arrived, so that a burst of changes is judged once.
//!
//! *Architecture invariant:* it has no rules, no parser and no edits of its own: `crm-check` and `crm-manifest` judge,
//! read and edit. It does not know arguments or clusters either: the command says how to set up a folder and how to look
//! up objects.

mod actions;
mod blocks;
mod capabilities;
mod completion;
mod cursor;
mod diagnostics;
mod documents;
mod fields;
mod flow;
mod folders;
mod hover;
mod locate;
mod positions;
mod publishing;
mod pulling;
mod server;
mod setup;
mod transport;
mod uris;

pub use server::serve;
pub use setup::{Exit, Host, LookUp, SetUp, Setup};
