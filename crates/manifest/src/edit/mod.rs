//! Changes strings and keys, removes list entries and adds comments in the text of a manifest, and leaves all other bytes
//! as they are.
//!
//! [`edit`] plans each change on the text. It keeps a change only if the new text, read again, has the old values with
//! exactly the changes that were asked for.

mod change;
mod comment;
mod entries;
mod lists;
mod plan;
mod rename;
mod scalar;
mod sharing;
mod splice;
#[cfg(test)]
mod tests;
mod verify;

use crate::files::Input;
use verify::Verifier;

pub use change::{Change, Edited};
pub use comment::comment;
pub use rename::rename;
pub(crate) use scalar::is_plain_in_block;
pub use scalar::literal;

/// Makes the changes that do not affect the meaning of any other value. `changes` has those of each document of the
/// input, in the same order.
pub fn edit(input: &Input, changes: &[Vec<Change>]) -> Edited {
    let documents = input.documents().iter().zip(changes).enumerate();
    let mut candidates = Vec::new();
    for (index, (document, changes)) in documents.filter(|(_, (_, changes))| !changes.is_empty()) {
        candidates.extend(plan::plan(input.text(), &document.tree, changes, index));
    }
    let mut verifier = Verifier::new(input, changes);
    verifier.keep(&candidates);
    verifier.finish()
}
