//! Brings values of a file to their canonical form, and leaves every other byte as it is.
//!
//! Each change is planned on the text and believed only once the new text, read again, means what the old one meant
//! with exactly the changes that were wanted.

mod edits;
mod entries;
mod lists;
mod plan;
mod scalar;
mod sharing;
#[cfg(test)]
mod tests;
mod verify;

use super::read::Source;
use super::tree::Step;
use edits::Edit;
use verify::Verifier;

/// One change of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// From the document's root, with the indexes of the lists as they are in the file.
    pub(super) path: Vec<Step>,
    /// The text that is to be there; `None` for an entry of a list that is to go.
    pub(super) value: Option<String>,
}

impl Wanted {
    /// The same change, where its path starts at `place`.
    pub(super) fn below(mut self, place: &[Step]) -> Self {
        self.path.splice(0..0, place.iter().cloned());
        self
    }
}

/// A text with changes made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    pub(super) text: String,
    /// How many of the wanted changes were made.
    pub(super) count: usize,
}

/// Edits that are made together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    edits: Vec<Edit>,
    /// The index of the document.
    document: usize,
    /// The indexes of the wanted changes that it makes.
    serves: Vec<usize>,
}

/// Makes the changes that can be made without changing the meaning of anything else. `wanted` are those of each
/// document.
pub(super) fn fix(source: &Source, wanted: &[Vec<Wanted>]) -> Fixed {
    let documents = source.documents.iter().zip(wanted).enumerate();
    let mut changes = Vec::new();
    for (index, (document, wanted)) in documents.filter(|(_, (_, wanted))| !wanted.is_empty()) {
        changes.extend(plan::plan(&source.text, &document.tree, wanted, index));
    }
    let mut verifier = Verifier::new(source, wanted);
    verifier.keep(&changes);
    verifier.finish()
}
