//! The grammar of kubectl's YAML: turns a text into events.
//!
//! kubectl reads YAML with go-yaml v2, a port of libyaml with deviations of its own, and no specification says what it
//! accepts. So this is a port, too: function by function, with the same look-ahead and the same places of errors. The
//! differential test in `tests/yaml` compares it with the original. The licence of libyaml is beside this file.
//!
//! - `reader.rs` has the text, the current place in it, and the classes of characters.
//! - `scanner.rs` finds tokens, `scalars.rs` and `properties.rs` the larger ones of them.
//! - `parser.rs` turns tokens into events.

mod parser;
mod properties;
mod reader;
mod scalars;
mod scanner;

pub(crate) use parser::{Event, Parser};

/// A place where a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The byte in the text.
    pub(crate) at: usize,
    pub(crate) message: &'static str,
    /// The byte at which the unfinished value starts, if there is one.
    pub(crate) within: Option<usize>,
}
