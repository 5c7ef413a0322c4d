//! A problem at a place in a text.

/// A problem in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The byte in the text.
    pub(crate) at: usize,
    pub(crate) message: String,
}
