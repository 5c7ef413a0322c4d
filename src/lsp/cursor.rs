//! The types of a place in a text that may be half typed.

use std::collections::BTreeMap;
use std::ops::Range;

use crm_manifest::Step;

/// The fields of a map that have scalars, as they are written.
pub(super) type Scalars = BTreeMap<String, String>;

/// The place of the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The path in the document of the value that the cursor is in; if it is at a key, that of the map.
    pub(super) path: Vec<Step>,
    /// What is being typed.
    pub(super) slot: Slot,
    /// The bytes of what is being typed.
    pub(super) bytes: Range<usize>,
    /// How it is written.
    pub(super) style: Style,
    /// The fields of the map that the cursor is in.
    pub(super) siblings: Scalars,
    /// The fields of the object that the cursor is in, such as `kind`.
    pub(super) object: Scalars,
}

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A key, or a scalar where a map is not expected.
    Key,
    /// The value of a key.
    Value,
}

/// How something is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Whether a quote is before it.
    pub(super) is_quoted: bool,
    /// Whether it is between brackets.
    pub(super) is_flow: bool,
    pub(super) is_json: bool,
    /// Whether a space is missing between it and the colon before it.
    pub(super) needs_space: bool,
    /// Whether a colon follows.
    pub(super) has_colon: bool,
}

/// The first steps of a path that lead to an object: it may be an item of a list.
pub(super) fn object_depth(path: &[Step]) -> usize {
    match path {
        [Step::Name(items), Step::Index(_), ..] if items == "items" => 2,
        _ => 0,
    }
}
