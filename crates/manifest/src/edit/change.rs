//! A change of a value, and the text after some changes.

use super::splice::Splice;
use crate::tree::Step;

/// A change of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path of the value from the root of the document. Indexes are those of the unchanged file.
    pub path: Vec<Step>,
    /// The new string; `None` removes the value, which must be an entry of a list.
    pub value: Option<String>,
}

impl Change {
    /// The same change with `place` before its path.
    #[must_use]
    pub fn below(mut self, place: &[Step]) -> Self {
        self.path.splice(0..0, place.iter().cloned());
        self
    }
}

/// A text after some changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The new text.
    pub text: String,
    /// The number of changes that were made.
    pub count: usize,
}

/// Splices that are applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) splices: Vec<Splice>,
    /// The index of the document.
    pub(super) document: usize,
    /// The indexes of the changes that it makes.
    pub(super) makes: Vec<usize>,
}
