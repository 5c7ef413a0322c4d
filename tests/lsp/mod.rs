//! Tests the language server as an editor calls it.

mod actions;
pub(crate) mod client;
mod files;
mod protocol;
mod pulling;
mod typing;
