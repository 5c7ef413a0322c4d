//! What the engine says about a request: changes, findings, and the verdict that holds them.

use jiff::Timestamp;
use serde_json::Value;

use super::path::FieldPath;
use crate::catalog::{Action, RuleId};
use crate::quote::type_name;

/// What the engine says about one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// What `/mutate` changes.
    pub changes: Vec<Change>,
    /// What is wrong, or will be.
    pub findings: Vec<Finding>,
    /// Findings that an exemption dropped.
    pub exempted: Vec<Exempted>,
}

/// A finding that an exemption dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exempted {
    /// The rule that would have been broken.
    pub rule: RuleId,
    /// The name of the exemption.
    pub exemption: String,
}

/// One change of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The rule that makes it.
    pub rule: RuleId,
    /// The field that changes, with indexes of the object as it was sent.
    pub field: FieldPath,
    /// The text before; `None` where there was none.
    pub before: Option<String>,
    /// The text after; `None` where it is removed.
    pub after: Option<String>,
    /// What kind of change it is.
    pub effect: Effect,
    /// Whether the value is an old one in a changed list, so that it is no reason to refuse.
    pub stood: bool,
}

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An absent value is set.
    Defaulted,
    /// A value that the update left out is taken from the stored object.
    Restored,
    /// White space around the value is removed.
    Trimmed,
    /// The value is brought to its canonical form.
    Normalized,
    /// A list entry that means the same as an earlier one is removed.
    DuplicateRemoved {
        /// The index of the earlier entry.
        first: usize,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: RuleId,
    /// The reason code of a rule that has several.
    pub code: Option<&'static str>,
    /// The leaf field.
    pub field: FieldPath,
    /// The kind of problem, in the API machinery's terms.
    pub reason: Reason,
    /// What the user wrote, raw; `None` where nothing was, [`Shown::Hidden`] where it must not be repeated.
    pub value: Shown,
    /// What is wrong and how to mend it.
    pub text: String,
    /// What it leads to.
    pub action: Action,
    /// Set while a `Deny` still acts as `Warn`: when that ends.
    pub denies_from: Option<Timestamp>,
}

/// What a message may show of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// There is no value to show.
    Nothing,
    /// The value as the user wrote it.
    Text(String),
    /// The value may hold a password or a personal address: an empty text stands for it.
    Hidden,
}

impl Shown {
    /// A value of any type; of a list or an object only that it is one.
    pub fn of(value: &Value) -> Self {
        let shown = match value {
            Value::Array(_) | Value::Object(_) => type_name(value).to_owned(),
            Value::String(text) => text.clone(),
            scalar => scalar.to_string(),
        };
        // A text in a place for something else could be anything, personal addresses included.
        if shown.contains('@') { Self::Hidden } else { Self::Text(shown) }
    }
}

/// The kind of problem, in the API machinery's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A value is missing.
    Required,
    /// A value is malformed, out of bounds, or changed where it must not be.
    Invalid,
    /// A reference points at nothing.
    NotFound,
    /// A value is not one of those that are accepted.
    NotSupported,
    /// A value stands where none may be.
    Forbidden,
    /// Whether a reference points at something could not be found out.
    Unchecked,
    /// Others refer to what is deleted, or may do so.
    Referenced,
}

impl Reason {
    /// The `reason` of a status cause.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid | Self::Unchecked => "FieldValueInvalid",
            Self::NotFound => "FieldValueNotFound",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden | Self::Referenced => "FieldValueForbidden",
        }
    }

    /// What the API machinery puts in front of a message of this kind, without the colon.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::Unchecked => "Invalid value",
            Self::NotFound => "Not found",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden | Self::Referenced => "Forbidden",
        }
    }

    /// Whether the message quotes the value after the prefix.
    pub const fn quotes_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::Referenced)
    }
}

impl Verdict {
    /// The strictest action of any finding; `Disabled` when there is none.
    pub fn strictest(&self) -> Action {
        self.findings.iter().map(|finding| finding.action).max().unwrap_or(Action::Disabled)
    }
}
